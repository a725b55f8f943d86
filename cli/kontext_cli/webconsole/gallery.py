"""The stack's pairs as last read, and the thread that reads them anew while somebody looks.

The table has no order of time, so "the newest" takes reading all of it: in pages, at a pace that keeps the price
on AWS below five cents an hour whatever the table's size. In between, the unfinished pairs that are on the page
are read one by one.
"""

from __future__ import annotations

import heapq
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from decimal import Decimal
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from kontext.clock import day
from kontext.drops.pairs import pair_key
from kontext.dynamodb import Item, Table
from kontext.renders.ledger import ledger_key
from kontext.throttle.admission import State, Throttle, state_of
from kontext_cli.errors import explain
from kontext_cli.target import Target
from kontext_cli.webconsole import views
from kontext_cli.webconsole.views import View

LOOK_SECONDS = 1.0
WATCHED_SECONDS = 15.0
UNITS_PER_SECOND = 50.0
"""Read units; a million cost USD 0.125 to 0.25, so this is two to five cents an hour."""
REST_PER_WORK = 4.0
LOOKS_AT_ONCE = 20
PAIRS_KEPT = 20_000
PAGE_MOST = 2_000

# All that a view is made of, and not the history: it is most of an item.
READ = (
    *("pk", "sk", "prefix", "part_1", "part_2", "part_request", "part_prompt", "current"),
    *("render_id", "status", "attempt", "drop_id", "parameters", "inputs", "created_at", "updated_at"),
    *("submitted_at", "completed_at", "waiting_since", "due_lane", "due_at", "error", "result", "cost", "metrics"),
    *("submitted", "not_charged", "completed", "reserved", "state", "server_errors"),
)


