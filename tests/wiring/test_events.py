"""The sample events: the functions run on them, and on what somebody else sends."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from PIL import Image

import finalize
import poll
import sweep
from kontext.renders.record import render_key
from kontext.renders.workflow import execution_name
from kontext.throttle.line import why_parked
from kontext_local.segmind import Rule
from tests.aws import Aws
from tests.wiring.in_process import CONTEXT, Json, Stage, sample


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


JUNK = {
    "no JSON": "not JSON",
    "a list": "[]",
    "a list that names records": '["Records"]',
    "a string": '"Records"',
    "a number": "5",
    "nothing": "null",
    "nothing in it": "{}",
    "records that are none": '{"Records": 5}',
    "an empty record": '{"Records": [{}]}',
    "nested": "[" * 100_000,
}


def test_a_message_that_nobody_can_read_is_a_dead_letter_at_once(stage: Stage, request_of_the_pair: Json) -> None:
    state, event = sample("poll.json"), sample("submit-drop.json")
    stage.put(state["prefix"], request_of_the_pair)
    junk = [copy.deepcopy(event["Records"][0]) | {"messageId": name, "body": body} for name, body in JUNK.items()]

    answer = stage.submit({"Records": [*junk, *event["Records"]]})

    letters = stage.aws("sqs").receive_message(
        QueueUrl=stage.names["DeadLetterQueue"], MessageAttributeNames=["All"], MaxNumberOfMessages=len(junk)
    )["Messages"]
    assert answer == {"batchItemFailures": []}
    assert sorted(letter["Body"] for letter in letters) == sorted(JUNK.values())
    assert all(letter["MessageAttributes"]["reason"]["StringValue"] for letter in letters)
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
