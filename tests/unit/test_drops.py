"""What has been dropped, and what to do with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kontext.drops.pairs import AwaitingMore, Incomplete, Rejected, decide, named_keys
from kontext.drops.request import parse_request
from kontext.errors import BadDrop
from kontext.model import ObjectRead, Problem
from tests.unit.parts import DEFAULTS, NO_PROMPT, NOW, SETTLE, TUNED, asked, complete, image, pair, part, prompt


def test_two_images_and_a_prompt_go_at_once() -> None:
    dropped = pair(one=image("1"), two=image("2"), request=asked(prompt="A cat."))

    decision = complete(decide(dropped, {}, DEFAULTS, NOW))

    assert decision.inputs == (dropped.parts["1"], dropped.parts["2"])
    assert decision.parameters == {**TUNED, "prompt": "A cat."}


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        pytest.param({"one": image("1")}, ["image 2: taj/2.<png|jpg|jpeg|webp>"], id="the second image"),
        pytest.param({"two": image("2")}, ["image 1: taj/1.<png|jpg|jpeg|webp>"], id="the first image"),
        pytest.param(
            {"request": asked(prompt="x")},
            ["image 1: taj/1.<png|jpg|jpeg|webp>", "image 2: taj/2.<png|jpg|jpeg|webp>"],
            id="both images",
        ),
        pytest.param(
            {"one": image("1"), "request": asked(input_image_2="me.png")},
            ["taj/me.png (named by request.json)"],
            id="an image that the request names",
        ),
    ],
)
def test_a_half_pair_says_which_part_is_missing(parts: Any, missing: list[str]) -> None:
    dropped = pair(**parts)
    named = dict.fromkeys(named_keys(dropped))

    decision = decide(dropped, named, DEFAULTS, NOW)

    assert isinstance(decision, Incomplete)
    assert list(decision.missing) == missing


@pytest.mark.parametrize(
    ("parts", "chosen"),
    [
        pytest.param({"request": asked(prompt="r"), "prompt": prompt("p")}, "r", id="request.json before prompt.txt"),
        pytest.param({"prompt": prompt("p"), "one": image("1", prompt="1")}, "p", id="prompt.txt before metadata"),
        pytest.param({"one": image("1", prompt="1"), "two": image("2", prompt="2")}, "1", id="first before second"),
        pytest.param({"two": image("2", prompt="2")}, "2", id="second before the defaults"),
        pytest.param({"request": asked(seed=7), "prompt": prompt("p")}, "p", id="a request without a prompt"),
    ],
)
def test_the_prompt_comes_from_the_first_place_that_has_one(parts: Any, chosen: str) -> None:
    dropped = pair(**{"one": image("1"), "two": image("2"), **parts})

    decision = complete(decide(dropped, {}, DEFAULTS, NOW))

    assert decision.parameters["prompt"] == chosen


def test_each_parameter_comes_from_the_first_place_that_has_it() -> None:
    dropped = pair(
        one=image("1", aspect_ratio="16:9", seed=1, safety_tolerance=0),
        two=image("2", output_format="jpg", seed=2),
        request=asked(prompt="r", aspect_ratio="4:3"),
    )

    decision = complete(decide(dropped, {}, DEFAULTS, NOW))

    assert decision.parameters == {
        "prompt": "r",
        "aspect_ratio": "4:3",
        "output_format": "jpg",
        "safety_tolerance": 0,
        "seed": 1,
    }


@pytest.mark.parametrize("seed", [None, -1])
def test_a_seed_that_is_asked_to_be_random_overrides_every_other(seed: int | None) -> None:
    request = parse_request(json.dumps({"prompt": "r", "seed": seed}).encode())
    dropped = pair(one=image("1", seed=5), two=image("2"), request=part("taj/request.json", parameters=request))

    decision = complete(decide(dropped, {}, DEFAULTS, NOW))

    assert "seed" not in decision.parameters


def test_without_a_prompt_a_pair_waits_for_one_from_its_last_part_on() -> None:
    dropped = pair(one=image("1"), two=image("2") | {"at": NOW + 3})

    decision = decide(dropped, {}, DEFAULTS, NOW + 4)

    assert decision == AwaitingMore(NOW + 3 + SETTLE)


def test_after_the_wait_the_default_prompt_is_used() -> None:
    dropped = pair(one=image("1"), two=image("2"))

    decision = complete(decide(dropped, {}, DEFAULTS, NOW + SETTLE))

    assert decision.parameters["prompt"] == "Together."


def test_without_a_default_prompt_a_pair_waits_for_ever() -> None:
    dropped = pair(one=image("1"), two=image("2"))

    decision = decide(dropped, {}, NO_PROMPT, NOW + 10 * SETTLE)

    assert isinstance(decision, Incomplete)
    assert "a prompt" in decision.missing[0]


PROBLEM: Problem = {"code": "invalid_image", "message": "taj/1.png: it is empty (0 bytes)"}


@pytest.mark.parametrize(
    ("parts", "wrong"),
    [
        pytest.param({"one": part("taj/1.png", problem=PROBLEM)}, "taj/1.png", id="half a pair"),
        pytest.param({"one": part("taj/1.png", problem=PROBLEM), "two": image("2")}, "taj/1.png", id="the first image"),
        pytest.param(
            {"one": image("1"), "two": part("taj/2.png", problem=PROBLEM)}, "taj/2.png", id="the second image"
        ),
        pytest.param({"request": part("taj/request.json", problem=PROBLEM)}, "taj/request.json", id="the request"),
        pytest.param(
            {"one": image("1"), "prompt": part("taj/prompt.txt", problem=PROBLEM)}, "taj/prompt.txt", id="the prompt"
        ),
    ],
)
def test_a_part_that_cannot_be_used_rejects_the_drop(parts: Any, wrong: str) -> None:
    decision = decide(pair(**parts), {}, DEFAULTS, NOW)

    assert isinstance(decision, Rejected)
    assert ({"code": decision.code, "message": decision.message}, decision.cause.split()[0]) == (PROBLEM, wrong)


def test_an_image_that_the_request_replaces_is_not_looked_at() -> None:
    dropped = pair(
        one=part("taj/1.png", problem=PROBLEM), two=image("2"), request=asked(prompt="p", input_image_1="/me.png")
    )
    me = image("1") | {"key": "me.png"}

    decision = complete(decide(dropped, {"me.png": me}, DEFAULTS, NOW))

    assert decision.inputs[0] == me


def test_a_request_can_name_both_images_and_be_the_only_drop() -> None:
    dropped = pair(request=asked(prompt="p", input_image_1="a b.png", input_image_2="/shared/ü.webp"))
    named: dict[str, ObjectRead | None] = {"taj/a b.png": image("1"), "shared/ü.webp": image("2")}

    keys, decision = named_keys(dropped), decide(dropped, named, DEFAULTS, NOW)

    assert set(keys) == set(named)
    assert complete(decision).inputs == (image("1"), image("2"))


def test_an_image_can_be_an_https_url() -> None:
    dropped = pair(two=image("2"), request=asked(prompt="p", input_image_1="HTTPS://example.com/me.png"))

    decision = complete(decide(dropped, {}, DEFAULTS, NOW))

    assert named_keys(dropped) == ()
    assert decision.inputs[0] == {"url": "HTTPS://example.com/me.png"}


@pytest.mark.parametrize(
    "name", ["http://example.com/a.png", "s3://bucket/a.png", "file:///etc/passwd", "../a.png", "/", "a/"]
)
def test_a_name_that_leads_nowhere_allowed_is_refused_with_the_field_and_what_came(name: str) -> None:
    dropped = pair(two=image("2"), request=asked(prompt="p", input_image_1=name))

    with pytest.raises(BadDrop) as refused:
        named_keys(dropped)

    assert refused.value.code == "invalid_request"
    assert name in str(refused.value)
    assert "input_image_1" in str(refused.value)


def test_an_image_named_by_a_request_brings_its_metadata() -> None:
    dropped = pair(two=image("2"), request=asked(input_image_1="/me.png"))

    decision = complete(decide(dropped, {"me.png": image("1", prompt="mine")}, DEFAULTS, NOW))

    assert decision.parameters["prompt"] == "mine"


def test_the_same_content_is_the_same_render_and_other_content_another() -> None:
    def name(**parts: Any) -> str:
        dropped = pair(**{"one": image("1"), "two": image("2"), "request": asked(prompt="p"), **parts})
        return complete(decide(dropped, {}, DEFAULTS, NOW + 99)).render_id("taj/")

    again = image("1") | {"version_id": "another", "sequencer": "99", "at": NOW + 99}

    assert name() == name(one=again) == name(request=asked(prompt="p", seed=-1))
    assert (
        len({name(), name(one=image("2")), name(request=asked(prompt="q")), name(request=asked(prompt="p", seed=1))})
        == 4
    )
