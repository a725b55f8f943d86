"""What a message of the upload queue says, and what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kontext.drops.messages import (
    ObjectEvent,
    Unreadable,
    count_drops,
    due_key,
    notification,
    object_events,
    parse,
)

LEAST: dict[str, Any] = {"s3": {"bucket": {"name": "b"}, "object": {"key": "taj/1.png"}}}


def record(**more: Any) -> dict[str, Any]:
    """A record of S3's; `more` is about its object."""
    return {
        "eventTime": "2027-01-15T08:00:00.000Z",
        "s3": {"bucket": {"name": "b"}, "object": {"key": "a+b/1.png", "size": 5, "sequencer": "0A", **more}},
    }


def test_a_notification_of_s3_tells_of_an_object() -> None:
    (event,) = object_events(parse(json.dumps({"Records": [record()]})))

    assert event == ObjectEvent("b", "a b/1.png", 5, "0A", 1_800_000_000.0)


def test_a_notification_by_hand_needs_nothing_but_bucket_and_key() -> None:
    (event,) = object_events({"Records": [LEAST]})

    assert event == ObjectEvent("b", "taj/1.png", None, "", None)


def in_sns(body: dict[str, Any]) -> dict[str, Any]:
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:drops", "Message": json.dumps(body)}


def by_eventbridge(name: str = "Object Created", **more: Any) -> dict[str, Any]:
    told = {"key": "a+b/1.png", "size": 5, "etag": "e", "version-id": "v", "sequencer": "0A", **more}
    detail = {"version": "0", "bucket": {"name": "b"}, "object": told, "reason": "PutObject"}
    return {"source": "aws.s3", "detail-type": name, "time": "2027-01-15T08:00:00Z", "detail": detail}


@pytest.mark.parametrize("wrap", [dict, in_sns], ids=["plain", "in SNS's envelope"])
@pytest.mark.parametrize(
    ("body", "key"),
    [
        pytest.param({"Records": [record()]}, "a b/1.png", id="S3"),
        pytest.param(by_eventbridge(), "a+b/1.png", id="EventBridge, which encodes no key"),
    ],
)
def test_a_drop_is_read_on_whatever_way_it_is_told(wrap: Any, body: dict[str, Any], key: str) -> None:
    (event,) = object_events(parse(json.dumps(wrap(body))))

    assert event == ObjectEvent("b", key, 5, "0A", 1_800_000_000.0)


@pytest.mark.parametrize(
    "body",
    [
        {"Records": [{**record(key="taj/1.png"), "eventName": "ObjectRemoved:DeleteMarkerCreated"}]},
        {"Records": [{**record(key="taj/1.png"), "eventName": "ObjectRemoved:Delete"}]},
        {"Records": [{**record(key="taj/1.png"), "eventName": "LifecycleExpiration:Delete"}]},
        by_eventbridge("Object Deleted", key="taj/1.png"),
    ],
    ids=["deleted", "for good", "expired", "EventBridge"],
)
def test_a_removal_is_no_drop(body: dict[str, Any]) -> None:
    (event,) = object_events(body)

    assert (event.key, event.sequencer, bool(event.removed)) == ("taj/1.png", "0A", True)
    assert count_drops(json.dumps(body)) == 0


@pytest.mark.parametrize("name", ["ObjectTagging:Put", "ObjectRestore:Completed", "Object Tags Added"])
def test_what_is_neither_a_drop_nor_a_removal_is_named(name: str) -> None:
    with pytest.raises(Unreadable, match=name):
        list(object_events({"Records": [{**record(), "eventName": name}]}))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("poison", "no JSON", id="no JSON"),
        pytest.param("[" * 100_000, "no JSON", id="nested"),
        pytest.param("[]", "no JSON object", id="a list"),
        pytest.param("{}", "neither a notification of S3", id="nothing in it"),
        pytest.param('{"Records": []}', "neither a notification of S3", id="no records"),
        pytest.param('{"Type": "Notification", "TopicArn": "arn", "Message": "{}"}', "neither a noti", id="SNS's own"),
        pytest.param('{"Type": "Notification", "TopicArn": "arn", "Message": "hello"}', "no JSON", id="in SNS no JSON"),
        pytest.param(
            '{"Type": "SubscriptionConfirmation", "TopicArn": "arn"}', "open the message's SubscribeURL", id="SNS asks"
        ),
        pytest.param('{"source": "aws.s3", "detail-type": "Object Created"}', "neither a noti", id="EventBridge"),
        pytest.param('{"Records": [{"s3": 1, "eventName": "ObjectTagging:Put"}]}', "none of S3's", id="another event"),
    ],
)
def test_what_no_try_can_read_says_why(text: str, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        list(object_events(parse(text)))


@pytest.mark.parametrize(
    "wrong",
    [
        5,
        {},
        {"s3": None},
        record(key=None),
        record(key=5),
        record(key=""),
        record(key="x" * 1025),
        record(key="\ud800"),
        record(sequencer=5),
        {**LEAST, "eventTime": "yesterday"},
        {**LEAST, "eventTime": 5},
        {"s3": {"bucket": {"name": 5}, "object": {"key": "a"}}},
    ],
    ids=str,
)
def test_a_record_that_cannot_be_read_is_told_after_all_that_can(wrong: Any) -> None:
    events = object_events({"Records": [wrong, LEAST]})

    assert next(events).key == "taj/1.png"
    with pytest.raises(Unreadable, match="none of S3's"):
        next(events)


@pytest.mark.parametrize("body", [{"Event": "s3:TestEvent"}, {"due": {}}, {"wake": []}, {"waiters": "a"}])
def test_tests_of_s3_and_hints_of_our_own_tell_of_no_object(body: dict[str, Any]) -> None:
    assert list(object_events(body)) == []


def test_a_hint_names_an_item() -> None:
    assert due_key({"due": {"pk": "a", "sk": "b", "more": 1}}) == {"pk": "a", "sk": "b"}


@pytest.mark.parametrize("key", ["taj/1.png", "a+b%20c é/\u202e1.png", "a\nb/1.png"])
def test_an_object_that_was_found_is_told_of_as_s3_does_it(key: str) -> None:
    told = notification("b", key, 5, '"e"', "v1", 1_800_000_000.0)

    (event,) = object_events(parse(json.dumps(told)))

    assert event == ObjectEvent("b", key, 5, "", 1_800_000_000.0)


@pytest.mark.parametrize("key", ["\ud800/1.png", 5, None])
def test_a_key_of_eventbridge_that_is_no_text_makes_the_message_unreadable(key: Any) -> None:
    body = by_eventbridge(key=key)

    assert count_drops(json.dumps(body)) == 0
    with pytest.raises(Unreadable, match="none of S3's"):
        list(object_events(body))
