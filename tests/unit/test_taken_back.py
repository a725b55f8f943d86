"""What was taken back is not paid for, and that is told."""

from __future__ import annotations

from typing import Any

import pytest

from kontext.drops import messages
from simulation.evidence import Evidence
from simulation.explore import named, play


@pytest.mark.parametrize(
    ("story", "code"),
    [
        pytest.param("a whole pair is deleted while it waits for credits", "cancelled", id="deleted"),
        pytest.param("a photograph is removed for good while its pair waits for credits", "cancelled", id="for good"),
        pytest.param("a photograph's time is over while its pair waits for credits", "inputs_expired", id="expired"),
        pytest.param("a named image is deleted while its pair waits for credits", "cancelled", id="a named image"),
    ],
)
def test_a_pair_whose_image_is_gone_when_its_turn_comes_ends_unpaid_and_is_told(story: str, code: str) -> None:
    world = play(named(story)).world

    seen = Evidence(world, {})
    told = [event["data"]["error"] for event, *_ in seen.events.values() if event["type"] == "kontext.failed"]
    assert seen.end("taj/") == f"FAILED {code}"
    assert [(error["code"], error["charged"]) for error in told] == [(code, "no")]
    assert "taj/" in told[0]["message"] or "shared/a.png" in told[0]["message"]
    assert not world.vendor.ledger.jobs


@pytest.mark.parametrize("what", ["a prompt", "a request"])
def test_the_default_prompt_is_not_paid_in_place_of_one_that_was_taken_back(what: str) -> None:
    world = play(named(f"{what} is deleted while its pair waits for credits")).world

    seen = Evidence(world, {})
    told = [event["data"]["error"] for event, *_ in seen.events.values() if event["type"] == "kontext.failed"]
    assert seen.end("taj/") == "FAILED cancelled"
    assert [(error["message"], error["charged"]) for error in told] == [
        ("its prompt was taken back before the request was sent", "no")
    ]
    assert not world.vendor.ledger.jobs


@pytest.mark.parametrize(
    "story",
    [
        "a pair that was taken back while it waited is restored",
        "a prompt that was taken back while its pair waited is restored",
        "a named image is deleted while its pair waits for credits, and restored afterwards",
        "a named image is deleted while its pair waits for credits, and dropped again afterwards",
    ],
)
def test_a_pair_that_was_taken_back_goes_on_when_what_was_missing_is_there_again(story: str) -> None:
    world = play(named(story)).world

    seen = Evidence(world, {})
    assert [event["type"] for event, *_ in seen.events.values() if event["subject"] == "taj/"] == [
        "kontext.failed",
        "kontext.rendered",
    ]
    assert len(world.vendor.ledger.jobs) == 1


def test_a_named_image_that_was_replaced_while_its_pair_waits_is_claimed_anew_once() -> None:
    world = play(named("a named image is replaced while its pair waits for credits")).world

    seen = Evidence(world, {})
    assert seen.end("taj/") == "DELIVERED"
    assert len(world.vendor.ledger.jobs) == 1


def test_a_pair_that_was_deleted_and_restored_while_it_waits_is_rendered() -> None:
    world = play(named("a pair is deleted and restored while it waits for credits")).world

    assert Evidence(world, {}).end("taj/") == "DELIVERED"


@pytest.mark.parametrize(
    ("event_name", "removed"),
    [
        ("ObjectCreated:Put", ""),
        ("s3:ObjectRemoved:Delete", "by a person"),
        ("ObjectRemoved:DeleteMarkerCreated", "by a person"),
        ("LifecycleExpiration:DeleteMarkerCreated", "by a rule"),
    ],
)
def test_a_notification_says_whether_an_object_was_taken_away_and_by_whom(event_name: str, removed: str) -> None:
    record: dict[str, Any] = {"eventName": event_name, "s3": {"bucket": {"name": "b"}, "object": {"key": "taj/1.png"}}}

    (event,) = messages.object_events({"Records": [record]})

    assert event.removed == removed
