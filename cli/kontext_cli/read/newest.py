"""Which pairs there are, the newest first: read from the lanes of the index `due`, and so at the same price whether the
table holds a hundred pairs or a million.

An entry of the index is small, and says where an item stands. Only the pairs that are shown are read whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from operator import attrgetter

from kontext.drops.keys import rule_missed
from kontext.drops.pairs import pair_key, pair_of, prefix_of
from kontext.drops.waiters import object_of
from kontext.due import LINE, TIMER, UNKNOWN, WAITING
from kontext.dynamodb import Item, Key, Table, key_of
from kontext.model import ENDED, Render
from kontext.renders.record import render_id_of, render_key, renders_among
from kontext_cli.read.views import PairView

RESTING = (WAITING, *ENDED)
LANES = (TIMER, LINE, *RESTING)
MOST = 3_000
"""So many entries of a lane are counted or looked through: less than a megabyte, which is one request."""
AT_ONCE = 50
"""Pairs that are read together: a pair and its render are two of the hundred items of a batch."""

Between = tuple[float, float]


@dataclass(frozen=True)
class Entry:
    """Where an item of a pair stands: in which lane, and at what time (unix seconds)."""

    prefix: str
    key: Key
    lane: str
    at: float


@dataclass(frozen=True)
class Listing:
    """The newest pairs that were asked for; `is_whole`: whether these are all."""

    pairs: list[PairView]
    is_whole: bool


class Newest:
    """The newest pairs of a stack.

    `make`: what the items of a pair are made into, None if they are no pair. What has ended and has not moved since
    it was read is not read again.
    """

    def __init__(self, table: Table, make: Callable[[list[Item]], PairView | None]) -> None:
        self.table = table
        self.make = make
        self._kept: dict[str, tuple[Entry, PairView]] = {}

    def listing(
        self,
        limit: int,
        fits: Callable[[PairView], bool],
        lanes: Iterable[str],
        start: str,
        between: Between | None,
    ) -> Listing:
        """The newest pairs in some lanes that fit, at most `limit`.

        `start`: how their prefixes begin. `between`: when those at rest came to rest (unix seconds).
        """
        looked: Counter[str] = Counter()
        walks = [self._entries(lane, start, between, limit, looked) for lane in lanes]
        found = _one_a_pair(merge(*walks, key=attrgetter("at"), reverse=True))
        pairs: list[PairView] = []
        kept: dict[str, tuple[Entry, PairView]] = {}
        while len(pairs) <= limit and (some := list(islice(found, min(limit + 1, AT_ONCE)))):
            read = self._read(some)
            pairs += filter(fits, (pair for _, pair in read.values()))
            kept |= read
        self._kept = kept
        return Listing(pairs[:limit], len(pairs) <= limit and not any(count >= MOST for count in looked.values()))

    def counts(self, start: str = "") -> Counter[str]:
        """How many renders each lane holds, `MOST` where there are as many or more; `WAITING`: pairs."""
        counts: Counter[str] = Counter()
        for lane in LANES:
            if start or lane == TIMER:
                entries = self._entries(lane, start, None, MOST, Counter())
                counts.update(lane if render_id_of(entry.key) else WAITING for entry in entries)
            else:
                counts[lane] += min(MOST, self.table.count_due(lane, MOST))
        return +counts

    def _entries(
        self, lane: str, start: str, between: Between | None, page_size: int, looked: Counter[str]
    ) -> Iterator[Entry]:
        """The entries of a lane, the newest first. Of a folder there may be one in a thousand: then pages are large."""
        since, until = between if between and lane in RESTING else (None, None)
        size = MOST if start else min(MOST, page_size + 1)
        items = self.table.query_due(lane, until, size, since=since, newest_first=True)
        for item in islice(items, MOST):
            looked[lane] += 1
            prefix = prefix_of(item)
            if prefix is not None and prefix.startswith(start):
                yield Entry(prefix, key_of(item), lane, float(item["due_at"]))

    def _read(self, entries: list[Entry]) -> dict[str, tuple[Entry, PairView]]:
        """Each pair as it is; what has ended, and stands where it did when it was read, is as it was then; who waits
        may have one more part."""
        known = {one.prefix: self._kept[one.prefix] for one in entries if self._is_known(one)}
        asked = {entry.prefix: entry for entry in entries if entry.prefix not in known}
        items = self.table.get_many(list(_places(asked.values())))
        there = [key_of(item) for item in items]
        items += self.table.get_many([key for item in items if (key := _speaker(item)) and key not in there])
        groups: dict[str | None, list[Item]] = {}
        for item in items:
            groups.setdefault(prefix_of(item), []).append(item)
        made = {prefix: (entry, self.make(groups.get(prefix, []))) for prefix, entry in asked.items()}
        read = known | {prefix: (entry, pair) for prefix, (entry, pair) in made.items() if pair}
        return {entry.prefix: read[entry.prefix] for entry in entries if entry.prefix in read}

    def _is_known(self, entry: Entry) -> bool:
        return entry.lane in ENDED and self._kept.get(entry.prefix, (None,))[0] == entry


@dataclass(frozen=True)
class LooseObject:
    """An object that fits no rule of the drop convention; `at`: when that was told (unix seconds)."""

    key: str
    at: float

    @property
    def why(self) -> str:
        """The rule that it misses."""
        return rule_missed(self.key)


def how_many(count: int) -> str:
    """How many were found where no more than `MOST` are looked through."""
    return f"{MOST:,} or more" if count >= MOST else str(count)


def loose_objects(table: Table, start: str = "") -> list[LooseObject]:
    """The objects that fit no rule and whose key begins so, the newest first, of the newest `MOST`."""
    items = islice(table.query_due(UNKNOWN, page_size=MOST, newest_first=True), MOST)
    found = ((object_of(item), float(item["due_at"])) for item in items)
    return [LooseObject(key, at) for key, at in found if key is not None and key.startswith(start)]


def renders_in(table: Table, lane: str, most: int | None = None) -> Iterator[Render]:
    """The renders of a lane, whole: in `timer` the longest overdue, else the newest first. All of them; or at most so
    many, of the first `MOST` items, which is one request and one more for each hundred that are found."""
    items = islice(table.query_due(lane, page_size=MOST, newest_first=lane != TIMER), MOST if most else None)
    entries = islice((key_of(item) for item in items if render_id_of(item) is not None), most)
    while some := list(islice(entries, 2 * AT_ONCE)):
        yield from renders_among(table.get_many(some))


def _one_a_pair(entries: Iterable[Entry]) -> Iterator[Entry]:
    seen: set[str] = set()
    for entry in entries:
        if entry.prefix not in seen:
            seen.add(entry.prefix)
            yield entry


def _places(entries: Iterable[Entry]) -> Iterator[Key]:
    for entry in entries:
        key = pair_key(entry.prefix)
        yield key
        if entry.key != key:
            yield entry.key


def _speaker(item: Item) -> Key | None:
    """Where the render stands that speaks for a pair."""
    pair = pair_of(item)
    return render_key(pair.prefix, pair.speaker) if pair.speaker else None
