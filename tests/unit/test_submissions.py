"""A render's request: who may send it, and where it waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kontext.clock import iso
from kontext.due import LEASE_GRACE_SECONDS, LINE, TIMER
from kontext.dynamodb import ConditionFailed
from kontext.model import HistoryEntry, Render, Status
from kontext.renders import job_owner, settle
from kontext.renders.overdue import is_stale, overdue_action
from kontext.renders.record import HISTORY_KEPT, render_key
from kontext.renders.store import LEASE_SECONDS
from kontext.renders.workflow import execution_name
from tests.unit.life import FAILED, LATER, NOW, SERVER_ERROR, Life


def test_a_claim_whose_owner_died_is_sent_when_its_lease_is_over(life: Life) -> None:
    claimed = life.claimed()

    due_at = claimed["due_at"]

    assert (claimed["due_lane"], due_at) == (TIMER, NOW + LEASE_SECONDS + LEASE_GRACE_SECONDS)
    assert overdue_action(claimed, due_at) == "submit"
    assert life.submissions.mark_submitting(claimed, due_at)["lease_until"] == due_at + LEASE_SECONDS


@pytest.mark.parametrize("stage", ["claimed", "in_line", "tried_later"])
def test_of_two_who_send_a_render_at_once_one_wins_and_it_is_paid_once(
    life: Life, ledger: Callable[[], dict[str, Any]], stage: str
) -> None:
    seen = life.at(stage)
    before = ledger().get("reserved", 0.0)
    life.submissions.mark_submitting(seen, LATER)

    with pytest.raises(ConditionFailed):
        life.submissions.mark_submitting(seen, LATER)

    assert ledger()["reserved"] - before == pytest.approx(0.05)


def test_a_render_that_joins_the_line_stands_at_its_place_and_says_why_and_since_when(life: Life) -> None:
    render = life.submissions.join_line(life.submitting(), NOW + 60, "rate_limited", NOW + 1, {"status": 429})

    noted = {"at": iso(NOW + 1), "what": "parked", "reason": "rate_limited", "status": 429}
    assert (render["status"], render["line_at"], render["waiting_since"]) == ("CLAIMED", NOW + 60, NOW + 1)
    assert (render["due_lane"], render["due_at"]) == (LINE, NOW + 60)
    assert render["history"][-1] == noted
    assert life.renders.get("taj/", render["render_id"]) == render | render_key("taj/", render["render_id"])


def test_a_render_that_is_a_trial_in_vain_keeps_its_place_and_waits_since_it_first_did(life: Life) -> None:
    render = life.in_line()

    for tried in (NOW + 5, NOW + 10):
        submitting = life.submissions.mark_submitting(render, tried)
        render = life.submissions.join_line(submitting, submitting["line_at"], "no_credits", tried, {"status": 406})

    assert (render["line_at"], render["due_at"], render["waiting_since"]) == (NOW + 60, NOW + 60, NOW)


@pytest.mark.parametrize("line_at", [None, NOW + 950], ids=["sent at once", "at a place of its own"])
def test_a_later_attempt_does_not_inherit_the_place_of_an_earlier_one_and_how_long_it_waited(
    life: Life, line_at: float | None
) -> None:
    submitting = life.submissions.mark_submitting(life.in_line(), NOW + 60)
    failed = life.renders.mark_failed(submitting, FAILED, NOW + 61)

    again = life.renders.new_attempt(failed, Status.CLAIMED, 2, NOW + 900, line_at=line_at)

    joined = life.submissions.join_line(again, again.get("line_at", NOW + 960), "pace", NOW + 900)
    lane, due_at = (LINE, line_at) if line_at else (TIMER, NOW + 900 + LEASE_SECONDS + LEASE_GRACE_SECONDS)
    assert (again["due_lane"], again["due_at"], again.get("line_at")) == (lane, due_at, line_at)
    assert joined["waiting_since"] == NOW + 900


@pytest.mark.parametrize("stage", ["in_line", "tried_later"])
def test_a_submitted_render_is_not_parked_any_more(life: Life, stage: str) -> None:
    submitting = life.submissions.mark_submitting(life.at(stage), NOW + 60)
    queued = life.submissions.mark_accepted(submitting, "r-1", NOW + 61)

    assert (submitting["due_lane"], queued["due_lane"]) == (TIMER, TIMER)
    assert "waiting_since" not in queued


def test_a_render_that_is_tried_later_waits_for_a_time_of_its_own_out_of_the_line(life: Life) -> None:
    waited = life.in_line()

    renders: list[Render] = []
    for at in (NOW + 100, NOW + 200):
        submitting = life.submissions.mark_submitting(renders[-1] if renders else waited, at)
        renders.append(life.submissions.retry_later(submitting, at + 60, "outage", at, SERVER_ERROR))

    assert [(one["status"], one["due_lane"], one["due_at"]) for one in renders] == [
        ("CLAIMED", TIMER, NOW + 160),
        ("CLAIMED", TIMER, NOW + 260),
    ]
    assert [one["failures"] for one in renders] == [1, 2]
    assert renders[0]["history"][-1] == {"at": iso(NOW + 100), "what": "parked", "reason": "outage", **SERVER_ERROR}


def test_an_answer_that_comes_after_all_settles_an_uncertain_render(life: Life) -> None:
    render = life.submissions.mark_accepted(life.uncertain(), "r-1", NOW + 1)

    assert (render["status"], render["request_id"]) == ("QUEUED", "r-1")
    assert "error" not in render


def test_a_repetition_is_counted_not_listed(life: Life) -> None:
    render = life.claimed()

    for n in range(4):
        render = life.submissions.join_line(render, NOW, "no_credits", NOW + n)

    parked = {"at": iso(NOW), "what": "parked", "reason": "no_credits", "times": 4, "last_at": iso(NOW + 3)}
    assert render["history"][1:] == [parked]


def test_a_long_history_keeps_its_beginning_and_its_end(life: Life) -> None:
    long: list[HistoryEntry] = [{"at": iso(NOW), "what": "parked", "message": str(n)} for n in range(HISTORY_KEPT)]
    claimed = life.claimed()
    claimed["history"] = long

    render = life.submissions.join_line(claimed, NOW + 60, "pace", NOW)

    assert len(render["history"]) == HISTORY_KEPT
    assert render["history"][0] == long[0]
    assert render["history"][-2]["message"] == str(HISTORY_KEPT - 1)
    assert render["history"][-1]["reason"] == "pace"


def test_a_job_that_another_render_has_is_nobody_elses(life: Life) -> None:
    submitting = life.submitting()
    other: Render = {**submitting, "render_id": "another"}
    life.renders.table.transact(job_owner.own(other, "r-1", NOW))

    with pytest.raises(job_owner.JobTaken):
        life.submissions.mark_accepted(submitting, "r-1", NOW)

    assert life.submissions.mark_accepted(submitting, "r-2", NOW)["request_id"] == "r-2"


def test_a_job_that_a_person_names_twice_is_the_first_renders(life: Life) -> None:
    uncertain = life.uncertain()
    life.renders.table.transact(job_owner.own({**uncertain, "render_id": "another"}, "r-1", NOW))

    with pytest.raises(job_owner.JobTaken):
        settle.with_job(life.renders, uncertain, "r-1", NOW)


def test_a_job_that_a_person_names_has_no_execution_yet_though_one_began_that_could_not_be_recorded(life: Life) -> None:
    uncertain = life.uncertain()
    unrecorded: Render = {**uncertain, "request_id": "r-1", "generation": uncertain.get("generation", 0) + 1}

    found = settle.with_job(life.renders, uncertain, "r-1", NOW)

    assert execution_name(found) != execution_name(unrecorded)
    assert not is_stale(found, found["attempt"], found["generation"])
