"""Whose objects a request may name: what is told of another's, whatever the spelling, and what a first folder is."""

from __future__ import annotations

import json
import posixpath
import re
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kontext.drops.references import References, key_named
from kontext.errors import BadDrop
from kontext.model import Parameters
from simulation.actions import Drop, image, request
from simulation.explore import play
from simulation.schedule import Action
from simulation.stories.story import story
from simulation.template import parsed
from simulation.world import World

RULE = References.of_stack("shared/, brand/2026/", "Drops-In", "drops-out")
PATTERN = parsed()["Parameters"]["SharedPrefixes"]["AllowedPattern"]


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        pytest.param("ann/taj/", "me.png", id="beside the request"),
        pytest.param("ann/taj_", "photos/me.png", id="below it"),
        pytest.param("ann/taj/", "/ann/me.png", id="elsewhere in its first folder"),
        pytest.param("ann/taj/", "/ann/fort/1.png", id="another pair's image in its first folder"),
        pytest.param("ann/taj/", "/shared/cup.png", id="what is shared"),
        pytest.param("ann/taj/", "/brand/2026/logo.png", id="a shared folder further down"),
        pytest.param("taj_", "/bob/1.png", id="any, from the root of the bucket"),
        pytest.param("", "bob/1.png", id="any, without a prefix"),
        pytest.param("ann/", "https://example.com/bob/1.png", id="a public link"),
        pytest.param("/ann/", "//ann/1.png", id="in the folder without a name"),
        pytest.param("ann\u00e9/", "/ann\u00e9/1.png", id="an accent, spelt alike"),
    ],
)
def test_a_request_may_name_what_is_its_own_or_shared(prefix: str, name: str) -> None:
    RULE.check(prefix, {"input_image_1": name, "prompt": "both"})


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("/bob/1.png", id="another's image"),
        pytest.param("/bob/1.png?versionId=1", id="with what a link would have behind it"),
        pytest.param("/1.png", id="at the root of the bucket"),
        pytest.param("/annabel/1.png", id="of a folder whose name begins alike"),
        pytest.param("/an/1.png", id="of a folder that ours begins with"),
        pytest.param("/Ann/1.png", id="of a folder in capitals"),
        pytest.param("/ann", id="named like the folder"),
        pytest.param("/ann%2F1.png", id="an encoded slash is no slash"),
        pytest.param("//ann/1.png", id="of the folder without a name"),
        pytest.param("/shared.png", id="named like what is shared"),
        pytest.param("/shared-secrets/1.png", id="of a folder named like the shared one"),
        pytest.param("/brand/1.png", id="above what is shared"),
        pytest.param("/ann\\..\\bob/1.png", id="backslashes are no slashes"),
    ],
)
@pytest.mark.parametrize("field", ["input_image_1", "input_image_2"])
def test_another_ones_object_is_refused_in_words_that_say_what_to_do(
    field: Literal["input_image_1", "input_image_2"], name: str
) -> None:
    asked: Parameters = {}
    asked[field] = name

    with pytest.raises(BadDrop) as refused:
        RULE.check("ann/taj/", asked)

    assert refused.value.code == "invalid_request"
    assert f"{field} names " in str(refused.value)
    assert "may name only what lies in ann/ and shared/ and brand/2026/" in str(refused.value)
    assert "SharedPrefixes" in str(refused.value)


@pytest.mark.parametrize(
    "name", ["/ann/../bob/1.png", "../../bob/1.png", "./../bob/1.png", "/ann//1.png", "a/../../b.png"]
)
def test_no_step_leads_out_of_a_folder(name: str) -> None:
    with pytest.raises(BadDrop, match=r"'\.\.' steps"):
        RULE.check("ann/taj/", {"input_image_1": name})


