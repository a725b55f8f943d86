"""The sample events: the functions run on them, and the published ones keep to their contract."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import jsonschema
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from PIL import Image

import finalize
import poll
import submit
import sweep
from kontext.clock import Clock
from kontext.connections import Connections
from kontext.drops.messages import Batch
from kontext.errors import CODES
from kontext.model import Render
from kontext.renders.record import render_key
from kontext.renders.workflow import execution_name
from kontext.throttle.line import why_parked
from kontext_local.segmind import Parameters, Picture, Rule, Segmind, Settings, segmind_transport
from tests.aws import Aws

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"
PUBLISHED = sorted((EVENTS / "published").glob("*.json"))
TOLD = [path for path in PUBLISHED if path.name != "error.json"]
SCHEMA = ROOT / "layers" / "kontext" / "python" / "kontext" / "schemas" / "event.v1.json"
IMAGES = {"1.png": "chelsea.png", "2.png": "coffee.png"}
CONTEXT = SimpleNamespace(
    function_name="test",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:test",
    aws_request_id="test",
    get_remaining_time_in_millis=lambda: 120_000,
)


def sample(name: str) -> Any:
    return json.loads((EVENTS / name).read_text())


class StandingClock(Clock):
    """Time that passes only when somebody sleeps."""

    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += max(0.0, seconds)


def draw(parameters: Parameters) -> Picture:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(file, "JPEG" if parameters.output_format == "jpg" else "PNG")
    return Picture(file.getvalue(), parameters.content_type)


class Stage:
    """The functions in process, configured by the template: AWS by moto, Segmind by the emulator."""

    def __init__(self, aws: Aws, template: Json, now: float) -> None:
        self.aws = aws
        self.clock = StandingClock(now)
        settings = Settings().changed({"inference": {"values": [10]}})
        self.segmind = Segmind(settings, draw=draw, clock=self.clock.now, rng=Random(1))
        self.names = _created(aws, self.segmind.api_key)
        self.environment = _environment(template, self.names)
        transport = segmind_transport(self.segmind, self.clock.sleep)
        self.deps = Connections(self.environment, self.clock, transport)

    def put(self, prefix: str, request: Json) -> None:
        """Put a pair into the input bucket; nobody is told of it."""
        files = {name: (ROOT / "samples" / photograph).read_bytes() for name, photograph in IMAGES.items()}
        files["request.json"] = json.dumps(request, ensure_ascii=False).encode()
        for name, body in files.items():
            self.aws("s3").put_object(Bucket=self.environment["INPUT_BUCKET"], Key=prefix + name, Body=body)

    def submit(self, event: Json) -> Json:
        return submit.handler(cast("Batch", event), CONTEXT, self.deps)

    def submitted(self, state: Json, request: Json) -> None:
        """Bring a pair to Segmind, under the request_id that a captured state of the workflow names."""
        self.put(state["prefix"], request)
        assert self.submit(dropped(state["prefix"])) == {"batchItemFailures": []}
        (request_id,) = self.segmind.ledger.jobs
        job = self.segmind.ledger.jobs.pop(request_id)
        job.request_id = state["request_id"]
        self.segmind.ledger.jobs[job.request_id] = job

    def record(self, state: Json) -> Render:
        """The render that a state of the workflow names."""
        found = self.deps.renders.get(state["prefix"], state["render_id"])
        assert found is not None
        return found

    def told(self) -> list[Json]:
        """What the topic's subscriber has received."""
        answer = self.aws("sqs").receive_message(QueueUrl=self.names["Subscriber"], MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    def output(self, key: str) -> Any:
        return self.aws("s3").get_object(Bucket=self.environment["OUTPUT_BUCKET"], Key=key)


def _created(aws: Aws, api_key: str) -> dict[str, str]:
    """What the functions need, by logical id; the input bucket is called as in the captured events."""
    bucket = json.loads(sample("submit-drop.json")["Records"][0]["body"])["Records"][0]["s3"]["bucket"]["name"]
    for name in (bucket, "pictures"):
        aws("s3").create_bucket(Bucket=name)
        aws("s3").put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    topic = aws("sns").create_topic(Name="renders")["TopicArn"]
    subscriber = aws("sqs").create_queue(QueueName="subscriber")["QueueUrl"]
    attributes = aws("sqs").get_queue_attributes(QueueUrl=subscriber, AttributeNames=["QueueArn"])["Attributes"]
    raw = {"RawMessageDelivery": "true"}
    aws("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"], Attributes=raw)
    return {
        "InputBucket": bucket,
        "OutputBucket": "pictures",
        "RendersTable": "renders",
        "RenderTopic": topic,
        "Subscriber": subscriber,
        "UploadQueue": aws("sqs").create_queue(QueueName="uploads")["QueueUrl"],
        "DeadLetterQueue": aws("sqs").create_queue(QueueName="dead-letters")["QueueUrl"],
        "SegmindSecret": aws("secretsmanager").create_secret(Name="segmind", SecretString=api_key)["ARN"],
        "RenderWorkflow": aws("stepfunctions").create_state_machine(
            name="renders", definition='{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}', roleArn=_ROLE
        )["stateMachineArn"],
    }


