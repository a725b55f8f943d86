"""The line: who stands where in it, who is first, and why."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from kontext.drops.pairs import Pair, Ready
from kontext.due import LINE, SET_DUE, TIMER
from kontext.dynamodb import Table
from kontext.renders.claims import Claims
from kontext.renders.record import render_key
from kontext.renders.submissions import Submissions
from kontext.throttle.admission import State
from kontext.throttle.circuit_breaker import Breaker, Stop
from kontext.throttle.line import Line, hand_out_permits, why_parked
from kontext.throttle.rate_limiter import Rate, Slots
from kontext.throttle.throttle import Throttle

NOW = 1_767_322_800.0
RATE = Rate(50)
INTERVAL = RATE.interval


@pytest.fixture
def line(table: Table) -> Line:
    return Line(table, INTERVAL)


def test_what_a_folder_drops_at_once_stands_an_interval_apart_and_others_stand_between(line: Line) -> None:
    places = [line.place(prefix, NOW) for prefix in ("a/1/", "a/2/", "a/3_", "b/1/", "a/4/", "b/2/")]

    steps = [0, 1, 2, 0, 3, 1]
    assert places == pytest.approx([NOW + step * INTERVAL for step in steps])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param("a/b/1/", "a/c/2/", True, id="the first folder counts"),
        pytest.param("1_", "2_", True, id="no folder is one, too"),
        pytest.param("a/1/", "a_", False, id="a folder, and none"),
        pytest.param("/1/", "/2/", True, id="a folder without a name"),
    ],
)
def test_a_folder_is_the_first_of_a_key(line: Line, one: str, other: str, same: bool) -> None:
    places = [line.place(prefix, NOW) for prefix in (one, other)]

    assert (places[1] > places[0]) is same


@pytest.mark.parametrize(
    ("later", "behind"),
    [
        pytest.param(0.5 * INTERVAL, INTERVAL, id="within the interval"),
        pytest.param(INTERVAL, INTERVAL, id="an interval later"),
        pytest.param(3600.0, 3600.0, id="much later: no place is saved up"),
    ],
)
def test_who_drops_more_seldom_than_the_rate_stands_where_it_comes(line: Line, later: float, behind: float) -> None:
    line.place("a/1/", NOW)

    assert line.place("a/2/", NOW + later) == pytest.approx(NOW + behind)


def test_nobody_stands_before_one_of_its_folder_that_came_before(line: Line) -> None:
    places = [line.place(f"a/{number}/", NOW + number * 0.3 * INTERVAL) for number in range(12)]

    assert places == sorted(places)
    assert all(later - sooner > 0.99 * INTERVAL for sooner, later in pairwise(places))


def test_two_who_join_at_once_never_share_a_place(line: Line, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    update, raced = table.update, list[float]()

    def slow(*write: Any, **values: Any) -> Any:
        if not raced:  # another one joins between the two writes of the first
            raced.append(NOW)
            raced.append(line.place("a/2/", NOW))
        return update(*write, **values)

    monkeypatch.setattr(table, "update", slow)

    assert line.place("a/1/", NOW) == pytest.approx(NOW + INTERVAL)
    assert raced[1] == NOW


def test_a_folder_that_nobody_uses_any_more_is_forgotten(line: Line, table: Table) -> None:
    line.place("a/1/", NOW)
    line.place("a/2/", NOW + 0.1)

    item = table.get({"pk": "folder#a", "sk": "line"}) or {}
    assert NOW + 86_400 < item["expires_at"] < NOW + 30 * 86_400


def wait(table: Table, name: str, at: float, lane: str = LINE) -> dict[str, str]:
    key = render_key(f"{name}/", name)
    table.update(key, f"SET {SET_DUE}", due_lane=lane, due_at=at)
    return key


def test_the_heads_come_in_the_order_of_their_places_also_those_that_lie_ahead(line: Line, table: Table) -> None:
    wait(table, "not-in-line", NOW - 99, TIMER)
    keys = {at: wait(table, f"p{at}", NOW + at) for at in (3, -7, 60, 0, *range(100, 112))}

    assert list(line.heads()) == [keys[at] for at in sorted(keys)]
    assert line.length() == len(keys)


def test_the_age_of_the_line_is_that_of_its_first_place(line: Line, table: Table) -> None:
    nobody = line.age(NOW)
    wait(table, "ahead", NOW + 60)
    ahead = line.age(NOW)
    wait(table, "first", NOW - 90)
    wait(table, "second", NOW - 30)

    assert (nobody, ahead, line.age(NOW)) == (0.0, 0.0, 90.0)


def test_a_sweep_hands_out_the_permits_that_those_who_wait_lack_and_no_other_one_the_same(
    line: Line, table: Table
) -> None:
    sent: list[float] = []
    hints: Any = SimpleNamespace(send_permits=lambda times, now: sent.extend(times))
    for number in range(3):
        wait(table, f"p{number}", NOW - number)

    waiting = [hand_out_permits(line, Throttle(table, RATE), hints, NOW) for _ in range(2)]
    wait(table, "one-more", NOW)
    waiting.append(hand_out_permits(line, Throttle(table, RATE), hints, NOW))

    assert waiting == [3, 3, 4]
    assert sent == pytest.approx([NOW + step * INTERVAL for step in range(4)])


def test_while_nobody_goes_no_permit_is_handed_out_and_with_nobody_in_line_the_state_is_not_written(
    line: Line, table: Table
) -> None:
    sent: list[float] = []
    hints: Any = SimpleNamespace(send_permits=lambda times, now: sent.extend(times))
    nobody = hand_out_permits(line, Throttle(table, RATE), hints, NOW)
    untouched = table.get(Throttle.KEY)
    Throttle(table, RATE).pause(NOW)
    wait(table, "a", NOW)

    paused = hand_out_permits(line, Throttle(table, RATE), hints, NOW)

    assert (nobody, paused, sent, untouched) == (0, 1, [], None)


OPEN = Breaker("no_credits", since=NOW - 900, next_trial_at=NOW + 120)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        pytest.param(State(), {"reason": "pace", "since": NOW}, id="for a slot"),
        pytest.param(State(slots=Slots(next_free=NOW + 60)), {"reason": "pace", "since": NOW}, id="for the reset"),
        pytest.param(
            State(breaker=OPEN), {"reason": "no_credits", "since": NOW, "until": NOW + 120}, id="for the account"
        ),
        pytest.param(State(paused=Stop("paused", NOW - 60)), {"reason": "paused", "since": NOW}, id="for a person"),
        pytest.param(
            State(paused=Stop("paused", NOW - 60), breaker=OPEN), {"reason": "paused", "since": NOW}, id="for both"
        ),
    ],
)
def test_the_record_says_why_a_render_waits_by_what_stops_the_line_now(
    submissions: Submissions,
    pair: Callable[..., Pair],
    complete: Callable[..., Ready],
    state: State,
    why: dict[str, Any],
) -> None:
    claimed = Claims(submissions.renders).claim(pair(), complete(pair()), NOW)
    assert claimed is not None
    render = submissions.join_line(claimed, NOW + 5, "outage", NOW)

    assert why_parked(render, state) == why


def test_a_render_that_is_tried_later_waits_for_a_time_of_its_own(
    submissions: Submissions, pair: Callable[..., Pair], complete: Callable[..., Ready]
) -> None:
    claimed = Claims(submissions.renders).claim(pair(), complete(pair()), NOW)
    assert claimed is not None
    submitting = submissions.mark_submitting(claimed, NOW)

    render = submissions.retry_later(submitting, NOW + 60, "outage", NOW, {"status": 500})

    parked = [why_parked(one, State(breaker=OPEN)) for one in (claimed, submitting, render)]
    assert parked == [None, None, {"reason": "outage", "until": NOW + 60}]
