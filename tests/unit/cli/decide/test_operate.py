"""What `kontext redeliver`, `pause` and `resume` do."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from kontext.dynamodb import ConditionFailed, Table
from kontext.errors import problem
from kontext.model import ErrorCode, Render, Status
from kontext.renders import record
from kontext.throttle.shared_state import state_in
from kontext.throttle.throttle import Throttle
from kontext_cli.decide.operate import Operator, deliver, move_back, report
from kontext_cli.errors import CommandError
from kontext_cli.target import Target
from tests.aws import Aws


def messages(target: Target) -> list[Any]:
    received = target.client("sqs").receive_message(QueueUrl=target.output("UploadQueueUrl"), MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in received.get("Messages", ())]


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
    paid: Render = {"status": Status.COMPLETED, "output_url": "https://x.example/1", "due_lane": "timer", "due_at": 2.0}
    table.update(
        {"pk": f"pair#{uncertain}", "sk": f"render#of {uncertain}"},
        "SET " + ", ".join(f"#{name} = :{name}" for name in paid),
        **paid,
    )

    code = deliver(Raced(target), None, as_json=False)

    assert code == 0
    assert "a cat/ has just moved on" in capsys.readouterr().err


class Started(Operator):
    """An operator whose workflow takes note."""

    def __init__(self, chosen: Target) -> None:
        super().__init__(chosen)
        self.given: list[Any] = []
        self.workflow: Any = self

    def start(self, render: Any, wait: int) -> bool:
        self.given.append(render)
        return True


def ended(target: Target, prefix: str, **values: Any) -> None:
    """Let the render of a pair have come to another end."""
    table = Table(target.client("dynamodb"), target.output("RendersTable"))
    expression = "SET " + ", ".join(f"#{name} = :{name}" for name in values)
    table.update({"pk": f"pair#{prefix}", "sk": f"render#of {prefix}"}, expression, **values)


@pytest.mark.parametrize("code", ["expired", "no_result"])
def test_what_was_not_seen_within_its_hour_is_looked_at_again_and_not_paid(
    target: Target, uncertain: str, code: ErrorCode
) -> None:
    error = problem(code, "none")
    ended(target, uncertain, status="FAILED", request_id="q-1", submitted_at=1000.0, error=error, reserved=0.05)
    operator = Started(target)

    deliver(operator, uncertain, as_json=True)

    (render,) = operator.given
    assert (render["status"], render["request_id"], render["submitted_at"]) == ("QUEUED", "q-1", 1000.0)
    assert (render["attempt"], render["reserved"], "error" in render) == (2, 0.05, False)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"status": "UNCERTAIN"}, id="no id of a job is known"),
        pytest.param(
            {"status": "FAILED", "request_id": "q-1", "error": problem("render_failed", "blocked")},
            id="it failed, unpaid",
        ),
    ],
)
def test_what_has_no_picture_is_not_delivered_again(target: Target, uncertain: str, values: dict[str, Any]) -> None:
    ended(target, uncertain, **values)

    with pytest.raises(CommandError, match="nothing to deliver"):
        deliver(Started(target), uncertain, as_json=True)


def test_a_job_that_failed_is_looked_at_again_while_segmind_knows_it(target: Target, uncertain: str) -> None:
    error, sent = problem("render_failed", "worker lost"), time.time() - 60
    ended(target, uncertain, status="FAILED", request_id="q-1", submitted_at=sent, error=error, reserved=0.0)
    operator = Started(target)

    deliver(operator, uncertain, as_json=True)

    (render,) = operator.given
    assert (render["status"], render["request_id"], render["attempt"]) == ("QUEUED", "q-1", 2)


def test_a_picture_that_is_known_by_its_link_alone_is_delivered_again(target: Target, uncertain: str) -> None:
    ended(target, uncertain, status="DELIVERED", output_url="https://images.segmind.com/a.png", result={"key": "k"})
    operator = Started(target)

    deliver(operator, uncertain, as_json=True)

    (render,) = operator.given
    assert (render["status"], render["output_url"]) == ("COMPLETED", "https://images.segmind.com/a.png")


def test_all_that_is_undelivered_has_no_job_that_segmind_has_forgotten(target: Target, uncertain: str) -> None:
    old = {"request_id": "q-1", "submitted_at": 1000.0, "error": problem("expired", "none")}
    ended(target, uncertain, status="FAILED", **old)
    operator = Started(target)

    deliver(operator, None, as_json=True)

    assert operator.given == []


def render_of(target: Target, prefix: str) -> Render:
    table = Table(target.client("dynamodb"), target.output("RendersTable"))
    return record.render_of(table.get({"pk": f"pair#{prefix}", "sk": f"render#of {prefix}"}) or {})


def test_all_that_is_paid_and_not_delivered_is_delivered_again(target: Target, uncertain: str, aws: Aws) -> None:
    states, role = aws("stepfunctions"), "arn:aws:iam::123456789012:role/workflow"
    machine = states.create_state_machine(name="renders", definition="{}", roleArn=role)["stateMachineArn"]
    chosen = Target("shop", {**target.outputs, "RenderWorkflowArn": machine}, target.client)
    table = Table(target.client("dynamodb"), target.output("RendersTable"))
    failed: Render = {"status": Status.FAILED, "error": problem("delivery", "no"), "output_url": "https://x.example/1"}
    failed |= {"request_id": "3f2c", "submitted_at": 1.0, "completed_at": 2.0, "due_lane": "FAILED", "due_at": 2.0}
    table.update(
        {"pk": f"pair#{uncertain}", "sk": f"render#of {uncertain}"},
        "SET " + ", ".join(f"#{n} = :{n}" for n in failed),
        **failed,
    )

    code = deliver(Operator(chosen), None, as_json=False)

    (started,) = states.list_executions(stateMachineArn=machine)["executions"]
    given = json.loads(states.describe_execution(executionArn=started["executionArn"])["input"])
    assert (code, given["render_id"], given["attempt"]) == (0, f"of {uncertain}", 2)
    assert render_of(target, uncertain)["status"] == "COMPLETED"


class Unread:
    """A queue's client; what is sent to the upload queue, nobody can read, and it is a dead letter again at once."""

    def __init__(self, client: Any, dead_letter_url: str) -> None:
        self.client = client
        self.dead_letter_url = dead_letter_url
        self.sent = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> Any:  # noqa: N803
        self.sent += 1
        time.sleep(0.002)  # the clock of queues has milliseconds
        return self.client.send_message(QueueUrl=self.dead_letter_url, MessageBody=MessageBody)


def test_what_becomes_a_dead_letter_again_at_once_is_moved_back_once(
    target: Target, aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    dead_letters = aws("sqs").create_queue(QueueName="dead-letters")["QueueUrl"]
    client = Unread(aws("sqs"), dead_letters)
    for number in range(25):
        aws("sqs").send_message(QueueUrl=dead_letters, MessageBody=f"[/b] poison {number}")
    outputs = {**target.outputs, "DeadLetterQueueUrl": dead_letters}
    unread = Target("shop", outputs, lambda name: client if name == "sqs" else target.client(name))

    code = move_back(Operator(unread), as_json=False)

    said = capsys.readouterr().err
    assert (code, client.sent) == (0, 25)
    assert "moved back: [/b] poison 7 (why is not known)" in said
    assert "25 have come since, and stay" in said


def test_a_pair_whose_name_looks_like_markup_is_reported_as_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    report([{"prefix": "a[/b]/", "render_id": "1", "attempt": 1, "status": Status.COMPLETED}], as_json=False)

    assert "a[/b]/: attempt 1 is COMPLETED" in capsys.readouterr().err
