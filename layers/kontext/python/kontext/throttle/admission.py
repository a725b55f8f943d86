"""Who goes now, and the permits for those who wait: pure functions on the shared `State` of a stack.

A fresh drop takes a slot while nobody waits; everybody else stands in line. A *permit* is a message, delayed to a slot,
that lets the head of the line go, whoever that is then. Permits are handed out for the next minutes only, by those who
join the line and by Sweep: one that is lost costs its slot and nothing else.
"""

import math
from dataclasses import dataclass, field, replace

from kontext.model import Reason
from kontext.throttle.circuit_breaker import Breaker, Change, Stop, unannounced_change
from kontext.throttle.rate_limiter import PATIENCE_SECONDS, Rate, Slots, take_slot

HORIZON_SECONDS = 150.0
"""Permits are handed out for so long: two sweeps may lie two minutes apart."""
MOST_PERMITS = 1000
"""So many are sent at once: half of the time that Sweep has."""
_INDEX_LAG_SECONDS = 5.0
"""So long after somebody joined, the line is not believed to be empty: the index may be behind."""


@dataclass(frozen=True)
class State:
    """All times in unix seconds. `joined_at`: when somebody joined the line, 0 if nobody stands in it. Permits are out
    until `permits_until`, one for every `interval` seconds. `table`: in which table it was written."""

    slots: Slots = field(default_factory=Slots)
    breaker: Breaker = field(default_factory=Breaker)
    paused: Stop = field(default_factory=Stop)
    joined_at: float = 0.0
    permits_until: float = 0.0
    interval: float = 0.0
    table: str = ""

    @property
    def stopped(self) -> Stop | None:
        """Why nobody goes; a person's pause before all else."""
        return next((stop for stop in (self.paused, self.breaker) if stop.reason), None)

    @property
    def why_stopped(self) -> Reason | None:
        """For which reason nobody goes."""
        return self.stopped.reason if self.stopped else None

    @property
    def unannounced(self) -> list[Change]:
        """The changes that subscribers have not been told of."""
        return [change for stop in (self.paused, self.breaker) if (change := unannounced_change(stop))]


@dataclass(frozen=True)
class Admit:
    """Send the request at `at`."""

    at: float


@dataclass(frozen=True)
class Wait:
    """Stand in line for `reason`: `pace`, or why nobody goes. `permits`: when to let the head of the line go; `slot`:
    one that is free at this moment, for the head as well."""

    reason: Reason
    permits: tuple[float, ...] = ()
    slot: float | None = None


def admit(state: State, rate: Rate, now: float) -> tuple[State, Admit | Wait]:
    """A fresh drop: it goes ahead only while nobody waits. While others do, it lets the head of the line go if a slot
    is free: in a burst of drops, the permits come late."""
    if state.stopped:
        return join(state, rate, now)
    slots, at = take_slot(state.slots, rate, now)
    if not state.joined_at and at - now <= PATIENCE_SECONDS:
        return replace(state, slots=slots), Admit(at)
    if at <= now:
        return replace(joined(state, now), slots=slots), Wait("pace", slot=at)
    return join(state, rate, now)


def join(state: State, rate: Rate, now: float) -> tuple[State, Wait]:
    """Somebody joins the line."""
    state = joined(state, now)
    if reason := state.why_stopped:
        return state, Wait(reason)
    state, permits = grant(state, rate, now, 1)
    return state, Wait("pace", permits)


def joined(state: State, now: float) -> State:
    return replace(state, joined_at=now) if now - state.joined_at > 1.0 else state


def admit_head(state: State, rate: Rate, now: float, *, trial: bool = False) -> tuple[State, float | None]:
    """A permit has come: take a slot for the head of the line; None if nobody goes, or no slot is near. A `trial` goes
    though the circuit breaker is open."""
    if state.paused.reason or (state.breaker.reason and not trial):
        return state, None
    slots, at = take_slot(state.slots, rate, now)
    return (replace(state, slots=slots), at) if at - now <= PATIENCE_SECONDS else (state, None)


def grant(state: State, rate: Rate, now: float, count: int) -> tuple[State, tuple[float, ...]]:
    """Hand out permits for `count` who wait, as far as the slots of the next minutes go; those for another rate count
    no more."""
    handed_out = state.permits_until if state.interval == rate.interval else 0.0
    first = max(now, state.slots.next_free, handed_out + rate.interval)
    room = math.floor((now + HORIZON_SECONDS - first) / rate.interval) + 1
    permits = tuple(first + number * rate.interval for number in range(min(count, room, MOST_PERMITS)))
    if not permits:
        return state, ()
    return replace(state, permits_until=permits[-1], interval=rate.interval), permits


def see_line(state: State, rate: Rate, now: float, waiting: int) -> tuple[State, tuple[float, ...]]:
    """So many wait, as the index has it: hand out the permits that they lack."""
    if not waiting:
        empty = now - state.joined_at > _INDEX_LAG_SECONDS
        return (replace(state, joined_at=0.0) if empty else state), ()
    state = state if state.joined_at else replace(state, joined_at=now)
    if state.stopped:
        return state, ()
    on_their_way = max(0, math.floor((state.permits_until - now) / rate.interval + 1.001))
    return grant(state, rate, now, waiting - (on_their_way if state.interval == rate.interval else 0))
