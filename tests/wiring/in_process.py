"""The functions in process, configured by the template: AWS by moto, Segmind by the emulator."""

from __future__ import annotations

import io
import json
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from PIL import Image

import submit
from kontext.clock import Clock
from kontext.connections import Connections
from kontext.drops.messages import Batch
from kontext.model import Render
from kontext_local.segmind import Parameters, Picture, Segmind, Settings, segmind_transport
from tests.aws import Aws

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"


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
