"""What is told of a render: CloudEvents 1.0 on the topic.

The contract is `schemas/event.v1.json`. Everything told comes from the record, so that telling it again tells
the same, under the same id.
"""

from typing import TYPE_CHECKING, TypedDict
from urllib.parse import urlsplit, urlunsplit

from kontext import text
from kontext.clock import iso
from kontext.drops.keys import first_folder_of
from kontext.errors import REASONS, problem
from kontext.model import Charged, JobMetrics, Parameters, Reason, Render, RenderError, RenderInput, Result, Status
from kontext.renders.overdue import late_at
from kontext.results import error_file

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

    from kontext.drops.store import Drops
    from kontext.renders.store import Renders
    from kontext.results.output_bucket import OutputBucket
    from kontext.throttle.circuit_breaker import Change
    from kontext.throttle.throttle import Throttle

SCHEMA = "urn:kontext-drop:schema:event:v1"
STACK = "stack"
"""The subject of what concerns all pairs; no pair's prefix is called so, because it ends with a separator."""
TYPES = {Status.DELIVERED: "kontext.rendered", Status.FAILED: "kontext.failed", Status.UNCERTAIN: "kontext.uncertain"}

DELAYED = "kontext.delivery_delayed"


class EventInput(TypedDict):
    """An image of a render, as subscribers are told of it."""

    key: str | None
    version_id: str | None
    etag: str | None
    url: str | None


class Times(TypedDict):
    """When a render did what, and how many seconds that took at Segmind; None for what it did not come to."""

    claimed_at: str | None
    submitted_at: str | None
    completed_at: str | None
    ended_at: str | None
    queue_seconds: float | None
    inference_seconds: float | None
    segmind_seconds: float | None


class StopError(TypedDict):
    """Why all renders wait, in the shape of a render's error."""

    code: Reason
    message: str
    charged: Charged
    remedy: str


class EventData(TypedDict, total=False):
    """What an event tells; `reason` and `since` where it concerns all pairs."""

    pair: str | None
    render_id: str | None
    attempt: int | None
    request_id: str | None
    status: str
    inputs: list[EventInput]
    request: Parameters
    output: Result | None
    times: Times
    cost: float | None
    remaining_credits: float | None
    error: RenderError | StopError | None
    reason: Reason
    since: str


class CloudEvent(TypedDict):
    """An event in CloudEvents' structured form."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: str
    dataschema: str
    data: EventData


class Topic:
    """The topic that app backends subscribe to. `source`: the name of this stack in its events."""

    def __init__(self, client: "SNSClient", arn: str, source: str) -> None:
        self.client = client
        self.arn = arn
        self.source = source

    def publish(self, render: Render) -> None:
        """Tell how a render ended. Subscribers may be told twice; the event's id is the same."""
        self._send(cloud_event(render, self.source), _folder(render["prefix"]))

    def publish_delay(self, render: Render) -> None:
        """Tell that a paid picture is not delivered yet."""
        self._send(delay_event(render, self.source), _folder(render["prefix"]))

    def publish_change(self, change: "Change") -> None:
        """Tell that renders wait for the account, or go on. As with renders, the id stays the same."""
        self._send(breaker_event(change, self.source), "/")

    def _send(self, event: CloudEvent, folder: str) -> None:
        error = event["data"]["error"]
        attributes = {"type": event["type"], "folder": folder, "error_code": error["code"] if error else "none"}
        self.client.publish(
            TopicArn=self.arn,
            Message=text.dumps(event),
            MessageAttributes={k: {"DataType": "String", "StringValue": v} for k, v in attributes.items()},
        )


def announce(render: Render, drops: "Drops", outputs: "OutputBucket", topic: Topic, renders: "Renders") -> None:
    """Tell how a render ended: `error.json` if it has no picture, and the event. Can be repeated."""
    error_file.write(render, drops, outputs, renders)
    try:
        topic.publish(render)
        renders.mark_announced(render)
    finally:  # above all where the render has moved on
        error_file.take_back(render, drops, outputs, renders)


