"""What terminal, page and `doctor` say of a pair."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Unpack, cast, get_args

import pytest

from kontext.clock import iso
from kontext.due import LINE, TIMER
from kontext.dynamodb import Item
from kontext.errors import REASONS, problem
from kontext.model import ENDED, STATUSES, Reason, Render, Status
from kontext.throttle.admission import State
from kontext.throttle.circuit_breaker import Breaker
from kontext_cli.read.views import GROUPS, TEXTS, PairView, placed, view_of
from tests.existing import existing

NOW = 1_795_384_556.0
IN_LINE: Render = {"status": Status.CLAIMED, "due_lane": LINE, "due_at": NOW + 9, "waiting_since": NOW}
REQUEST: Item = {"key": "cat/request.json", "sequencer": "1", "at": NOW, "parameters": {"prompt": "Go"}}


def dropped(*slots: str, **more: Any) -> Item:
    images = {f"part_{slot}": {"key": f"cat/{slot}.png", "sequencer": "1", "at": NOW} for slot in slots}
    return {"pk": "pair#cat/", "sk": "pair", "prefix": "cat/", **images, **more}


def render(render_id: str, drop_id: int = 1, /, **more: Unpack[Render]) -> Item:
    known: Render = {"render_id": render_id, "drop_id": drop_id, "status": Status.QUEUED, "prefix": "cat/"}
    known |= {"created_at": iso(NOW + drop_id), "updated_at": iso(NOW + drop_id)}
    return {"pk": "pair#cat/", "sk": f"render#{render_id}", **known, **more}


def rejected(render_id: str, drop_id: int) -> Item:
    return render(render_id, drop_id, status=Status.FAILED, error=problem("invalid_request", "seed is x"))


def pair(*items: Item, state: State | None = None) -> PairView:
    return existing(view_of(items, state or State()))


def test_the_newest_drop_speaks_for_its_pair_also_where_it_was_rejected() -> None:
    delivered = render("old", 1, status=Status.DELIVERED)

    found = pair(dropped(current="old", current_count=1, rejected_count=2), delivered, rejected("new", 2))

    assert (found.status, found.detail) == ("FAILED", "seed is x")


def test_what_is_dropped_again_as_it_was_rendered_speaks_again_and_not_what_was_rejected_since() -> None:
    delivered = render("old", 1, status=Status.DELIVERED, result={"key": "cat/result.png"})

    found = pair(dropped(current="old", current_count=3, rejected_count=2), rejected("new", 2), delivered)

    assert (found.status, found.detail) == ("DELIVERED", "cat/result.png")


def test_of_records_that_know_no_drop_the_claimed_one_speaks_and_then_the_newest() -> None:
    renders = [render(name, 0, created_at=iso(NOW + at)) for at, name in enumerate("abc")]

    found = pair(dropped(current="b"), *renders)

    assert [one.render_id for one in found.renders] == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("item", "status", "group", "remedy"),
    [
        pytest.param(dropped("1"), "WAITING", "waiting", "Drop cat/2.<png|jpg|jpeg|webp>.", id="half a pair"),
        pytest.param(dropped("1", "2"), "WAITING", "waiting", "Drop request.json or prompt.txt.", id="no prompt"),
        pytest.param(dropped("1", "2", part_request=REQUEST), "DROPPED", "running", "None", id="whole"),
        pytest.param(
            dropped("1", "2", part_request={**REQUEST, "problem": {"code": "invalid_request", "message": "no JSON"}}),
            "REJECTED",
            "failed",
            "Correct it and drop it again.",
            id="wrong",
        ),
    ],
)
def test_a_pair_without_a_render_says_what_it_waits_for(item: Item, status: str, group: str, remedy: str) -> None:
    found = pair(item)

    assert (found.status, found.group, found.meaning.charged) == (status, group, "no")
    assert str(found.meaning.remedy).startswith(remedy)


@pytest.mark.parametrize("status", Status)
def test_every_status_has_a_name_a_group_and_a_meaning(status: Status) -> None:
    found = pair(
        render("r", status=status, error=problem("refused", "no")) if status == "FAILED" else render("r", status=status)
    )

    assert found.label == STATUSES[status].label
    assert found.group == (status.lower() if status in ENDED else "running")
    assert found.meaning.text
    assert set(GROUPS) >= {found.group}


def test_a_record_of_a_later_version_is_shown_as_far_as_it_is_known() -> None:
    of_tomorrow = pair(render("r", status=cast("Status", "UPSCALED")))
    without_words = pair(render("r", status=Status.FAILED, error=cast("Any", {"code": "of_tomorrow"})))

    assert (of_tomorrow.label, of_tomorrow.group, of_tomorrow.meaning.charged) == ("Upscaled", "running", "unknown")
    assert (without_words.detail, without_words.meaning.charged) == ("no reason is kept", "unknown")


@pytest.mark.parametrize("reason", [*sorted(get_args(Reason)), "a reason of tomorrow"])
def test_who_waits_says_why_in_the_words_of_the_reason(reason: str) -> None:
    stopped = State(breaker=Breaker(cast("Reason", reason), since=NOW - 60, next_trial_at=NOW + 300))

    found = pair(render("r", **IN_LINE), state=stopped)

    assert (found.status, found.group, found.label) == ("CLAIMED", "parked", "Parked")
    assert f"parked ({reason}) since" in found.detail
    known = {str(name): text for name, text in REASONS.items()}
    assert found.meaning.text == (known[reason].meaning if reason in known else f"It waits ({reason}).")


def test_who_is_in_line_says_its_place_and_when_it_goes() -> None:
    waiting = pair(render("r", **IN_LINE))

    found = placed(waiting, {"r": 3}, NOW, 2.0)

    goes = datetime.fromtimestamp(NOW + 6, UTC)
    assert found.detail == f"number 3 in line, goes at about {goes:%H:%M:%S} UTC"


def test_a_paid_picture_that_is_late_says_so_and_what_to_do() -> None:
    late = render("r", status=Status.COMPLETED, undelivered={"tries": 2, "first": "403", "last": "host unknown"})

    meaning = pair(late).meaning

    assert (meaning.text, meaning.charged) == ("The picture is paid and late: host unknown.", "yes")
    assert "Remove the cause" in str(meaning.remedy)


def test_a_render_that_is_tried_later_says_when() -> None:
    found = existing(pair(render("r", status=Status.CLAIMED, due_lane=TIMER, due_at=NOW + 300, failures=1)).render)

    assert found.parked == {"reason": "outage", "until": NOW + 300}


def test_each_text_is_said_once() -> None:
    labels = [text.label for text in TEXTS.values()]

    assert len(set(labels)) == len(labels)
