"""The stack's newest pairs, as the page asks for them.

However many browsers look, and however large the table is, a second costs the same few requests: the lanes of the index
say which pairs are the newest, and what has come to rest is not read again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from operator import attrgetter
from typing import Any

from kontext.clock import day
from kontext.drops import keys
from kontext.due import LINE, TIMER, WAITING
from kontext.dynamodb import Item, Table
from kontext.model import Status
from kontext.renders.ledger import ledger_key
from kontext.text import escape_line
from kontext.throttle.admission import State
from kontext.throttle.shared_state import state_of
from kontext.throttle.throttle import Throttle
from kontext_cli.errors import explain
from kontext_cli.read.newest import LANES, MOST, Newest, loose_objects
from kontext_cli.target import Target
from kontext_cli.web import views
from kontext_cli.web.views import View

LOOK_SECONDS = 1.0
COUNT_SECONDS = 10.0
EXPECTED_SECONDS = 60.0
PAGE_MOST = 2_000

GROUPS_OF = {
    TIMER: "running",
    LINE: "parked",
    WAITING: "waiting",
    Status.DELIVERED: "delivered",
    Status.FAILED: "failed",
    Status.UNCERTAIN: "uncertain",
}
"""The group that most of a lane belong to."""
LANES_OF = {
    "": LANES,
    "running": (TIMER,),
    "parked": (LINE, TIMER),
    "waiting": (WAITING, TIMER),
    "delivered": (Status.DELIVERED, TIMER),
    "failed": (Status.FAILED, WAITING, TIMER),
    "uncertain": (Status.UNCERTAIN, TIMER),
}
"""In which lanes the pairs of a group stand: what has ended, and is not told yet, is in lane `timer`."""


class Gallery:
    """The pairs of one stack. Any thread may ask. `clock`: seconds that only go forward."""

    def __init__(self, target: Target, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._table = Table(target.client("dynamodb"), target.output("RendersTable"))
        self._newest = Newest(self._table, self._view)
        self._lock = threading.Lock()
        self._stack: dict[str, Item] = {}
        self._credits: tuple[float, float | None] = (0.0, None)
        self._expected: dict[str, tuple[float, View]] = {}
        self._pages: dict[tuple[str, str, int], tuple[float, dict[str, Any]]] = {}
        self._counts: dict[str, tuple[float, Counter[str]]] = {}

    def page(self, group: str, start: str, limit: int) -> dict[str, Any]:
        """The newest pairs of a group (any, if empty) whose prefix begins with `start`, and counts of all groups. If
        they cannot be read: the last ones, with the `problem`."""
        asked = (group, start, min(limit, PAGE_MOST))
        with self._lock:
            at, page = self._pages.get(
                asked, (-LOOK_SECONDS, {"pairs": [], "counts": {}, "is_whole": True, "loose": []})
            )
            if self.clock() - at >= LOOK_SECONDS:
                try:
                    page = self._read(*asked) | {"problem": None}
                except Exception as error:  # noqa: BLE001  the page says it, and the next look may work
                    page = page | {"problem": explain(error) or f"{type(error).__name__}: {error}"}
                self._pages = {asked: (self.clock(), page)}
        return page | {"now": time.time(), "today": self._today(), "stop": self._stop(), "most": MOST}

    def expect(self, pair: View) -> None:
        """Show a pair that the table will know of shortly."""
        with self._lock:
            self._expected[pair.prefix] = (self.clock(), pair)
            self._pages = {}

    def _read(self, group: str, start: str, limit: int) -> dict[str, Any]:
        places = (ledger_key(day(time.time())), Throttle.KEY)
        self._stack = {item["sk"]: item for item in self._table.get_many(places)}
        lanes = LANES_OF.get(group, LANES)
        listing = self._newest.listing(limit, lambda pair: group in ("", pair.group), lanes, start)
        known = {pair.prefix: pair for pair in listing.pairs}
        for prefix, pair in self._still_expected(known).items():
            if prefix.startswith(start) and group in ("", pair.group):
                known[prefix] = pair
        newest = sorted(known.values(), key=attrgetter("since", "prefix"), reverse=True)
        loose = loose_objects(self._table, start)
        return {
            "pairs": [asdict(pair) for pair in newest],
            "counts": self._counted(start),
            "is_whole": listing.is_whole,
            "loose": [{"key": escape_line(one.key), "why": keys.rule_missed(one.key)} for one in loose],
        }

    def _still_expected(self, known: dict[str, View]) -> dict[str, View]:
        """What was dropped by the page and is not in the table yet."""
        self._expected = {
            prefix: (at, pair)
            for prefix, (at, pair) in self._expected.items()
            if self.clock() - at < EXPECTED_SECONDS and prefix not in known
        }
        return {prefix: pair for prefix, (_, pair) in self._expected.items()}

    def _counted(self, start: str) -> dict[str, int]:
        at, counts = self._counts.get(start, (-COUNT_SECONDS, Counter[str]()))
        if self.clock() - at >= COUNT_SECONDS:
            at, counts = self.clock(), self._newest.counts(start)
        self._counts = {start: (at, counts)}
        return {GROUPS_OF[lane]: count for lane, count in counts.items()}

    def _view(self, items: list[Item]) -> View | None:
        for item in items:
            left = item.get("metrics", {}).get("remaining_credits")
            if left is not None and item.get("completed_at", 0.0) > self._credits[0]:
                self._credits = (item["completed_at"], left)
        return views.view(items, self._state())

    def _today(self) -> dict[str, Any]:
        ledger = self._stack.get(ledger_key(day(time.time()))["sk"], {})
        cost = {name: ledger.get(name, 0) for name in ("submitted", "completed", "cost")}
        return cost | {"credits": self._credits[1]}

    def _stop(self) -> dict[str, Any] | None:
        """Why nothing is submitted just now, None while all go."""
        stop = self._state().stopped
        return views.notice_of({"parked": {"reason": stop.reason, "since": stop.since}}) if stop else None

    def _state(self) -> State:
        return state_of(self._stack.get(Throttle.KEY["sk"], {}), self._table.name)
