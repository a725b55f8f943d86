"""What becomes of a message that could not be worked on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest

from kontext.clock import Clock
from kontext.drops.messages import Record, Unreadable
from kontext.drops.redelivery import MOST_DEATHS, Redelivery, reason_of
from simulation.dynamodb import DynamoDB

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

NOW = 1_800_000_000.0
DAY = 86_400.0


class Died(BaseException):
    """The function is killed."""


class StandingClock(Clock):
    def now(self) -> float:
        return NOW


class Queues:
    """SQS: what was done to each message, in order; `away`: it refuses all."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.away = False

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:  # noqa: N803
        self._do(ReceiptHandle, "comes back in", VisibilityTimeout)

    def send_message(self, *, QueueUrl: str, MessageBody: str, MessageAttributes: Any) -> None:  # noqa: N803
        self._do(MessageBody, f"to {QueueUrl}", MessageAttributes["reason"]["StringValue"])

    def _do(self, *done: Any) -> None:
        if self.away:
            raise ConnectionError
        self.done.append(done)


@pytest.fixture
def queues() -> Queues:
    return Queues()


@pytest.fixture
def redelivery(queues: Queues) -> Redelivery:
    client, table = cast("SQSClient", queues), DynamoDB().table()
    return Redelivery(client, "uploads", "dead letters", table, StandingClock())


def message(name: str, receives: int = 1, age: float = 0.0) -> Record:
    attributes = {"ApproximateReceiveCount": str(receives), "SentTimestamp": str(int((NOW - age) * 1000))}
    return {"messageId": name, "receiptHandle": name, "body": f'{{"of": "{name}"}}', "attributes": attributes}


def fails(*names: str, how: type[BaseException] = OSError) -> Callable[[Record], None]:
    """Work that fails for some messages."""

    def work(record: Record) -> None:
        if record["messageId"] in names:
            raise how(f"{record['messageId']} is wrong")

    return work


def names(records: list[Record]) -> list[str]:
    return [record["messageId"] for record in records]


def test_what_fails_comes_back_alone_and_later_each_time(redelivery: Redelivery, queues: Queues) -> None:
    for receives in range(1, 10):
        failed = redelivery.work_through([message("good"), message("bad", receives)], fails("bad"))
        assert names(failed) == ["bad"]

    told = [seconds for name, what, seconds in [one for one in queues.done if len(one) == 3] if name == "bad"]
    assert told == [10, 20, 40, 80, 160, 320, 640, 900, 900]


def test_what_failed_for_two_days_is_a_dead_letter_with_its_reason(redelivery: Redelivery, queues: Queues) -> None:
    young = redelivery.work_through([message("bad", 200, age=1.9 * DAY)], fails("bad"))
    old = redelivery.work_through([message("bad", 201, age=2.1 * DAY)], fails("bad"))

    letters = [one for one in queues.done if "dead" in one[1]]
    assert (names(young), names(old)) == (["bad"], [])
    assert letters == [('{"of": "bad"}', "to dead letters", "tried for two days; at last OSError: bad is wrong")]


def test_what_no_try_can_read_is_a_dead_letter_at_once(redelivery: Redelivery, queues: Queues) -> None:
    failed = redelivery.work_through([message("bad")], fails("bad", how=Unreadable))

    assert failed == []
    assert queues.done == [('{"of": "bad"}', "to dead letters", "bad is wrong")]


def test_a_hint_of_our_own_is_never_a_dead_letter(redelivery: Redelivery, queues: Queues) -> None:
    hint = message("hint") | {"body": '{"due": 5}'}

    failed = redelivery.work_through([hint], fails("hint", how=Unreadable))

    assert failed == []
    assert queues.done == []


def test_a_message_that_cannot_be_given_up_yet_comes_back(redelivery: Redelivery, queues: Queues) -> None:
    queues.away = True

    assert names(redelivery.work_through([message("bad")], fails("bad", how=Unreadable))) == ["bad"]


def test_the_reason_of_a_message_that_sqs_itself_moves_is_kept_under_its_id(redelivery: Redelivery) -> None:
    redelivery.work_through([message("bad")], fails("bad"))

    assert reason_of(redelivery.table, {"MessageId": "bad"}) == "OSError: bad is wrong"
    assert reason_of(redelivery.table, {"MessageId": "other"}) is None


def test_what_kills_the_function_again_and_again_is_a_dead_letter(redelivery: Redelivery, queues: Queues) -> None:
    for receives in range(2, 2 + MOST_DEATHS):
        with pytest.raises(Died):
            redelivery.work_through([message("deadly", receives)], fails("deadly", how=Died))

    failed = redelivery.work_through([message("deadly", 20)], fails("deadly", how=Died))

    ((_, where, reason),) = queues.done
    assert failed == []
    assert where == "to dead letters"
    assert "died 8 times" in reason


def test_a_message_that_failed_with_a_word_is_not_taken_for_a_deadly_one(redelivery: Redelivery) -> None:
    for receives in range(1, 30):
        redelivery.work_through([message("bad", receives)], fails("bad"))

    assert redelivery.work_through([message("bad", 30)], fails()) == []
