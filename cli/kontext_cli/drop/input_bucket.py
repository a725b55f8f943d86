"""The input bucket as the command line sees it: what it has of a pair, and parts put into it on conditions."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from botocore.exceptions import ClientError

from kontext.drops import keys, request
from kontext.drops.store import Drops
from kontext.dynamodb import Table
from kontext.errors import BadDrop
from kontext.model import Parameters
from kontext_cli.errors import CommandError
from kontext_cli.target import Target

READERS = 8
GIVE_ANOTHER_NAME = "give it another name"
BESIDE_OTHERS = "beside somebody else's: a pair that they make together is paid"
TAKEN = (409, 412)
"""What S3 answers to a conditional write if somebody else was faster."""


@dataclass(frozen=True)
class UploadObject:
    """One object to drop, from a file or `made` here. Without a `slot` it is an image that a request names."""

    key: str
    slot: keys.Slot | None
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
class PlannedPair:
    """A pair to drop: `where` it stands in the source, its objects in the order to upload them, what it asks for,
    the slots that must be `filled` already, and the keys that it names and that must be `there`.

    `is_whole`: nothing but these objects is meant to count.
    """

    where: str
    prefix: str
    uploads: tuple[UploadObject, ...]
    parameters: Parameters
    filled: tuple[str, ...] = ()
    there: tuple[str, ...] = ()
    is_whole: bool = False


class Refused(CommandError):
    """A pair is not uploaded; the message says why, and `instead` what to do.

    `parts`: those that would be rendered and paid one by one, if that is why.
    """

    def __init__(self, why: str, instead: str = "", parts: tuple[UploadObject, ...] = ()) -> None:
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
        self.drops = Drops(Table(target.client("dynamodb"), target.output("RendersTable")))
        self.objects: dict[str, dict[str, Any]] = {}
        self.newest: dict[tuple[str, str], list[str]] = {}
        """Prefix and slot → the key of the newest object; several that came in the same second."""
        self.seen: dict[str, dict[str, Any]] = {}
        """Prefix → the parts that the stack has seen, also those that were deleted or have expired since."""

    def load(self, planned: Iterable[PlannedPair]) -> None:
        """See what is there of some pairs. Costs a listing a folder and a read a pair."""
        chosen = list(planned)
        named = [key for pair in chosen for key in (pair.prefix, *(upload.key for upload in pair.uploads), *pair.there)]
        folders = sorted({key[: key.rfind("/") + 1] for key in named})
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
            if part := keys.parse(one["Key"]):
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

    def lacks(self, upload: UploadObject) -> bool:
        """Whether nothing fills the slot of a object just now, whatever the stack has seen of it."""
        part = keys.parse(upload.key) if upload.slot else None
        return part is not None and not self.has(part.prefix, part.slot)

    def etag(self, prefix: str, slot: str) -> str:
        """The ETag of what fills a slot."""
        if self.has(prefix, slot):
            return _etag(self.objects[self.newest[prefix, slot][-1]])
        return str(self.seen.get(prefix, {}).get(slot, {}).get("etag", ""))

    def changed_at(self, prefix: str) -> float:
        """When the newest of a pair's objects came, in unix seconds; 0 if there is none."""
        known = [key for (owner, _), found in self.newest.items() if owner == prefix for key in found]
        return max((self.objects[key]["LastModified"].timestamp() for key in known), default=0.0)

    def is_told_of(self, pair: PlannedPair) -> bool:
        """Whether the stack has seen what fills the slots of a pair's objects just now."""
        seen, slots = self.seen.get(pair.prefix, {}), [str(upload.slot) for upload in pair.uploads if upload.slot]
        return all(seen.get(slot, {}).get("etag") == self.etag(pair.prefix, slot) for slot in slots)

    def holds(self, upload: UploadObject) -> bool:
        """Whether what fills the slot of a object has this very content; it may have another extension."""
        part = keys.parse(upload.key) if upload.slot else None
        if part is None:
            return upload.key in self.objects and self._is(self.objects[upload.key], upload)
        seen = self.seen.get(part.prefix, {}).get(part.slot)
        there = [self.objects[key] for key in self.newest.get((part.prefix, part.slot), ())]
        if not there:
            return seen is not None and seen.get("etag") == _md5(upload.body)
        # The stack may have seen an object that came later and has been deleted: that one still counts for it.
        if seen and seen.get("etag") != _etag(there[0]) and seen["at"] >= there[0]["LastModified"].timestamp():
            return False
        return all(self._is(one, upload) for one in there)

    def _is(self, there: dict[str, Any], upload: UploadObject) -> bool:
        """Whether an object has this very content. It is read only if it has the same size, and an ETag that is no
        MD5 sum of it: so it is with what was encrypted, or uploaded in parts by another tool."""
        body = upload.body
        return there["Size"] == len(body) and (_etag(there) == _md5(body) or self._read(there["Key"]) == body)

    def _read(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def said_by(self, prefix: str, slot: str) -> Parameters:
        """The parameters in the metadata of an image that is there. Raises Refused if the stack would reject them."""
        key = self.newest[prefix, slot][-1]
        seen = self.seen.get(prefix, {}).get(slot, {})
        if seen.get("key") == key and seen.get("etag") == _etag(self.objects[key]):
            return cast("Parameters", seen.get("parameters", {}))
        try:
            return request.parse_metadata(self.client.head_object(Bucket=self.name, Key=key)["Metadata"])
        except BadDrop as problem:
            raise Refused(f"{key} is there with metadata that is rejected ({problem})", GIVE_ANOTHER_NAME) from problem

    def upload(self, prefix: str, uploads: tuple[UploadObject, ...]) -> Iterator[UploadObject]:
        """Upload objects of the pair under a prefix; yields each when it is there. All are read before the first goes.

        Raises Refused if somebody else has dropped something of that pair since `look`. The last object, which may
        complete it, goes only after a second look: of two who drop at once, one at least sees the other.
        """
        for upload, body in [(upload, upload.body) for upload in uploads]:
            if upload is uploads[-1]:
                self._look_for_others(prefix, upload)
            self._put(upload, body)
            yield upload

    def _look_for_others(self, prefix: str, last: UploadObject) -> None:
        for one in self._listed(prefix):
            part, known = keys.parse(one["Key"]), self.objects.get(one["Key"], {})
            # The last piece itself is protected by its condition; it may be there, if the same is dropped twice.
            if part and part.prefix == prefix and one["Key"] != last.key and one["ETag"] != known.get("ETag"):
                raise _overtaken(one["Key"])

    def _put(self, upload: UploadObject, body: bytes) -> None:
        there = self.objects.get(upload.key)
        condition = {"IfMatch": there["ETag"]} if there else {"IfNoneMatch": "*"}
        kind = mimetypes.guess_type(upload.key)[0] or "application/octet-stream"
        try:
            answer = self.client.put_object(Bucket=self.name, Key=upload.key, ContentType=kind, **condition, Body=body)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in TAKEN:
                raise
            answer = self._taken(upload, body)
        self.objects[upload.key] = {"Key": upload.key, "ETag": answer["ETag"], "Size": len(body)}
        if part := keys.parse(upload.key):
            self.newest[part.prefix, part.slot] = [upload.key]

    def _taken(self, upload: UploadObject, body: bytes) -> dict[str, Any]:
        """What has come in between; it may be our own, sent twice because the first answer was lost."""
        there: dict[str, Any] = self.client.head_object(Bucket=self.name, Key=upload.key)
        if _etag(there) == _md5(body):
            return there
        raise _overtaken(upload.key)


def _overtaken(key: str) -> Refused:
    return Refused(f"somebody else has just dropped {key}", f"look at it, and {GIVE_ANOTHER_NAME}")


def _etag(there: dict[str, Any]) -> str:
    return str(there["ETag"]).strip('"')


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