def announce_changes(throttle: "Throttle", topic: Topic) -> None:
    """Tell once of each change of the circuit breaker and of a person's pause, whoever made it. Can be repeated."""
    for change in throttle.unannounced():
        topic.publish_change(change)
        throttle.mark_announced(change)


def cloud_event(render: Render, source: str) -> CloudEvent:
    """A render's end as a structured CloudEvent."""
    return _render_event(render, source, TYPES[render["status"]], render["updated_at"], _data(render))


def delay_event(render: Render, source: str) -> CloudEvent:
    """That a paid picture is late (`kontext.delivery_delayed`), as a structured CloudEvent. Whenever it is told it says
    the same: since when, and the first reason."""
    why = render["undelivered"]["first"] if "undelivered" in render else "the delivery has not come to its end"
    data = _data(render)
    data |= {"output": None, "error": problem("delivery_delayed", why)}
    data["times"]["ended_at"] = None
    return _render_event(render, source, DELAYED, iso(late_at(render)), data)


def _render_event(render: Render, source: str, kind: str, time: str, data: EventData) -> CloudEvent:
    event_id = f"{render['render_id']}.{render['attempt']}.{kind.partition('.')[2]}"
    subject = text.escape_line(render["prefix"]) or "/"  # CloudEvents allows no controls here; data.pair is exact
    return _event(event_id, source, kind, subject, time, data)


def breaker_event(change: "Change", source: str) -> CloudEvent:
    """That all renders wait (`kontext.parked`), or go on (`kontext.resumed`), as a structured CloudEvent."""
    return _event(change.id, source, f"kontext.{change.what}", STACK, iso(change.at), _stop_of(change))


def _event(event_id: str, source: str, kind: str, subject: str, time: str, data: EventData) -> CloudEvent:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": kind,
        "subject": subject,
        "time": time,
        "datacontenttype": "application/json",
        "dataschema": SCHEMA,
        "data": data,
    }


def _data(render: Render) -> EventData:
    metrics = render.get("metrics", {})
    return {
        "pair": render["prefix"],
        "render_id": render["render_id"],
        "attempt": render["attempt"],
        "request_id": render.get("request_id"),
        "status": render["status"],
        "inputs": [_input(image) for image in render.get("inputs", [])],
        "request": render.get("parameters", {}),
        "output": {"version_id": None, "other_format": False, **render["result"]} if "result" in render else None,
        "times": _times(render, metrics),
        "cost": render.get("cost"),
        "remaining_credits": metrics.get("remaining_credits"),
        "error": render.get("error"),
    }


def _folder(prefix: str) -> str:
    folder = first_folder_of(prefix)[:-1]
    return text.escape_line(folder[:100]) if folder else "/"


def _stop_of(change: "Change") -> EventData:
    closed = change.what == "parked"
    known = REASONS[change.reason]
    error = StopError(code=change.reason, message=known.meaning, charged=known.charged, remedy=known.remedy)
    return {
        "pair": None,
        "render_id": None,
        "attempt": None,
        "request_id": None,
        "output": None,
        "cost": None,
        "remaining_credits": None,
        "status": change.what.upper(),
        "inputs": [],
        "request": {},
        "times": _times({"updated_at": iso(change.at)}, {}),
        "reason": change.reason,
        "since": iso(change.since),
        "error": error if closed else None,
    }


def _times(render: Render, metrics: JobMetrics) -> Times:
    return {
        "claimed_at": render.get("created_at"),
        "submitted_at": _when(render.get("submitted_at")),
        "completed_at": _when(render.get("completed_at")),
        "ended_at": render["updated_at"],
        "queue_seconds": metrics.get("queue_time"),
        "inference_seconds": metrics.get("inference_time"),
        "segmind_seconds": metrics.get("total_time"),
    }


def _input(image: RenderInput) -> EventInput:
    url = image.get("url")
    bare = urlunsplit((*urlsplit(url)[:3], "", "")) if url else None  # a query may hold somebody's signature
    return {"key": image.get("key"), "version_id": image.get("version_id"), "etag": image.get("etag"), "url": bare}


def _when(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)
