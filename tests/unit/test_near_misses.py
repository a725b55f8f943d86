"""What was meant for a pair and lies beside it under another name: nothing is paid until that is clear."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kontext.drops import near_misses
from kontext.drops.waiters import object_key
from kontext.due import UNKNOWN
from kontext.model import Status
from simulation.actions import Drop, image
from simulation.explore import play
from simulation.stories.story import TAJ, story
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
            tell(world, name)
        return world.play()

    return lay


def tell(world: World, key: str, event: str = "ObjectCreated:Put") -> None:
    """S3 tells what has happened to an object."""
    record = {
        "eventName": event,
        "eventTime": "2027-01-15T08:00:00Z",
        "s3": {"bucket": {"name": "InputBucket"}, "object": {"key": key, "sequencer": f"{world.queue.sent:04}"}},
    }
    world.queue.send_message(QueueUrl="", MessageBody=json.dumps({"Records": [record]}))


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


def test_a_pair_with_the_longest_of_names_is_told_what_lies_beside_it_and_goes_on_without(lay: Lay) -> None:
    stem = "a/" + "x" * 1016
    world = lay(f"{stem}.txt", pair=f"{stem}_")
    told = world.render_of(f"{stem}_")["error"]["code"]

    world.s3.delete_object(Bucket="InputBucket", Key=f"{stem}.txt")
    tell(world, f"{stem}.txt", "ObjectRemoved:DeleteMarkerCreated")
    world.play()

    assert told == "near_miss"
    assert len(world.network.posts) == 1


MISNAMED = [
    "shop/request.json",
    "shop/cup-request.json",
    "shop/cup request (1).json",
    "shop/cup.txt",
    "shop/prompts.docx",
]


@pytest.mark.parametrize("name", MISNAMED)
def test_a_pair_goes_on_with_the_default_prompt_once_what_was_not_meant_is_deleted(lay: Lay, name: str) -> None:
    world = lay(name)
    tell(world, name, "ObjectRemoved:DeleteMarkerCreated")
    world.s3.delete_object(Bucket="InputBucket", Key=name)
    deleted_at = world.clock.now()
    world.play()

    ends = [event["type"] for event in world.topic.events if event["subject"] == PAIR]
    assert ends == ["kontext.failed", "kontext.rendered"]
    assert world.files == [f"{PAIR}result.png"]
    (posted_at,) = world.network.posts
    assert posted_at - deleted_at >= 20  # it may be on its way under its right name


@pytest.mark.parametrize("name", MISNAMED)
def test_a_pair_is_not_paid_because_a_rule_has_deleted_what_was_in_its_way(lay: Lay, name: str) -> None:
    world = lay(name)
    tell(world, name, "LifecycleExpiration:DeleteMarkerCreated")
    world.s3.delete_object(Bucket="InputBucket", Key=name)
    world.play()

    assert world.render_of(PAIR)["error"]["code"] == "near_miss"
    assert world.network.posts == []


@pytest.mark.parametrize("name", ["shop/plan.xyz", "shop/cup_1.png", "shop/other_1.png"])
def test_that_a_rule_deletes_an_old_version_of_what_is_there_changes_nothing(lay: Lay, name: str) -> None:
    world = lay(name, pair=PAIR)
    items, files = dict(world.dynamodb.items), {key: world.s3.newest("OutputBucket", key) for key in world.files}
    world.clock.sleep(30 * 86_400.0)

    tell(world, name, "LifecycleExpiration:Delete")
    world.play()

    assert world.dynamodb.items == items
    assert {key: world.s3.newest("OutputBucket", key) for key in world.files} == files


def test_all_pairs_go_on_in_whose_way_a_file_was_that_is_deleted(lay: Lay) -> None:
    world = lay("shop/request.json", "shop/jar_1.png", "shop/jar_2.png", "shop/cup-prompt.txt")
    for name in ("shop/cup-prompt.txt", "shop/request.json"):
        world.s3.delete_object(Bucket="InputBucket", Key=name)
        tell(world, name, "ObjectRemoved:Delete")
        world.play()

    ends = [(event["subject"], event["type"].removeprefix("kontext.")) for event in world.topic.events]
    assert sorted(ends) == [
        *[(PAIR, "failed")] * 2,  # told of one, then of the other
        (PAIR, "rendered"),
        ("shop/jar_", "failed"),
        ("shop/jar_", "rendered"),
    ]


def test_a_pair_that_finds_no_place_among_those_who_wait_is_told_all_the_same(lay: Lay) -> None:
    world = lay("shop/request.json")
    world.seams["Submit"].inner("waiters").most = 1  # a pair waits already
    for name in ("shop/jar_1.png", "shop/jar_2.png"):
        world.s3.put_object(Bucket="InputBucket", Key=name, Body=world.picture)
        tell(world, name)
    world.play()

    assert world.render_of("shop/jar_")["error"]["code"] == "near_miss"
    assert not world.queue.dead


def test_a_text_that_is_replaced_is_told_once_as_long_as_it_is_in_the_way(lay: Lay) -> None:
    world = lay("shop/cup-request.json")
    world.s3.put_object(Bucket="InputBucket", Key="shop/cup-request.json", Body=b"{}")
    tell(world, "shop/cup-request.json")
    world.play()

    assert [event["type"] for event in world.topic.events] == ["kontext.failed"]
    assert world.network.posts == []


def test_what_is_in_the_way_is_still_an_object_that_fits_no_rule(lay: Lay) -> None:
    world = lay("shop/prompts.docx")
    tell(world, "shop/prompts.docx")
    world.play()

    item = world.table.get(object_key("shop/prompts.docx"))
    assert (item or {})["due_lane"] == UNKNOWN
    assert "shop/prompts.docx.error.json" in world.files


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


@pytest.mark.parametrize(
    ("key", "taken_for_it"),
    [
        ("shop/cup.JPG", ("shop/cup.JPEG", "shop/cup.jpeg", "shop/cup.jpg")),
        ("shop/cup.png", ("shop/cup.PNG",)),
        ("caf\u00e9.png", ("cafe\u0301.PNG", "cafe\u0301.png", "caf\u00e9.PNG")),
        ("cup", ()),
    ],
)
def test_a_key_is_taken_for_those_that_differ_in_accents_or_the_letters_of_the_extension(
    key: str, taken_for_it: tuple[str, ...]
) -> None:
    assert near_misses.others_alike(key) == taken_for_it
    assert {near_misses.alike(other) for other in (*taken_for_it, f"{key} ")} == {near_misses.alike(key)}


@pytest.mark.parametrize(
    ("named", "there", "is_told"),
    [
        ("shared/a.jpg", "shared/a.JPG", True),
        ("shared/caf\u00e9.png", "shared/cafe\u0301.png", True),
        ("shared/a.jpg", "shared/a.png", False),
        ("shared/a.jpg", "shared/ab.jpg", False),
        ("shared/a.jpg", "shared/A.jpg", False),
    ],
)
@pytest.mark.parametrize("comes", ["first", "last"])
def test_a_request_that_names_an_image_in_other_letters_is_told_which_one_is_there(
    lay: Lay, named: str, there: str, is_told: bool, comes: str
) -> None:
    asked = Drop(f"{TAJ}request.json", json.dumps({"prompt": "both", "input_image_1": f"/{named}"}).encode())
    steps = [(1.0, image(f"{TAJ}2.png")), (2.0, asked), (0.0 if comes == "first" else 30.0, image(there))]
    world = play(story("letters", *sorted(steps, key=lambda step: step[0]))).world

    told = [json.loads(message)["data"]["error"] for _, message, _ in world.topic.published]
    assert [error["code"] for error in told] == ["near_miss"] * is_told
    assert all(there in error["message"] and named in error["message"] for error in told)


def test_names_that_look_the_same_are_known_by_their_accents_alone() -> None:
    assert near_misses.twins("caf\u00e9/") == ("cafe\u0301/",)
    assert near_misses.twins("cafe\u0301/") == ("caf\u00e9/",)
    assert near_misses.twins("cafe/") == ()
