"""What a sweep finds is brought on: the functions on virtual time, with their executions and messages lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from kontext.pipeline.watch import DONE_AGAIN_SECONDS
from tests.unit.pipeline import PREFIX, World
from tests.unit.strikes import Call, Strike

Play = Callable[..., World]


@pytest.fixture
def world(encoded: Callable[..., bytes]) -> Callable[..., World]:
    """A pair that is dropped, on a network where nothing goes wrong but what is struck."""
    return lambda *strikes, **network: World(encoded(), network, strikes)


def hint(world: World, sk: str = "") -> Any:
    """What Submit answers to a message that its pair's render, or another item, is due."""
    key = {"pk": f"pair#{PREFIX}", "sk": sk or f"render#{world.render['render_id']}"}
    record = {"messageId": "hint", "body": json.dumps({"due": key}), "attributes": {"ApproximateReceiveCount": "1"}}
    return world.invoke("Submit", {"Records": [record]})


@pytest.mark.parametrize(("seconds", "beats"), [(22.0, 0), (150.0, 0), (1500.0, 7)])
def test_only_a_render_of_many_minutes_costs_writes_for_its_heartbeat(world: Play, seconds: float, beats: int) -> None:
    played = world(seconds=seconds).play()

    calls = Counter((call.function, call.name) for call in played.watch.calls)
    assert played.render["status"] == "DELIVERED"
    assert calls["Poll", "dynamodb.update_item"] == 2 + beats  # in any case: what was learned, and what is booked
    assert calls["Poll", "jobs.beat"] >= (0 if seconds < 60 else max(1, beats))
    assert calls["Finalize", "dynamodb.update_item"] == 1  # that it was told


def test_nobody_is_called_for_a_pair_that_went_well(world: Play) -> None:
    played = world().play()

    assert "Sweep" not in {call.function for call in played.watch.calls}


def test_an_execution_of_an_older_generation_ends_by_itself_and_tells_nothing(world: Play) -> None:
    played = world().play()
    (execution,) = played.states.executions.values()
    state = {**execution.given, "generation": 0}
    before = (len(played.told), played.files, played.render)

    polled = played.invoke("Poll", state)
    finalized = played.invoke("Finalize", {**state, "poll": polled})

    assert (polled, finalized) == ({"outcome": "ended"}, {"outcome": "delivered"})
    assert (len(played.told), played.files, played.render) == before


def test_the_older_execution_is_the_right_one_until_another_has_begun(world: Play) -> None:
    started = Call("Submit", "workflow.start", 1)
    played = world(Strike(started, seconds=900.0))
    played.play(sweeps=False)  # the first drops, and no execution
    render = played.render
    played.clock.time = render["due_at"]

    hint(played)

    assert played.states.executions == {}
    assert played.render["generation"] == render["generation"]
    assert played.render["due_at"] == pytest.approx(render["due_at"] + DONE_AGAIN_SECONDS, abs=1)


def test_a_hint_that_fails_never_comes_back_and_is_no_dead_letter(world: Play) -> None:
    played = world().play()
    played.watch.strikes = (Strike(Call("Submit", "drops.get", 1), seconds=1e9),)

    answer = hint(played)

    assert answer == {"batchItemFailures": []}
    assert sum(played.watch.struck.values()) == 1


@pytest.mark.parametrize("sk", ["pair", "render#" + "0" * 24, "render#", "object"])
def test_a_hint_about_something_that_is_not_due_changes_nothing(world: Play, sk: str) -> None:
    played = world().play()
    before = (played.render, len(played.told), len(played.network.posts), len(played.states.executions))

    answer = hint(played, sk)

    assert answer == {"batchItemFailures": []}
    assert (played.render, len(played.told), len(played.network.posts), len(played.states.executions)) == before
