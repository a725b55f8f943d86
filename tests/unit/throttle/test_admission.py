"""Admission: the rate is never exceeded, and nobody overtakes."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kontext.throttle.admission import HORIZON_SECONDS, Admit, State, Wait, admit, admit_head, grant, join, see_line
from kontext.throttle.circuit_breaker import Breaker, Stop
from kontext.throttle.rate_limiter import PATIENCE_SECONDS, Rate, Slots

NOW = 1_000_000.0
MINUTE = 60.0
PRO = Rate(50)
FULL = Slots(next_free=NOW + 30)
STOPPED = State(breaker=Breaker(reason="no_credits", since=NOW))

GAPS = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.3, 1.0, 6.0, 30.0, 200.0]) | st.floats(0, 100), max_size=120)
DROP, PERMIT, SWEEP = range(3)


def sent(arrivals: list[float], rate: Rate, late: float = 0.0) -> list[float]:
    """When each render is sent, with a permit that comes `late` by so many seconds, and a sweep each minute."""
    state, times, in_line = State(), [], 0
    waiting = [(at, DROP) for at in sorted(arrivals)]
    heapq.heapify(waiting)
    while waiting:
        now, what = heapq.heappop(waiting)
        permits: tuple[float, ...] = ()
        at: float | None = None
        if what == DROP:
            state, verdict = admit(state, rate, now)
            if isinstance(verdict, Admit):
                times.append(verdict.at)
                continue
            in_line, permits, at = in_line + 1, verdict.permits, verdict.slot
            heapq.heappush(waiting, (now + MINUTE, SWEEP))
        elif what == PERMIT and in_line:
            state, at = admit_head(state, rate, now)
        elif what == SWEEP:
            state, permits = see_line(state, rate, now, in_line)
            if in_line:
                heapq.heappush(waiting, (now + MINUTE, SWEEP))
        if at is not None:
            times.append(at)
            in_line -= 1
        for permit in permits:
            heapq.heappush(waiting, (permit + late, PERMIT))
    return sorted(times)


def most_in_a_minute(times: list[float]) -> int:
    return max((sum(start <= at < start + MINUTE for at in times) for start in times), default=0)


@settings(max_examples=300)
@given(GAPS, st.sampled_from([1, 2, 5, 50, 1200]), st.sampled_from([0.0, 0.9, 20.0]))
@example([0.0, 6.0] + [0.0] * 100, 50, 0.0)
@example([0.0] * 6, 1, 0.0)
def test_no_minute_ever_sees_more_requests_than_the_account_may_send(
    gaps: list[float], per_minute: int, late: float
) -> None:
    arrivals = [NOW + sum(gaps[: n + 1]) for n in range(len(gaps))]

    times = sent(arrivals, Rate(per_minute), late)

    assert len(times) == len(arrivals)
    assert most_in_a_minute(times) <= per_minute


def test_a_thousand_drops_at_once_go_as_fast_as_the_account_allows() -> None:
    times = sent([NOW] * 1000, PRO)

    assert times[:5] == [NOW] * 5
    assert times[-1] - times[0] == pytest.approx(1000 / 50 * 61, rel=0.01)


def test_permits_that_are_late_cost_no_more_than_their_lateness() -> None:
    times = sent([NOW] * 500, PRO, late=4.0)

    assert times[-1] - times[0] == pytest.approx(500 / 50 * 61, rel=0.02)


def test_a_single_drop_goes_at_once() -> None:
    assert admit(State(), PRO, NOW)[1] == Admit(NOW)


def test_a_near_slot_is_waited_for_and_a_far_one_means_to_stand_in_line() -> None:
    state = State(slots=Slots(next_free=NOW + PATIENCE_SECONDS))

    _, near = admit(state, PRO, NOW)
    joined, far = admit(state, PRO, NOW - 1)

    assert near == Admit(NOW + PATIENCE_SECONDS)
    assert far == Wait("pace", permits=(NOW + PATIENCE_SECONDS,))
    assert joined.joined_at == NOW - 1


def test_nobody_overtakes_those_who_wait() -> None:
    state = State(slots=Slots(next_free=NOW + 1), joined_at=NOW - 30)

    _, verdict = admit(state, PRO, NOW)

    assert isinstance(verdict, Wait)


def test_a_slot_for_which_permits_come_too_late_goes_to_the_head_of_the_line_by_whoever_is_there() -> None:
    state = State(slots=Slots(next_free=NOW - 1), joined_at=NOW - 30)

    after, verdict = admit(state, PRO, NOW)

    assert verdict == Wait("pace", slot=NOW)
    assert after.slots.next_free == NOW + PRO.interval


def test_a_permit_takes_the_next_slot_if_one_is_near() -> None:
    _, near = admit_head(State(slots=Slots(next_free=NOW + PATIENCE_SECONDS)), PRO, NOW)
    kept, far = admit_head(State(slots=FULL), PRO, NOW)

    assert (near, far) == (NOW + PATIENCE_SECONDS, None)
    assert kept.slots == FULL


@pytest.mark.parametrize(
    ("state", "at", "trial"),
    [
        pytest.param(STOPPED, None, NOW, id="the circuit breaker is open"),
        pytest.param(State(paused=Stop("paused", NOW)), None, None, id="a person has paused"),
    ],
)
def test_while_all_are_stopped_only_a_trial_goes_and_none_past_a_person(
    state: State, at: float | None, trial: float | None
) -> None:
    assert admit_head(state, PRO, NOW)[1] == at
    assert admit_head(state, PRO, NOW, trial=True)[1] == trial
    assert isinstance(admit(state, PRO, NOW)[1], Wait)


def test_permits_are_handed_out_an_interval_apart_for_the_next_minutes_only() -> None:
    state, permits = grant(State(slots=FULL), PRO, NOW, 1000)

    assert permits[:2] == (FULL.next_free, FULL.next_free + PRO.interval)
    assert NOW + HORIZON_SECONDS - PRO.interval < permits[-1] <= NOW + HORIZON_SECONDS
    assert grant(state, PRO, NOW, 1000)[1] == ()


def test_no_more_permits_are_handed_out_than_renders_wait() -> None:
    state, first = see_line(State(), PRO, NOW, 3)

    assert len(first) == 3
    assert see_line(state, PRO, NOW, 3)[1] == ()
    assert len(see_line(state, PRO, NOW, 5)[1]) == 2


def test_when_the_rate_is_changed_the_permits_for_the_old_one_count_no_more() -> None:
    slow, _ = see_line(State(), Rate(5), NOW, 100)

    _, permits = see_line(slow, PRO, NOW + 1, 100)

    assert len(permits) == 100


def test_a_line_is_only_believed_to_be_empty_when_nobody_has_just_joined_it() -> None:
    joined, _ = join(State(slots=FULL), PRO, NOW)

    assert see_line(joined, PRO, NOW + 1, 0)[0].joined_at == NOW
    assert see_line(joined, PRO, NOW + 60, 0)[0].joined_at == 0.0
    assert see_line(State(), PRO, NOW, 1)[0].joined_at == NOW
