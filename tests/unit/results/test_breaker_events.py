"""What is told when all renders wait, and when they go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

from kontext.dynamodb import Table
from kontext.errors import REASONS
from kontext.model import Render
from kontext.results.cloudevents import Topic, announce_changes, breaker_event, cloud_event
from kontext.throttle.circuit_breaker import Change
from kontext.throttle.rate_limiter import Rate
from kontext.throttle.throttle import Throttle
from tests.unit.results.conftest import CONTRACT, NOW, SCHEMA, SOURCE

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

GATES = sorted(REASONS.keys() - {"pace", "rate_limited"})
"""What lets all renders wait; the others concern one, or are no news."""


@pytest.fixture(params=[(what, reason) for what in ("parked", "resumed") for reason in GATES], ids=".".join)
def change(request: pytest.FixtureRequest) -> Change:
    """Each way in which the gate may be closed or opened."""
    what, reason = request.param
    return Change(what, reason, NOW, NOW + 60 if what == "resumed" else NOW)


def test_a_change_of_the_gate_is_told_as_the_contract_says(change: Change) -> None:
    event = json.loads(json.dumps(breaker_event(change, SOURCE)))

    assert [error.message for error in CONTRACT.iter_errors(event)] == []
    assert (event["type"], event["data"]["reason"]) == (f"kontext.{change.what}", change.reason)
    assert (event["data"]["error"] is None) == (change.what == "resumed")
    parsed = from_structured_event(
        HTTPMessage({"content-type": "application/cloudevents+json"}, json.dumps(event).encode())
    )
    assert parsed.get_id() == change.id


def test_a_change_of_the_gate_has_every_field_of_a_render(ended: Callable[[str], Render]) -> None:
    of_a_render = cloud_event(ended("delivered"), SOURCE)

    of_the_breaker = breaker_event(Change("parked", "outage", NOW, NOW), SOURCE)

    assert of_a_render.keys() == of_the_breaker.keys()
    assert of_a_render["data"].keys() <= of_the_breaker["data"].keys()
    assert of_a_render["data"]["times"].keys() == of_the_breaker["data"]["times"].keys()


def test_the_contract_lists_every_reason_that_closes_the_gate() -> None:
    assert set(SCHEMA["definitions"]["gate"]["properties"]["reason"]["enum"]) == set(GATES)


@pytest.mark.parametrize(("what", "code"), [("parked", "no_credits"), ("resumed", "none")])
def test_subscribers_can_filter_changes_of_the_gate_too(
    topic: Topic, published: Callable[[], list[MessageTypeDef]], what: Any, code: str
) -> None:
    topic.publish_change(Change(what, "no_credits", NOW, NOW))

    (message,) = published()
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes == {"type": f"kontext.{what}", "folder": "/", "error_code": code}


def test_each_change_of_the_gate_is_told_to_subscribers_once(
    table: Table, topic: Topic, published: Callable[[], list[MessageTypeDef]]
) -> None:
    throttle = Throttle(table, Rate(50))

    for _ in range(2):
        throttle.open_breaker("no_credits", NOW)
        announce_changes(throttle, topic)
    for _ in range(2):
        throttle.close_breaker(NOW + 60)
        announce_changes(throttle, topic)

    told = [json.loads(message["Body"])["type"] for message in published()]
    assert told == ["kontext.parked", "kontext.resumed"]


def test_a_pause_and_a_refusal_are_told_each_on_its_own(
    table: Table, topic: Topic, published: Callable[[], list[MessageTypeDef]]
) -> None:
    throttle = Throttle(table, Rate(50))
    throttle.pause(NOW)
    throttle.open_breaker("no_credits", NOW + 1)
    announce_changes(throttle, topic)

    throttle.resume(NOW + 2)
    announce_changes(throttle, topic)

    told = [json.loads(message["Body"]) for message in published()]
    assert [(event["type"], event["data"]["reason"]) for event in told] == [
        ("kontext.parked", "paused"),
        ("kontext.parked", "no_credits"),
        ("kontext.resumed", "paused"),
    ]


def test_a_change_that_could_not_be_told_is_told_later(
    table: Table, topic: Topic, published: Callable[[], list[MessageTypeDef]]
) -> None:
    throttle, nowhere = Throttle(table, Rate(50)), Topic(topic.client, f"{topic.arn}-gone", SOURCE)
    throttle.open_breaker("no_credits", NOW)
    with pytest.raises(ClientError):
        announce_changes(throttle, nowhere)

    announce_changes(throttle, topic)

    assert len(published()) == 1
