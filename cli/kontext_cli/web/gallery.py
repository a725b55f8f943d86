"""The stack's newest pairs, as the page asks for them.

However many browsers look, and however large the table is, a second costs the same few requests: the lanes of the index
say which pairs are the newest, and what has come to rest is not read again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from operator import attrgetter
from typing import Any

from kontext.due import LINE, TIMER
from kontext.text import escape_line
from kontext_cli.errors import explain
from kontext_cli.read.newest import MOST
from kontext_cli.read.records import Filter, LedgerDay, Records
from kontext_cli.read.views import PairView, RenderView
from kontext_cli.target import Target
from kontext_cli.web import cards
from kontext_cli.web.cards import Card

LOOK_SECONDS = 1.0
COUNT_SECONDS = 10.0
EXPECTED_SECONDS = 60.0
PAGE_MOST = 2_000
GROUP_OF = {TIMER: "running", LINE: "parked"}
"""The group that most of a lane belong to; what is at rest stands in a lane of its own."""


class Gallery:
    """The pairs of one stack. Any thread may ask. `clock`: seconds that only go forward."""

    def __init__(self, target: Target, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._records = Records(target)
        self._lock = threading.Lock()
        self._today = LedgerDay("")
        self._told_credits: RenderView | None = None
        self._expected: dict[str, tuple[float, Card]] = {}
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
        return page | {"now": time.time(), "today": self._money(), "stop": self._stop(), "most": MOST}

    def expect(self, card: Card) -> None:
        """Show a pair that the table will know of shortly."""
        with self._lock:
            self._expected[card.prefix] = (self.clock(), card)
            self._pages = {}

    def _read(self, group: str, start: str, limit: int) -> dict[str, Any]:
        self._today = self._records.today()
        listing = self._records.listing(start, limit, Filter(group))
        self._see_credits(listing.pairs)
        known = {pair.prefix: cards.card_of(pair) for pair in listing.pairs}
        for prefix, card in self._still_expected(known).items():
            if prefix.startswith(start) and group in ("", card.group):
                known[prefix] = card
        newest = sorted(known.values(), key=attrgetter("since", "prefix"), reverse=True)
        return {
            "pairs": [asdict(card) for card in newest],
            "counts": self._counted(start),
            "is_whole": listing.is_whole,
            "loose": [{"key": escape_line(one.key), "why": one.why} for one in self._records.loose(start)],
        }

    def _still_expected(self, known: dict[str, Card]) -> dict[str, Card]:
        """What was dropped by the page and is not in the table yet."""
        self._expected = {
            prefix: (at, card)
            for prefix, (at, card) in self._expected.items()
            if self.clock() - at < EXPECTED_SECONDS and prefix not in known
        }
        return {prefix: card for prefix, (_, card) in self._expected.items()}

    def _counted(self, start: str) -> dict[str, int]:
        at, counts = self._counts.get(start, (-COUNT_SECONDS, Counter[str]()))
        if self.clock() - at >= COUNT_SECONDS:
            at, counts = self.clock(), self._records.counts(start)
        self._counts = {start: (at, counts)}
        return {GROUP_OF.get(lane, lane.lower()): count for lane, count in counts.items()}

    def _see_credits(self, pairs: Iterable[PairView]) -> None:
        """Remember the render that has told last what the account holds."""
        renders = (render for pair in pairs for render in pair.renders)
        told = [render for render in renders if render.completed_at and "remaining_credits" in render.metrics]
        known = [self._told_credits] if self._told_credits else []
        self._told_credits = max((*known, *told), key=attrgetter("completed_at"), default=None)

    def _money(self) -> dict[str, Any]:
        told = self._told_credits
        left = told.metrics["remaining_credits"] if told else None
        today = self._today
        return {"submitted": today.submitted, "completed": today.completed, "cost": today.cost, "credits": left}

    def _stop(self) -> dict[str, Any] | None:
        """Why nothing is submitted just now, None while all go."""
        stop = self._records.state.stopped
        if stop is None or stop.reason is None:
            return None
        return asdict(cards.parked({"reason": stop.reason, "since": stop.since}, says="Nothing is sent just now"))
