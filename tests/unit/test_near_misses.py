"""What was meant for a pair and lies beside it under another name: nothing is paid until that is clear."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kontext.drops import near_misses
from kontext.model import Status
from tests.unit.pipeline import World

Lay = Callable[..., World]
Json = dict[str, Any]
PAIR = "shop/cup_"


@pytest.fixture
def lay(encoded: Callable[..., bytes]) -> Lay:
    """A world in which the objects lie in the bucket, S3 tells of them all, and the time for a prompt has passed."""

    def lay(*names: str, pair: str = PAIR) -> World:
        world = World(encoded(), {}, ())
        world.queue.messages.clear()
        for name in (*names, f"{pair}1.png", f"{pair}2.png"):
            body = b'{"prompt": "both"}' if name.endswith("json") else b"both"
            is_image = name.endswith("png")
            world.s3.put_object(Bucket="InputBucket", Key=name, Body=world.picture if is_image else body)
            found = {"key": name, "sequencer": f"{world.queue.sent:04}"}
            record = {"eventTime": "2027-01-15T08:00:00Z", "s3": {"bucket": {"name": "InputBucket"}, "object": found}}
            world.queue.send_message(QueueUrl="", MessageBody=json.dumps({"Records": [record]}))
        return world.play()

    return lay


@pytest.mark.parametrize(
    "name",
    [
        "shop/request.json",
        "shop/prompt.txt",
        "shop/Prompt.txt",
        "shop/cup-request.json",
        "shop/cup.request.json",
        "shop/cup request (1).json",
        "shop/cup/prompt.txt",
        "shop/prompt - copy.txt",
        "shop/cup.txt",
        "shop/cup_prompt.docx",
        "shop/cup_1.txt",
    ],
)
def test_the_default_prompt_is_not_paid_while_what_was_meant_lies_beside_the_pair(lay: Lay, name: str) -> None:
    world = lay(name)

    error = world.render_of(PAIR)["error"]
    assert (error["code"], error["charged"]) == ("near_miss", "no")
    assert name in error["message"]
    assert f"name it {PAIR}" in error["message"]
    assert [event["type"] for event in world.topic.events] == ["kontext.failed"]
    assert world.network.posts == []


@pytest.mark.parametrize(
    ("name", "usual"),
    [
        ("shop/cup_1.txt", "prompt.txt"),
        ("shop/cup.txt", "prompt.txt"),
        ("shop/cup.json", "request.json"),
        ("shop/cup request (1).json", "request.json"),
        ("shop/prompt.json", "prompt.txt"),
    ],
)
def test_what_lies_beside_the_pair_is_told_with_the_name_that_its_kind_has(lay: Lay, name: str, usual: str) -> None:
    error = lay(name).render_of(PAIR)["error"]

    assert error["message"].endswith(f"name it {PAIR}{usual}")


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("shop/request.json", "shop/1.png", "shop/2.png"), id="another pair's"),
        pytest.param(("shop/cup_red_request.json", "shop/cup_red_1.png"), id="that of a longer name"),
        pytest.param(("shop/notes.txt", "shop/bowl_request.json"), id="something else"),
        pytest.param(("shop/1.txt", "shop/bowl_1.txt", "shop/cup_10.txt"), id="captions of others"),
        pytest.param(("shop/prompt.png", "shop/.prompt.txt"), id="a picture, and litter"),
        pytest.param(("request.json", "shops/prompt.txt"), id="in another folder"),
    ],
)
def test_what_belongs_to_others_holds_nobody_up(lay: Lay, names: tuple[str, ...]) -> None:
    assert lay(*names).render_of(PAIR)["status"] == Status.DELIVERED


def test_a_prompt_whose_name_only_looks_like_the_pairs_is_explained(lay: Lay) -> None:
    error = lay("cafe\u0301_prompt.txt", pair="caf\u00e9_").render_of("caf\u00e9_")["error"]

    assert (error["code"], "NFC and NFD" in error["message"]) == ("near_miss", True)


def test_names_that_look_the_same_are_known_by_their_accents_alone() -> None:
    assert near_misses.twins("caf\u00e9/") == ("cafe\u0301/",)
    assert near_misses.twins("cafe\u0301/") == ("caf\u00e9/",)
    assert near_misses.twins("cafe/") == ()
