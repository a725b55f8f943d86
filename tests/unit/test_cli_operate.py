"""What `kontext resolve` and `kontext redeliver` say of money."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from kontext.due import LINE
from kontext.dynamodb import ConditionFailed, Table
from kontext.throttle.admission import Throttle, state_in
from kontext_cli.errors import CommandError, Unfinished
from kontext_cli.operate import Operator, decide, deliver
from kontext_cli.target import Target

Aws = Callable[[str], Any]


class Described:
    """A CloudFormation client that knows one stack."""

    def describe_stacks(self, **asked: str) -> dict[str, Any]:
        settings = {"RecordRetentionDays": "400", "PricePerRender": "0.05", "RequestsPerMinute": "50"}
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in settings.items()]
        return {"Stacks": [{**asked, "Parameters": given}]}


class Away:
    """A client for whose writes there is no network."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def send_message(self, **asked: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://sqs.example")

    def update_item(self, **asked: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://dynamodb.example")


@pytest.fixture
def target(aws: Aws, renders_table: str) -> Target:
    queue = aws("sqs").create_queue(QueueName="uploads")["QueueUrl"]
    topic = aws("sns").create_topic(Name="renders")["TopicArn"]
    outputs = dict.fromkeys(("EventSource", "RenderWorkflowArn", "OutputBucket"), "x")
    outputs |= {"RendersTable": renders_table, "UploadQueueUrl": queue, "RenderTopicArn": topic}
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


def render_of(target: Target, prefix: str) -> dict[str, Any]:
    table = Table(target.client("dynamodb"), target.output("RendersTable"))
    return table.get({"pk": f"pair#{prefix}", "sk": "render#r1"}) or {}


def test_sending_again_says_its_price_and_what_may_be_paid_twice(
    target: Target, uncertain: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = decide(Operator(target), "a cat", resubmit=True, request_id=None, as_json=True)

    said = capsys.readouterr()
    assert code == 0
    assert "a cat/ is sent again for USD 0.05; the request whose answer was lost may be paid as well" in said.err
    assert [render["attempt"] for render in json.loads(said.out)] == [2]


def test_what_is_sent_again_stands_in_line_and_the_head_of_the_line_may_go(target: Target, uncertain: str) -> None:
    decide(Operator(target), uncertain, resubmit=True, request_id=None, as_json=False)

    render = render_of(target, uncertain)
    assert (render["status"], render["due_lane"], render["due_at"]) == ("CLAIMED", LINE, render["line_at"])
    assert messages(target) == [{"permit": 1}]


def test_what_is_sent_again_while_the_stack_is_paused_waits_for_the_end_of_the_pause(
    target: Target, uncertain: str
) -> None:
    operator = Operator(target)
    operator.pause()

    decide(operator, uncertain, resubmit=True, request_id=None, as_json=False)
    waiting = messages(target)
    operator.resume()

    assert render_of(target, uncertain)["due_lane"] == LINE
    assert waiting == []
    assert {"permit": 1} in messages(target)


def without(target: Target, service: str) -> Target:
    """The stack while one of its services does not answer."""
    away = Away(target.client(service))
    return Target("shop", target.outputs, lambda name: away if name == service else target.client(name))


def test_what_is_sent_again_stands_in_line_though_no_permit_can_be_sent(target: Target, uncertain: str) -> None:
    code = decide(Operator(without(target, "sqs")), uncertain, resubmit=True, request_id=None, as_json=True)

    render = render_of(target, uncertain)
    assert (code, render["status"], render["due_lane"]) == (0, "CLAIMED", LINE)


def test_a_decision_that_breaks_off_may_be_given_again_and_is_taken_once(target: Target, uncertain: str) -> None:
    away = without(target, "dynamodb")

    with pytest.raises(Unfinished, match="The same command may be given again, and sends nothing twice") as broken:
        decide(Operator(away), uncertain, resubmit=True, request_id=None, as_json=False)
    decide(Operator(target), uncertain, resubmit=True, request_id=None, as_json=False)
    with pytest.raises(CommandError, match="there is nothing to decide"):
        decide(Operator(target), uncertain, resubmit=True, request_id=None, as_json=False)

    assert broken.value.exit_code == 3
    assert "could not be reached" in str(broken.value)
    render = render_of(target, uncertain)
    assert (render["status"], render["attempt"], render["due_lane"]) == ("CLAIMED", 2, LINE)


def test_the_end_of_a_pause_lets_the_head_of_the_line_go_and_has_the_account_looked_at(
    target: Target, uncertain: str
) -> None:
    operator = Operator(target)
    operator.throttle.open_breaker("no_credits", operator.clock.now() - 600)
    operator.pause()

    operator.resume()

    state = state_in(operator.table)
    assert (state.paused.reason, state.breaker.reason) == (None, "no_credits")
    assert state.breaker.next_trial_at <= operator.clock.now()
    assert messages(target) == [{"due": Throttle.KEY}]


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


def test_all_that_is_paid_and_not_delivered_is_delivered_again(target: Target, uncertain: str, aws: Aws) -> None:
    states, role = aws("stepfunctions"), "arn:aws:iam::123456789012:role/workflow"
    machine = states.create_state_machine(name="renders", definition="{}", roleArn=role)["stateMachineArn"]
    chosen = Target("shop", {**target.outputs, "RenderWorkflowArn": machine}, target.client)
    table = Table(target.client("dynamodb"), target.output("RendersTable"))
    failed = {"status": "FAILED", "error": {"code": "delivery"}, "output_url": "https://x.example/1"}
    failed |= {"request_id": "3f2c", "submitted_at": 1.0, "completed_at": 2.0}
    table.update(
        {"pk": f"pair#{uncertain}", "sk": "render#r1"}, "SET " + ", ".join(f"#{n} = :{n}" for n in failed), **failed
    )

    code = deliver(Operator(chosen), None, as_json=False)

    (started,) = states.list_executions(stateMachineArn=machine)["executions"]
    given = json.loads(states.describe_execution(executionArn=started["executionArn"])["input"])
    assert (code, given["render_id"], given["attempt"]) == (0, "r1", 2)
    assert render_of(target, uncertain)["status"] == "COMPLETED"
