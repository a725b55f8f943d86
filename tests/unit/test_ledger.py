"""The money of a day: reserved before a request, given back where nothing was charged, booked once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kontext.clock import day
from kontext.dynamodb import Table
from kontext.errors import problem
from kontext.model import ErrorCode, Render, Status
from kontext.renders import settle
from kontext.renders.claims import Claims
from kontext.renders.ledger import OverLimit, ledger_key
from kontext.renders.submissions import Submissions
from tests.existing import existing
from tests.unit.life import FAILED, METRICS, NOW, SERVER_ERROR, Life, MakePair, MakeReady

COSTS = [(0.04, 0.04), (0.2, 0.2), (0.21, 0.05), (30.0, 0.05), (0.0, 0.05), (None, 0.05)]


@pytest.mark.parametrize("end", ["a picture", "none"])
def test_a_job_that_is_done_and_names_no_picture_is_paid_once_however_it_ends(
    life: Life, ledger: Callable[[], dict[str, Any]], end: str
) -> None:
    render = life.jobs.mark_unlinked(life.queued(), "no picture", METRICS, NOW + 20)

    if end == "a picture":
        render = life.jobs.mark_completed(render, "https://images/a.png", METRICS, NOW + 30)
    else:
        render = life.renders.mark_failed(render, problem("no_result", "none"), NOW + 30)

    assert [one["what"] for one in render["history"][3:]] == [
        "unlinked",
        "completed" if end == "a picture" else "failed",
    ]
    assert (render["cost"], "answer" in render) == (0.04, end == "none")
    assert ledger() == {"submitted": 1, "completed": 1, "cost": 0.04, "reserved": 0.05}


def test_the_price_is_reserved_before_the_request_is_sent(life: Life, ledger: Callable[[], dict[str, Any]]) -> None:
    life.submitting()

    assert ledger() == {"submitted": 1, "reserved": 0.05}


@pytest.mark.parametrize("end", ["in_line", "failed"])
def test_what_was_not_charged_is_given_back(life: Life, ledger: Callable[[], dict[str, Any]], end: str) -> None:
    if end == "in_line":
        life.submissions.join_line(life.submitting(), NOW, "rate_limited", NOW)
    else:
        life.at(end)

    assert ledger() == {"submitted": 1, "reserved": 0, "not_charged": 1}


def test_what_fails_again_when_it_is_looked_at_again_is_given_back_once(
    life: Life, ledger: Callable[[], dict[str, Any]]
) -> None:
    again = life.renders.new_attempt(life.at("failed"), Status.QUEUED, 1, NOW)

    life.renders.mark_failed(again, problem("render_failed", "again"), NOW)

    assert ledger() == {"submitted": 1, "reserved": 0, "not_charged": 1}


def test_what_had_failed_and_is_paid_after_all_is_booked_as_paid(
    life: Life, ledger: Callable[[], dict[str, Any]]
) -> None:
    again = life.renders.new_attempt(life.at("failed"), Status.QUEUED, 1, NOW)

    life.jobs.mark_completed(again, "https://images.segmind.com/a.png", {"cost": 0.05}, NOW)

    assert ledger()["not_charged"] == 0
    assert (ledger()["reserved"], ledger()["completed"], ledger()["cost"]) == (0.05, 1, 0.05)


def test_what_a_server_error_may_hide_stays_reserved(life: Life, ledger: Callable[[], dict[str, Any]]) -> None:
    life.tried_later()

    assert ledger() == {"submitted": 1, "reserved": 0.05}


def test_who_joins_the_line_without_having_been_sent_is_given_nothing_back(
    life: Life, ledger: Callable[[], dict[str, Any]]
) -> None:
    waits = life.in_line()
    life.submissions.join_line(waits, waits["line_at"], "paused", NOW + 1)

    assert ledger() == {}


@pytest.mark.parametrize("code", ["expired", "delivery"])
def test_what_may_have_been_charged_is_not_given_back(
    life: Life, ledger: Callable[[], dict[str, Any]], code: ErrorCode
) -> None:
    life.renders.mark_failed(life.queued(), problem(code, "x"), NOW)

    assert ledger() == {"submitted": 1, "reserved": 0.05}


@pytest.mark.parametrize(("stated", "counted"), [(0.0, 0.05), (0.04, 0.05), (0.05, 0.05), (0.08, 0.08)])
def test_the_days_limit_counts_the_price_or_more_if_more_is_stated(
    life: Life, ledger: Callable[[], dict[str, Any]], stated: float, counted: float
) -> None:
    life.jobs.mark_completed(life.queued(), "https://images/a.png", {"cost": stated}, NOW)

    assert ledger()["reserved"] == pytest.approx(counted)


def test_nothing_is_given_back_that_was_not_reserved(life: Life, ledger: Callable[[], dict[str, Any]]) -> None:
    life.renders.mark_failed(life.claimed(), problem("superseded", "x"), NOW)

    assert ledger() == {}


def test_the_days_limit_holds_to_the_cent(submissions: Submissions, pair: MakePair, complete: MakeReady) -> None:
    renders = submissions.renders

    def submitting(number: int) -> Render:
        dropped = pair(f"p{number}/")
        claimed = Claims(renders).claim(dropped, complete(dropped), NOW)
        assert claimed is not None
        return submissions.mark_submitting(claimed, NOW)

    room = []
    for number in range(20):  # of 0.05 USD each: 1 USD
        room.append(submissions.has_room(NOW))
        submitting(number)

    assert room == [True] * 20
    assert not submissions.has_room(NOW)
    with pytest.raises(OverLimit):
        submitting(20)
    assert existing(renders.get("p20/", complete(pair("p20/")).render_id("p20/")))["status"] == "CLAIMED"


def test_tomorrow_there_is_room_again(life: Life, table: Table) -> None:
    table.update(ledger_key(day(NOW)), "SET #reserved = :all", all=1.0)
    claimed = life.claimed()
    room = [life.submissions.has_room(at) for at in (NOW, NOW + 86_400)]

    render = life.submissions.mark_submitting(claimed, NOW + 86_400)

    assert room == [False, True]
    assert render["day"] == day(NOW + 86_400)


@pytest.mark.parametrize("limit", [0.0, 0.04])
def test_a_limit_below_the_price_stops_everything(life: Life, limit: float) -> None:
    life.submissions.daily_limit = limit
    claimed = life.claimed()

    with pytest.raises(OverLimit):
        life.submissions.mark_submitting(claimed, NOW)
    assert not life.submissions.has_room(NOW)


def test_a_price_that_segmind_does_not_tell_is_the_configured_one(
    life: Life, ledger: Callable[[], dict[str, Any]]
) -> None:
    render = life.jobs.mark_completed(life.queued(), "https://images/a.png", {}, NOW)

    assert render["cost"] == 0.05
    assert ledger() == {"submitted": 1, "completed": 1, "cost": 0.05, "reserved": 0.05}


def test_what_was_reserved_is_given_back_though_the_price_has_changed(life: Life) -> None:
    submitting = life.submitting()
    life.renders.price = 1.0

    life.submissions.join_line(submitting, NOW, "no_credits", NOW)

    assert (life.renders.table.get(ledger_key(day(NOW))) or {})["reserved"] == 0


def _refused_after_a_server_error(life: Life) -> Render:
    """The first request's price stays reserved: its answer may hide a job. The second was surely free."""
    waiting = life.submissions.join_line(life.submitting(), NOW, "outage", NOW + 1, SERVER_ERROR)
    again = life.submissions.mark_submitting(waiting, NOW + 60)
    return life.renders.mark_failed(again, problem("refused", "no"), NOW + 61)


