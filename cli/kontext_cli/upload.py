"""Uploading the parts of a pair, once it is sure that no more than one picture is paid for them.

S3 has no transaction over objects, and its messages come in any order. So each part that comes to a pair which is
complete makes a render of its own, and all but the last are of a mixture that nobody asked for.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from botocore.exceptions import ClientError

from kontext import drops, pairs, request
from kontext.errors import BadDrop
from kontext.table import Table
from kontext_cli.errors import CommandError
from kontext_cli.target import Target

READERS = 8
GIVE_ANOTHER_NAME = "give it another name"
BESIDE_OTHERS = "beside somebody else's: a pair that they make together is paid"
TAKEN = (409, 412)
"""What S3 answers to a conditional write if somebody else was faster."""


@dataclass(frozen=True)
class Piece:
    """One object to drop, from a file or `made` here. Without a `slot` it is an image that a request names."""

    key: str
    slot: pairs.Slot | None
    file: Path | None = None
    made: bytes = b""

    @property
    def body(self) -> bytes:
        """Its content."""
        return self.file.read_bytes() if self.file else self.made

    @property
    def name(self) -> str:
        """Its key without the folder."""
        return self.key.rpartition("/")[2]


@dataclass(frozen=True)
class Planned:
    """A pair to drop: `where` it stands in the source, its pieces in the order to upload them, what it asks for,
    the slots that must be `filled` already, and the keys that it names and that must be `there`.

    `is_whole`: nothing but these pieces is meant to count.
    """

    where: str
    prefix: str
    pieces: tuple[Piece, ...]
    parameters: dict[str, Any]
    filled: tuple[str, ...] = ()
    there: tuple[str, ...] = ()
    is_whole: bool = False


@dataclass(frozen=True)
class Job:
    """A pair and what of it is to be uploaded: all, some, or (`kind` is `same`) nothing.

    `changed`: it has been dropped with another content, and is rendered and paid anew.
    """

    pair: Planned
    kind: Literal["new", "changed", "same"]
    pieces: tuple[Piece, ...]


class Refused(CommandError):
    """A pair is not uploaded; the message says why, and `instead` what to do.

    `parts`: those that would be rendered and paid one by one, if that is why.
    """

    def __init__(self, why: str, instead: str = "", parts: tuple[Piece, ...] = ()) -> None:
        super().__init__(f"{why}: {instead}" if instead else why)
        self.why, self.instead, self.parts = why, instead, parts

    def priced(self, price: float) -> str:
        """The message, with what the parts would cost at USD `price` a picture."""
        if not self.parts:
            return str(self)
        cost = f"({len(self.parts)} x USD {price:g} = USD {len(self.parts) * price:.2f})"
        return f"{self.why} {cost}: {self.instead} (USD {price:g} each)"


class Bucket:
    """The input bucket of a stack, and what the stack remembers of what was in it."""

    def __init__(self, target: Target) -> None:
        self.client = target.client("s3")
        self.name = target.output("InputBucket")
        self.drops = drops.Drops(Table(target.client("dynamodb"), target.output("RendersTable")))
        self.objects: dict[str, dict[str, Any]] = {}
        self.newest: dict[tuple[str, str], list[str]] = {}
        """Prefix and slot → the key of the newest object; several that came in the same second."""
        self.seen: dict[str, dict[str, Any]] = {}
        """Prefix → the parts that the stack has seen, also those that were deleted or have expired since."""

    def look(self, planned: Iterable[Planned]) -> None:
        """See what is there of some pairs. Costs a listing a folder and a read a pair."""
        chosen = list(planned)
        keys = [key for pair in chosen for key in (pair.prefix, *(piece.key for piece in pair.pieces), *pair.there)]
        folders = sorted({key[: key.rfind("/") + 1] for key in keys})
        prefixes = [pair.prefix for pair in chosen]
        with ThreadPoolExecutor(READERS) as readers:
            for found in readers.map(self._listed, folders):
                self.objects |= {one["Key"]: one for one in found}
            for prefix, pair in zip(prefixes, readers.map(self.drops.get, prefixes), strict=True):
                self.seen[prefix] = pair.parts if pair else {}
        self._sort_out()

    def _listed(self, folder: str) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.name, Prefix=folder, Delimiter="/")
        return [one for page in found for one in page.get("Contents", ())]

    def _sort_out(self) -> None:
        for one in self.objects.values():
            if part := pairs.parse(one["Key"]):
                rivals = self.newest.setdefault((part.prefix, part.slot), [])
                dates = [self.objects[key]["LastModified"] for key in rivals]
                if not dates or one["LastModified"] > dates[0]:
                    rivals[:] = [one["Key"]]
                elif one["LastModified"] == dates[0] and one["Key"] not in rivals:
                    rivals.append(one["Key"])

    def has(self, prefix: str, slot: str) -> bool:
        """Whether an object fills a slot just now."""
        return (prefix, slot) in self.newest

    def fills(self, prefix: str, slot: str) -> bool:
        """Whether a slot is filled for the stack, be it by an object that has gone since."""
        return self.has(prefix, slot) or slot in self.seen.get(prefix, {})

    def lacks(self, piece: Piece) -> bool:
        """Whether nothing fills the slot of a piece just now, whatever the stack has seen of it."""
        part = pairs.parse(piece.key) if piece.slot else None
        return part is not None and not self.has(part.prefix, part.slot)

    def etag(self, prefix: str, slot: str) -> str:
        """The ETag of what fills a slot."""
        if self.has(prefix, slot):
            return _etag(self.objects[self.newest[prefix, slot][-1]])
        return str(self.seen.get(prefix, {}).get(slot, {}).get("etag", ""))

    def changed_at(self, prefix: str) -> float:
        """When the newest of a pair's objects came, in unix seconds; 0 if there is none."""
        keys = [key for (owner, _), found in self.newest.items() if owner == prefix for key in found]
        return max((self.objects[key]["LastModified"].timestamp() for key in keys), default=0.0)

    def is_told_of(self, pair: Planned) -> bool:
        """Whether the stack has seen what fills the slots of a pair's pieces just now."""
        seen, slots = self.seen.get(pair.prefix, {}), [str(piece.slot) for piece in pair.pieces if piece.slot]
        return all(seen.get(slot, {}).get("etag") == self.etag(pair.prefix, slot) for slot in slots)

    def holds(self, piece: Piece) -> bool:
        """Whether what fills the slot of a piece has this very content; it may have another extension."""
        part = pairs.parse(piece.key) if piece.slot else None
        if part is None:
            return piece.key in self.objects and self._is(self.objects[piece.key], piece)
        seen = self.seen.get(part.prefix, {}).get(part.slot)
        there = [self.objects[key] for key in self.newest.get((part.prefix, part.slot), ())]
        if not there:
            return seen is not None and seen.get("etag") == _md5(piece.body)
        # The stack may have seen an object that came later and has been deleted: that one still counts for it.
        if seen and seen.get("etag") != _etag(there[0]) and seen["at"] >= there[0]["LastModified"].timestamp():
            return False
        return all(self._is(one, piece) for one in there)

    def _is(self, there: dict[str, Any], piece: Piece) -> bool:
        """Whether an object has this very content. It is read only if it has the same size, and an ETag that is no
        MD5 sum of it: so it is with what was encrypted, or uploaded in parts by another tool."""
        body = piece.body
        return there["Size"] == len(body) and (_etag(there) == _md5(body) or self._read(there["Key"]) == body)

    def _read(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def said_by(self, prefix: str, slot: str) -> dict[str, Any]:
        """The parameters in the metadata of an image that is there. Raises Refused if the stack would reject them."""
        key = self.newest[prefix, slot][-1]
        seen = self.seen.get(prefix, {}).get(slot, {})
        if seen.get("key") == key and seen.get("etag") == _etag(self.objects[key]):
            return dict(seen.get("parameters", {}))
        try:
            return request.parse_metadata(self.client.head_object(Bucket=self.name, Key=key)["Metadata"])
        except BadDrop as problem:
            raise Refused(f"{key} is there with metadata that is rejected ({problem})", GIVE_ANOTHER_NAME) from problem

    def upload(self, prefix: str, pieces: tuple[Piece, ...]) -> Iterator[Piece]:
        """Upload pieces of the pair under a prefix; yields each when it is there. All are read before the first goes.

        Raises Refused if somebody else has dropped something of that pair since `look`. The last piece, which may
        complete it, goes only after a second look: of two who drop at once, one at least sees the other.
        """
        for piece, body in [(piece, piece.body) for piece in pieces]:
            if piece is pieces[-1]:
                self._look_for_others(prefix, piece)
            self._put(piece, body)
            yield piece

    def _look_for_others(self, prefix: str, last: Piece) -> None:
        for one in self._listed(prefix):
            part, known = pairs.parse(one["Key"]), self.objects.get(one["Key"], {})
            # The last piece itself is protected by its condition; it may be there, if the same is dropped twice.
            if part and part.prefix == prefix and one["Key"] != last.key and one["ETag"] != known.get("ETag"):
                raise _overtaken(one["Key"])

    def _put(self, piece: Piece, body: bytes) -> None:
        there = self.objects.get(piece.key)
        condition = {"IfMatch": there["ETag"]} if there else {"IfNoneMatch": "*"}
        kind = mimetypes.guess_type(piece.key)[0] or "application/octet-stream"
        try:
            answer = self.client.put_object(Bucket=self.name, Key=piece.key, ContentType=kind, **condition, Body=body)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in TAKEN:
                raise
            answer = self._taken(piece, body)
        self.objects[piece.key] = {"Key": piece.key, "ETag": answer["ETag"], "Size": len(body)}
        if part := pairs.parse(piece.key):
            self.newest[part.prefix, part.slot] = [piece.key]

    def _taken(self, piece: Piece, body: bytes) -> dict[str, Any]:
        """What has come in between; it may be our own, sent twice because the first answer was lost."""
        there: dict[str, Any] = self.client.head_object(Bucket=self.name, Key=piece.key)
        if _etag(there) == _md5(body):
            return there
        raise _overtaken(piece.key)


def check(bucket: Bucket, pair: Planned, default_prompt: str) -> Job:
    """What is to be uploaded of a pair that the bucket has been looked at for.

    Raises:
        Refused: it would not be rendered, not as it stands here, or each of its parts would be rendered and paid.
    """
    held = [piece for piece in pair.pieces if bucket.holds(piece)]
    _check_the_rest(bucket, pair, held, default_prompt)
    if len(held) == len(pair.pieces):
        return Job(pair, "same", ())
    # Only what is still in the bucket can be rendered again.
    pieces = tuple(piece for piece in pair.pieces if piece not in held or bucket.lacks(piece))
    _check_pieces(bucket, pair, pieces)
    return Job(pair, "changed" if _is_complete(bucket, pair, pieces) else "new", pieces)


def _check_the_rest(bucket: Bucket, pair: Planned, held: list[Piece], default_prompt: str) -> None:
    """See that what is not uploaded is there, and that nothing is there which was not meant."""
    for slot in pair.filled:
        if not bucket.has(pair.prefix, slot):
            raise Refused(f"image {slot} is missing, here and in the bucket")
    for key in pair.there:
        if key not in bucket.objects:
            raise Refused(f"its request names {key}, which is neither here nor in the bucket")
    for piece in pair.pieces:
        if piece.slot is None and piece.key in bucket.objects and piece not in held:
            raise Refused(f"it names {piece.key}, which the bucket has with another content", GIVE_ANOTHER_NAME)
    if pair.is_whole and (others := _others(bucket, pair, held)):
        raise Refused(
            f"{pair.prefix} has {', '.join(others)} from before, which would still count",
            f"say here what is wanted instead (a prompt, for example), or {GIVE_ANOTHER_NAME}",
        )
    told = any(bucket.fills(pair.prefix, slot) for slot in pairs.PROMPTS)
    if not (default_prompt or "prompt" in pair.parameters or told):
        raise Refused("it has no prompt, and the stack has no DefaultPrompt")


def _others(bucket: Bucket, pair: Planned, held: list[Piece]) -> list[str]:
    """What was dropped before and would decide about something that these pieces leave open."""
    ours = {piece.slot for piece in pair.pieces}
    others = []
    if "request" not in ours and bucket.fills(pair.prefix, "request"):
        others.append("request.json")
    if "prompt" not in pair.parameters and "prompt" not in ours and bucket.fills(pair.prefix, "prompt"):
        others.append("prompt.txt")
    images = [piece for piece in held if piece.slot in ("1", "2") and not bucket.lacks(piece)]
    for piece in images:
        if bucket.said_by(pair.prefix, str(piece.slot)).keys() - pair.parameters.keys():
            others.append(f"the metadata of {piece.name}")
    return others


def _check_pieces(bucket: Bucket, pair: Planned, pieces: tuple[Piece, ...]) -> None:
    """See that the pieces make one render, in whatever order the stack is told of them."""
    parts = tuple(piece for piece in pieces if piece.slot)
    replaced = any(bucket.fills(pair.prefix, str(part.slot)) for part in parts)
    if len(parts) < 2 or not (replaced or _is_complete(bucket, pair, pieces) or _overrules(bucket, pair, parts)):
        return
    names = ", ".join(part.name for part in parts)
    raise Refused(
        f"{len(parts)} parts of it ({names}) differ from what was dropped as {pair.prefix}, and each of them would be "
        "rendered and paid",
        f"{GIVE_ANOTHER_NAME}, or change one part at a time",
        parts,
    )


def _is_complete(bucket: Bucket, pair: Planned, pieces: tuple[Piece, ...]) -> bool:
    """Whether the stack has had all that it needs before the pieces come."""
    asked = bucket.fills(pair.prefix, "request") and not any(piece.slot == "request" for piece in pieces)
    named = {slot for slot in "12" if asked and f"input_image_{slot}" in pair.parameters}
    loose_are_there = all(piece.key in bucket.objects for piece in pair.pieces if piece.slot is None)
    own = all(bucket.fills(pair.prefix, slot) for slot in {"1", "2"} - named)
    return own and (loose_are_there or not named)


def _overrules(bucket: Bucket, pair: Planned, parts: tuple[Piece, ...]) -> bool:
    """Whether a part overrules a prompt that is there already, and would be paid if the part came last."""
    slots = {part.slot for part in parts}
    if "request" in slots and bucket.fills(pair.prefix, "prompt"):
        return True
    told = (slot for slot in "12" if bucket.has(pair.prefix, slot) and slot not in slots)
    return bool(slots & set(pairs.PROMPTS)) and any(bucket.said_by(pair.prefix, slot) for slot in told)


def _overtaken(key: str) -> Refused:
    return Refused(f"somebody else has just dropped {key}", f"look at it, and {GIVE_ANOTHER_NAME}")


def _etag(there: dict[str, Any]) -> str:
    return str(there["ETag"]).strip('"')


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
