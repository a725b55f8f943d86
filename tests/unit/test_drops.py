"""What has been dropped, and what to do with it."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any, Unpack

import pytest

from kontext.drops.loose import LooseObjects
from kontext.drops.pairs import AwaitingMore, Defaults, Incomplete, Pair, Ready, Rejected, decide, named_keys, pair_key
from kontext.drops.request import parse_request
from kontext.drops.store import Drops
from kontext.drops.waiters import object_key
from kontext.due import UNKNOWN
from kontext.errors import BadDrop
from kontext.model import ObjectRead, Parameters, Part, Problem
from tests.existing import existing

NOW = 1000.0
SETTLE = 20.0
TUNED: Parameters = {"aspect_ratio": "1:1", "output_format": "png", "safety_tolerance": 2}
DEFAULTS = Defaults(TUNED, prompt="Together.", prompt_wait_seconds=SETTLE)
NO_PROMPT = Defaults(TUNED, prompt="", prompt_wait_seconds=SETTLE)


def image(slot: str, **parameters: Unpack[Parameters]) -> Part:
    return part(f"taj/{slot}.png", etag=f"e{slot}", kind="png", width=4, height=3, parameters=parameters)


def asked(**parameters: Unpack[Parameters]) -> Part:
    return part("taj/request.json", parameters=parameters)


def prompt(text: str) -> Part:
    return part("taj/prompt.txt", parameters={"prompt": text})


def part(key: str, /, **more: Unpack[Part]) -> Part:
    return {"key": key, "version_id": "v", "etag": "e", "sequencer": "01", "at": NOW, **more}


def pair(**parts: Part) -> Pair:
    """A pair of some parts; `one` and `two` are its images."""
    names = {"one": "1", "two": "2"}
    return Pair("taj/", {names.get(name, name): content for name, content in parts.items()})


def complete(decision: object) -> Ready:
    assert isinstance(decision, Ready)
    return decision


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


PARTS = {"1": image("1"), "2": image("2"), "request": asked(prompt="r"), "prompt": prompt("p")}


@pytest.mark.parametrize("order", list(permutations(PARTS)), ids="-".join)
def test_in_whatever_order_the_parts_come_the_last_one_completes_the_pair(drops: Drops, order: tuple[str, ...]) -> None:
    seen = [drops.record("taj/", slot, PARTS[slot], f"{n:02}", NOW) for n, slot in enumerate(order)]

    decisions = [decide(pair, {}, NO_PROMPT, NOW) for pair in seen]

    assert complete(decisions[-1]).parameters["prompt"] == "r"
    assert complete(decisions[-1]).inputs == (seen[-1].parts["1"], seen[-1].parts["2"])
    assert seen[-1] == drops.get("taj/")


def test_events_that_come_late_do_not_undo_newer_drops(drops: Drops) -> None:
    drops.record("taj/", "1", image("1") | {"etag": "new"}, "0055AED6DCD90281E6", NOW)

    pair = drops.record("taj/", "1", image("1") | {"etag": "old", "version_id": "old"}, "0055AED6DCD90281E5", NOW)

    assert pair.parts["1"]["etag"] == "new"


def test_an_event_that_comes_twice_changes_nothing(drops: Drops) -> None:
    first = drops.record("taj/", "1", image("1"), "0A", NOW)

    second = drops.record("taj/", "1", image("1"), "0A", NOW)

    assert first == second


def test_an_object_that_was_found_before_its_event_came_is_one_drop(drops: Drops) -> None:
    found = drops.record("taj/", "request", asked(prompt="both"), sequencer="", at=0.0)

    told = drops.record("taj/", "request", asked(prompt="both"), "0A", NOW)

    assert (found.drop_id, told.drop_id) == (1, 1)
    assert told.parts["request"]["sequencer"].startswith("0A")


def test_an_older_drop_does_not_replace_one_that_was_found_before_its_event_came(drops: Drops) -> None:
    drops.record("taj/", "prompt", prompt("new") | {"version_id": "v2"}, sequencer="", at=0.0)
    drops.record("taj/", "prompt", prompt("new") | {"version_id": "v2"}, "0B", NOW)

    pair = drops.record("taj/", "prompt", prompt("old") | {"version_id": "v1"}, "0A", NOW)

    assert pair.parts["prompt"]["parameters"] == {"prompt": "new"}


@pytest.mark.parametrize("version", [None, "null"])
def test_a_bucket_that_keeps_no_versions_is_believed_its_sequencers(drops: Drops, version: str | None) -> None:
    drops.record("taj/", "1", image("1") | {"version_id": version}, "0A", NOW)

    pair = drops.record("taj/", "1", image("1") | {"version_id": version, "etag": "new"}, "0B", NOW)

    assert (pair.parts["1"]["etag"], pair.drop_id) == ("new", 2)


def test_sequencers_of_different_lengths_compare_as_s3_says(drops: Drops) -> None:
    drops.record("taj/", "1", image("1") | {"etag": "long"}, "0A01", NOW)

    pair = drops.record("taj/", "1", image("1") | {"etag": "short", "version_id": "v2"}, "0B", NOW)

    assert pair.parts["1"]["etag"] == "short"


def test_of_two_objects_for_one_slot_the_one_that_s3_wrote_later_counts_whatever_their_sequencers(
    drops: Drops,
) -> None:
    older: Part = {"written_at": NOW, "key": "taj/1.png"}
    newer: Part = {"written_at": NOW + 50, "key": "taj/1.jpg"}

    drops.record("taj/", "1", image("1") | older, "FF", NOW)
    replaced = drops.record("taj/", "1", image("1") | newer, "01", NOW + 50)
    told_late = drops.record("taj/", "1", image("1") | older | {"version_id": "v0"}, "FF02", NOW)

    assert replaced.parts["1"]["key"] == told_late.parts["1"]["key"] == "taj/1.jpg"


def test_an_object_that_was_found_under_another_key_does_not_hide_what_comes_there_later(drops: Drops) -> None:
    drops.record("taj/", "1", image("1"), "FF", NOW)

    found = drops.next_sequencer("taj/", "1", "taj/1.jpg")
    drops.record("taj/", "1", image("1") | {"key": "taj/1.jpg"}, found, NOW + 1)
    pair = drops.record(
        "taj/", "1", image("1") | {"key": "taj/1.jpg", "version_id": "v2", "etag": "new"}, "01", NOW + 2
    )

    assert pair.parts["1"]["etag"] == "new"


def test_every_drop_has_an_id_of_its_own_even_of_the_same_content(drops: Drops) -> None:
    first = drops.record("taj/", "1", image("1"), "0A", NOW)
    second = drops.record("taj/", "2", image("2"), "0B", NOW)
    third = drops.record("taj/", "1", image("1") | {"version_id": "v2"}, "0C", NOW)

    assert first.drop_id < second.drop_id < third.drop_id


def test_pairs_do_not_touch_each_other(drops: Drops) -> None:
    drops.record("taj/", "1", image("1"), "0A", NOW)
    drops.record("taj_", "2", image("2"), "0B", NOW)
    drops.record("", "2", image("2"), "0C", NOW)

    assert {prefix: set(existing(drops.get(prefix)).parts) for prefix in ("taj/", "taj_", "")} == {
        "taj/": {"1"},
        "taj_": {"2"},
        "": {"2"},
    }
    assert drops.get("other/") is None


def test_an_object_that_no_request_has_named_is_unknown(drops: Drops) -> None:
    assert LooseObjects(drops.table).waiters_of("notes.txt") is None
    assert LooseObjects(drops.table).mark_reported("notes.txt", NOW)
    assert LooseObjects(drops.table).waiters_of("notes.txt") is None


def test_a_request_that_names_a_reported_object_takes_the_report_back(drops: Drops) -> None:
    LooseObjects(drops.table).mark_reported("product.png", NOW)
    assert [item["pk"] for item in drops.table.query_due(UNKNOWN)] == ["object#product.png"]

    before = LooseObjects(drops.table).mark_referenced("product.png")

    assert before is True
    assert list(drops.table.query_due(UNKNOWN)) == []
    assert LooseObjects(drops.table).waiters_of("product.png") == frozenset()


def test_an_object_that_is_named_is_not_reported_any_more(drops: Drops) -> None:
    first = LooseObjects(drops.table).mark_referenced("product.png")

    assert first is False
    assert not LooseObjects(drops.table).mark_reported("product.png", NOW)


def test_an_object_that_is_found_takes_its_place_behind_what_fills_the_slot_and_before_what_comes_later(
    drops: Drops,
) -> None:
    drops.record("taj/", "1", image("1") | {"version_id": "v1"}, "0A", NOW)

    found = drops.next_sequencer("taj/", "1", "taj/1.png")
    drops.record("taj/", "1", image("1") | {"version_id": "v2"}, found, NOW)
    late = drops.record("taj/", "1", image("1") | {"version_id": "v0"}, "09", NOW)
    newer = drops.record("taj/", "1", image("1") | {"version_id": "v3"}, "0B", NOW)

    assert late.parts["1"]["version_id"] == "v2"
    assert newer.parts["1"]["version_id"] == "v3"


def test_an_object_that_was_found_while_a_newer_one_came_does_not_replace_it(drops: Drops) -> None:
    drops.record("taj/", "1", image("1") | {"version_id": "v1"}, "0A", NOW)
    found = drops.next_sequencer("taj/", "1", "taj/1.png")
    drops.record("taj/", "1", image("1") | {"version_id": "v3"}, "0B", NOW)

    pair = drops.record("taj/", "1", image("1") | {"version_id": "v2"}, found, NOW)

    assert pair.parts["1"]["version_id"] == "v3"


def test_those_who_waited_as_it_was_kept_once_are_looked_at_again(drops: Drops) -> None:
    place, names = object_key("product.png"), {"a/", "gone/"}
    drops.table.update(place, "SET #prefix = :name ADD #wanted_by :by", name="product.png", by=names)
    drops.record("a/", "1", image("1"), "0A", NOW)

    drops.wake_wanted(place, LooseObjects(drops.table).waiters_of("product.png") or frozenset(), NOW)

    assert LooseObjects(drops.table).waiters_of("product.png") == frozenset()
    assert existing(drops.table.get(pair_key("a/")))["due_lane"] == "timer"
    assert drops.get("gone/") is None


def test_an_object_that_fits_no_rule_and_is_taken_away_is_not_told_of_any_more(drops: Drops) -> None:
    loose = LooseObjects(drops.table)
    loose.mark_reported("notes.txt", NOW)

    loose.forget("notes.txt", NOW)

    assert list(drops.table.query_due(UNKNOWN)) == []
    assert loose.reported_at("notes.txt") is None


def test_an_object_that_comes_back_while_it_is_taken_away_is_told_of(drops: Drops) -> None:
    loose = LooseObjects(drops.table)
    loose.mark_reported("notes.txt", NOW)
    loose.mark_reported("notes.txt", NOW + 1)

    loose.forget("notes.txt", NOW)

    assert loose.reported_at("notes.txt") == NOW + 1
    assert [item["pk"] for item in drops.table.query_due(UNKNOWN)] == ["object#notes.txt"]
