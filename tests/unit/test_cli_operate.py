"""What `kontext resolve` and `kontext redeliver` say of money."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from kontext.table import ConditionFailed, Table
from kontext_cli.errors import Unfinished
from kontext_cli.operate import Operator, decide, deliver
from kontext_cli.target import Target

Aws = Callable[[str], Any]


class Described:
    """A CloudFormation client that knows one stack."""

    def describe_stacks(self, **asked: str) -> dict[str, Any]:
        settings = {"RecordRetentionDays": "400", "PricePerRender": "0.05"}
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in settings.items()]
        return {"Stacks": [{**asked, "Parameters": given}]}


class Away:
    """An SQS client without a network."""

    def send_message(self, **asked: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://sqs.example")


@pytest.fixture
def target(aws: Aws, renders_table: str) -> Target:
    queue = aws("sqs").create_queue(QueueName="uploads")["QueueUrl"]
    names = ("RenderTopicArn", "EventSource", "RenderWorkflowArn", "OutputBucket")
    outputs = dict.fromkeys(names, "x") | {"RendersTable": renders_table, "UploadQueueUrl": queue}
    return Target("shop", outputs, functools.cache(lambda name: Described() if name == "cloudformation" else aws(name)))


@pytest.fixture
def uncertain(target: Target) -> str:
    """The prefix of a pair whose answer was lost."""
    table = Table(target.client("dynamodb"), target.output("RendersTable"))
    part = {"key": "a cat/1.png", "etag": "e", "sequencer": "1", "at": 1}
    table.update({"pk": "pair#a cat/", "sk": "pair"}, "SET #prefix = :p, #part_1 = :part", p="a cat/", part=part)
    when = "2026-01-02T03:04:05.000Z"
    item = {"prefix": "a cat/", "render_id": "r1", "status": "UNCERTAIN", "attempt": 1, "drop_id": 1, "revision": 1}
    item |= {"created_at": when, "updated_at": when, "history": [{"at": when, "what": "uncertain"}]}
    table.update({"pk": "pair#a cat/", "sk": "render#r1"}, "SET " + ", ".join(f"#{n} = :{n}" for n in item), **item)
    return "a cat/"


def messages(target: Target) -> list[Any]:
    received = target.client("sqs").receive_message(QueueUrl=target.output("UploadQueueUrl"), MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in received.get("Messages", ())]


def test_sending_again_says_its_price_and_what_may_be_paid_twice(
    target: Target, uncertain: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = decide(Operator(target), "a cat", resubmit=True, request_id=None, as_json=True)

    said = capsys.readouterr()
    assert code == 0
    assert "a cat/ is sent again for USD 0.05; the request whose answer was lost may be paid as well" in said.err
    assert [render["attempt"] for render in json.loads(said.out)] == [2]
    assert len(messages(target)) == 1


def test_a_decision_that_breaks_off_may_be_given_again(target: Target, uncertain: str) -> None:
    away = Target("shop", target.outputs, lambda name: Away() if name == "sqs" else target.client(name))

    with pytest.raises(Unfinished, match="The same command may be given again, and sends nothing twice") as broken:
        decide(Operator(away), uncertain, resubmit=True, request_id=None, as_json=False)
    code = decide(Operator(target), uncertain, resubmit=True, request_id=None, as_json=False)

    assert broken.value.exit_code == 3
    assert "could not be reached" in str(broken.value)
    assert code == 0
    assert len(messages(target)) == 1


class Raced(Operator):
    """An operator whom the stack forestalls at each render."""

    def deliver_again(self, render: Any) -> Any:
        raise ConditionFailed(render)


def test_a_picture_that_the_stack_delivers_meanwhile_is_no_error(
    target: Target, uncertain: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table(target.client("dynamodb"), target.output("RendersTable"))
    paid = "SET #status = :status, #output_url = :url"
    table.update({"pk": f"pair#{uncertain}", "sk": "render#r1"}, paid, status="COMPLETED", url="https://x.example/1")

    code = deliver(Raced(target), None, as_json=False)

    assert code == 0
    assert "a cat/ has just moved on" in capsys.readouterr().err