_ROLE = "arn:aws:iam::123456789012:role/workflow"


def _environment(template: Json, names: dict[str, str]) -> dict[str, str]:
    """The variables of all functions, with the template's defaults for its parameters."""
    given = dict(template["Globals"]["Function"]["Environment"]["Variables"])
    for resource in template["Resources"].values():
        given |= resource.get("Properties", {}).get("Environment", {}).get("Variables", {})

    def value(said: Any) -> str:
        if isinstance(said, dict) and "Fn::If" in said:
            return value(said["Fn::If"][-1])
        logical_id = said.get("Ref") or said.get("Fn::GetAtt", [""])[0] if isinstance(said, dict) else ""
        if logical_id in template["Parameters"]:
            return str(template["Parameters"][logical_id]["Default"])
        return names.get(logical_id, "urn:kontext-drop:test" if isinstance(said, dict) else str(said))

    return {name: value(said) for name, said in given.items()}


def dropped(prefix: str) -> Json:
    """The captured drop, of another pair."""
    captured = sample("submit-drop.json")
    original = json.loads(captured["Records"][0]["body"])["Records"][0]["s3"]["object"]["key"]
    there = original.rpartition("/")[0] + "/"
    event: Json = json.loads(json.dumps(captured).replace(there, prefix))
    return event


@pytest.fixture
def stage(aws: Aws, renders_table: str, template: Json) -> Stage:
    return Stage(aws, template, now=sample("poll.json")["submitted_at"])


@pytest.fixture
def request_of_the_pair() -> Json:
    """The request that was dropped with the captured pair."""
    return {"prompt": sample("published/rendered.json")["data"]["request"]["prompt"]}


def test_submit_runs_on_the_captured_drop(stage: Stage, request_of_the_pair: Json) -> None:
    state = sample("poll.json")
    stage.put(state["prefix"], request_of_the_pair)

    answer = stage.submit(sample("submit-drop.json"))

    render = stage.record(state)  # the same content is the same render, here and there
    (execution,) = stage.aws("stepfunctions").list_executions(stateMachineArn=stage.names["RenderWorkflow"])[
        "executions"
    ]
    told = stage.aws("stepfunctions").describe_execution(executionArn=execution["executionArn"])["input"]
    assert answer == {"batchItemFailures": []}
    assert render["status"] == "QUEUED"
    assert [post.outcome for post in stage.segmind.ledger.posts] == ["accepted"]
    assert execution["name"] == execution_name(render)
    assert json.loads(told).keys() == state.keys()


def test_submit_runs_on_the_captured_permit(stage: Stage, request_of_the_pair: Json) -> None:
    state = sample("poll.json")
    stage.segmind.script.add(Rule(status=429))
    stage.put(state["prefix"], request_of_the_pair)
    stage.submit(sample("submit-drop.json"))
    waiting = stage.record(state)
    parked = why_parked(waiting, stage.deps.throttle.read())

    stage.clock.sleep(60)
    answer = stage.submit(sample("submit-permit.json"))

    assert parked == {"reason": "pace", "since": waiting["waiting_since"]}
    assert answer == {"batchItemFailures": []}
    assert stage.record(state)["status"] == "QUEUED"


def test_a_sweep_sends_the_captured_permit_for_who_waits(stage: Stage, request_of_the_pair: Json) -> None:
    stage.segmind.script.add(Rule(status=429))
    stage.put(sample("poll.json")["prefix"], request_of_the_pair)
    stage.submit(sample("submit-drop.json"))
    stage.clock.sleep(60)

    answer = sweep.handler(sample("sweep.json"), CONTEXT, stage.deps)

    (message,) = stage.aws("sqs").receive_message(QueueUrl=stage.names["UploadQueue"])["Messages"]
    assert answer == {"in_line": 1, "sent": 0}
    assert message["Body"] == sample("submit-permit.json")["Records"][0]["body"]


