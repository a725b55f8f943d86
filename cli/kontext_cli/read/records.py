"""The Renders table of one stack, read for people."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from itertools import islice

from kontext.clock import day
from kontext.drops.pairs import partition
from kontext.due import LINE, TELL_SECONDS, TIMER, UNKNOWN, WAITING
from kontext.dynamodb import Item, Key, Table
from kontext.model import Status
from kontext.renders.ledger import ledger_key
from kontext.renders.record import render_id_of
from kontext.throttle.admission import State
from kontext.throttle.shared_state import SharedState, state_in, state_of
from kontext_cli.read import newest
from kontext_cli.read.newest import LANES, MOST, RESTING, Between, Listing, LooseObject, Newest
from kontext_cli.read.views import PARKED, REJECTED, PairView, moment, placed, view_of
from kontext_cli.target import Target

SEPARATORS = ("", "/", "_", "-")
LINE_SECONDS = 10.0
"""So long the places in line are shown as they were read: that costs more than all the rest."""


@dataclass(frozen=True)
class Filter:
    """Which pairs to show: those of a status or a group, in any case, and those that ended on a UTC day, or were
    dropped on it and have not ended."""

    status: str = ""
    day: date | None = None

    def fits(self, pair: PairView) -> bool:
        """Whether a pair is one of them."""
        moments = (pair.since, pair.render.updated_at if pair.render else None)
        return self.status.upper() in ("", pair.status, pair.group.upper()) and (
            self.day is None or self.day in [at.date() for at in moments if at]
        )

    @property
    def lanes(self) -> Sequence[str]:
        """Where they stand. What has ended, and is not told yet, is in lane `timer`."""
        status = self.status.upper()
        known = {
            "": LANES,
            UNKNOWN: (),
            REJECTED: (WAITING, TIMER),
            Status.FAILED: (Status.FAILED, WAITING, TIMER),
            Status.CLAIMED: (LINE, TIMER),
            PARKED: (LINE, TIMER),
        }
        return known.get(status, (status, TIMER) if status in RESTING else (TIMER,))

    @property
    def between(self) -> Between | None:
        """When those at rest may have come to rest: on the day, and within the minute in which their end is told."""
        if self.day is None:
            return None
        begins = datetime.combine(self.day, time_of_day.min, UTC).timestamp()
        return begins, begins + 86_400 + TELL_SECONDS


@dataclass(frozen=True)
class LedgerDay:
    """The money of a UTC day: counts of renders, and USD `reserved` and `cost`."""

    day: str
    submitted: int = 0
    not_charged: int = 0
    completed: int = 0
    reserved: float = 0.0
    cost: float = 0.0


class Records:
    """The table, and the state of the stack as it was read last."""

    def __init__(self, target: Target, clock: Callable[[], float] = time.time) -> None:
        self.table = Table(target.client("dynamodb"), target.output("RendersTable"))
        self.state = State()
        self._clock = clock
        self._newest = Newest(self.table, lambda items: view_of(items, self.state))
        self._line: tuple[float, dict[str, int]] = (0.0, {})

    def pair(self, prefix: str) -> PairView | None:
        """The pair under exactly this prefix, None where nothing has been seen of it."""
        items = self.table.query(partition(prefix))
        pair = view_of(items, State())
        if pair is None or all(render.status != Status.CLAIMED for render in pair.renders):
            return pair
        self.state = state_in(self.table)
        return self._placed([view_of(items, self.state) or pair])[0]

    def newest(self, start: str, limit: int, wanted: Filter | None = None) -> Listing:
        """The newest pairs and loose objects whose prefix begins with `start`, at most `limit`; where `start` names a
        pair, its last separator left out or not, that one alone. It costs the same however many pairs there are."""
        wanted = wanted or Filter()
        if start:
            exact = (self.pair(start + separator) for separator in SEPARATORS)
            if found := next((pair for pair in exact if pair), None):
                return Listing([found] if wanted.fits(found) else [], True)
        self.state = state_in(self.table)
        listing = self.listing(start, limit, wanted)
        shown = [*listing.pairs, *filter(wanted.fits, map(_loose, self.loose(start)))]
        shown.sort(key=lambda pair: pair.since or datetime.now(UTC), reverse=True)
        return Listing(shown[:limit], listing.is_whole and len(shown) <= limit)

    def listing(self, start: str, limit: int, wanted: Filter) -> Listing:
        """The newest pairs whose prefix begins with `start`, at most `limit`, as the stack was read last."""
        listing = self._newest.listing(limit, wanted.fits, wanted.lanes, start, wanted.between)
        return Listing(self._placed(listing.pairs), listing.is_whole)

    def loose(self, start: str = "") -> list[LooseObject]:
        """The objects that fit no rule and whose key begins so, the newest first, of the newest `MOST`."""
        return newest.loose_objects(self.table, start)

    def counts(self, start: str = "") -> Counter[str]:
        """How many renders there are in each lane of the index, `MOST` where there are more."""
        return self._newest.counts(start)

    def ledger(self) -> list[LedgerDay]:
        """The money of each UTC day, the newest first."""
        key = ledger_key("")
        items = [item for item in self.table.query(key["pk"]) if item["sk"].startswith(key["sk"])]
        return sorted(map(_ledger_day, items), key=lambda one: one.day, reverse=True)

    def today(self) -> LedgerDay:
        """Read the state of the stack and the money of this UTC day, in one request."""
        today = day(self._clock())
        places = {item["sk"]: item for item in self.table.get_many([ledger_key(today), SharedState.KEY])}
        self.state = state_of(places.get(SharedState.KEY["sk"], {}), self.table.name)
        return _ledger_day(places.get(ledger_key(today)["sk"], ledger_key(today)))

    def _placed(self, shown: list[PairView]) -> list[PairView]:
        """The pairs, each render that waits for a slot with its place in line, if that is one of the first `MOST`."""
        if not any(render.waits_for_a_slot for pair in shown for render in pair.renders):
            return shown
        at, places = self._line
        if self._clock() - at >= LINE_SECONDS:
            line = islice(self.table.query_due(LINE, page_size=MOST), MOST)
            at, places = self._line = self._clock(), {render_id_of(item) or "": n for n, item in enumerate(line, 1)}
        return [placed(pair, places, at, self.state.interval) for pair in shown]


def name_of(key: Key) -> str:
    """What an item of the table is about: a pair by its prefix, an object by its key."""
    return "the circuit breaker" if key == SharedState.KEY else key["pk"].partition("#")[2]


def _loose(found: LooseObject) -> PairView:
    return PairView(found.key, UNKNOWN, moment(found.at), problem=f"fits no rule: {found.why}")


def _ledger_day(item: Item) -> LedgerDay:
    names = ("submitted", "not_charged", "completed", "reserved", "cost")
    return LedgerDay(item["sk"].partition("#")[2], **{name: item.get(name, 0) for name in names})
