"""Content is identity: the same bytes and the same words are the same render, whatever else has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import pytest

from kontext.drops import request
from kontext.drops.pairs import Defaults, Pair, Ready, decide, pair_key
from kontext.dynamodb import Table
from kontext.model import Parameters, Part
from kontext.renders.record import render_key
from tests.unit.pipeline import PREFIX, World

NOW = 1_800_000_000.0
Json = dict[str, Any]


def image(slot: str, sha256: str, etag: str) -> Part:
    return {"key": f"taj/{slot}.png", "etag": etag, "sha256": sha256, "parameters": {}, "sequencer": "1", "at": NOW}


def named(*images: Part, **defaults: Unpack[Parameters]) -> str:
    """What the render of two images without a word is called."""
    pair = Pair("taj/", dict(zip("12", images, strict=True)))
    decision = decide(pair, {}, Defaults({"output_format": "png", **defaults}, "Together."), NOW + 60)
    assert isinstance(decision, Ready)
    return decision.render_id("taj/")


def test_an_image_that_was_uploaded_in_another_way_is_the_same_render() -> None:
    two = image("2", "b", "y")

    assert named(image("1", "a", "x"), two) == named(image("1", "a", "x-2"), two)
    assert named(image("1", "a", "x"), two) != named(image("1", "c", "x"), two)


def test_a_default_of_the_stack_that_has_changed_makes_no_drop_another_one() -> None:
    images = image("1", "a", "x"), image("2", "b", "y")

    assert named(*images) == named(*images, output_format="jpg")


def as_it_was_claimed_by_its_etags(world: World) -> None:
    """The table as it was when an ETag named an image, and nothing knew of its content."""
    table = world.table
    render, pair = world.render, table.get(pair_key(PREFIX)) or {}
    first, second = (given["etag"] for given in render["inputs"])
    earlier = request.render_id(PREFIX, first, second, render["parameters"])
    for part in (pair["part_1"], pair["part_2"], *render["inputs"]):
        del part["sha256"]
    for key in (pair_key(PREFIX), render_key(PREFIX, render["render_id"])):
        del world.dynamodb.items[key["pk"], key["sk"]]
    values = {"current": earlier, **{name: pair[name] for name in ("prefix", "drops", "part_1", "part_2")}}
    values["current_count"] = pair["current_count"]
    put(table, pair_key(PREFIX), values)
    put(table, render_key(PREFIX, earlier), {**render, "render_id": earlier})


def put(table: Table, key: dict[str, str], item: Json) -> None:
    values = {name: value for name, value in item.items() if name not in key}
    table.update(key, "SET " + ", ".join(f"#{name} = :{name}" for name in values), **values)


@pytest.mark.parametrize("times", [1, 2])
def test_what_was_claimed_by_its_etags_is_not_paid_again_after_an_update(
    encoded: Callable[..., bytes], times: int
) -> None:
    world = World(encoded(), {}, ()).play()
    as_it_was_claimed_by_its_etags(world)

    for _ in range(times):
        world.drop(PREFIX)
        world.play()

    assert (world.render["status"], len(world.network.posts)) == ("DELIVERED", 1)
