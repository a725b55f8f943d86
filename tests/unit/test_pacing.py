"""Pace: the account's rate is never exceeded, and a refused account is asked ever more rarely."""

from __future__ import annotations

import heapq
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kontext import pacing
from kontext.pacing import (
    PATIENCE_SECONDS,
    RECHECK_SECONDS,
    UNKNOWN_RESET_SECONDS,
    Go,
    Hold,
    Pace,
    Pacing,
    Rate,
    accept,
    admit,
    gate_reopens,
    push,
    refuse,
)
from kontext.table import Table

NOW = 1_000_000.0
MINUTE = 60.0
PRO = Rate(50)

GAPS = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.3, 1.0, 6.0, 30.0, 200.0]) | st.floats(0, 100), max_size=120)


def sent(arrivals: list[float], rate: Rate, late: float = 0.0) -> list[float]:
    """When each render is sent; one that has to wait comes back `late` seconds after its turn."""
    pace, times = Pace(), []
    waiting = [(at, False) for at in sorted(arrivals)]
    heapq.heapify(waiting)
    while waiting:
        now, in_line = heapq.heappop(waiting)
        pace, verdict = admit(pace, rate, now, in_line=in_line)
        if isinstance(verdict, Go):
            times.append(verdict.at)
        else:
            heapq.heappush(waiting, (verdict.until + late, True))
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


def test_a_single_drop_goes_at_once() -> None:
    _, verdict = admit(Pace(), PRO, NOW, in_line=False)

    assert verdict == Go(NOW)


def test_turns_that_come_back_bunched_are_sent_an_interval_apart() -> None:
    times = sent([NOW] * 60, PRO, late=30.0)

    after_the_burst = times[5:]
    assert min(later - sooner for sooner, later in pairwise(after_the_burst)) >= PRO.interval - 1e-6


def test_a_near_slot_is_waited_for_and_a_far_one_gets_a_turn_in_the_line() -> None:
    pace = Pace(next_free=NOW + PATIENCE_SECONDS, line_end=NOW)

    _, near = admit(pace, PRO, NOW, in_line=False)
    _, far = admit(pace, PRO, NOW - 1, in_line=True)

    assert near == Go(NOW + PATIENCE_SECONDS)
    assert far == Hold("pace", NOW + PATIENCE_SECONDS)


def test_a_slot_that_those_who_wait_are_too_late_for_goes_to_whoever_is_there() -> None:
    pace = Pace(next_free=NOW - 100, line_end=NOW + 30)

    after, verdict = admit(pace, PRO, NOW, in_line=False)

    assert verdict == Go(NOW)
    assert after.line_end == NOW + 30


def test_nobody_overtakes_those_who_wait() -> None:
    pace = Pace(next_free=NOW + 1, line_end=NOW + 30)

    after, verdict = admit(pace, PRO, NOW, in_line=False)

    assert verdict == Hold("pace", NOW + 30)
    assert after.line_end == NOW + 30 + PRO.interval


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
    pace = push(Pace(burst=4, next_free=NOW + 3), reset, NOW)

    _, verdict = admit(pace, PRO, NOW, in_line=False)

    assert verdict == Hold("pace", until)


def test_a_reset_never_pulls_the_schedule_forward() -> None:
    assert push(Pace(next_free=NOW + 100, line_end=NOW + 200), NOW + 10, NOW) == Pace(
        next_free=NOW + 100, line_end=NOW + 200
    )


def test_at_a_closed_gate_one_probe_goes_and_the_others_wait_for_its_answer() -> None:
    closed = refuse(Pace(), "no_credits", NOW)
    at = closed.probe_at

    probing, probe = admit(closed, PRO, at, in_line=True)
    _, other = admit(probing, PRO, at + 0.1, in_line=True)

    assert isinstance(probe, Go)
    assert probe.probe
    assert isinstance(other, Hold)
    assert (other.reason, other.until < at + 10) == ("no_credits", True)


def test_the_longer_an_account_is_refused_the_rarer_it_is_asked() -> None:
    pace, now, probes = refuse(Pace(), "bad_key", NOW), NOW, []
    while now < NOW + 12 * 3600:
        now = pace.probe_at
        probes.append(now)
        pace = refuse(admit(pace, PRO, now, in_line=True)[0], "bad_key", now)

    gaps = [later - sooner for sooner, later in pairwise(probes)]

    assert gaps == sorted(gaps)
    assert (gaps[0], gaps[-1]) == RECHECK_SECONDS
    assert pace.refused_since == NOW