def test_the_picture_of_a_request_that_a_server_error_hid_is_counted_once(
    life: Life, ledger: Callable[[], dict[str, Any]]
) -> None:
    refused = _refused_after_a_server_error(life)

    settle.with_picture(life.renders, refused, "https://images/a.png", NOW + 90)

    assert ledger() == {"submitted": 2, "not_charged": 1, "completed": 1, "cost": 0.05, "reserved": 0.05}


def test_the_picture_of_a_job_that_expired_before_a_request_that_was_refused_is_counted_once(
    life: Life, pair: MakePair, complete: MakeReady, ledger: Callable[[], dict[str, Any]]
) -> None:
    life.renders.mark_failed(life.queued(), problem("expired", "gone"), NOW + 3600)
    again = pair(drop=2)
    claimed = existing(Claims(life.renders).claim(again, complete(again), NOW + 3700))
    sent = life.submissions.mark_submitting(claimed, NOW + 3701)
    refused = life.renders.mark_failed(sent, problem("refused", "no"), NOW + 3702)

    settle.with_picture(life.renders, refused, "https://images/a.png", NOW + 3800)

    assert ledger() == {"submitted": 2, "not_charged": 1, "completed": 1, "cost": 0.05, "reserved": 0.05}


def test_a_job_of_the_day_before_that_fails_gives_nothing_back_of_what_others_have_reserved_since(
    life: Life, ledger: Callable[[], dict[str, Any]]
) -> None:
    midnight = NOW - NOW % 86_400 + 86_400
    sent = life.submissions.mark_submitting(life.claimed(), midnight - 10)
    uncertain = life.submissions.mark_uncertain(sent, "the answer was lost", midnight + 125)
    waits = life.renders.new_attempt(uncertain, Status.CLAIMED, 1, midnight + 200, line_at=midnight)
    again = life.submissions.mark_submitting(waits, midnight + 201)
    refused = life.renders.mark_failed(again, problem("refused", "no"), midnight + 202)

    found = settle.with_job(life.renders, refused, "r-1", midnight + 300)
    life.renders.mark_failed(found, FAILED, midnight + 301)

    assert (life.renders.table.get(ledger_key(day(midnight))) or {})["reserved"] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("ends", "left"),
    [
        pytest.param("completed", {"not_charged": 1, "completed": 1, "cost": 0.05, "reserved": 0.05}, id="is done"),
        pytest.param("failed", {"not_charged": 2, "reserved": 0.0}, id="has failed"),
    ],
)
def test_a_job_that_a_server_error_hid_is_counted_once_where_it(
    life: Life, ledger: Callable[[], dict[str, Any]], ends: str, left: dict[str, Any]
) -> None:
    found = settle.with_job(life.renders, _refused_after_a_server_error(life), "r-1", NOW + 90)

    if ends == "completed":
        life.jobs.mark_completed(found, "https://images/a.png", {"cost": 0.05}, NOW + 91)
    else:
        life.renders.mark_failed(found, FAILED, NOW + 91)

    assert ledger() == {"submitted": 2} | {name: pytest.approx(value) for name, value in left.items()}


def test_a_picture_after_all_is_counted_beside_what_a_server_error_before_it_may_hide(
    life: Life, ledger: Callable[[], dict[str, Any]]
) -> None:
    waiting = life.submissions.join_line(life.submitting(), NOW, "outage", NOW + 1, SERVER_ERROR)
    accepted = life.submissions.mark_accepted(life.submissions.mark_submitting(waiting, NOW + 60), "r-2", NOW + 61)
    failed = life.renders.mark_failed(accepted, FAILED, NOW + 80)

    settle.with_picture(life.renders, failed, "https://images/a.png", NOW + 90)

    assert ledger()["reserved"] == pytest.approx(0.10)


@pytest.mark.parametrize(("stated", "booked"), COSTS)
def test_a_cost_that_cannot_be_is_noted_and_booked_at_the_price(
    life: Life, stated: float | None, booked: float
) -> None:
    job: Any = {} if stated is None else {"cost": stated}

    render = life.jobs.mark_completed(life.queued(), "https://x/1.png", job, NOW)

    noted = render["history"][-1]
    strange = None if booked == stated else "strange_cost"
    assert (render["cost"], noted["cost"], noted.get("reason")) == (booked, booked, strange)
    assert noted.get("stated") == (stated if strange else None)
