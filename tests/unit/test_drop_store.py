"""What is kept of each drop, in whatever order, however late and however often it is told."""

from __future__ import annotations

from itertools import permutations

import pytest

from kontext.drops.loose import LooseObjects
from kontext.drops.pairs import decide, pair_key
from kontext.drops.store import Drops
from kontext.drops.waiters import object_key
from kontext.due import STUCK_AFTER, UNKNOWN, DueIndex
from kontext.model import Part
from tests.existing import existing
from tests.unit.parts import NO_PROMPT, NOW, asked, complete, image, prompt

HOUR = 3600.0
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


def test_a_pair_of_which_every_look_fails_is_known_to_be_stuck(drops: Drops) -> None:
    due, now = DueIndex(drops.table), NOW
    drops.record("taj/", "1", image("1"), "0A", NOW)

    for _ in range(STUCK_AFTER):
        drops.try_again("taj/", now)
        now += 2 * HOUR
        (item,) = due.over(now)
        due.dispatch(item, now)

    (tenth,) = due.over(now)
    drops.look_again("taj/", now)  # something has changed
    (anew,) = due.over(now)
    assert (item.is_stuck, tenth.is_stuck, anew.is_stuck) == (False, True, False)
