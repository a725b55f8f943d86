"""Who waits for whose object: an item for each pair that waits, beside the item of the object, under the object's key.

Many requests may name the same object. What each adds to the table is an item of its own; the
object's item only counts them. When the object comes, its item is due until all who waited are woken: page by page,
so that no message has more to do than it has time for.

A pair that begins to wait notes how often the object had come by then, and looks for the object only afterwards: in
whatever order the two meet, the pair finds the object, or the object the pair.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

from kontext import text
from kontext.drops import keys
from kontext.drops.pairs import pair_key
from kontext.due import REMOVE_DUE, SENT, SET_DUE, TIMER, make_due
from kontext.dynamodb import ConditionFailed, Key, Table, Write
from kontext.errors import KontextError

PAGE = 10
"""So many are woken by one message, each in some tenths of a second, or at its slot."""
MOST = 10_000
"""So many pairs wait for one object at most."""
WAITING_SECONDS = 400 * 86_400.0
WAKING_SECONDS = 60.0
"""Whoever tells of an object has mostly woken its first page by then."""
FIRST = "waiter"
"""Behind it stand all who wait."""
_OBJECT = "object#"
_MOST_PLACE_BYTES = 1024
"""DynamoDB's limit of a sort key."""


class TooMany(KontextError):
    """No more pairs can wait for this object."""

    def __init__(self, key: str, most: int) -> None:
        super().__init__(
            f"{most} pairs wait for {text.escape_line(key)} already; drop this file again once it is there"
        )


@dataclass(frozen=True)
class Waiter:
    """The pair under `prefix` waits; the object had come `seen` times when it began to."""

    prefix: str
    seen: int

    @property
    def place(self) -> str:
        """Its sort key in the table: of the longest prefixes a hash, as it would be longer than one may be."""
        place = f"{FIRST}#{self.prefix}"
        if len(place.encode()) <= _MOST_PLACE_BYTES:
            return place
        return f"{FIRST}#~{sha256(self.prefix.encode()).hexdigest()}"


