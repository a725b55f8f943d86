"""A job at Segmind, and the execution that looks after it: the newest one, and no other."""

from __future__ import annotations

import re

import pytest

from kontext.clock import iso
from kontext.due import SLACK_SECONDS, DueIndex
from kontext.dynamodb import ConditionFailed, Table
from kontext.model import Render
from kontext.renders.overdue import is_stale
from kontext.renders.workflow import execution_name
from kontext.workflow_state import WorkflowState
from tests.existing import existing
from tests.unit.life import NOW, Life

REQUEST_ID = "3f2c8f5e-8f5e-4b7a-9d6e-0123456789ab"


def test_a_worker_that_takes_the_job_is_noted_once(life: Life) -> None:
    render = life.jobs.mark_processing(life.queued(), NOW + 5)

    assert render["status"] == "PROCESSING"
    with pytest.raises(ConditionFailed):
        life.jobs.mark_processing(render, NOW + 6)


@pytest.mark.parametrize("stage", ["claimed", "submitting", "delivered", "failed", "uncertain"])
def test_only_a_job_in_flight_can_complete(life: Life, stage: str) -> None:
    render = life.at(stage)

    with pytest.raises(ConditionFailed):
        life.jobs.mark_completed(render, "https://images/b.png", {}, NOW)


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        pytest.param("summer/taj/", f"summer-taj-{REQUEST_ID}-2", id="folder"),
        pytest.param("taj_", f"taj-{REQUEST_ID}-2", id="underscore"),
        pytest.param("", f"pair-{REQUEST_ID}-2", id="root"),
        pytest.param("夏/", f"pair-{REQUEST_ID}-2", id="no letter that AWS takes"),
        pytest.param("a b+é/", f"a-b-{REQUEST_ID}-2", id="others"),
    ],
)
def test_a_generation_has_one_execution_that_can_be_found_by_eye(prefix: str, name: str) -> None:
    assert execution_name({"prefix": prefix, "request_id": REQUEST_ID, "generation": 2}) == name


@pytest.mark.parametrize("request_id", [REQUEST_ID, "q" * 1000, "q/é 5" * 20], ids=["usual", "long", "odd"])
def test_an_executions_name_is_one_that_aws_takes(request_id: str) -> None:
    name = execution_name({"prefix": "x" * 1000, "request_id": request_id, "generation": 9_999})

    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name)


def test_the_same_content_rendered_anew_has_another_execution_though_the_name_of_the_old_one_is_still_taken() -> None:
    first: Render = {"prefix": "taj/", "request_id": "q1", "generation": 1}
    anew: Render = {**first, "request_id": "q2"}

    assert execution_name(first) != execution_name(anew)


def test_a_restart_is_another_generation_of_the_same_attempt(life: Life) -> None:
    render = life.queued()

    again = life.jobs.mark_restarted(render, NOW + 400)

    assert (render["generation"], again["generation"], again["attempt"]) == (1, 2, 1)
    assert again["history"][-1] == {"at": iso(NOW + 400), "what": "restarted", "generation": 2}
    assert is_stale(again, 1, 1)
    assert not is_stale(again, 1, 2)
    assert not is_stale(render, 1, 2)  # begun, and not yet on the record


def test_an_execution_from_before_generations_were_counted_goes_on(life: Life) -> None:
    record = life.queued()
    del record["generation"]

    assert not is_stale(record, 1, 0)
    assert is_stale(life.jobs.mark_restarted(existing(life.renders.get("taj/", record["render_id"])), NOW), 1, 0)


def test_an_execution_whose_start_was_not_recorded_takes_over_when_it_begins(life: Life) -> None:
    record = life.queued()
    state: WorkflowState = {"prefix": record["prefix"], "render_id": record["render_id"], "attempt": record["attempt"]}
    state["generation"] = 2

    followed = life.jobs.of_execution(state, NOW)

    assert followed is not None
    assert followed["generation"] == 2
    assert is_stale(existing(life.renders.get("taj/", record["render_id"])), 1, 1)


def test_what_was_sent_for_a_render_is_kept_when_it_is_restarted_and_forgotten_when_it_moves(
    life: Life, table: Table
) -> None:
    render = life.queued()
    index = DueIndex(table)
    (item,) = index.over(render["due_at"])
    index.dispatch(item, render["due_at"])

    again = life.jobs.mark_restarted(existing(life.renders.get("taj/", render["render_id"])), render["due_at"])
    moved = life.jobs.mark_processing(again, render["due_at"])

    assert (again["dispatches"], again["due_at"] > render["due_at"]) == (1, True)
    assert "dispatches" not in moved


def test_a_heartbeat_is_written_only_when_the_render_would_be_due_before_the_next(life: Life) -> None:
    render = life.queued()
    name = render["render_id"]

    life.jobs.beat(render, render["due_at"] - 1)
    usual = life.renders.get("taj/", name)
    life.jobs.beat(render, render["due_at"] + 1)
    late = life.renders.get("taj/", name)

    assert existing(usual)["due_at"] == render["due_at"]
    assert existing(late)["due_at"] == render["due_at"] + 1 + SLACK_SECONDS


@pytest.mark.parametrize("stage", ["claimed", "submitting", "failed", "uncertain"])
def test_only_what_is_at_segmind_or_paid_has_a_heartbeat(life: Life, stage: str) -> None:
    render = life.at(stage)

    life.jobs.beat(render, NOW + 1e6)

    assert existing(life.renders.get("taj/", render["render_id"]))["due_at"] == render["due_at"]


def test_a_heartbeat_of_a_render_that_has_moved_is_not_heard(life: Life) -> None:
    render = life.queued()
    moved = life.jobs.mark_processing(render, NOW + 1)

    life.jobs.beat(render, NOW + 1e6)

    assert existing(life.renders.get("taj/", render["render_id"]))["due_at"] == moved["due_at"]
