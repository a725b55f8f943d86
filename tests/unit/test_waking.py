"""Pairs that wait for one object go on a few at a time, so that no message takes long."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kontext.model import Status
from simulation.s3 import S3
from tests.unit.pipeline import World
from tests.unit.strikes import StandingClock

LATE = "shared/late.png"
PAIRS = 12


class SlowS3:
    """S3, where each look whether an object is there takes a second."""

    def __init__(self, s3: S3, clock: StandingClock) -> None:
        self._s3, self._clock = s3, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def head_object(self, **asked: Any) -> dict[str, Any]:
        self._clock.sleep(1.0)
        return self._s3.head_object(**asked)


def test_where_s3_is_slow_one_message_wakes_a_few_and_others_go_on_behind_them(encoded: Callable[..., bytes]) -> None:
    world = World(encoded(), {}, ())
    world.queue.messages.clear()
    world.services["s3"] = SlowS3(world.s3, world.clock)
    names = [f"p{n}/" for n in range(PAIRS)]
    for name in names:
        drop(world, f"{name}2.png", world.picture)
        drop(world, f"{name}request.json", json.dumps({"prompt": name, "input_image_1": f"/{LATE}"}).encode())
    world.play()

    drop(world, LATE, world.picture)
    before = world.clock.now()
    world.receive()
    took = world.clock.now() - before
    claimed = sum(item["sk"]["S"].startswith("render#") for item in world.dynamodb.items.values())
    world.play()

    assert 10 < took < 20
    assert 0 < claimed < PAIRS
    assert {world.render_of(name)["status"] for name in names} == {Status.DELIVERED}
    assert len(world.network.posts) == PAIRS


def drop(world: World, key: str, body: bytes) -> None:
    """Drop an object; S3 tells the queue."""
    world.s3.put_object(Bucket="InputBucket", Key=key, Body=body)
    said = {"key": key, "sequencer": f"{world.queue.sent:04}"}
    record = {"eventTime": "2027-01-15T08:00:00Z", "s3": {"bucket": {"name": "InputBucket"}, "object": said}}
    world.queue.send_message(QueueUrl="", MessageBody=json.dumps({"Records": [record]}))
