"""Our own messages: when they come, and what is understood of those that an earlier version left in the queue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from kontext.drops.pairs import pair_key
from kontext.hints import Hints, waits_of_first_edition

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

NOW = 1_767_322_800.0
URL = "https://sqs.example/uploads"


class Queue:
    """A client of SQS that takes what SQS takes; keeps each message with its delay."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, int]] = []

    def send_message(self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int) -> None:  # noqa: N803
        assert QueueUrl == URL
        assert type(DelaySeconds) is int
        assert 0 <= DelaySeconds <= 900
        self.sent.append((json.loads(MessageBody), DelaySeconds))


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def hints(queue: Queue) -> Hints:
    return Hints(cast("SQSClient", queue), URL)


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        pytest.param(0.0, 0, id="at once"),
        pytest.param(20.2, 21, id="never before its time"),
        pytest.param(-3.5, 0, id="its time is past"),
        pytest.param(5000.0, 900, id="no later than SQS can"),
    ],
)
def test_a_hint_about_an_item_comes_when_it_is_due(hints: Hints, queue: Queue, delay: float, seconds: int) -> None:
    hints.send_due(pair_key("taj/"), delay)

    assert queue.sent == [({"due": {"pk": "pair#taj/", "sk": "pair"}}, seconds)]


def test_each_permit_comes_at_its_slot_or_a_little_before_and_names_nobody(hints: Hints, queue: Queue) -> None:
    times = (NOW - 2.5, NOW, NOW + 1.22, NOW + 3.99, NOW + 5000)

    hints.send_permits(times, NOW)

    assert queue.sent == [({"permit": 1}, seconds) for seconds in (0, 0, 1, 3, 900)]


def test_without_permits_nothing_is_sent(hints: Hints, queue: Queue) -> None:
    hints.send_permits((), NOW)

    assert queue.sent == []


@pytest.mark.parametrize(
    ("body", "waits"),
    [
        pytest.param(
            {"wake": [{"prefix": "taj/", "due": NOW, "render_id": "r1", "token": "t"}]}, [("taj/", "r1")], id="a render"
        ),
        pytest.param({"wake": [{"prefix": "taj/", "due": NOW}]}, [("taj/", "")], id="a pair that waits for a prompt"),
        pytest.param(
            {"wake": [{"prefix": "a/", "render_id": "r1"}, {"prefix": "b/", "render_id": "r2"}]},
            [("a/", "r1"), ("b/", "r2")],
            id="a pack",
        ),
        pytest.param({"permit": 1}, [], id="a permit"),
        pytest.param({"Records": []}, [], id="drops"),
        pytest.param(["wake"], [], id="none of ours"),
    ],
)
def test_the_waits_that_the_first_edition_kept_in_its_messages_are_understood(
    body: Any, waits: list[tuple[str, str]]
) -> None:
    assert waits_of_first_edition(body) == waits
