"""A pair that is dropped, what Submit is told of it, and what it makes of that."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kontext.due import LINE
from kontext.dynamodb import Table
from kontext.model import Render
from kontext.renders.record import render_key
from kontext.throttle.admission import State
from kontext.throttle.shared_state import state_in
from tests.unit.pipeline import World

Play = Callable[..., World]
Json = dict[str, Any]
OTHER = "other/1/"
PERMIT = {"permit": 1}
RESET_SECONDS = 60.0


@pytest.fixture
def world(encoded: Callable[..., bytes]) -> Play:
    """A pair that is dropped, and nobody has been told; on a network where nothing goes wrong but what is struck."""
    return lambda *strikes, **network: World(encoded(), network, strikes)


def told(world: World, *bodies: Json, receives: int = 1) -> Json:
    """What Submit answers to messages."""
    attributes = {"ApproximateReceiveCount": str(receives)}
    records = [
        {"messageId": f"told-{number}", "body": json.dumps(body), "attributes": attributes}
        for number, body in enumerate(bodies)
    ]
    answer: Json = world.invoke("Submit", {"Records": records})
    return answer


def due(render: Render) -> Json:
    """A hint that a render is due."""
    return {"due": render_key(render["prefix"], render["render_id"])}


def table(world: World) -> Table:
    return world.table


def state(world: World) -> State:
    return state_in(table(world))


def seen(world: World) -> tuple[Any, ...]:
    """Everything that a message could have changed, but the throttle."""
    items = {place: item for place, item in world.dynamodb.items.items() if place != ("stack", "throttle")}
    return items, list(world.network.posts), list(world.told), world.files, len(world.states.executions)


def in_line(world: Play, *refusals: int, **network: Any) -> World:
    """A pair that waits in line, as Segmind has refused it."""
    waiting = world(refusals=refusals or (429,), **network).receive()
    assert waiting.render["due_lane"] == LINE
    return waiting


def later(world: World, seconds: float) -> World:
    world.clock.time += seconds
    return world
