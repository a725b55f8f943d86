"""What the upload queue's messages say: S3's notifications of the input bucket, and hints of our own.

A notification, as S3 writes it: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
One that a person or `kontext replay` has written may lack the time and the sequencer.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote_plus, unquote_plus

from kontext.clock import iso
from kontext.dynamodb import Key
from kontext.errors import KontextError

OURS = frozenset({"due", "permit", "waiters", "wake"})
"""The fields by which a hint of our own is known."""

MAX_KEY_BYTES = 1024

Removed = Literal["", "by a person", "by a rule"]
_REMOVED: dict[str, Removed] = {
    "ObjectRemoved": "by a person",
    "LifecycleExpiration": "by a rule",
}


class Unreadable(KontextError):
    """A message that no try can do anything with; the text says why."""


@dataclass(frozen=True)
class ObjectEvent:
    """Something has happened to an object. `at` (unix seconds) is None, and `sequencer` empty, where S3 did not tell:
    then the object was found."""

    bucket: str
    key: str
    size: int | None
    sequencer: str
    at: float | None
    removed: Removed = ""
    """Whether the object was taken away, and by whom."""


def parse(text: str) -> dict[str, Any]:
    """A message's body. Raises Unreadable where it is no JSON object."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise Unreadable(f"the message is no JSON: {problem}"[:200]) from problem
    if not isinstance(body, dict):
        raise Unreadable("the message is no JSON object")
    return body


def is_ours(body: Any) -> bool:
    """Whether a message is a hint of our own: the table is the truth, and it may be lost."""
    return isinstance(body, dict) and bool(body.keys() & OURS)


def due_key(body: dict[str, Any]) -> Key:
    """The item of the table that a hint names. Raises Unreadable where it names none."""
    match body["due"]:
        case {"pk": str(pk), "sk": str(sk)}:
            return {"pk": pk, "sk": sk}
    raise Unreadable("the hint names no item of the table")


def page(body: dict[str, Any]) -> tuple[str, str]:
    """The object, and the place behind which those who wait for it are to be woken. Raises Unreadable without them."""
    match body:
        case {"waiters": str(key), "after": str(place)}:
            return key, place
    raise Unreadable("the hint names no object")


def object_events(body: dict[str, Any]) -> Iterator[ObjectEvent]:
    """What S3 tells in a message; nothing for a hint of our own, and for the test that S3 sends to a new queue.

    Raises Unreadable after all that can be read.
    """
    if is_ours(body) or body.get("Event") == "s3:TestEvent":
        return
    if not isinstance(body.get("Records"), list) or not body["Records"]:
        raise Unreadable(_unknown(body))
    problem = None
    for record in body["Records"]:
        try:
            event = _event(record)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as wrong:
            problem = problem or Unreadable(f"a record is none of S3's: {type(wrong).__name__}: {wrong}"[:200])
        else:
            yield event
    if problem:
        raise problem


def notification(bucket: str, key: str, size: int, etag: str, version_id: str, at: float) -> dict[str, Any]:
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


def _event(record: Any) -> ObjectEvent:
    told = record["s3"]["object"]
    key, bucket, sequencer = unquote_plus(told["key"]), record["s3"]["bucket"]["name"], told.get("sequencer", "")
    if not 0 < len(key.encode()) <= MAX_KEY_BYTES:
        raise ValueError(f"a key has 1 to {MAX_KEY_BYTES} bytes")
    if not isinstance(bucket, str) or not isinstance(sequencer, str):
        raise TypeError("the bucket's name and the sequencer are texts")
    size = told.get("size")
    time = record.get("eventTime")
    at = None if time is None else datetime.fromisoformat(time).timestamp()
    return ObjectEvent(bucket, key, size if isinstance(size, int) else None, sequencer, at, removed(record))


def removed(record: Any) -> Removed:
    """Whether a record of S3's tells that an object was taken away, and by whom."""
    name = record.get("eventName", "") if isinstance(record, dict) else ""
    return _REMOVED.get(str(name).removeprefix("s3:").partition(":")[0], "")


def _unknown(body: dict[str, Any]) -> str:
    if body.get("Type") == "Notification" and "TopicArn" in body:
        return "the message is wrapped by SNS: let S3 tell the queue itself, or switch raw message delivery on"
    if "detail-type" in body:
        return "the message comes from EventBridge: let S3 tell the queue itself"
    return "the message is neither a notification of S3 nor one of this stack's own"
