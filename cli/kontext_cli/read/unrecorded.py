"""What lies in the input bucket and the stack does not know: its message was lost, purged, or has not come yet.

The bucket is compared with the table, version by version. An object is known if the table has recorded it, or
something newer in its place; if it fits no rule and was reported, or is named by a request; and if nobody waits for it
who has not seen it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from kontext.drops import keys, pairs
from kontext.drops.pairs import pair_key
from kontext.drops.waiters import Waiters, object_key
from kontext.due import TIMER
from kontext.dynamodb import Item, Table
from kontext.errors import BadDrop
from kontext.model import ObjectRead, Status
from kontext.renders.record import render_key
from kontext_cli.resources import description, parameters
from kontext_cli.target import Target

AT_ONCE = 100
PRESENT: ObjectRead = {"etag": "", "sha256": "unread", "parameters": {}}
"""A named image of which no more is known than that it may be there: who waits for it is woken by it."""
_SAME_SECOND = 1.0
"""A listing tells the time of an object in whole seconds."""


@dataclass(frozen=True)
class Found:
    """The newest version of an object of the input bucket; `at` in unix seconds. `waiting`: so many pairs wait for
    it."""

    key: str
    version_id: str
    etag: str
    bytes: int
    at: float
    waiting: int = 0


class Comparison:
    """The input bucket, beside what the table knows of it.

    `compared`: how many objects; `is_whole`: whether these were all that there are.
    """

    def __init__(self, target: Target) -> None:
        self.bucket = target.output("InputBucket")
        self.client = target.client("s3")
        self.table = Table(target.client("dynamodb"), target.output("RendersTable"))
        self.waiters = Waiters(self.table)
        prompt = parameters(description(target))["DefaultPrompt"]
        self.defaults = pairs.Defaults(parameters={}, prompt=prompt)
        self.compared = 0
        self.is_whole = True
        self.known: dict[str, set[str]] = {}
        """Prefix → the slots that the table knows to be filled, of each pair that was looked at."""

    def unrecorded(self, prefix: str = "", listings: int | None = None, page_size: int = 1000) -> list[Found]:
        """The objects under a prefix that the table does not know; of those that would fill the same slot, only the
        newest. `listings`: look at no more than so many, of `page_size` versions each."""
        unknown: dict[Any, Found] = {}
        listed = self._listed(prefix, listings, page_size)
        while some := list(islice(listed, AT_ONCE)):
            for one in self._unknown(some):
                part = keys.parse(one.key)
                place = (part.prefix, part.slot) if part else one.key
                unknown[place] = max(unknown.get(place, one), one, key=lambda found: found.at)
            self.compared += len(some)
        return list(unknown.values())

    def _listed(self, prefix: str, listings: int | None, page_size: int) -> Iterator[Found]:
        asked = {"Bucket": self.bucket, "Prefix": prefix, "PaginationConfig": {"PageSize": page_size}}
        for page in islice(self.client.get_paginator("list_object_versions").paginate(**asked), listings):
            self.is_whole = not page.get("IsTruncated", False)
            for one in page.get("Versions", ()):
                key, size = one["Key"], one["Size"]
                if one["IsLatest"] and not keys.is_error_file(key) and not keys.is_litter(key, size):
                    version_id, etag = str(one.get("VersionId", "null")), one["ETag"].strip('"')
                    yield Found(key, version_id, etag, size, one["LastModified"].timestamp())

    def _unknown(self, some: Sequence[Found]) -> Iterator[Found]:
        parts = {one.key: keys.parse(one.key) for one in some}
        owners = self._items(pair_key(part.prefix)["pk"] for part in parts.values() if part)
        asked = [key for key, part in parts.items() if part is None or _is_awaited(owners, part.prefix)]
        objects = self._items(object_key(key)["pk"] for key in asked)
        for one in some:
            part, item = parts[one.key], objects.get(object_key(one.key)["pk"], {})
            waiting = int(item.get("waiters", 0))
            found = replace(one, waiting=waiting)
            if waiting and item.get("due_lane") != TIMER and self.waiters.miss(one.key, one.etag):
                yield found
            elif part is None:
                if not item.keys() & {"prefix", "reported"}:
                    yield found
            elif not self._knows(owners.get(pair_key(part.prefix)["pk"], {}), part, one):
                yield found

    def _items(self, pks: Iterable[str]) -> dict[str, Item]:
        places = [{"pk": pk, "sk": pk.partition("#")[0]} for pk in sorted(set(pks))]
        return {item["pk"]: item for item in self.table.get_many(places)}

    def _knows(self, item: Item, part: keys.Part, one: Found) -> bool:
        pair = pairs.pair_of(item)
        self.known[part.prefix] = set(pair.parts)
        there = pair.parts.get(part.slot)
        if there is None:
            return False
        if there["key"] != one.key:  # of two objects for one slot the newer counts
            return bool(one.at <= there["at"] + _SAME_SECOND)
        same = there.get("version_id") == one.version_id if one.version_id != "null" else there["etag"] == one.etag
        return same and not self._is_left(pair)

    def _is_left(self, pair: pairs.Pair) -> bool:
        """Whether a pair could go on, and nobody has gone on with it, or will."""
        if pair.due_at is not None or pair.drop_id <= max(pair.current_drop, pair.rejected_drop):
            return False
        try:
            named: dict[str, ObjectRead | None] = dict.fromkeys(pairs.named_keys(pair), PRESENT)
            decision = pairs.decide(pair, named, self.defaults, math.inf)
        except BadDrop:
            return True
        if isinstance(decision, pairs.Ready) and decision.render_id(pair.prefix) == pair.current:
            render = self.table.get(render_key(pair.prefix, pair.current)) or {}
            return bool(
                render.get("status") == Status.FAILED
            )  # else it came back as it was rendered, and asks for nothing
        return not isinstance(decision, pairs.Incomplete) and not pair.waits_for


def _is_awaited(owners: dict[str, Item], prefix: str) -> bool:
    return bool(owners.get(pair_key(prefix)["pk"], {}).get("awaited"))
