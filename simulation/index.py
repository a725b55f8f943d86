"""The index `due` of the table in memory: sparse, sorted, and perhaps a little behind."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from heapq import merge
from itertools import takewhile
from operator import itemgetter
from typing import Any

Item = dict[str, Any]
Place = tuple[str, str]
Entry = tuple[Decimal, Place]

PROJECTED = ("pk", "sk", "due_lane", "due_at", "dispatched_until", "dispatches")
LONGEST_LAG = 10.0


class Index:
    """Which items stand in which lane, in the order of `due_at`."""

    def __init__(self) -> None:
        self._lanes: dict[str, list[Entry]] = {}
        self._changes: deque[tuple[float, Place, Item]] = deque()

    def put(self, place: Place, before: Item, item: Item, now: float) -> None:
        """An item was written or deleted (then it is empty)."""
        if old := _entry(place, before):
            lane = self._lanes[old[0]]
            del lane[bisect_left(lane, old[1])]
        if new := _entry(place, item):
            insort(self._lanes.setdefault(new[0], []), new[1])
        while self._changes and now - self._changes[0][0] > LONGEST_LAG:
            self._changes.popleft()
        self._changes.append((now, place, before))

    def places(self, *lanes: str) -> list[Place]:
        """What stands in some lanes."""
        return [place for lane in lanes for _, place in self._lanes.get(lane, ())]

    def query(self, lane: str, start: Entry | None, now: float, lag: float) -> Iterator[tuple[Entry, Item | None]]:
        """The entries of a lane after `start`, as they were `lag` seconds ago; with what an item was then, if it has
        changed since."""
        entries = self._lanes.get(lane, [])
        late = takewhile(lambda change: now - change[0] < lag, reversed(self._changes))
        behind = {place: before for _, place, before in late}
        begin = bisect_left(entries, start) if start else 0
        there = ((entries[number], None) for number in range(begin, len(entries)))
        unchanged = (found for found in there if found[0][1] not in behind)
        old = [
            (found[1], item) for place, item in behind.items() if (found := _entry(place, item)) and found[0] == lane
        ]
        both = merge(unchanged, sorted(old, key=itemgetter(0)), key=itemgetter(0))
        return (found for found in both if start is None or found[0] > start)


def _entry(place: Place, item: Item) -> tuple[str, Entry] | None:
    if "due_lane" not in item:
        return None
    return item["due_lane"]["S"], (Decimal(item["due_at"]["N"]), place)
