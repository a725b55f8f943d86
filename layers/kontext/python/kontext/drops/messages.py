"""What the upload queue's messages say: what S3 tells of the input bucket, and hints of our own.

S3 is read as it tells the queue itself, as SNS wraps that, and as EventBridge tells it. A message that a person or
`kontext replay` has written needs no more than bucket and key.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypedDict
from urllib.parse import quote_plus, unquote_plus

from kontext import text
from kontext.clock import iso
from kontext.drops.keys import MAX_KEY_BYTES
from kontext.dynamodb import Key
from kontext.errors import KontextError

OURS = frozenset({"due", "permit", "waiters", "wake"})
"""The fields by which a hint of our own is known."""

_CREATED = "ObjectCreated:"

Removed = Literal["", "by a person", "by a rule"]
_REMOVED: dict[str, Removed] = {
    "ObjectRemoved": "by a person",
    "LifecycleExpiration": "by a rule",
}


class Record(TypedDict):
    """A message of the queue, as Lambda hands it over."""

    messageId: str
    receiptHandle: str
    body: str
    attributes: dict[str, str]


class Batch(TypedDict):
    """What Lambda hands to Submit."""

    Records: list[Record]


class Unreadable(KontextError):
    """A message that no try can do anything with; the text says why."""


@dataclass(frozen=True)
class ObjectEvent:
    """An object has been put into a bucket. `at` (unix seconds) is None, and `sequencer` empty, where S3 did not tell:
    then the object was found."""

    bucket: str
    key: str
    size: int | None
    sequencer: str
    at: float | None
    removed: Removed = ""
    """Whether the object was taken away, and by whom."""


def parse(body: str) -> dict[str, object]:
    """A message's body, out of SNS's envelope if it has one. Raises Unreadable where it is no JSON object."""
    content = _json_object(body)
    match content:
        case {"Type": "Notification", "TopicArn": _, "Message": str(inner)}:
            return _json_object(inner)
        case {"Type": "SubscriptionConfirmation", "TopicArn": topic}:
            raise Unreadable(f"SNS asks whether to subscribe the queue to {topic}: open the message's SubscribeURL")
    return content


def _json_object(body: str) -> dict[str, object]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise Unreadable(f"the message is no JSON: {problem}"[:200]) from problem
    if not isinstance(content, dict):
        raise Unreadable("the message is no JSON object")
    return content


def is_ours(body: Any) -> bool:
    """Whether a message is a hint of our own: the table is the truth, and it may be lost."""
    return isinstance(body, dict) and bool(body.keys() & OURS)


def due_key(body: dict[str, object]) -> Key:
    """The item of the table that a hint names. Raises Unreadable where it names none."""
    match body["due"]:
        case {"pk": str(pk), "sk": str(sk)}:
            return {"pk": pk, "sk": sk}
    raise Unreadable("the hint names no item of the table")


def page(body: dict[str, object]) -> tuple[str, str]:
    """The object, and the place behind which those who wait for it are to be woken. Raises Unreadable without them."""
    match body:
        case {"waiters": str(key), "after": str(place)}:
            return key, place
    raise Unreadable("the hint names no object")


def object_events(body: dict[str, object]) -> Iterator[ObjectEvent]:
    """What S3 tells in a message; nothing for a hint of our own, and for the test that S3 sends to a new queue.

    Raises Unreadable after all that can be read.
    """
    if is_ours(body) or body.get("Event") == "s3:TestEvent":
        return
    problem = None
    for record in _records(body):
        try:
            event = _event(record)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as wrong:
            problem = problem or Unreadable(f"a record is none of S3's: {type(wrong).__name__}: {wrong}"[:200])
        else:
            yield event
    if problem:
        raise problem


def receives(record: Record) -> int:
    """How often a message was received, this time included."""
    return int(record["attributes"]["ApproximateReceiveCount"])


def count_drops(body: str) -> int:
    """How many drops a message tells of."""
    count = 0
    with suppress(Unreadable):
        for event in object_events(parse(body)):
            count += not event.removed
    return count


def notification(bucket: str, key: str, size: int, etag: str, version_id: str, at: float) -> dict[str, object]:
    """What tells again of an object that was found, as S3 tells of a new one; only S3 itself knows the sequencer."""
    found = {"key": quote_plus(key), "size": size, "eTag": etag.strip('"'), "versionId": version_id}
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventTime": iso(at),
        "eventName": "ObjectCreated:Put",
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": bucket}, "object": found},
    }
    return {"Records": [record]}


def _records(body: dict[str, object]) -> list[Any]:
    """The records of a notification, as S3 writes them."""
    match body:
        case {"Records": [_, *_] as records}:
            return list(records)
        case {
            "source": "aws.s3",
            "detail-type": str(name),
            "detail": {"bucket": bucket, "object": dict(told), **more},
        }:
            key = _quoted(told.get("key"))
            by_rule = more.get("reason") == "Lifecycle Expiration"
            deleted = "LifecycleExpiration:Delete" if by_rule else "ObjectRemoved:Delete"
            name = {"Object Created": _CREATED, "Object Deleted": deleted}.get(name, name)
            said = {"bucket": bucket, "object": told | {"key": key}}
            return [{"eventName": name, "eventTime": body.get("time"), "s3": said}]
    raise Unreadable("the message is neither a notification of S3 nor one of this stack's own")


def _quoted(key: Any) -> str | None:
    """A key that stands as it is, in EventBridge's form, as S3 writes it; None if it is no text."""
    with suppress(TypeError, UnicodeEncodeError):
        return quote_plus(key)
    return None


def _event(record: Any) -> ObjectEvent:
    told, name = record["s3"]["object"], record.get("eventName", _CREATED)
    key, bucket, sequencer = unquote_plus(told["key"]), record["s3"]["bucket"]["name"], told.get("sequencer", "")
    if not 0 < len(key.encode()) <= MAX_KEY_BYTES:
        raise ValueError(f"a key has 1 to {MAX_KEY_BYTES} bytes")
    if not isinstance(bucket, str) or not isinstance(sequencer, str):
        raise TypeError("the bucket's name and the sequencer are texts")
    time = record.get("eventTime")
    at = None if time is None else datetime.fromisoformat(time).timestamp()
    _check_name(name)
    size = told.get("size")
    return ObjectEvent(bucket, key, size if isinstance(size, int) else None, sequencer, at, removed(name))


def removed(name: str) -> Removed:
    """Whether an event's name tells that an object was taken away, and by whom."""
    return _REMOVED.get(name.removeprefix("s3:").partition(":")[0], "")


def _check_name(name: str) -> None:
    if not (removed(name) or name.removeprefix("s3:").startswith(_CREATED)):
        raise ValueError(f"it tells of {text.escape_line(name)}, which is neither a drop nor a removal")