class Waiters:
    """The table's items of who waits for whose object, `most` for one."""

    def __init__(self, table: Table, most: int = MOST) -> None:
        self.table = table
        self.most = most

    def add(self, key: str, prefix: str, etag: str, now: float, *, is_named: bool = True) -> None:
        """Note that the pair under `prefix` waits for the object `key`, or that it begins to wait for it anew.

        `etag`: of what is there and cannot be used; "" if nothing is. `is_named`: its request names the object, which
        is else only in its way.

        Raises:
            TooMany: `most` others do so already.
        """
        named = {"key": key} if is_named else {}
        waiter, over = Waiter(prefix, self._arrivals(key)), int(now + WAITING_SECONDS)
        said = "SET #prefix = :prefix, #seen = :seen, #etag = :etag, #expires_at = :over"
        counted = f"SET {'#prefix = :key, ' if is_named else ''}#expires_at = :over ADD #waiters :one"
        room = "attribute_not_exists(#waiters) OR #waiters < :most"
        try:
            self.table.transact(
                (
                    _waiter_key(key, waiter),
                    said,
                    "attribute_not_exists(#pk)",
                    {"prefix": prefix, "seen": waiter.seen, "etag": etag, "over": over},
                ),
                (object_key(key), counted, room, {"over": over, "one": 1, "most": self.most} | named),
                *_flag(key),
            )
        except ConditionFailed as refused:
            if refused.position == 1:
                raise TooMany(key, self.most) from refused
            self._again(key, waiter, etag, now, is_named=is_named)

    def _again(self, key: str, waiter: Waiter, etag: str, now: float, *, is_named: bool) -> None:
        said = "SET #seen = :seen, #etag = :etag, #expires_at = :over"
        values = {"seen": waiter.seen, "etag": etag, "over": int(now + WAITING_SECONDS)}
        try:
            self.table.update(_waiter_key(key, waiter), said, "attribute_exists(#pk)", **values)
        except ConditionFailed:  # it has just been woken
            self.add(key, waiter.prefix, etag, now, is_named=is_named)

    def remove(self, key: str, waiter: Waiter) -> None:
        """A pair is woken; nothing if it has begun to wait anew."""
        self._delete(key, waiter, "#seen = :seen", seen=waiter.seen)

    def forget(self, key: str, prefix: str) -> None:
        """A pair does not wait any more."""
        self._delete(key, Waiter(prefix, 0), "attribute_exists(#pk)")

    def _delete(self, key: str, waiter: Waiter, condition: str, **values: int) -> None:
        with suppress(ConditionFailed):
            self.table.delete(_waiter_key(key, waiter), condition, **values)
            self.table.update(object_key(key), "ADD #waiters :less", "attribute_exists(#waiters)", less=-1)

    def arrive(self, key: str, now: float) -> bool:
        """An object has come: it is due until all who wait for it are woken. False if nobody ever has."""
        try:
            self.table.update(
                object_key(key),
                f"SET {SET_DUE} REMOVE {SENT} ADD #arrivals :one",
                "attribute_exists(#waiters)",
                due_lane=TIMER,
                due_at=now + WAKING_SECONDS,
                one=1,
            )
        except ConditionFailed:
            return False
        return True

    def awaited(self, names: Iterable[str]) -> list[str]:
        """Those of some objects that somebody waits for."""
        return [name for name in names if (self.table.get(object_key(name)) or {}).get("waiters", 0) > 0]

    def to_wake(self, key: str, after: str = FIRST, page_size: int = 1000) -> Iterator[Waiter]:
        """Who began to wait before the object came last, in the order of their places, those behind a place."""
        arrivals = self._arrivals(key)
        for item in self.table.query_after(object_key(key)["pk"], after, page_size):
            if int(item["seen"]) < arrivals:
                yield Waiter(item["prefix"], int(item["seen"]))

    def miss(self, key: str, etag: str) -> bool:
        """Whether somebody waits for an object who has not seen what is there now."""
        return any(item.get("etag", "") != etag for item in self.table.query_after(object_key(key)["pk"], FIRST))

    def page(self, key: str, after: str) -> list[Waiter]:
        """The next to wake, behind a place."""
        return list(islice(self.to_wake(key, after, PAGE), PAGE))

    def look_again(self, key: str, now: float) -> None:
        """Note that some who wait for an object are not woken yet."""
        with suppress(ConditionFailed):  # somebody else has woken them
            make_due(self.table, object_key(key), now, "attribute_exists(#due_at)")

    def rest(self, key: str) -> None:
        """Nobody has to come back to an object once all who waited for it are woken."""
        arrivals = self._arrivals(key)
        if next(self.to_wake(key), None) is None:
            with suppress(ConditionFailed):  # it has come again
                self.table.update(object_key(key), f"REMOVE {REMOVE_DUE}", "#arrivals = :seen", seen=arrivals)

    def _arrivals(self, key: str) -> int:
        return int((self.table.get(object_key(key)) or {}).get("arrivals", 0))


def object_key(key: str) -> Key:
    """Where an object stands in the table that a request names, or that fits no rule; who waits for it, beside it."""
    return {"pk": f"{_OBJECT}{key}", "sk": "object"}


def object_of(key: Key) -> str | None:
    """The object whose item it is; None if it is another item."""
    return key["pk"].removeprefix(_OBJECT) if key["pk"].startswith(_OBJECT) else None


def _flag(key: str) -> Iterator[Write]:
    """The pair that the object is a part of is told that somebody waits: its own drops need not ask."""
    if owner := keys.parse(key):
        values = {"prefix": owner.prefix, "yes": True}
        yield pair_key(owner.prefix), "SET #prefix = :prefix, #awaited = :yes", None, values


def _waiter_key(key: str, waiter: Waiter) -> Key:
    return {"pk": f"{_OBJECT}{key}", "sk": waiter.place}