def test_one_success_opens_the_gate() -> None:
    closed = refuse(Pace(next_free=NOW + 9), "outage", NOW)

    opened = accept(closed, NOW + 7)

    assert admit(opened, PRO, NOW + 7, in_line=True)[1] == Go(NOW + 9)
    assert (opened.refused, opened.ended, opened.ended_since, opened.opened_at) == (None, "outage", NOW, NOW + 7)


def test_a_paused_stack_stays_closed_whatever_is_answered() -> None:
    paused = pacing.pause(Pace(), NOW)

    _, verdict = admit(refuse(paused, "outage", NOW), PRO, NOW + 1e6, in_line=True)

    assert isinstance(verdict, Hold)
    assert verdict.reason == "paused"
    assert accept(paused, NOW + 9).refused is None


@pytest.mark.parametrize(
    ("moves", "told"),
    [
        pytest.param([], None, id="never closed"),
        pytest.param(["bad_key"], "gate.1000000000.bad_key.parked", id="closed"),
        pytest.param(["bad_key", "bad_key"], "gate.1000000000.bad_key.parked", id="refused again"),
        pytest.param(["bad_key", "no_credits"], "gate.1000000000.no_credits.parked", id="for another reason"),
        pytest.param(["bad_key", None], "gate.1000000000.bad_key.resumed", id="opened"),
        pytest.param(["bad_key", None, None], "gate.1000000000.bad_key.resumed", id="opened twice"),
        pytest.param(["bad_key", None, "outage"], "gate.1000002000.outage.parked", id="closed once more"),
    ],
)
def test_each_change_of_the_gate_is_to_be_told_once(table: Table, moves: list[str | None], told: str | None) -> None:
    gate = Pacing(table, PRO)
    for second, reason in enumerate(moves):
        gate.refuse(reason, NOW + second) if reason else gate.accept(NOW + second)

    change = gate.untold()

    assert (change and change.id) == told
    if change:
        gate.told(change)
    assert gate.untold() is None
    assert Pacing(table, PRO).look().told == told


def test_who_waits_at_a_gate_never_waits_for_longer_than_between_two_probes() -> None:
    assert gate_reopens(pacing.pause(Pace(), NOW), NOW + 50) == NOW + 50 + RECHECK_SECONDS[1]


def test_all_submitters_share_one_schedule(table: Table) -> None:
    here, there = Pacing(table, PRO), Pacing(table, PRO)

    verdicts = [submitter.admit(NOW, in_line=False) for submitter in (here, there) * 10]

    turns = [verdict.until for verdict in verdicts if isinstance(verdict, Hold)]
    slots = [verdict.at for verdict in verdicts if isinstance(verdict, Go)]
    assert slots[:5] == [NOW] * 5
    assert len(set(slots[5:])) == len(slots[5:])
    assert len(set(turns)) == len(turns) > 0


def test_a_closed_gate_is_seen_by_every_submitter(table: Table) -> None:
    here, there = Pacing(table, PRO), Pacing(table, PRO)
    there.admit(NOW, in_line=False)

    here.refuse("no_credits", NOW)
    seen = there.admit(NOW, in_line=False)
    here.accept(NOW + 1)
    reopened = there.admit(NOW + 1, in_line=False)

    assert isinstance(seen, Hold)
    assert seen.reason == "no_credits"
    assert reopened == Go(NOW + 1)


def test_a_429_is_seen_by_every_submitter(table: Table) -> None:
    here, there = Pacing(table, PRO), Pacing(table, PRO)
    there.admit(NOW, in_line=False)

    here.push(NOW + 40, NOW)

    assert there.admit(NOW, in_line=False) == Hold("pace", NOW + 40)


def test_a_state_that_a_later_version_wrote_can_be_read(table: Table) -> None:
    table.update(Pacing.KEY, "SET #version = :one, #pace = :pace", one=1, pace={"next_free": NOW + 9, "new": "x"})

    assert Pacing(table, PRO).look() == Pace(next_free=NOW + 9)


def test_a_probe_waits_for_its_slot_as_everybody_does() -> None:
    closed = refuse(push(Pace(), NOW + 60, NOW), "outage", NOW)

    waiting, verdict = admit(closed, PRO, closed.probe_at, in_line=True)
    _, probe = admit(waiting, PRO, NOW + 60, in_line=True)

    assert verdict == Hold("outage", NOW + 60)
    assert probe == Go(NOW + 60, probe=True)
