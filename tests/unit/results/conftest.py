"""A pair at every end that there is, and a topic with a subscriber."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

from kontext.drops.pairs import Pair, Ready, pair_key
from kontext.errors import problem
from kontext.model import JobMetrics, Render, Result
from kontext.renders.claims import Claims
from kontext.renders.deliveries import Deliveries
from kontext.renders.jobs import Jobs
from kontext.renders.submissions import Submissions
from kontext.results import cloudevents
from kontext.results.cloudevents import CloudEvent, Topic, cloud_event
from tests.aws import Aws
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
        return self.renders.mark_failed(self.queued(), problem("render_failed", "blocked"), NOW + 20)

    def refused(self) -> Render:
        return self.renders.mark_failed(self.submitting(), problem("refused", "no"), NOW)

    def overtaken(self) -> Render:
        return self.renders.mark_failed(self.claimed(), problem("superseded", "a newer drop"), NOW)

    def undelivered(self) -> Render:
        return self.renders.mark_failed(self.completed(METRICS), problem("delivery", "no access"), NOW + 99)

    def uncertain(self) -> Render:
        return self.submissions.mark_uncertain(self.submitting(), "lost", NOW)

    def rejected(self) -> Render:
        return made(Claims(self.renders).reject(self.pair, problem("invalid_image", "empty"), "v", NOW))


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
