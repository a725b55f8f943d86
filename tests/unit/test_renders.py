"""A render's life on the record: how it moves, ends, and is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kontext.clock import iso
from kontext.drops.pairs import pair_key
from kontext.drops.store import Drops
from kontext.due import TIMER
from kontext.dynamodb import ConditionFailed, Table
from kontext.errors import problem
from kontext.model import Status
from kontext.renders.claims import Claims
from kontext.renders.overdue import OUTPUT_SECONDS, RECORD_SECONDS, overdue_action
from kontext.renders.record import render_key
from kontext.renders.submissions import Submissions
from tests.existing import existing
from tests.unit.life import FAILED, LATER, METRICS, NOW, RESULT, Life, MakePair, MakeReady, Repeating


def test_a_write_that_the_sdk_repeats_finds_its_own(life: Life) -> None:
    claimed = life.claimed()
    life.renders.table = Repeating(life.renders.table.client, life.renders.table.name)

    waits = life.submissions.join_line(claimed, NOW, "pace", NOW)

    assert life.renders.get("taj/", claimed["render_id"]) == waits | render_key("taj/", claimed["render_id"])


def test_a_render_goes_from_claim_to_delivery(life: Life, drops: Drops, ledger: Callable[[], dict[str, Any]]) -> None:
    render = life.delivered()

    assert life.renders.get("taj/", render["render_id"]) == render | render_key("taj/", render["render_id"])
    assert [entry["what"] for entry in render["history"]] == [
        "claimed",
        "submitting",
        "accepted",
        "completed",
        "delivered",
    ]
    assert (render["status"], render["cost"], render["result"]) == ("DELIVERED", 0.04, RESULT)
    assert render["expires_at"] == int(NOW + 21 + 400 * 86_400)
    assert existing(drops.get("taj/")).written == {"taj/result.png"}
    assert ledger() == {"submitted": 1, "completed": 1, "cost": 0.04, "reserved": 0.05}


@pytest.mark.parametrize("stage", ["delivered", "failed"])
def test_what_has_ended_does_not_end_again(life: Life, stage: str) -> None:
    render = life.at(stage)

    with pytest.raises(ConditionFailed):
        life.renders.mark_failed(render, FAILED, NOW)


def test_whoever_has_read_an_old_state_cannot_write(life: Life) -> None:
    queued = life.queued()
    life.jobs.mark_processing(queued, NOW)

    with pytest.raises(ConditionFailed) as refused:
        life.jobs.mark_completed(queued, "https://images/a.png", METRICS, NOW)

    assert existing(refused.value.found)["status"] == "PROCESSING"


def test_an_announcement_of_an_attempt_that_is_over_is_refused(life: Life, pair: MakePair, complete: MakeReady) -> None:
    failed = life.failed()
    again = pair(drop=2)
    Claims(life.renders).claim(again, complete(again), LATER)

    with pytest.raises(ConditionFailed):
        life.renders.mark_announced(failed)


def test_times_are_told_in_utc_to_the_millisecond(life: Life) -> None:
    assert life.claimed()["created_at"] == iso(NOW) == "2026-01-02T03:00:00.000Z"


def test_the_items_of_a_pair_stand_together(life: Life, table: Table) -> None:
    life.delivered()

    items = table.query(pair_key("taj/")["pk"])

    assert sorted(item["sk"].partition("#")[0] for item in items) == ["pair", "render"]


def test_an_operator_who_delivers_an_old_render_again_does_not_make_it_speak_for_its_pair(life: Life) -> None:
    old = life.renders.mark_failed(life.completed(), problem("delivery", "no access"), NOW + 60)
    life.renders.table.update(pair_key("taj/"), "SET #current = :newer", newer="a newer render")

    life.renders.new_attempt(old, Status.COMPLETED, old["drop_id"], NOW + 70)

    dropped = Drops(life.renders.table).get("taj/")
    assert dropped is not None
    assert dropped.current == "a newer render"


@pytest.mark.parametrize(
    ("stage", "later", "action"),
    [
        pytest.param("claimed", 0, "submit", id="whoever worked on it is dead"),
        pytest.param("tried_later", 0, "submit", id="its time has come"),
        pytest.param("submitting", 0, "lost", id="the answer is lost"),
        pytest.param("queued", 0, "restart", id="its execution is dead"),
        pytest.param("queued", RECORD_SECONDS, "expire", id="for longer than Segmind knows the job"),
        pytest.param("completed", 0, "restart", id="its delivery is dead"),
        pytest.param("completed", OUTPUT_SECONDS, "expire", id="for longer than Segmind keeps the picture"),
        pytest.param("delivered", 0, "announce", id="delivered, not told"),
        pytest.param("failed", 0, "announce", id="failed, not told"),
        pytest.param("uncertain", 0, "announce", id="uncertain, not told"),
    ],
)
def test_what_is_due_is_looked_at_by_its_state(life: Life, stage: str, later: float, action: str) -> None:
    render = life.at(stage)

    assert render["due_lane"] == TIMER
    assert overdue_action(render, render["due_at"] + later) == action


def test_a_job_that_is_running_is_taken_over_like_one_that_is_queued(life: Life) -> None:
    render = life.jobs.mark_processing(life.queued(), NOW + 5)

    assert overdue_action(render, render["due_at"]) == "restart"


def test_what_was_not_told_of_a_pair_is_told_in_the_order_in_which_it_ended(
    submissions: Submissions, pair: MakePair, complete: MakeReady
) -> None:
    renders = submissions.renders
    lives = (Life(submissions, pair(drop=n), complete(pair(), prompt=f"{n}")) for n in (1, 2, 3))
    ended = [
        renders.mark_failed(life.submitting(), FAILED, NOW + at) for life, at in zip(lives, (30, 10, 20), strict=True)
    ]

    renders.mark_announced(ended[2])

    assert [one["render_id"] for one in renders.unannounced("taj/")] == [ended[1]["render_id"], ended[0]["render_id"]]
