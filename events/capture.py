"""Captures the sample events anew: `.venv/bin/python events/capture.py`.

Nothing here is written by hand. A local stack is started, pairs are dropped, and what its functions, its
workflow and a subscriber of its topic were given is kept. Takes about three minutes.
"""

from __future__ import annotations

import io
import json
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kontext.drops.pairs import partition
from kontext.due import SET_DUE, TIMER
from kontext.dynamodb import Table
from kontext.model import Render
from kontext.renders.overdue import DELAY_SECONDS
from kontext.renders.record import render_key, renders_among
from kontext.throttle.shared_state import state_in
from kontext_cli.demo.subscriber import Subscriber
from kontext_cli.target import LOCAL, Target
from kontext_local import stack
from kontext_local.project import ROOT

EVENTS = Path(__file__).parent
BUCKET, FUNCTION = "captured-events", "capture-events"
SOURCE = f"""
import boto3, json, uuid
def handler(event, context):
    boto3.client("s3").put_object(Bucket="{BUCKET}", Key=uuid.uuid4().hex, Body=json.dumps(event))
"""
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:PutObject", "sqs:*"], "Resource": "*"}],
}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
PAIR, BLOCKED, LOST, EMPTY, LATE = (f"summer/{name}/" for name in ("cafe", "blocked", "lost", "empty", "late"))
PROMPTS = {
    PAIR: "The cat sits behind the cup of coffee on a café table.",
    BLOCKED: "Something that may not be shown.",
    LOST: "The cat looks for an answer.",
    LATE: "The cat waits for its picture.",
}
PUBLISHED = {
    "kontext.rendered": PAIR,
    "kontext.failed": BLOCKED,
    "kontext.uncertain": LOST,
    "kontext.delivery_delayed": LATE,
    "kontext.parked": "stack",
    "kontext.resumed": "stack",
}
SCRIPT = [
    {"prompt": PROMPTS[PAIR], "status": 503, "body": {"error": "temporarily unavailable"}},
    {"prompt": PROMPTS[PAIR], "status": 429, "body": {"error": "too many requests"}},
    {"prompt": PROMPTS[BLOCKED], "fail": "The request was blocked by the content filter."},
    {"prompt": PROMPTS[LOST], "accept": True, "drop": True},
    {"prompt": PROMPTS[LATE], "output_url": "https://elsewhere.example/picture.png"},
]


