"""What becomes of a request that Segmind fails at, or answers with another pair's job."""

from __future__ import annotations

import pytest

from kontext.due import TIMER
from kontext.pipeline.requeue import ASIDE_SECONDS, MOST_FAILURES
from kontext.throttle.admission import State
from tests.unit.pipeline import REQUEST_ID
from tests.unit.strikes import BEGINNING
from tests.unit.submitting.conftest import OTHER, Play, due, later, state, table, told


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_error_that_names_a_job_which_segmind_knows_is_no_error(world: Play, status: int) -> None:
    named = world(taken_with=status).play()

    assert (named.render["status"], len(named.network.posts)) == ("DELIVERED", 1)
    assert state(named).breaker == State().breaker


def test_a_server_error_that_names_what_segmind_does_not_know_is_one(world: Play) -> None:
    traced = world(refusals=(502,), trace={"request_id": "00000000-0000-4000-8000-000000000000"}).play()

    assert (traced.render["status"], len(traced.network.posts)) == ("DELIVERED", 1)
    assert state(traced).breaker.ended == "outage"


def test_an_answer_that_names_the_job_of_another_pair_is_lost_and_no_picture_is_delivered_twice(world: Play) -> None:
    cached = world()
    table(cached).update({"pk": f"job#{REQUEST_ID}", "sk": "job"}, "SET #render_id = :other", other="another")

    cached.play()

    assert (cached.render["status"], cached.render["error"]["charged"]) == ("UNCERTAIN", "unknown")
    assert cached.render["error"]["message"] == f"Segmind's answer names the job of another pair, {REQUEST_ID}"
    assert not cached.states.executions


def test_a_job_is_as_old_as_its_request_however_late_the_answer_comes(world: Play) -> None:
    slow = world(slow=20.0).play()

    (execution,) = slow.states.executions.values()
    (sent,) = slow.network.posts
    assert (slow.render["submitted_at"], execution.given["submitted_at"]) == (sent, sent)
    assert execution.began == sent + 20.0


def test_a_server_error_about_one_render_holds_nobody_else_up(world: Play) -> None:
    unlucky = world(refusals=(500,)).receive()
    unlucky.drop(OTHER)
    unlucky.receive()
    render = unlucky.render

    assert (render["status"], render["due_lane"], render["due_at"]) == ("CLAIMED", TIMER, BEGINNING + 20)
    assert unlucky.render_of(OTHER)["status"] == "QUEUED"
    assert unlucky.play().render["status"] == "DELIVERED"


def test_a_request_that_segmind_fails_at_again_and_again_steps_aside_and_goes_once_an_hour(world: Play) -> None:
    unlucky = world(refusals=(500,) * (MOST_FAILURES + 2)).play()

    assert unlucky.render["status"] == "DELIVERED"
    assert unlucky.clock.now() - BEGINNING > 3 * ASIDE_SECONDS - 1
    (ledger,) = (item for item in table(unlucky).query("stack") if item["sk"].startswith("ledger#"))
    assert ledger["reserved"] == pytest.approx(0.05 * (MOST_FAILURES + 3))


def test_a_request_that_fails_again_after_segmind_took_another_one_is_given_up(world: Play) -> None:
    unlucky = world(refusals=(500,) * MOST_FAILURES).receive()
    for _ in range(MOST_FAILURES - 1):
        told(later(unlucky, 60), due(unlucky.render))
    unlucky.drop(OTHER)
    unlucky.receive()
    unlucky.network.refusals = [500]

    unlucky.play()

    error = unlucky.render["error"]
    assert (unlucky.render["status"], error["code"], error["charged"]) == ("FAILED", "server_error", "unknown")
    assert unlucky.render_of(OTHER)["status"] == "DELIVERED"
    assert [event["type"] for event in unlucky.told] == ["kontext.failed"]
