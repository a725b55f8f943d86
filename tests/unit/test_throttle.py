"""The throttle: the rate is never exceeded, nobody overtakes, and what stops all is tried ever more rarely."""

from __future__ import annotations

import heapq
from dataclasses import asdict, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kontext.dynamodb import Table
from kontext.errors import RateLimited
from kontext.model import Reason
from kontext.throttle import admission, circuit_breaker, rate_limiter
from kontext.throttle.admission import HORIZON_SECONDS, Admit, State, Wait, admit, admit_head, grant, join, see_line
from kontext.throttle.circuit_breaker import Breaker, Stop, open_breaker
from kontext.throttle.rate_limiter import PATIENCE_SECONDS, UNKNOWN_RESET_SECONDS, Rate, Slots
from kontext.throttle.shared_state import state_in
from kontext.throttle.throttle import Throttle

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


def test_two_sweeps_never_hand_out_the_same_minutes(table: Table) -> None:
    here, there = Throttle(table, PRO), Throttle(table, PRO)

    first, second = here.see_line(NOW, 1000), there.see_line(NOW, 1000)

    assert (len(first), second) == (1 + int(HORIZON_SECONDS / PRO.interval), ())


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


@pytest.mark.parametrize(
    ("reason", "waits"),
    [
        pytest.param("no_credits", [0, 120, 300, 300], id="the free GET tells of it"),
        pytest.param("forbidden", [60, 120, 300, 300], id="only a request can tell"),
        pytest.param("outage", [60, 300, 600, 900, 900], id="each may be paid"),
    ],
)
def test_trials_go_ever_more_rarely(reason: Reason, waits: list[float]) -> None:
    breaker = open_breaker(Breaker(), reason, NOW)
    found = [breaker.next_trial_at - NOW]
    for _ in waits[1:]:
        breaker = open_breaker(breaker, reason, NOW, trial=True)
        found.append(breaker.next_trial_at - NOW)

    assert found == waits


def test_refusals_of_requests_that_were_on_their_way_do_not_put_the_next_trial_off() -> None:
    opened = open_breaker(Breaker(), "outage", NOW)

    refused_too = open_breaker(opened, "outage", NOW + 20)

    assert refused_too == opened


def test_a_pause_and_a_refusal_hold_each_on_its_own(table: Table) -> None:
    throttle = Throttle(table, PRO)
    throttle.pause(NOW)
    throttle.open_breaker("outage", NOW + 1)

    after_the_trial = throttle.close_breaker(NOW + 2)
    throttle.open_breaker("bad_key", NOW + 3)
    after_the_resume = throttle.resume(NOW + 4)

    assert (after_the_trial.breaker.reason, after_the_trial.paused.reason) == (None, "paused")
    assert (after_the_resume.breaker.reason, after_the_resume.paused.reason) == ("bad_key", None)
    assert after_the_resume.breaker.next_trial_at == NOW + 4


def test_an_open_breaker_is_probed_by_one_at_a_time(table: Table) -> None:
    here, there = Throttle(table, PRO), Throttle(table, PRO)
    here.open_breaker("outage", NOW)

    assert [here.begin_probe(NOW), there.begin_probe(NOW + 1)] == [True, False]
    assert there.begin_probe(NOW + 60)


def test_an_open_breaker_is_due_for_a_sweep_and_a_closed_one_is_not(table: Table) -> None:
    throttle = Throttle(table, PRO)

    throttle.open_breaker("outage", NOW)
    opened = table.get(Throttle.KEY) or {}
    throttle.close_breaker(NOW + 60)
    for change in throttle.unannounced():
        throttle.mark_announced(change)

    assert (opened["due_lane"], opened["due_at"]) == ("timer", NOW)
    assert "due_lane" not in (table.get(Throttle.KEY) or {})


