"""How long waiting renders are sent away for."""

from __future__ import annotations

from typing import Any

import pytest

from kontext.parking import Parking, Wake

NOW = 1_800_000_000.0


class Queue:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.delays: list[int] = []

    def send_message(self, **message: Any) -> None:
        self.delays.append(message["DelaySeconds"])


@pytest.mark.parametrize(
    ("seconds", "delay"),
    [
        pytest.param(0.4, 1, id="part of a second"),
        pytest.param(19.76, 20, id="not a whole second"),
        pytest.param(-3.0, 0, id="due already"),
        pytest.param(5000.0, 900, id="longer than the queue can wait"),
    ],
)
def test_a_wait_does_not_come_back_before_it_is_due(seconds: float, delay: int) -> None:
    queue = Queue()

    Parking(queue, "queue").send([Wake("taj/", NOW + seconds)], NOW)  # type: ignore[arg-type]

    assert queue.delays == [delay]
