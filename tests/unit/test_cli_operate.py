"""What `kontext redeliver`, `pause` and `resume` do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kontext.dynamodb import ConditionFailed, Table
from kontext.throttle.admission import Throttle, state_in
from kontext_cli.operate import Operator, deliver
from kontext_cli.target import Target


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
    paid = "SET #status = :status, #output_url = :url"
    table.update(
        {"pk": f"pair#{uncertain}", "sk": f"render#of {uncertain}"}, paid, status="COMPLETED", url="https://x.example/1"
    )

    code = deliver(Raced(target), None, as_json=False)

    assert code == 0
    assert "a cat/ has just moved on" in capsys.readouterr().err