@pytest.mark.parametrize(
    ("moves", "told"),
    [
        pytest.param([], None, id="never open"),
        pytest.param(["bad_key"], "gate.1000000000.bad_key.parked", id="open"),
        pytest.param(["bad_key", "bad_key"], "gate.1000000000.bad_key.parked", id="refused again"),
        pytest.param(["bad_key", "no_credits"], "gate.1000000000.no_credits.parked", id="for another reason"),
        pytest.param(["bad_key", None], "gate.1000000000.bad_key.resumed", id="closed"),
        pytest.param(["bad_key", None, None], "gate.1000000000.bad_key.resumed", id="closed twice"),
        pytest.param(["bad_key", None, "outage"], "gate.1000002000.outage.parked", id="open once more"),
        pytest.param(["paused"], "gate.1000000000.paused.parked", id="paused"),
    ],
)
def test_each_change_is_to_be_told_once(table: Table, moves: list[Reason | None], told: str | None) -> None:
    throttle = Throttle(table, PRO)
    for second, reason in enumerate(moves):
        if reason == circuit_breaker.PAUSED:
            throttle.pause(NOW + second)
        elif reason:
            throttle.open_breaker(reason, NOW + second)
        else:
            throttle.close_breaker(NOW + second)

    changes = throttle.unannounced()

    assert [change.id for change in changes] == ([told] if told else [])
    for change in changes:
        throttle.mark_announced(change)
    assert throttle.unannounced() == []
    assert state_in(table).unannounced == []


def test_all_submitters_share_one_schedule(table: Table) -> None:
    here, there = Throttle(table, PRO), Throttle(table, PRO)

    verdicts = [submitter.admit(NOW) for submitter in (here, there) * 10]

    slots = [verdict.at for verdict in verdicts if isinstance(verdict, Admit)]
    permits = [at for verdict in verdicts if isinstance(verdict, Wait) for at in verdict.permits]
    assert slots == [NOW] * 5
    assert len(permits) == len(set(permits)) == 15


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


def test_what_stops_all_is_seen_by_every_submitter(table: Table) -> None:
    here, there = Throttle(table, PRO), Throttle(table, PRO)
    there.admit(NOW)

    here.open_breaker("no_credits", NOW)
    seen = there.admit(NOW)
    here.close_breaker(NOW + 10)
    here.see_line(NOW + 10, 0)
    gone_on = there.admit(NOW + 10)

    assert seen == Wait("no_credits")
    assert gone_on == Admit(NOW + 10)


def test_a_429_is_seen_by_every_submitter(table: Table) -> None:
    here, there = Throttle(table, PRO), Throttle(table, PRO)
    there.admit(NOW)

    here.back_off(NOW + 40, NOW)

    assert there.admit(NOW) == Wait("pace", permits=(NOW + 40,))


def test_a_state_that_a_later_version_wrote_can_be_read(table: Table) -> None:
    state = {**asdict(State(slots=FULL)), "new": 1, "breaker": {"reason": "outage", "new": 2}}
    table.update(Throttle.KEY, "SET #version = :one, #state = :state", one=1, state=state)

    assert state_in(table) == State(slots=FULL, breaker=Breaker(reason="outage"))


@pytest.mark.parametrize(
    ("pace", "state"),
    [
        pytest.param({"next_free": NOW + 9}, State(slots=Slots(next_free=NOW + 9)), id="its rate is kept to"),
        pytest.param(
            {"refused": "paused", "refused_since": NOW, "told": "gate.1000000000.paused.parked"},
            State(paused=Stop("paused", NOW, announced="gate.1000000000.paused.parked")),
            id="what a person paused stays paused, and is not told again",
        ),
        pytest.param({"refused": "outage", "refused_since": NOW}, State(), id="the next request finds an outage"),
    ],
)
def test_what_the_first_edition_wrote_is_understood(table: Table, pace: dict[str, object], state: State) -> None:
    table.update({"pk": "stack", "sk": "pace"}, "SET #version = :one, #pace = :pace", one=1, pace=pace)

    assert state_in(table) == state
    assert Throttle(table, PRO).pause(NOW + 5).slots == state.slots


def test_the_state_is_understood_as_it_is_written(table: Table) -> None:
    throttle = Throttle(table, PRO)
    throttle.admit(NOW)
    throttle.open_breaker("outage", NOW)
    throttle.join(NOW + 1)
    written = throttle.close_breaker(NOW + 2)

    assert state_in(table) == written
    assert replace(written, joined_at=0.0) != written
    assert admission.join(written, PRO, NOW + 3)[1].reason == "pace"
