"""What the Renders table knows, read for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from itertools import islice
from operator import itemgetter
from typing import Any

from kontext.drops import keys, pairs
from kontext.due import LINE, TELL_SECONDS, TIMER, UNKNOWN, WAITING
from kontext.dynamodb import Table
from kontext.errors import BadDrop
from kontext.model import Parameters, RenderInput, Status
from kontext.renders.record import render_key, render_of
from kontext.throttle.admission import State
from kontext.throttle.circuit_breaker import PAUSED
from kontext.throttle.line import why_parked
from kontext.throttle.shared_state import state_in
from kontext_cli.read.newest import LANES, MOST, RESTING, Between, Listing, LooseObject, Newest, loose_objects
from kontext_cli.target import Target

SEPARATORS = ("", "/", "_", "-")
# The stack's own defaults cannot be seen from here: what a pair lacks is judged as if there were none.
NO_DEFAULTS = pairs.Defaults(parameters={}, prompt="")


@dataclass(frozen=True)
class Render:
    """One render as it stands on the record; times are aware UTC datetimes."""

    prefix: str
    render_id: str
    status: str
    attempt: int = 1
    parameters: Parameters = field(default_factory=Parameters)
    inputs: list[RenderInput] = field(default_factory=list)
    request_id: str | None = None
    parked: dict[str, Any] | None = None
    place: int | None = None
    """The place in line, 1 is next, of a render that waits for its turn."""
    error: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    cost: float | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Pair:
    """A pair with its renders, the one that speaks for it first.

    `status` is that render's, or `WAITING` for a part that is missing, or `REJECTED` where a part is wrong. An object
    that fits no rule is shown like a pair, too: its `prefix` is its key, its `status` is `UNKNOWN`.
    """

    prefix: str
    status: str
    detail: str
    since: datetime | None
    renders: list[Render]


@dataclass(frozen=True)
class Filter:
    """Which pairs to show: those of a status, in any case (`parked` counts as one), and those that ended on a UTC day,
    or were dropped on it and have not ended."""

    status: str | None = None
    day: date | None = None

    def fits(self, pair: Pair) -> bool:
        """Whether a pair is one of them."""
        known = {pair.status, "PARKED"} if is_parked(pair) else {pair.status}
        moments = (pair.since, *(render.updated_at for render in pair.renders[:1]))
        return (self.status is None or self.status.upper() in known) and (
            self.day is None or self.day in [at.date() for at in moments if at]
        )

    @property
    def lanes(self) -> Sequence[str]:
        """Where they stand."""
        status = (self.status or "").upper()
        if not status:
            return LANES
        lanes = {
            "REJECTED": (WAITING, TIMER),
            UNKNOWN: (),
            WAITING: (WAITING, TIMER),
            Status.CLAIMED: (TIMER, LINE),
            "PARKED": (TIMER, LINE),
        }
        return lanes.get(status, (TIMER, status) if status in RESTING else (TIMER,))

    @property
    def between(self) -> Between | None:
        """When those at rest may have come to rest: on the day, and within the minute in which their end is told."""
        if self.day is None:
            return None
        begins = datetime.combine(self.day, time.min, UTC).timestamp()
        return begins, begins + 86_400 + TELL_SECONDS


class Records:
    """The Renders table of one stack."""

    def __init__(self, target: Target) -> None:
        self._table = Table(target.client("dynamodb"), target.output("RendersTable"))
        self._state = State()
        self._newest = Newest(self._table, lambda items: _pair(items, self._state))

    def pair(self, prefix: str) -> Pair | None:
        """The pair under exactly this prefix, None where nothing has been seen of it."""
        pair = _pair(self._table.query(f"pair#{prefix}"), State())
        if pair and any(render.status == Status.CLAIMED for render in pair.renders):
            (pair,) = self._placed([_pair(self._table.query(f"pair#{prefix}"), state_in(self._table)) or pair])
        return pair

    def newest(self, start: str, limit: int, wanted: Filter | None = None) -> Listing[Pair]:
        """The newest pairs whose prefix begins with `start`, at most `limit`; where `start` names a pair, its last
        separator left out or not, that one alone. It costs the same however many pairs there are."""
        wanted = wanted or Filter()
        if start:
            exact = (self.pair(start + separator) for separator in SEPARATORS)
            if found := next((pair for pair in exact if pair), None):
                return Listing([found] if wanted.fits(found) else [], True)
        self._state = state_in(self._table)
        listing = self._newest.listing(limit, wanted.fits, wanted.lanes, start, wanted.between)
        loose = [pair for pair in map(_loose, loose_objects(self._table, start)) if wanted.fits(pair)]
        shown = [*self._placed(listing.pairs), *loose]
        newest = sorted(shown, key=lambda pair: pair.since or datetime.now(UTC), reverse=True)
        return Listing(newest[:limit], listing.is_whole and len(newest) <= limit)

    def counts(self, start: str = "") -> Counter[str]:
        """How many renders there are in each lane of the index, `newest.MOST` where there are more, and how many
        objects that fit no rule."""
        return self._newest.counts(start) + Counter({UNKNOWN: len(loose_objects(self._table, start))})

    def ledger(self) -> list[dict[str, Any]]:
        """The money of each UTC day, newest first: counts of renders, and USD `reserved` and `cost`."""
        days = [item for item in self._table.query("stack") if item["sk"].startswith("ledger#")]
        names = ("submitted", "not_charged", "completed", "reserved", "cost")
        return [
            {"day": item["sk"].partition("#")[2], **{name: item.get(name, 0) for name in names}}
            for item in sorted(days, key=itemgetter("sk"), reverse=True)
        ]

    def _placed(self, shown: list[Pair]) -> list[Pair]:
        """The pairs, each render that waits for a slot with its place in line, if that is one of the first `MOST`."""
        if not any(_waits_for_a_slot(render) for pair in shown for render in pair.renders):
            return shown
        interval = state_in(self._table).interval
        line = islice(self._table.query_due(LINE, page_size=MOST), MOST)
        places = {item["sk"]: place for place, item in enumerate(line, 1)}

        def placed(render: Render) -> Render:
            place = places.get(render_key(render.prefix, render.render_id)["sk"])
            if place is None or not _waits_for_a_slot(render):
                return render
            until = {"until": datetime.now(UTC).timestamp() + place * interval} if interval else {}
            return replace(render, place=place, parked={**(render.parked or {}), **until})

        return [_of([placed(render) for render in pair.renders]) if pair.renders else pair for pair in shown]


def _pair(group: Iterable[dict[str, Any]], state: State) -> Pair | None:
    items = [item for item in group if item["pk"].startswith("pair#")]
    dropped = pairs.pair_of(next((item for item in items if item["sk"] == "pair"), {}))
    renders = [_render(item, state) for item in items if item["sk"].startswith("render#")]
    if not renders:
        return _waiting(dropped) if dropped.parts else None
    newest = sorted(renders, key=lambda render: str(render.created_at), reverse=True)
    return _of(sorted(newest, key=lambda render: render.render_id != dropped.current))


def _loose(found: LooseObject) -> Pair:
    return Pair(found.key, UNKNOWN, f"fits no rule: {keys.rule_missed(found.key)}", moment(found.at), [])


def _of(renders: list[Render]) -> Pair:
    current = renders[0]
    return Pair(current.prefix, current.status, detail(current), current.created_at, renders)


def is_parked(pair: Pair) -> bool:
    """Whether a pair waits for its turn, for the account or for a person."""
    return pair.status == Status.CLAIMED and bool(pair.renders and pair.renders[0].parked)


def _waits_for_a_slot(render: Render) -> bool:
    return (render.parked or {}).get("reason") == "pace"


def _waiting(pair: pairs.Pair) -> Pair:
    """A pair that has no render: what it waits for, or what is wrong with it."""
    since = moment(max(part["at"] for part in pair.parts.values()))
    try:
        decision = pairs.decide(pair, {}, NO_DEFAULTS, since.timestamp())
    except BadDrop as problem:
        decision = pairs.Rejected(problem.code, str(problem))
    match decision:
        case pairs.Incomplete(missing):
            return Pair(pair.prefix, "WAITING", f"for {', '.join(missing)}", since, [])
        case pairs.Rejected(message=message):
            return Pair(pair.prefix, "REJECTED", message, since, [])
    return Pair(pair.prefix, "WAITING", "to be claimed", since, [])


def _render(item: dict[str, Any], state: State) -> Render:
    item = {**item, "parked": why_parked(render_of(item), state)}
    values = {name: item[name] for name in Render.__dataclass_fields__ if item.get(name) is not None}
    values |= {name: moment(values[name]) for name in ("created_at", "updated_at") if name in values}
    return Render(**values)


def detail(render: Render) -> str:
    """The one thing worth knowing beside the status."""
    if render.parked:
        return parked(render.parked, render.place)
    if render.error:
        return str(render.error.get("message", render.error.get("code", "")))
    return str((render.result or {}).get("key", ""))


def parked(park: dict[str, Any], place: int | None = None) -> str:
    """Why a render waits, and how long."""
    if place:
        at = f", goes at about {moment(park['until']):%H:%M:%S} UTC" if "until" in park else ""
        return f"number {place} in line{at}"
    since = f" since {moment(park['since']):%H:%M:%S} UTC" if "since" in park else ""
    ends = "until `kontext resume`" if park.get("reason") == PAUSED else "goes on by itself"
    return f"parked ({park.get('reason')}){since}, {ends}"


def moment(value: str | float) -> datetime:
    """A time of the record, ISO 8601 text or unix seconds, as an aware datetime in UTC."""
    if isinstance(value, str):
        return datetime.fromisoformat(value.replace("Z", "+00:00")).astimezone(UTC)
    return datetime.fromtimestamp(float(value), UTC)
