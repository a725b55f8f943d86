"""A slot of the rate limiter: who waits for it goes only if nobody has been stopped meanwhile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kontext.pipeline.slot import LATEST_SECONDS, Slot
from kontext.throttle.admission import State
from kontext.throttle.circuit_breaker import Breaker, Stop
from tests.unit.strikes import StandingClock

NOW = StandingClock().now()
REFUSED = State(breaker=Breaker(reason="bad_key", since=NOW))
PAUSED = State(paused=Stop(reason="paused", since=NOW))


def slot(at: float, state: State) -> tuple[Slot, StandingClock]:
    """A slot, and the clock by which it is waited for; `state`: how the throttle stands then."""
    clock = StandingClock()
    deps: Any = SimpleNamespace(clock=clock, throttle=SimpleNamespace(read=lambda: state))
    return Slot(deps, at), clock


@pytest.mark.parametrize(("state", "goes"), [(State(), True), (REFUSED, False), (PAUSED, False)])
def test_who_has_waited_for_a_slot_goes_unless_all_were_stopped_meanwhile(state: State, *, goes: bool) -> None:
    waited_for, clock = slot(NOW + 3.0, state)

    assert waited_for.reach() is goes
    assert clock.time == NOW + 3.0


def test_a_slot_that_is_there_is_taken_at_once() -> None:
    taken, clock = slot(NOW - 1.0, REFUSED)  # it was just given, and nobody was stopped then

    assert taken.reach()
    assert clock.time == NOW


def test_a_slot_is_over_when_a_request_would_come_too_late() -> None:
    there, over = slot(NOW - LATEST_SECONDS, State())[0], slot(NOW - LATEST_SECONDS - 0.1, State())[0]

    assert (there.has_passed(), over.has_passed()) == (False, True)
