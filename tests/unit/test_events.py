"""What is told of a render: a contract with its subscribers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from botocore.exceptions import ClientError
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event, to_structured_event

from kontext.clock import iso
from kontext.drops import request
from kontext.drops.pairs import Pair, Ready, pair_key
from kontext.drops.store import Drops
from kontext.dynamodb import Table
from kontext.errors import CODES, REASONS, problem
from kontext.model import JobMetrics, ObjectRead, Render, Result, Status
from kontext.renders.claims import Claims
from kontext.renders.deliveries import Deliveries
from kontext.renders.jobs import Jobs
from kontext.renders.store import Renders
from kontext.renders.submissions import Submissions
from kontext.results import cloudevents, error_file
from kontext.results.cloudevents import (
    CloudEvent,
    Topic,
    announce,
    announce_changes,
    breaker_event,
    cloud_event,
    delay_event,
)
from kontext.results.output_bucket import OutputBucket
from kontext.throttle.circuit_breaker import Change
from kontext.throttle.rate_limiter import Rate
from kontext.throttle.throttle import Throttle
from tests.aws import Aws
from tests.existing import existing
from tests.unit.life import MakePair, MakeReady

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

NOW = 1_767_322_800.0
SOURCE = "urn:kontext-drop:us-east-1:000000000000:kontext-drop"
SCHEMA = json.loads((Path(cloudevents.__file__).parents[1] / "schemas" / "event.v1.json").read_text())
CONTRACT = jsonschema.Draft7Validator(SCHEMA)

RESULT: Result = {
    "bucket": "pictures",
    "key": "taj/result.png",
    "version_id": "v",
    "etag": "e",
    "content_type": "image/png",
    "bytes": 7,
    "sha256": "0" * 64,
    "width": 4,
    "height": 3,
    "superseded": False,
    "other_format": False,
}
METRICS: JobMetrics = {"cost": 0.05, "inference_time": 12, "queue_time": 0.0, "total_time": 12.0}
METRICS["remaining_credits"] = -0.05


def made(render: Render | None) -> Render:
    """The render that a drop has made."""
    assert render is not None
    return render


class Stage:
    """Brings one pair to every end that there is."""

    def __init__(self, submissions: Submissions, pair: Pair, complete: Ready) -> None:
        self.submissions, self.pair, self.complete = submissions, pair, complete
        self.renders, self.jobs = submissions.renders, Jobs(submissions.renders)

    def claimed(self) -> Render:
        return made(Claims(self.renders).claim(self.pair, self.complete, NOW))

    def submitting(self) -> Render:
        return self.submissions.mark_submitting(self.claimed(), NOW)

    def queued(self) -> Render:
        return self.submissions.mark_accepted(self.submitting(), "r-1", NOW + 1)

    def completed(self, metrics: JobMetrics) -> Render:
        return self.jobs.mark_completed(self.queued(), "https://images/a.png?sig=secret", metrics, NOW + 20)

    def delivered(self) -> Render:
        return Deliveries(self.renders).mark_delivered(self.completed(METRICS), RESULT, NOW + 21)

    def delivered_without_metrics(self) -> Render:
        return Deliveries(self.renders).mark_delivered(self.completed({}), RESULT | {"version_id": None}, NOW + 21)

    def superseded(self) -> Render:
        beside: Result = RESULT | {"key": "taj/superseded/x.png", "superseded": True}
        completed = self.completed(METRICS)
        self.renders.table.update(pair_key("taj/"), "SET #current = :newer", newer="a newer render")
        return Deliveries(self.renders).mark_delivered(completed, beside, NOW + 21)

    def failed(self) -> Render:
        return self.renders.mark_failed(self.queued(), problem("render_failed", "blocked"), "e", NOW + 20)

    def refused(self) -> Render:
        return self.renders.mark_failed(self.submitting(), problem("refused", "no"), "e", NOW)

    def overtaken(self) -> Render:
        return self.renders.mark_failed(self.claimed(), problem("superseded", "a newer drop"), "e", NOW)

    def undelivered(self) -> Render:
        return self.renders.mark_failed(self.completed(METRICS), problem("delivery", "no access"), "e", NOW + 99)

    def uncertain(self) -> Render:
        return self.submissions.mark_uncertain(self.submitting(), problem("uncertain", "lost"), "e", NOW)

    def rejected(self) -> Render:
        return made(Claims(self.renders).reject(self.pair, problem("invalid_image", "empty"), "v", "e", NOW))


GATES = sorted(REASONS.keys() - {"pace", "rate_limited"})
"""What lets all renders wait; the others concern one, or are no news."""

ENDS = [
    name
    for name in vars(Stage)
    if not name.startswith("_") and name not in {"claimed", "submitting", "queued", "completed"}
]


@pytest.fixture
def stage(submissions: Submissions, pair: MakePair, complete: MakeReady) -> Stage:
    return Stage(submissions, pair(), complete(pair(), seed=7))


@pytest.fixture
def ended(stage: Stage) -> Callable[[str], Render]:
    """A render on the record, at one of its ends."""

    def at(end: str) -> Render:
        render: Render = getattr(stage, end)()
        return render

    return at


@pytest.fixture(params=ENDS)
def end(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def event(ended: Callable[[str], Render], end: str) -> CloudEvent:
    """What is told of each end."""
    return cloud_event(ended(end), SOURCE)


def test_the_contract_is_itself_a_schema_of_the_stated_version() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)

    assert SCHEMA["$id"] == cloudevents.SCHEMA == "urn:kontext-drop:schema:event:v1"


def test_every_end_is_told_as_the_contract_says(event: dict[str, Any]) -> None:
    told = json.dumps(event)

    assert [error.message for error in CONTRACT.iter_errors(json.loads(told))] == []
    assert "secret" not in told
    assert "sig=" not in told


def test_every_end_is_a_cloud_event_for_the_cloudevents_sdk(event: dict[str, Any]) -> None:
    message = HTTPMessage({"content-type": "application/cloudevents+json"}, json.dumps(event).encode())

    parsed = from_structured_event(message)

    assert (parsed.get_type(), parsed.get_source(), parsed.get_id()) == (event["type"], SOURCE, event["id"])
    assert parsed.get_data() == event["data"]
    assert json.loads(to_structured_event(parsed).body)["subject"] == "taj/"


def _without(path: str) -> Callable[[dict[str, Any]], object]:
    *way, last = path.split(".")

    def change(event: dict[str, Any]) -> None:
        for step in way:
            event = event[step]
        del event[last]

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda event: event.update(extra=1), id="a field more"),
        pytest.param(lambda event: event["data"].update(extra=1), id="a field more in data"),
        pytest.param(lambda event: event["data"]["output"].update(extra=1), id="a field more in output"),
        pytest.param(_without("id"), id="no id"),
        pytest.param(_without("data.render_id"), id="no render_id"),
        pytest.param(_without("data.output.sha256"), id="no digest"),
        pytest.param(lambda event: event.update(type="kontext.done"), id="another type"),
        pytest.param(lambda event: event.update(type="kontext.failed"), id="another type than the data's"),
        pytest.param(lambda event: event.update(dataschema="urn:kontext-drop:schema:event:v2"), id="another version"),
        pytest.param(lambda event: event.update(time="yesterday"), id="a time in words"),
        pytest.param(lambda event: event["data"].update(output=None), id="rendered, but no output"),
        pytest.param(lambda event: event["data"].update(error=problem("refused", "x")), id="rendered, and an error"),
        pytest.param(lambda event: event["data"].update(inputs=[]), id="rendered out of nothing"),
        pytest.param(lambda event: event["data"].update(cost="0.05"), id="a cost in words"),
    ],
)
def test_the_contract_is_strict(ended: Callable[[str], Render], change: Callable[[dict[str, Any]], object]) -> None:
    event = json.loads(json.dumps(cloud_event(ended("delivered"), SOURCE)))

    change(event)

    assert not CONTRACT.is_valid(event)


def test_a_picture_that_is_late_is_told_the_same_whenever_it_is_told(ended: Callable[[str], Render]) -> None:
    late: Render = {**ended("delivered"), "status": Status.COMPLETED}
    late |= {"undelivered": {"tries": 1, "first": "HTTP 403", "last": "HTTP 403"}}
    later: Render = {
        **late,
        "updated_at": iso(NOW + 900),
        "undelivered": {"tries": 2, "first": "HTTP 403", "last": "x"},
    }

    events = [delay_event(render, SOURCE) for render in (late, later)]

    CONTRACT.validate(events[0])
    assert events[0] == events[1]
    assert events[0]["id"].endswith(".1.delivery_delayed")
    assert events[0]["data"]["error"] == problem("delivery_delayed", "HTTP 403")
    assert events[0]["data"]["output"] is None


def test_a_delivered_render_is_told_with_everything_a_backend_needs(ended: Callable[[str], Render]) -> None:
    render = ended("delivered")

    event = cloud_event(render, SOURCE)

    data = event["data"]
    assert (event["type"], event["subject"], event["time"]) == ("kontext.rendered", "taj/", iso(NOW + 21))
    assert (data["pair"], data["status"], data["request_id"], data["attempt"]) == ("taj/", "DELIVERED", "r-1", 1)
    assert data["output"] == RESULT
    assert data["inputs"][0] == {"key": "taj/1.png", "version_id": "v1", "etag": "e1", "url": None}
    assert data["request"]["seed"] == 7
    assert (data["cost"], data["remaining_credits"], data["error"]) == (0.05, -0.05, None)
    assert data["times"] == {
        "claimed_at": iso(NOW),
        "submitted_at": iso(NOW + 1),
        "completed_at": iso(NOW + 20),
        "ended_at": iso(NOW + 21),
        "queue_seconds": 0.0,
        "inference_seconds": 12,
        "segmind_seconds": 12.0,
    }


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


def test_telling_again_tells_the_same(stage: Stage, ended: Callable[[str], Render], end: str) -> None:
    first = ended(end)
    stage.renders.mark_announced(first)

    again = stage.renders.get(first["prefix"], first["render_id"])

    assert again is not None
    assert cloud_event(again, SOURCE) == cloud_event(first, SOURCE)


def test_another_attempt_is_another_event(ended: Callable[[str], Render]) -> None:
    render = ended("failed")

    ids = {cloud_event(render | {"attempt": attempt}, SOURCE)["id"] for attempt in (1, 2)}

    assert ids == {f"{render['render_id']}.{attempt}.failed" for attempt in (1, 2)}


def test_the_same_attempt_that_ends_otherwise_after_all_is_another_event(ended: Callable[[str], Render]) -> None:
    render = ended("uncertain")

    told = {cloud_event(render | {"status": status}, SOURCE)["id"] for status in (Status.UNCERTAIN, Status.FAILED)}

    assert len(told) == 2


def test_an_input_named_by_a_url_is_told_without_its_query(renders: Renders, pair: MakePair) -> None:
    given: ObjectRead = {"url": "https://example.com/a.png?X-Amz-Signature=secret#part"}
    render = made(Claims(renders).claim(pair(), Ready((given, given), {"prompt": "p"}, {"prompt": "p"}), NOW))
    failed = renders.mark_failed(render, problem("superseded", "x"), "e", NOW)

    (told, _) = cloud_event(failed, SOURCE)["data"]["inputs"]

    assert told == {"key": None, "version_id": None, "etag": None, "url": "https://example.com/a.png"}


@pytest.mark.parametrize("code", CODES)
def test_every_error_code_says_what_it_means_what_it_cost_and_what_to_do(code: str) -> None:
    error = problem(code, "what happened")

    assert set(error) == {"code", "message", "charged", "remedy"}
    assert error["charged"] in ("yes", "no", "unknown")
    assert len(CODES[code].meaning) > 20
    assert len(error["remedy"]) > 20


def test_the_contract_lists_every_code_that_an_event_can_hold() -> None:
    listed = SCHEMA["definitions"]["error"]["properties"]["code"]["examples"]

    assert set(listed) == CODES.keys() - {"unknown_drop"}  # which is no render's


def test_the_contract_knows_what_a_request_may_ask_for() -> None:
    asked = json.loads((Path(request.__file__).parents[1] / "schemas" / "request.v1.json").read_text())["properties"]

    told = SCHEMA["definitions"]["request"]["properties"]

    assert told.keys() == asked.keys() - {"$schema", "input_image_1", "input_image_2"}


def test_an_error_file_says_it_to_the_one_who_dropped(ended: Callable[[str], Render]) -> None:
    render = ended("failed")

    said = json.loads(error_file.content(render))

    assert said == {
        "code": "render_failed",
        "message": "blocked",
        "charged": "no",
        "remedy": CODES["render_failed"].remedy,
        "pair": "taj/",
        "render_id": render["render_id"],
        "request_id": "r-1",
        "at": iso(NOW + 20),
    }
    assert error_file.content(render).count(b"\n") > 5


@pytest.fixture
def published(aws: Aws) -> Callable[[], list[MessageTypeDef]]:
    """A topic's messages, as a queue receives them with raw delivery."""
    topic = aws("sns").create_topic(Name="renders")["TopicArn"]
    url = aws("sqs").create_queue(QueueName="subscriber")["QueueUrl"]
    arn = aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})

    def receive() -> list[MessageTypeDef]:
        answer = aws("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        return answer.get("Messages", [])

    return receive


@pytest.fixture
def topic(aws: Aws, published: object) -> Topic:
    (found,) = aws("sns").list_topics()["Topics"]
    return Topic(aws("sns"), found["TopicArn"], SOURCE)


@pytest.mark.parametrize(
    ("end", "attributes"),
    [
        ("delivered", {"type": "kontext.rendered", "folder": "taj", "error_code": "none"}),
        ("failed", {"type": "kontext.failed", "folder": "taj", "error_code": "render_failed"}),
        ("uncertain", {"type": "kontext.uncertain", "folder": "taj", "error_code": "uncertain"}),
    ],
)
def test_subscribers_can_filter_by_type_folder_and_error(
    ended: Callable[[str], Render],
    topic: Topic,
    published: Callable[[], list[MessageTypeDef]],
    end: str,
    attributes: dict[str, str],
) -> None:
    topic.publish(ended(end))

    (message,) = published()
    assert {name: value["StringValue"] for name, value in message["MessageAttributes"].items()} == attributes
    assert json.loads(message["Body"])["type"] == attributes["type"]


@pytest.mark.parametrize(("what", "code"), [("parked", "no_credits"), ("resumed", "none")])
def test_subscribers_can_filter_changes_of_the_gate_too(
    topic: Topic, published: Callable[[], list[MessageTypeDef]], what: Any, code: str
) -> None:
    topic.publish_change(Change(what, "no_credits", NOW, NOW))

    (message,) = published()
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes == {"type": f"kontext.{what}", "folder": "/", "error_code": code}


@pytest.mark.parametrize(
    ("prefix", "folder"),
    [
        pytest.param("summer/taj/", "summer", id="the first folder of several"),
        pytest.param("summer/taj_", "summer", id="a pair in a folder"),
        pytest.param("taj_", "/", id="a pair at the root, with a prefix"),
        pytest.param("", "/", id="a pair at the root"),
        pytest.param("/taj/", "/", id="a folder without a name"),
        pytest.param("夏/", "夏", id="not ASCII"),
    ],
)
def test_the_folder_of_a_pair_is_the_first_one_of_its_key(
    renders: Renders,
    pair: MakePair,
    complete: MakeReady,
    topic: Topic,
    published: Callable[[], list[MessageTypeDef]],
    prefix: str,
    folder: str,
) -> None:
    dropped = pair(prefix)
    render = made(Claims(renders).claim(dropped, complete(dropped), NOW))
    failed = renders.mark_failed(render, problem("superseded", "x"), "e", NOW)

    topic.publish(failed)

    (message,) = published()
    assert message["MessageAttributes"]["folder"]["StringValue"] == folder
    assert CONTRACT.is_valid(json.loads(message["Body"]))


@pytest.fixture
def tell(drops: Drops, aws: Aws, bucket: str, topic: Topic, renders: Renders) -> Callable[[Render], list[str]]:
    """Tells how a render ended; gives the keys that then stand in the output bucket."""

    def announced(render: Render) -> list[str]:
        announce(render, drops, OutputBucket(aws("s3"), bucket), topic, renders)
        return [item["Key"] for item in aws("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]

    return announced


@pytest.mark.parametrize(
    ("end", "keys"),
    [
        pytest.param("delivered", [], id="delivered"),
        pytest.param("failed", ["taj/error.json"], id="failed"),
        pytest.param("uncertain", ["taj/error.json"], id="uncertain"),
        pytest.param("rejected", ["taj/error.json"], id="rejected"),
        pytest.param("overtaken", [], id="overtaken by a newer drop, which has the word"),
    ],
)
def test_who_gets_no_picture_gets_an_error_file(
    stage: Stage, ended: Callable[[str], Render], tell: Callable[[Render], list[str]], end: str, keys: list[str]
) -> None:
    render = ended(end)

    written = tell(render)

    assert written == keys
    assert existing(stage.renders.get(render["prefix"], render["render_id"]))["announced"] is True


def test_a_failure_of_an_older_drop_does_not_speak_for_the_pair(
    stage: Stage,
    ended: Callable[[str], Render],
    pair: MakePair,
    complete: MakeReady,
    tell: Callable[[Render], list[str]],
) -> None:
    old = ended("failed")
    newer = pair(drop=2)
    Claims(stage.renders).claim(newer, complete(newer, prompt="new"), NOW)

    written = tell(old)

    assert written == []


def test_an_explanation_that_is_written_late_replaces_no_newer_one(
    stage: Stage, pair: MakePair, drops: Drops, tell: Callable[[Render], list[str]], aws: Aws, bucket: str
) -> None:
    old, s3, newer = stage.uncertain(), aws("s3"), pair(drop=2)

    def overtake(**_: object) -> None:
        render = Claims(stage.renders).reject(newer, problem("invalid_request", "no prompt"), "v2", "e", NOW)
        if render:  # once
            tell(render)

    s3.meta.events.register("before-call.s3.PutObject", overtake)
    try:
        error_file.write(old, drops, OutputBucket(s3, bucket), stage.renders)
    finally:
        s3.meta.events.unregister("before-call.s3.PutObject", overtake)

    said = json.loads(s3.get_object(Bucket=bucket, Key="taj/error.json")["Body"].read())
    assert said["code"] == "invalid_request"


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