@pytest.mark.parametrize(
    "link",
    [
        "https://drops-in.s3.amazonaws.com/bob/1.png",
        "https://Drops-In.s3.eu-central-1.amazonaws.com/bob/1.png?X-Amz-Signature=0",
        "https://drops-in.s3-eu-west-1.amazonaws.com/bob/1.png",
        "https://drops-in.s3.dualstack.eu-central-1.amazonaws.com/bob/1.png",
        "https://drops-in.s3-fips.us-east-1.amazonaws.com/bob/1.png",
        "https://drops-in.s3-accelerate.amazonaws.com/bob/1.png",
        "https://drops-in.s3-website.eu-central-1.amazonaws.com/bob/1.png",
        "https://s3.amazonaws.com/drops-in/bob/1.png",
        "https://s3.eu-central-1.amazonaws.com/drops-in/bob/1.png",
        "https://s3.eu-central-1.amazonaws.com//drops-in/bob/1.png",
        "HTTPS://S3.AMAZONAWS.COM/%64rops%2Din/bob/1.png",
        "https://drops-in.s3.amazonaws.com/ann/1.png",
    ],
)
def test_no_link_goes_round_the_rule(link: str) -> None:
    with pytest.raises(BadDrop, match="input_image_1 leads to the input bucket; name the object by its key"):
        RULE.check("ann/taj/", {"input_image_1": link})


def test_a_link_to_a_result_is_refused_at_the_root_too() -> None:
    with pytest.raises(BadDrop, match="leads to the output bucket"):
        RULE.check("", {"input_image_2": "https://drops-out.s3.amazonaws.com/taj/result.png"})


@given(st.text("ab/.%2F\\", min_size=1, max_size=16))
def test_what_a_request_may_name_lies_in_its_folder_however_the_name_is_read(name: str) -> None:
    rule = References.of_stack("shared/", "in", "out")
    try:
        rule.check("ab/", {"input_image_1": name})
    except BadDrop:
        return

    key = key_named("ab/", "input_image_1", name)

    assert key.startswith("ab/")
    assert posixpath.normpath(key) == key


def test_a_stack_may_share_everything_or_nothing() -> None:
    References.of_stack("*", "in", "out").check("ann/", {"input_image_1": "/bob/1.png"})

    with pytest.raises(BadDrop, match="may name only what lies in ann/: copy the picture there"):
        References.of_stack("", "in", "out").check("ann/", {"input_image_1": "/shared/1.png"})


@pytest.mark.parametrize("said", ["", "*", "shared/", "shared/,brand/2026/", "shared/, brand/", "product photos/"])
def test_the_parameter_takes_folders(said: str) -> None:
    assert re.fullmatch(PATTERN, said)


@pytest.mark.parametrize("said", ["shared", "/shared/", "shared/,", "shared/*", "a/,*", ",", "/", " ", "shared/ brand"])
def test_the_parameter_takes_nothing_that_would_share_more_or_less_than_it_says(said: str) -> None:
    assert not re.fullmatch(PATTERN, said)


def test_a_dropper_does_not_learn_what_lies_in_anothers_folder() -> None:
    there, broken, missing = (
        asked_for("/bob/secret.png", (0.0, image("bob/secret.png"))),
        asked_for("/bob/secret.png", (0.0, Drop("bob/secret.png", b"no picture"))),
        asked_for("/bob/secret.png"),
    )

    assert told(there) == told(broken) == told(missing)
    assert "bob/secret.png" in told(there)
    asked_of_s3 = [str(call.asked) for call in missing.injector.calls if call.service == "s3"]
    assert [asked for asked in asked_of_s3 if "'bob/" in asked] == []
    assert any("'ann/2.png'" in asked for asked in asked_of_s3)


def test_another_ones_object_that_was_named_is_told_as_any_other_that_fits_no_rule() -> None:
    world = asked_for("/bob/secret.png", (100.0, image("bob/secret.png")))

    assert "bob/secret.png.error.json" in world.s3.keys("OutputBucket")


def asked_for(name: str, *before: tuple[float, Action]) -> World:
    """What becomes of a pair in ann/ that names an image."""
    asked = request("ann/", prompt="both", input_image_1=name)
    return play(story("a name", *before, (10.0, image("ann/2.png")), (11.0, asked))).world


def told(world: World) -> str:
    """What ann is told in the end."""
    error = world.s3.newest("OutputBucket", "ann/error.json")
    return str(json.loads(error.body or b"")["message"]) if error else ""
