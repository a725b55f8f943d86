"""The state that all submitters share: one writes it, every other sees it, whatever edition wrote it."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from kontext.dynamodb import Table
from kontext.throttle import admission
from kontext.throttle.admission import HORIZON_SECONDS, Admit, State, Wait
from kontext.throttle.circuit_breaker import Breaker, Stop
from kontext.throttle.rate_limiter import Rate, Slots
from kontext.throttle.shared_state import state_in
from kontext.throttle.throttle import Throttle

NOW = 1_000_000.0
PRO = Rate(50)


def test_all_submitters_share_one_schedule(table: Table) -> None:
    here, there = Throttle(table, PRO), Throttle(table, PRO)

    verdicts = [submitter.admit(NOW) for submitter in (here, there) * 10]

    slots = [verdict.at for verdict in verdicts if isinstance(verdict, Admit)]
    permits = [at for verdict in verdicts if isinstance(verdict, Wait) for at in verdict.permits]
    assert slots == [NOW] * 5
    assert len(permits) == len(set(permits)) == 15


def test_two_sweeps_never_hand_out_the_same_minutes(table: Table) -> None:
    here, there = Throttle(table, PRO), Throttle(table, PRO)

    first, second = here.see_line(NOW, 1000), there.see_line(NOW, 1000)

    assert (len(first), second) == (1 + int(HORIZON_SECONDS / PRO.interval), ())


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
    state = {**asdict(State(slots=Slots(next_free=NOW + 30))), "new": 1, "breaker": {"reason": "outage", "new": 2}}
    table.update(Throttle.KEY, "SET #version = :one, #state = :state", one=1, state=state)

    assert state_in(table) == State(slots=Slots(next_free=NOW + 30), breaker=Breaker(reason="outage"))


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