class Gallery:
    """The pairs of one stack. Any thread may ask. `clock`: seconds that only go forward."""

    def __init__(self, target: Target, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._client = target.client("dynamodb")
        self._name = target.output("RendersTable")
        self._table = Table(self._client, self._name)
        self._lock = threading.Lock()
        self._pairs: dict[str, View] = {}
        self._stack: dict[str, Item] = {}
        self._shown: list[str] = []
        self._credits: tuple[float, float | None] = (0.0, None)
        self._asked = self.clock()
        self.is_whole = False
        self.problem: str | None = None

    def page(self, group: str, start: str, limit: int) -> dict[str, Any]:
        """The newest pairs of a group (any, if empty) whose prefix begins with `start`, and counts of all groups."""
        with self._lock:
            self._asked = self.clock()
            pairs = [pair for pair in self._pairs.values() if pair.prefix.startswith(start)]
        chosen = [pair for pair in pairs if group in ("", pair.group)]
        newest = heapq.nlargest(min(limit, PAGE_MOST), chosen, key=attrgetter("since", "prefix"))
        self._shown = [pair.prefix for pair in newest if pair.group not in ("delivered", "failed")]
        return {
            "now": time.time(),
            "pairs": [asdict(pair) for pair in newest],
            "counts": Counter(pair.group for pair in pairs),
            "matching": len(chosen),
            "is_whole": self.is_whole,
            "today": self._today(),
            "gate": self._gate(),
            "problem": self.problem,
        }

    def is_watched(self) -> bool:
        """Whether somebody has asked for a page lately."""
        return self.clock() - self._asked < WATCHED_SECONDS

    def expect(self, pair: View) -> None:
        """Show a pair that the table will know of shortly."""
        with self._lock:
            self._pairs.setdefault(pair.prefix, pair)

    def scan(self) -> float:
        """Read the whole table; returns the read units that it took."""
        units: list[float] = []
        started, seen = time.time(), set()
        for pk, items in groupby(self._items(units), itemgetter("pk")):
            if pk == "stack":
                self._stack = {item["sk"]: item for item in items}
                continue
            if pair := self._put(items):
                seen.add(pair.prefix)
        self._forget(seen, started)
        self.is_whole = True
        return sum(units)

    def look(self) -> None:
        """Read the unfinished pairs of the page anew."""
        for prefix in self._shown[:LOOKS_AT_ONCE]:
            self._put(self._table.query(pair_key(prefix)["pk"]))

    def _items(self, units: list[float]) -> Iterator[Item]:
        names = {f"#{number}": name for number, name in enumerate(READ)}
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._name,
            ProjectionExpression=", ".join(names),
            ExpressionAttributeNames=names,
            ReturnConsumedCapacity="TOTAL",
        )
        for page in pages:
            units.append(page.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0))
            yield from (_plain(item) for item in page["Items"])

    def _put(self, items: Iterable[Item]) -> View | None:
        found = list(items)
        pair = views.view(found, self._state())
        if pair is None:
            return None
        self._note_credits(found)
        with self._lock:
            # A scan is eventually consistent, a look is not: the page must not go back in time.
            known = self._pairs.get(pair.prefix)
            if known is None or known.status == "DROPPED" or pair.updated >= known.updated:
                self._pairs[pair.prefix] = pair
        return pair

    def _note_credits(self, items: Iterable[Item]) -> None:
        for item in items:
            left = item.get("metrics", {}).get("remaining_credits")
            if left is not None and item.get("completed_at", 0.0) > self._credits[0]:
                self._credits = (item["completed_at"], left)

    def _forget(self, seen: set[str], started: float) -> None:
        """Drop what the table does not hold any more, and of very many pairs the oldest."""
        with self._lock:
            kept = [pair for pair in self._pairs.values() if pair.prefix in seen or pair.updated > started - 60]
            newest = heapq.nlargest(PAIRS_KEPT, kept, key=attrgetter("since"))
            self._pairs = {pair.prefix: pair for pair in newest}

    def _today(self) -> dict[str, Any]:
        ledger = self._stack.get(ledger_key(day(time.time()))["sk"], {})
        cost = {name: ledger.get(name, 0) for name in ("submitted", "completed", "cost")}
        return cost | {"credits": self._credits[1]}

    def _gate(self) -> dict[str, Any] | None:
        """Why nothing is submitted just now, None while all go."""
        stop = self._state().stopped
        return views.notice_of({"parked": {"reason": stop.reason, "since": stop.since}}) if stop else None

    def _state(self) -> State:
        return state_of(self._stack.get(Throttle.KEY["sk"], {}), self._table.name)


@contextmanager
def kept_current(gallery: Gallery) -> Iterator[None]:
    """Read the gallery anew for as long as the `with` block lasts, while somebody looks."""
    stop = threading.Event()
    reader = threading.Thread(target=_read, args=[gallery, stop], name="gallery", daemon=True)
    reader.start()
    try:
        yield
    finally:
        stop.set()
        reader.join(LOOK_SECONDS)


def _read(gallery: Gallery, stop: threading.Event) -> None:
    next_scan = 0.0
    while not stop.is_set():
        if gallery.is_watched():
            try:
                next_scan = read_on(gallery, next_scan)
                gallery.problem = None
            except Exception as error:  # noqa: BLE001  the page says it, and the next turn may work
                gallery.problem = explain(error) or f"{type(error).__name__}: {error}"
        stop.wait(LOOK_SECONDS)


def read_on(gallery: Gallery, next_scan: float) -> float:
    """Scan if it is time to, else look at what is unfinished; returns when the next scan may be, by its clock."""
    started = gallery.clock()
    if started < next_scan:
        gallery.look()
        return next_scan
    units = gallery.scan()
    ended = gallery.clock()
    return ended + max(units / UNITS_PER_SECOND, (ended - started) * REST_PER_WORK) - LOOK_SECONDS


def _plain(item: dict[str, Any]) -> Item:
    deserialize = TypeDeserializer().deserialize
    values = {name: deserialize(value) for name, value in item.items()}
    plain: Item = json.loads(json.dumps(values, default=_natural))
    return plain


def _natural(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return sorted(value)
