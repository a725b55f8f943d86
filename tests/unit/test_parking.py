"""How renders wait: messages that come back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kontext.pacing import Pace, refuse
from kontext.parking import MAX_DELAY_SECONDS, PACK, Parking, Wake, sort_out, wakes_in

Aws = Callable[[str], Any]
NOW = 1000.0
DUE = Wake("taj/", NOW, "r1", "t1")
OPEN = Pace()
CLOSED = refuse(Pace(), "no_credits", NOW)


class Queue:
    """An SQS client that keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send_message(self, **message: Any) -> None:
        self.sent.append(message)

    @property
    def delays(self) -> list[int]:
        return [message["DelaySeconds"] for message in self.sent]

    @property
    def wakes(self) -> list[list[Wake]]:
        return [wakes_in(json.loads(message["MessageBody"])) for message in self.sent]


@pytest.fixture
def queue() -> Queue:
    return Queue()


def test_a_wait_comes_back_as_it_was_sent(aws: Aws) -> None:
    url = aws("sqs").create_queue(QueueName="uploads")["QueueUrl"]
    wake = Wake("a b+ü/\n☃", NOW, "r1", "t1")

    Parking(aws("sqs"), url).send([wake], NOW)

    (message,) = aws("sqs").receive_message(QueueUrl=url)["Messages"]
    assert wakes_in(json.loads(message["Body"])) == [wake]


@pytest.mark.parametrize(
    "body",
    [{}, {"Records": []}, {"Event": "s3:TestEvent"}, [], "wake", None],
    ids=["empty", "drop", "test", "list", "text", "null"],
)
def test_other_messages_hold_no_waits(body: Any) -> None:
    assert wakes_in(body) == []


@pytest.mark.parametrize(
    ("seconds", "delay"),
    [
        pytest.param(-5, 0, id="past"),
        pytest.param(0, 0, id="now"),
        pytest.param(7.1, 8, id="never early"),
        pytest.param(900, 900, id="as long as a message may be delayed"),
        pytest.param(5000, MAX_DELAY_SECONDS - 40, id="a chain of messages, which meet at each full minute"),
    ],
)
def test_a_message_is_delayed_until_its_wait_is_over(queue: Queue, seconds: float, delay: int) -> None:
    Parking(queue, "url").send([Wake("taj/", NOW + seconds, "r1", "t1")], NOW)  # type: ignore[arg-type]

    assert queue.delays == [delay]


def test_near_waits_travel_alone_and_far_ones_together(queue: Queue) -> None:
    near = [Wake(f"near{n}/", NOW + n) for n in range(3)]
    far = [Wake(f"far{n}/", NOW + 5000 + n) for n in range(2 * PACK + 1)]

    Parking(queue, "url").send([*far, *near], NOW)  # type: ignore[arg-type]

    assert queue.wakes[:3] == [[wake] for wake in near]
    assert [len(pack) for pack in queue.wakes[3:]] == [PACK, PACK, 1]
    assert sum(queue.wakes, []) == [*near, *far]  # noqa: RUF017


@pytest.mark.parametrize("letters", ["\x01" * 1018, "😀" * 254], ids=["control characters", "long letters"])
def test_waits_with_the_longest_prefixes_travel_in_messages_that_a_queue_takes(queue: Queue, letters: str) -> None:
    far = [Wake(f"{letters}/", NOW + 5000 + n, "r" * 24, "t" * 32) for n in range(PACK)]

    Parking(queue, "url").send(far, NOW)  # type: ignore[arg-type]

    assert sum(queue.wakes, []) == far  # noqa: RUF017
    assert max(len(json.dumps([vars(wake) for wake in pack])) for pack in queue.wakes) < 262_000
    assert len(queue.wakes) < PACK / 20


def test_a_due_wait_is_worked_on_and_an_early_one_sent_on() -> None:
    early = Wake("early/", NOW + 500, "r2", "t2")

    work, onward = sort_out([("m1", [DUE]), ("m2", [early])], OPEN, NOW)

    assert work == {"m1"}
    assert onward == [("m2", [early])]


def test_a_pack_is_only_ever_taken_apart() -> None:
    work, onward = sort_out([("m1", [DUE, DUE])], OPEN, NOW)

    assert work == set()
    assert onward == [("m1", [DUE, DUE])]


def test_at_a_closed_gate_renders_wait_for_the_probe_and_pairs_go_on() -> None:
    pair = Wake("other/", NOW)

    work, onward = sort_out([("m1", [DUE]), ("m2", [pair])], CLOSED, NOW)

    assert work == {"m2"}
    ((message_id, (held,)),) = onward
    assert (message_id, held.render_id, held.token) == ("m1", "r1", "t1")
    assert held.due > NOW


def test_when_the_probe_is_due_one_render_goes() -> None:
    now = CLOSED.probe_at
    messages = [(f"m{n}", [Wake(f"p{n}/", now, f"r{n}", "t")]) for n in range(3)]

    work, onward = sort_out(messages, CLOSED, now)

    assert work == {"m0"}
    assert [message_id for message_id, _ in onward] == ["m1", "m2"]
    assert all(wake.due > now for _, wakes in onward for wake in wakes)
