"""What dropping many pairs into a stack would do: which are new, what they cost, and how long they take."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from kontext import pairs
from kontext.clock import day
from kontext.pacing import Rate
from kontext.renders import ledger_key
from kontext.table import Table
from kontext_cli.sources import Piece, Planned, Source, Wrong
from kontext_cli.target import Target

DAY_SECONDS = 86_400
LISTERS = 8


@dataclass(frozen=True)
class Job:
    """A pair and what of it is to be uploaded: all, some, or (`kind` is `same`) nothing.

    `changed`: it has been dropped with another content, and is rendered and paid anew.
    """

    pair: Planned
    kind: Literal["new", "changed", "same"]
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Money:
    """What the stack pays for a picture, what it may spend in a UTC day, what of it is reserved, and its pace."""

    price: float
    daily_limit: float
    reserved: float
    per_minute: float

    def seconds(self, pictures: int, now: float) -> float | None:
        """How long until the last of so many pictures is asked for; None if the limit never allows it."""
        a_day, today = (int(room / self.price + 1e-6) for room in (self.daily_limit, self.daily_limit - self.reserved))
        interval = Rate(self.per_minute).interval
        if pictures <= today or not pictures:
            return pictures * interval
        if a_day < 1:
            return None
        days, rest = divmod(pictures - max(0, today) - 1, a_day)
        return DAY_SECONDS - now % DAY_SECONDS + days * DAY_SECONDS + (rest + 1) * interval


class Bucket:
    """The input bucket of a stack."""

    def __init__(self, target: Target) -> None:
        self.client = target.client("s3")
        self.name = target.output("InputBucket")
        self.objects: dict[str, dict[str, Any]] = {}
        self.filled: dict[str, dict[str, str]] = {}

    def look(self, keys: Iterable[str]) -> None:
        """See what is in the folders of some keys, and which is the newest object of each slot of a pair.

        Costs a listing a folder; nothing is read.
        """
        folders = sorted({key[: key.rfind("/") + 1] for key in keys})
        with ThreadPoolExecutor(LISTERS) as listers:
            for found in listers.map(self._listed, folders):
                self.objects |= {one["Key"]: one for one in found}
        for one in sorted(self.objects.values(), key=lambda one: one["LastModified"]):
            if part := pairs.parse(one["Key"]):
                self.filled.setdefault(part.prefix, {})[part.slot] = one["Key"]

    def _listed(self, folder: str) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.name, Prefix=folder, Delimiter="/")
        return [one for page in found for one in page.get("Contents", ())]

    def holds(self, piece: Piece) -> bool:
        """Whether an object has this very content, told by its ETag or checksum."""
        there = self.objects.get(piece.key)
        if there is None or there["Size"] != len(body := piece.body):
            return False
        if there["ETag"].strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest():
            return True
        asked = self.client.head_object(Bucket=self.name, Key=piece.key, ChecksumMode="ENABLED")
        if "ChecksumSHA256" in asked:
            return bool(asked["ChecksumSHA256"] == _sha256(body))
        # What another tool has uploaded in parts cannot be told from here; as it has the same size, it stays.
        return "-" in there["ETag"]

    def put(self, piece: Piece) -> None:
        """Drop one object."""
        kind = mimetypes.guess_type(piece.key)[0] or "application/octet-stream"
        self.client.put_object(
            Bucket=self.name, Key=piece.key, Body=piece.body, ContentType=kind, ChecksumAlgorithm="SHA256"
        )


class Plan:
    """What is to be done about a source."""

    def __init__(self, target: Target, source: Source, settings: dict[str, str]) -> None:
        self.bucket = Bucket(target)
        self.bucket.look(key for pair in source.pairs for key in (*(piece.key for piece in pair.pieces), *pair.there))
        self.wrong, self.ignored = list(source.wrong), source.ignored
        self.default_prompt = settings["DefaultPrompt"]
        self.jobs = list(self._jobs(source.pairs))
        self.money = _money(target, settings)

    def _jobs(self, planned: list[Planned]) -> Iterator[Job]:
        for pair in planned:
            try:
                yield self._job(pair)
            except ValueError as problem:
                self.wrong.append(Wrong(pair.where, str(problem)))

    def _job(self, pair: Planned) -> Job:
        there = self.bucket.filled.get(pair.prefix, {})
        for slot in pair.filled:
            if slot not in there:
                raise ValueError(f"image {slot} is missing, here and in the bucket")
        for key in pair.there:
            if key not in self.bucket.objects:
                raise ValueError(f"its request names {key}, which is neither here nor in the bucket")
        if not (self.default_prompt or "prompt" in pair.parameters or {"request", "prompt"} & there.keys()):
            raise ValueError("it has no prompt, and the stack has no DefaultPrompt")
        pieces = tuple(piece for piece in pair.pieces if not self._is_there(piece, there))
        if not pieces:
            return Job(pair, "same", ())
        return Job(pair, "changed" if self._is_paid_anew(pair, pieces, there) else "new", pieces)

    def _is_there(self, piece: Piece, there: dict[str, str]) -> bool:
        if piece.slot is None and piece.key in self.bucket.objects and not self.bucket.holds(piece):
            raise ValueError(f"it names {piece.key}, which the bucket has with another content: give it another name")
        return (piece.slot is None or there.get(piece.slot) == piece.key) and self.bucket.holds(piece)

    def _is_paid_anew(self, pair: Planned, pieces: tuple[Piece, ...], there: dict[str, str]) -> bool:
        """Whether the pair was complete before. Raises ValueError if each piece would then be paid on its own."""
        named = {slot for slot in "12" if f"input_image_{slot}" in pair.parameters}
        loose_are_there = all(piece.key in self.bucket.objects for piece in pair.pieces if piece.slot is None)
        asked = not named or ("request" in there and loose_are_there)
        complete = asked and {"1", "2"} - named <= there.keys()
        if complete and len(pieces) > 1:
            raise ValueError(
                f"{len(pieces)} parts of it differ from what was dropped under this name, and each of them would be "
                "rendered and paid: give it another name"
            )
        return complete

    @property
    def todo(self) -> list[Job]:
        """The pairs of which something is to be uploaded."""
        return [job for job in self.jobs if job.pieces]

    @property
    def without_prompt(self) -> int:
        """How many of them would be rendered with the stack's prompt."""
        return sum("prompt" not in job.pair.parameters for job in self.todo)

    @property
    def price(self) -> float:
        """USD for their pictures."""
        return len(self.todo) * self.money.price

    def upload(self) -> Iterator[Job]:
        """Upload pair by pair; yields each when all of it is there."""
        for job in self.todo:
            for piece in job.pieces:
                self.bucket.put(piece)
            yield job


def _money(target: Target, settings: dict[str, str]) -> Money:
    table = Table(target.client("dynamodb"), target.output("RendersTable"))
    reserved = (table.get(ledger_key(day(datetime.now(UTC).timestamp()))) or {}).get("reserved", 0.0)
    named = ("PricePerRender", "DailySpendLimit", "RequestsPerMinute")
    price, limit, per_minute = (float(settings[name]) for name in named)
    return Money(price, limit, float(reserved), per_minute)


def _sha256(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()