def test_a_message_in_which_the_first_edition_let_a_render_wait_is_understood(
    stage: Stage, request_of_the_pair: Json
) -> None:
    state, event = sample("poll.json"), sample("submit-permit.json")
    stage.segmind.script.add(Rule(status=500))
    stage.put(state["prefix"], request_of_the_pair)
    stage.submit(sample("submit-drop.json"))
    kept = "SET #wake = :token, #parked = :parked REMOVE #due_lane, #due_at"
    key = render_key(state["prefix"], state["render_id"])
    stage.deps.table.update(key, kept, token="t", parked={"reason": "outage", "until": stage.clock.now()})
    wake = {"prefix": state["prefix"], "due": stage.clock.now(), "render_id": state["render_id"], "token": "t"}
    event["Records"][0]["body"] = json.dumps({"wake": [wake]})

    answer = stage.submit(event)

    assert answer == {"batchItemFailures": []}
    assert stage.record(state)["status"] == "QUEUED"


def test_submit_runs_on_the_captured_hint(stage: Stage, request_of_the_pair: Json) -> None:
    state = sample("poll.json")
    stage.submitted(state, request_of_the_pair)
    stage.clock.sleep(stage.record(state)["due_at"] - stage.clock.now())

    answer = stage.submit(sample("submit-due.json"))

    assert answer == {"batchItemFailures": []}
    assert stage.record(state)["generation"] == 2


def test_sweep_runs_on_the_captured_call_and_tells_submit_what_is_due(stage: Stage, request_of_the_pair: Json) -> None:
    state = sample("poll.json")
    stage.submitted(state, request_of_the_pair)
    stage.clock.sleep(stage.record(state)["due_at"] - stage.clock.now())

    answer = sweep.handler(sample("sweep.json"), CONTEXT, stage.deps)

    (message,) = stage.aws("sqs").receive_message(QueueUrl=stage.names["UploadQueue"])["Messages"]
    assert answer == {"in_line": 0, "sent": 1}
    assert message["Body"] == sample("submit-due.json")["Records"][0]["body"]


def test_poll_runs_on_the_captured_state(stage: Stage, request_of_the_pair: Json) -> None:
    state = sample("poll.json")
    stage.submitted(state, request_of_the_pair)
    stage.clock.sleep(state["poll"]["wait"])

    outcome = poll.handler(state, CONTEXT, stage.deps)

    assert outcome == sample("finalize.json")["poll"] == {"outcome": "completed"}
    assert stage.record(state)["status"] == "COMPLETED"


def test_finalize_runs_on_the_captured_state(stage: Stage, request_of_the_pair: Json) -> None:
    state = sample("finalize.json")
    stage.submitted(state, request_of_the_pair)
    stage.clock.sleep(13)
    poll.handler(sample("poll.json"), CONTEXT, stage.deps)

    outcome = finalize.handler(state, CONTEXT, stage.deps)

    (event,) = stage.told()
    picture = Image.open(stage.output(event["data"]["output"]["key"])["Body"])
    assert outcome == {"outcome": "delivered"}
    assert (picture.format, picture.size) == ("PNG", (8, 6))
    assert shape(event) == shape(sample("published/rendered.json"))


def test_finalize_runs_on_the_captured_failure(stage: Stage) -> None:
    state, published = sample("finalize-failed.json"), sample("published/failed.json")
    stage.submitted(state, {"prompt": published["data"]["request"]["prompt"]})

    outcome = finalize.handler(state, CONTEXT, stage.deps)

    (event,) = stage.told()
    error = json.load(stage.output(f"{state['prefix']}error.json")["Body"])
    assert (outcome["outcome"], outcome["error"]["message"]) == ("failed", state["poll"]["message"])
    assert shape(event) == shape(published)
    assert error.keys() == sample("published/error.json").keys()


def shape(event: Any) -> Any:
    """What an event tells, without saying it: names and types."""
    if isinstance(event, dict):
        return {name: shape(value) for name, value in event.items()}
    return (
        [shape(value) for value in event] if isinstance(event, list) else type(event).__name__.replace("int", "float")
    )


JUNK = [
    pytest.param("not JSON", id="no JSON"),
    pytest.param("[]", id="a list"),
    pytest.param('["Records"]', id="a list that names records"),
    pytest.param('"Records"', id="a string"),
    pytest.param("5", id="a number"),
    pytest.param("null", id="nothing"),
    pytest.param("{}", id="nothing in it"),
    pytest.param('{"Records": 5}', id="records that are none"),
    pytest.param('{"Records": [{}]}', id="an empty record"),
    pytest.param("[" * 100_000, id="nested"),
]


