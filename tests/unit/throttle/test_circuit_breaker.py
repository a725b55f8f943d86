"""The circuit breaker: what stops all is tried ever more rarely, and told once."""

from __future__ import annotations

import pytest

from kontext.dynamodb import Table
from kontext.model import Reason
from kontext.throttle import circuit_breaker
from kontext.throttle.circuit_breaker import Breaker, open_breaker
from kontext.throttle.rate_limiter import Rate
from kontext.throttle.shared_state import state_in
from kontext.throttle.throttle import Throttle

NOW = 1_000_000.0
PRO = Rate(50)


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
