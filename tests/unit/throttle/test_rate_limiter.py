"""The rate limiter: what a 429 says is kept to, and requests that come late move the slots that are left."""

from __future__ import annotations

import pytest

from kontext.dynamodb import Table
from kontext.errors import RateLimited
from kontext.throttle import rate_limiter
from kontext.throttle.rate_limiter import UNKNOWN_RESET_SECONDS, Rate, Slots
from kontext.throttle.throttle import Throttle

NOW = 1_000_000.0
PRO = Rate(50)


@pytest.mark.parametrize(
    ("reset", "until"),
    [
        pytest.param(NOW + 30, NOW + 30, id="told"),
        pytest.param(None, NOW + UNKNOWN_RESET_SECONDS, id="not told"),
        pytest.param(NOW - 5, NOW + UNKNOWN_RESET_SECONDS, id="past"),
        pytest.param(NOW + 1e6, NOW + UNKNOWN_RESET_SECONDS, id="absurd"),
    ],
)
def test_after_a_429_nothing_goes_before_the_reset(reset: float | None, until: float) -> None:
    slots = rate_limiter.back_off(Slots(burst=4, next_free=NOW + 3), reset, NOW)

    _, at = rate_limiter.take_slot(slots, PRO, NOW)

    assert at == until


@pytest.mark.parametrize(
    ("reset", "answered", "seen"),
    [
        pytest.param(NOW + 30, NOW - 1, NOW + 30, id="the same clock, in whole seconds"),
        pytest.param(NOW + 150, NOW + 120, NOW + 30, id="two minutes ahead"),
        pytest.param(NOW - 90, NOW - 120, NOW + 30, id="two minutes behind"),
        pytest.param(NOW + 30, None, NOW + 30, id="no date"),
        pytest.param(NOW + 30, 0.0, NOW + 30, id="a date of 1970"),
        pytest.param(NOW + 30, NOW + 1e6, NOW + 30, id="a date long after the reset"),
        pytest.param(None, NOW + 120, None, id="no reset"),
    ],
)
def test_a_reset_is_read_by_the_clock_of_whoever_states_it(
    reset: float | None, answered: float | None, seen: float | None
) -> None:
    assert rate_limiter.reset_by_our_clock(RateLimited("slow", reset, answered), NOW) == seen


def test_a_reset_never_pulls_the_schedule_forward() -> None:
    assert rate_limiter.back_off(Slots(next_free=NOW + 100), NOW + 10, NOW) == Slots(next_free=NOW + 100)


def moved_by(throttle: Throttle, slot: float, sent_at: float, answered_at: float) -> float:
    """By how much a request that was taken moves the slots that are left."""
    before = throttle.read().slots.next_free
    throttle.make_up_for(slot, sent_at, answered_at)
    return throttle.read().slots.next_free - before


def test_a_request_that_comes_late_to_segmind_moves_the_slots_that_are_left(table: Table) -> None:
    throttle = Throttle(table, PRO)
    throttle.admit(NOW)

    assert moved_by(throttle, NOW, NOW + 0.5, NOW + 0.7) == 0.0
    assert moved_by(throttle, NOW, NOW + 0.5, NOW + 2.2) == pytest.approx(2.2 - 0.24 - 1.0)


def test_the_first_request_of_a_submitter_may_come_late_itself(table: Table) -> None:
    throttle = Throttle(table, PRO)
    throttle.admit(NOW)

    assert moved_by(throttle, NOW, NOW, NOW + 3.0) == pytest.approx(3.0 - 1.2 - 1.0)


def test_however_late_requests_come_each_costs_one_slot(table: Table) -> None:
    throttle = Throttle(table, Rate(1000))
    throttle.admit(NOW)
    throttle.make_up_for(NOW, NOW, NOW + 0.4)

    moved = [moved_by(throttle, NOW + n * 0.061, NOW + n * 0.061, NOW + 8.0) for n in range(5)]

    assert moved == pytest.approx([Rate(1000).interval] * 5)


@pytest.mark.parametrize("step", [300.0, -300.0])
def test_a_clock_that_is_put_right_during_a_request_stops_nobody(table: Table, step: float) -> None:
    throttle = Throttle(table, PRO)
    throttle.admit(NOW)

    moved = [moved_by(throttle, NOW, NOW, NOW + 0.4 + step)]
    moved += [moved_by(throttle, at, at, at + 0.4) for at in (NOW + step + n for n in range(60))]

    assert sum(moved) <= PRO.interval


def test_a_way_to_segmind_that_has_become_longer_slows_nobody_down_for_long(table: Table) -> None:
    throttle = Throttle(table, PRO)
    throttle.admit(NOW)
    throttle.make_up_for(NOW, NOW, NOW + 0.4)

    moved = [moved_by(throttle, NOW, NOW, NOW + 2.0) for _ in range(30)]

    assert moved[0] == pytest.approx(2.0 - 0.48 - 1.0)
    assert sum(moved) < 3.0
    assert moved[-1] == 0.0
