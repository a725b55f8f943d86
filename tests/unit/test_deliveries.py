"""A paid picture's delivery, as it stands on the record."""

from __future__ import annotations

import pytest

from kontext.dynamodb import ConditionFailed
from kontext.model import Status
from kontext.renders.claims import Claims
from kontext.renders.deliveries import Deliveries
from tests.unit.life import NOW, RESULT, Life, MakePair, MakeReady


def test_a_picture_that_cannot_be_delivered_is_tried_ever_more_seldom_and_told_to_be_late_in_ten_minutes(
    life: Life,
) -> None:
    render, now, waits = life.completed(), NOW + 20, []
    for _ in range(14):
        render = Deliveries(life.renders).put_off(render, "HTTP 503", now)
        waits.append(render["due_at"] - now)
        now = render["due_at"]

    assert waits[:6] == [30, 60, 120, 240, 150, 960]
    assert waits[-1] == 6 * 3600
    assert [entry["what"] for entry in render["history"][-2:]] == ["completed", "undelivered"]
    assert render["history"][-1]["times"] == 14


def test_a_delivered_render_that_cannot_be_delivered_again_stays_delivered(life: Life) -> None:
    render = life.renders.new_attempt(life.delivered(), Status.COMPLETED, 1, NOW + 60, stays_delivered=True)

    render = Deliveries(life.renders).keep_delivered(render, "HTTP 404", NOW + 70)

    assert (render["status"], render["result"], render["attempt"]) == ("DELIVERED", RESULT, 2)
    assert "error" not in render


def test_a_result_cannot_be_delivered_under_a_newer_drops_name(life: Life, pair: MakePair, complete: MakeReady) -> None:
    done = life.completed()
    newer = pair(drop=2)
    Claims(life.renders).claim(newer, complete(newer, prompt="new"), NOW)

    with pytest.raises(ConditionFailed) as refused:
        Deliveries(life.renders).mark_delivered(done, RESULT, NOW)
    beside = Deliveries(life.renders).mark_delivered(done, {"key": "taj/superseded/x.png", "superseded": True}, NOW)

    assert refused.value.position == 1
    assert beside["status"] == "DELIVERED"