@pytest.mark.parametrize("body", JUNK)
def test_a_message_that_nobody_can_read_is_a_dead_letter_at_once(
    stage: Stage, request_of_the_pair: Json, body: str
) -> None:
    state, event = sample("poll.json"), sample("submit-drop.json")
    stage.put(state["prefix"], request_of_the_pair)
    junk = copy.deepcopy(event["Records"][0]) | {"messageId": "junk", "body": body}

    answer = stage.submit({"Records": [junk, *event["Records"]]})

    url = stage.names["DeadLetterQueue"]
    (letter,) = stage.aws("sqs").receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"]
    assert answer == {"batchItemFailures": []}
    assert letter["Body"] == body
    assert letter["MessageAttributes"]["reason"]["StringValue"]
    assert stage.record(state)["status"] == "QUEUED"


@pytest.mark.parametrize(
    "body",
    [
        '{"due": 5}',
        '{"due": {"pk": "pair#x/"}}',
        '{"waiters": 5}',
        '{"wake": 5}',
        '{"wake": [{"until": 5}]}',
    ],
)
def test_a_hint_that_nobody_can_read_is_dropped(stage: Stage, body: str) -> None:
    event = sample("submit-due.json")
    event["Records"][0]["body"] = body

    answer = stage.submit(event)

    assert answer == {"batchItemFailures": []}
    assert "Messages" not in stage.aws("sqs").receive_message(QueueUrl=stage.names["DeadLetterQueue"])


def test_an_event_that_is_written_by_hand_tells_of_a_drop(stage: Stage, request_of_the_pair: Json) -> None:
    state, event = sample("poll.json"), sample("submit-drop.json")
    stage.put(state["prefix"], request_of_the_pair)
    for record in event["Records"]:
        told = json.loads(record["body"])["Records"][0]["s3"]
        least = {"bucket": {"name": told["bucket"]["name"]}, "object": {"key": told["object"]["key"]}}
        record["body"] = json.dumps({"Records": [{"s3": least}]})

    answer = stage.submit(event)

    assert answer == {"batchItemFailures": []}
    assert stage.record(state)["status"] == "QUEUED"


def test_a_prompt_whose_message_is_late_is_used_before_the_default_is_paid(
    stage: Stage, request_of_the_pair: Json
) -> None:
    state, event = sample("poll.json"), sample("submit-drop.json")
    stage.put(state["prefix"], request_of_the_pair)
    images = [record for record in event["Records"] if "request.json" not in record["body"]]
    stage.clock.sleep(60)

    stage.submit({"Records": images})
    stage.submit(event)  # the late message, and the others again

    assert [post.prompt for post in stage.segmind.ledger.posts] == [request_of_the_pair["prompt"]]


def test_the_test_message_of_s3_is_no_drop(stage: Stage) -> None:
    event = sample("submit-drop.json")
    event["Records"] = event["Records"][:1]
    event["Records"][0]["body"] = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"})

    assert stage.submit(event) == {"batchItemFailures": []}


@pytest.mark.parametrize("path", TOLD, ids=lambda path: path.stem)
def test_every_published_example_keeps_to_the_contract(path: Path) -> None:
    event = json.loads(path.read_text())

    parsed = from_structured_event(HTTPMessage({"content-type": "application/cloudevents+json"}, path.read_bytes()))

    jsonschema.validate(event, json.loads(SCHEMA.read_text()), jsonschema.Draft7Validator)
    assert parsed.get_type() == f"kontext.{path.stem}"


def test_there_is_an_example_of_every_type_that_is_published() -> None:
    types = json.loads(SCHEMA.read_text())["properties"]["type"]["enum"]

    assert sorted(types) == sorted(f"kontext.{path.stem}" for path in TOLD)


def test_the_example_of_an_error_file_has_a_known_code_and_its_remedy() -> None:
    error = sample("published/error.json")

    assert error["remedy"] == CODES[error["code"]].remedy


def test_there_is_a_sample_event_of_every_function(functions: Json) -> None:
    sampled = {path.stem.partition("-")[0] for path in EVENTS.glob("*.json")}

    assert sampled == {name.removesuffix("Function").lower() for name in functions}


def test_every_sample_event_is_explained() -> None:
    explained = (EVENTS / "README.md").read_text()

    missing = [path.name for path in (*EVENTS.glob("*.json"), *PUBLISHED) if path.name not in explained]

    assert missing == []
