"""Poll at a rate limit: no look before the reset, whoever waits for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import poll
from kontext.due import POLL_SECONDS
from kontext.errors import RateLimited
from kontext.segmind.client import Look

ACCEPTED = 1_000_000.0
CONTEXT = SimpleNamespace(function_name="p", memory_limit_in_mb=128, invoked_function_arn="arn", aws_request_id="1")
STATE = {"prefix": "taj/", "render_id": "r", "attempt": 1, "request_id": "q", "submitted_at": ACCEPTED}


class World:
    """Poll's connections: a vendor that counts looks against its limit, a record, a clock that sleeps at once."""

    def __init__(self, reset_at: float | None, free_at: float) -> None:
        self.reset_at, self.free_at = reset_at, free_at
        self.time = ACCEPTED + 20
        self.looked: list[float] = []
        self.beats: list[float] = []
        self.clock = self.renders = self.segmind = self
        self.learning = SimpleNamespace(next_look=lambda _: self.time - ACCEPTED, deadline=3540.0)

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += max(0.0, seconds)

    def get(self, prefix: str, render_id: str) -> dict[str, Any]:
        return {"prefix": prefix, "render_id": render_id, "attempt": 1, "status": "PROCESSING"}

    def beat(self, render: dict[str, Any], until: float) -> None:
        self.beats.append(until)

    def look(self, _: str) -> Look:
        self.looked.append(self.time - ACCEPTED)
        if self.time < self.free_at:
            raise RateLimited("too many requests", self.reset_at)
        return Look("FAILED", error="seen")


def run(world: World, look: dict[str, Any]) -> dict[str, Any]:
    return poll.handler({**STATE, "look": look}, CONTEXT, world)  # type: ignore[arg-type,no-any-return]


def test_a_reset_that_is_near_is_slept_out() -> None:
    world = World(reset_at=ACCEPTED + 50.5, free_at=ACCEPTED + 50.5)

    outcome = run(world, {"wait": 0})

    assert world.looked == [20, 50.5]
    assert outcome == {"outcome": "failed", "message": "seen"}


@pytest.mark.parametrize(
    ("reset_at", "free_at"),
    [
        pytest.param(320.4, 320.4, id="far"),
        pytest.param(None, 80.0, id="missing"),
        pytest.param(-5.0, 80.0, id="past"),
        pytest.param(90_000.0, 80.0, id="absurd: a minute"),
    ],
)
def test_a_reset_that_is_far_is_waited_out_by_the_workflow(reset_at: float | None, free_at: float) -> None:
    world = World(None if reset_at is None else ACCEPTED + reset_at, ACCEPTED + free_at)

    first = run(world, {"wait": 0})
    world.sleep(first["wait"])
    second = run(world, first)

    assert world.looked == [20, pytest.approx(free_at, abs=1)]
    assert world.beats == [pytest.approx(ACCEPTED + free_at + POLL_SECONDS, abs=1)]
    assert second["outcome"] == "failed"