class Capture:
    """A running stack, with a function that can take the place of Submit at the upload queue."""

    def __init__(self, local: stack.LocalStack) -> None:
        self.client, self.outputs = local.client, local.outputs
        self.table = Table(local.client("dynamodb"), local.outputs["RendersTable"])
        self.s3, self.functions = local.client("s3"), local.client("lambda")
        self.s3.create_bucket(Bucket=BUCKET)
        role = local.client("iam").create_role(RoleName=FUNCTION, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
        local.client("iam").put_role_policy(RoleName=FUNCTION, PolicyName="all", PolicyDocument=json.dumps(POLICY))
        self.functions.create_function(
            FunctionName=FUNCTION,
            Runtime="python3.13",
            Handler="capture.handler",
            Timeout=60,
            Role=role["Arn"],
            Code={"ZipFile": _zipped("capture.py", SOURCE)},
        )
        (self.submit,) = self.functions.list_event_source_mappings()["EventSourceMappings"]
        self.capture = self.functions.create_event_source_mapping(
            EventSourceArn=self.submit["EventSourceArn"], FunctionName=FUNCTION, BatchSize=10, Enabled=False
        )

    def drop(self, prefix: str, *images: bytes) -> None:
        """Drop a pair with its request."""
        request = json.dumps({"prompt": PROMPTS[prefix]}, ensure_ascii=False).encode() if prefix in PROMPTS else None
        parts = {"request.json": request, **{f"{slot}.png": image for slot, image in enumerate(images, 1)}}
        for name, body in parts.items():
            if body is not None:
                self.s3.put_object(Bucket=self.outputs["InputBucket"], Key=prefix + name, Body=body)

    def connect(self, *, submit: bool = False, capture: bool = False) -> None:
        """Say who is given the queue's messages."""
        for mapping, enabled in ((self.submit, submit), (self.capture, capture)):
            self.functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=enabled)
        time.sleep(2)  # a poll that is on its way ends

    def send_again(self, event: Any) -> None:
        """Put the messages of a captured event back into the queue."""
        for record in event["Records"]:
            self.client("sqs").send_message(QueueUrl=self.outputs["UploadQueueUrl"], MessageBody=record["body"])

    def make_due(self, prefix: str, **values: Any) -> None:
        """Let the next sweep find a pair's render, of which the record says something else from now on."""
        changed = ", ".join((SET_DUE, *(f"#{name} = :{name}" for name in values)))
        key = render_key(prefix, self.record(prefix)["render_id"])
        self.table.update(key, f"SET {changed}", due_lane=TIMER, due_at=0, **values)

    def record(self, prefix: str) -> Render:
        """The one render of a pair, as its record stands."""
        (render,) = renders_among(self.table.query(partition(prefix)))
        return render

    def scheduled(self) -> Any:
        """What the schedule gives to the function that it calls."""
        scheduler = self.client("scheduler")
        (name,) = (one["Name"] for one in scheduler.list_schedules()["Schedules"])
        schedule = scheduler.get_schedule(Name=name)
        kept = {key: schedule[key] for key in ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")}
        captor = self.functions.get_function(FunctionName=FUNCTION)["Configuration"]["FunctionArn"]
        scheduler.update_schedule(**kept | {"Target": {**kept["Target"], "Arn": captor}})
        event = self.captured("aws.scheduler")
        scheduler.update_schedule(**kept)
        return event

    def captured(self, about: str) -> Any:
        """The event that the capturing function was given and that says `about`; all are forgotten."""
        seconds = 240.0  # three rounds of the schedule
        return _eventually(lambda: self._captured(about), f"a captured event with {about}", seconds)

    def _captured(self, about: str) -> Any:
        found = None
        for item in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
            text = self.s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read().decode()
            found = json.loads(text) if about in text else found
            self.s3.delete_object(Bucket=BUCKET, Key=item["Key"])
        return found

    def given_to(self, state: str, prefix: str) -> Any:
        """The first input of a state of the workflow that ended for a pair."""
        states, workflow = self.client("stepfunctions"), self.outputs["RenderWorkflowArn"]

        def find() -> Any:
            for execution in states.list_executions(stateMachineArn=workflow)["executions"]:
                history = states.get_execution_history(executionArn=execution["executionArn"])["events"]
                inputs = [event["stateEnteredEventDetails"] for event in history if "stateEnteredEventDetails" in event]
                given = [json.loads(one["input"]) for one in inputs if one["name"] == state]
                if given and given[0]["prefix"] == prefix:
                    return given[0]
            return None

        return _eventually(find, f"{state} of {prefix}")

    def output(self, key: str) -> Any:
        """A JSON file of the output bucket."""
        found = _eventually(lambda: self._output(key), key)
        return json.loads(found)

    def _output(self, key: str) -> bytes | None:
        try:
            answer = self.s3.get_object(Bucket=self.outputs["OutputBucket"], Key=key)
        except self.s3.exceptions.NoSuchKey:
            return None
        body: bytes = answer["Body"].read()
        return body


def main() -> None:
    """Capture everything."""
    cat, coffee = ((ROOT / "samples" / name).read_bytes() for name in ("chelsea.png", "coffee.png"))
    options = stack.Options(keep=False, emulator={"inference": 4.0}, parameters={"PromptWaitSeconds": "300"})
    with tempfile.TemporaryDirectory() as home, stack.using(Path(home), options) as local:
        with local.emulator() as emulator:
            emulator.post("script", json=SCRIPT).raise_for_status()
        capture = Capture(local)
        with Subscriber(Target(LOCAL, local.outputs, local.client)) as subscriber:
            capture.connect()
            capture.drop(PAIR, cat, coffee)
            capture.connect(capture=True)
            drop = _write("submit-drop.json", capture.captured("s3:ObjectCreated"))
            capture.connect(submit=True)
            capture.send_again(drop)
            _eventually(lambda: _is_in_line(capture.table), "a render in line", 240.0)
            capture.connect(capture=True)
            permit = _write("submit-permit.json", capture.captured("permit"))
            capture.make_due(PAIR)
            _write("submit-due.json", capture.captured("due"))
            _write("sweep.json", capture.scheduled())
            capture.connect(submit=True)
            capture.send_again(permit)
            capture.drop(BLOCKED, cat, coffee)
            capture.drop(LOST, cat, coffee)
            capture.drop(EMPTY, b"", coffee)
            capture.drop(LATE, cat, coffee)
            _write("poll.json", capture.given_to("Poll", PAIR))
            _write("finalize.json", capture.given_to("Finalize", PAIR))
            _write("finalize-failed.json", capture.given_to("Finalize", BLOCKED))
            _write("published/error.json", capture.output(f"{EMPTY}error.json"))
            _eventually(lambda: "undelivered" in capture.record(LATE), "a picture that is put off", 240.0)
            capture.make_due(LATE, completed_at=time.time() - DELAY_SECONDS)
            _publish(subscriber)


def _publish(subscriber: Subscriber) -> None:
    missing = dict(PUBLISHED)
    while missing:
        for event in subscriber.receive(wait_seconds=5):
            if missing.get(event["type"]) == event["subject"]:
                del missing[event["type"]]
                _write(f"published/{event['type'].partition('.')[2]}.json", event)


def _is_in_line(table: Table) -> bool:
    """Whether a render waits for a slot alone: Segmind has answered again, and with a 429."""
    return state_in(table).stopped is None and any("waiting_since" in item for item in table.scan())


def _write(name: str, event: Any) -> Any:
    (EVENTS / name).write_text(json.dumps(event, indent=2, ensure_ascii=False) + "\n")
    print(f"captured {name}")
    return event


def _zipped(name: str, text: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, text)
    return file.getvalue()


def _eventually(look: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.2)
    return seen


if __name__ == "__main__":
    main()
