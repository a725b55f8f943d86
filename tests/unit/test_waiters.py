"""Who waits for whose object: items of their own, counted, and woken page by page."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from kontext.drops import waiters
from kontext.drops.pairs import pair_key
from kontext.drops.store import Drops
from kontext.drops.waiters import PAGE, TooMany, Waiter, Waiters, object_key
from kontext.dynamodb import Table
from tests.existing import existing

NOW = 1_800_000_000.0
KEY = "shared/product.png"
PART = "taj/2.png"


@pytest.fixture
def waiting(table: Table) -> Waiters:
    return Waiters(table)


def names(found: Iterable[Waiter]) -> list[str]:
    return [waiter.prefix for waiter in found]


@pytest.mark.parametrize("key", [KEY, PART], ids=["any name", "a part of another pair"])
def test_an_object_that_comes_is_due_until_all_who_wait_for_it_are_woken(waiting: Waiters, key: str) -> None:
    for prefix in ("b/", "", "a/"):
        waiting.add(key, prefix, "", NOW)
    before = names(waiting.to_wake(key))

    waiting.arrive(key, NOW)
    woken = list(waiting.to_wake(key))
    due = []
    for waiter in woken:
        waiting.rest(key)
        due.append("due_at" in item(waiting, key))
        waiting.remove(key, waiter)
    waiting.rest(key)

    assert before == []
    assert names(woken) == ["", "a/", "b/"]
    assert due == [True, True, True]
    assert "due_at" not in item(waiting, key)
    assert item(waiting, key)["waiters"] == 0


def item(waiting: Waiters, key: str) -> dict[str, object]:
    return waiting.table.get(object_key(key)) or {}


def test_an_object_that_nobody_waits_for_costs_nothing_and_is_not_due(waiting: Waiters) -> None:
    assert not waiting.arrive(KEY, NOW)
    assert waiting.table.get(object_key(KEY)) is None


def test_the_pair_whose_part_is_waited_for_is_told_so_once(waiting: Waiters, drops: Drops) -> None:
    waiting.add(PART, "a/", "", NOW)
    waiting.add(PART, "b/", "", NOW)

    pair = drops.get("taj/")

    assert pair is not None
    assert pair.awaited
    assert pair.parts == {}
    assert waiting.table.get(pair_key("taj/")) == {**pair_key("taj/"), "prefix": "taj/", "awaited": True}


def test_who_begins_to_wait_anew_while_he_is_woken_is_not_struck_off(waiting: Waiters) -> None:
    waiting.add(KEY, "a/", "", NOW)
    waiting.arrive(KEY, NOW)
    (waiter,) = waiting.to_wake(KEY)

    waiting.add(KEY, "a/", "", NOW)  # it was no picture
    waiting.remove(KEY, waiter)
    waiting.rest(KEY)
    rested = "due_at" not in item(waiting, KEY)
    waiting.arrive(KEY, NOW)

    assert rested
    assert names(waiting.to_wake(KEY)) == ["a/"]
    assert item(waiting, KEY)["waiters"] == 1


def test_an_object_that_comes_again_while_it_is_worked_on_stays_due(waiting: Waiters) -> None:
    waiting.add(KEY, "a/", "", NOW)
    waiting.arrive(KEY, NOW)
    waiting.remove(KEY, Waiter("a/", 0))
    waiting.add(KEY, "b/", "", NOW)

    waiting.arrive(KEY, NOW + 1)
    waiting.rest(KEY)

    assert "due_at" in item(waiting, KEY)


def test_who_does_not_wait_any_more_is_struck_off_and_counted_out_once(waiting: Waiters) -> None:
    waiting.add(KEY, "a/", "", NOW)
    waiting.add(KEY, "b/", "", NOW)

    waiting.forget(KEY, "a/")
    waiting.forget(KEY, "a/")
    waiting.arrive(KEY, NOW)

    assert names(waiting.to_wake(KEY)) == ["b/"]
    assert item(waiting, KEY)["waiters"] == 1


def test_no_more_than_so_many_wait_for_one_object(table: Table) -> None:
    waiting = Waiters(table, most=3)
    for prefix in "abc":
        waiting.add(KEY, f"{prefix}/", "", NOW)

    with pytest.raises(TooMany, match=r"3 pairs wait for shared/product\.png already"):
        waiting.add(KEY, "d/", "", NOW)
    waiting.add(KEY, "a/", "", NOW)  # who waits already may go on
    waiting.forget(KEY, "b/")
    waiting.add(KEY, "d/", "", NOW)


def test_what_waits_is_forgotten_some_day(waiting: Waiters) -> None:
    waiting.add(KEY, "a/", "", NOW)

    over = existing(waiting.table.get({"pk": f"object#{KEY}", "sk": "waiter#a/"}))["expires_at"]

    assert over == NOW + 400 * 86_400
    assert item(waiting, KEY)["expires_at"] == over


def test_a_crowd_is_woken_page_by_page(waiting: Waiters) -> None:
    for n in range(PAGE + 5):
        waiting.add(KEY, f"m/{n:03}/", "", NOW)
    waiting.arrive(KEY, NOW)

    first = waiting.page(KEY, waiters.FIRST)
    second = waiting.page(KEY, first[-1].place)

    assert len(first) == PAGE
    assert names(second) == [f"m/{n:03}/" for n in range(PAGE, PAGE + 5)]


def test_a_crowd_leaves_nobodys_item_larger(waiting: Waiters) -> None:
    for n in range(30):
        waiting.add(PART, f"{n}{'x' * 1000}/", "", NOW)

    sizes = [len(str(waiting.table.get(place))) for place in (object_key(PART), pair_key("taj/"))]

    assert max(sizes) < 300


def test_the_longest_names_fit_into_the_keys_of_the_table(waiting: Waiters) -> None:
    longest = "x" * 1011 + "/"  # with "request.json" it is S3's longest key

    waiting.add("y" * 1024, longest, "", NOW)
    waiting.arrive("y" * 1024, NOW)

    assert names(waiting.to_wake("y" * 1024)) == [longest]


def test_who_waits_for_an_object_that_is_there_has_seen_it_or_was_not_told_of_it(waiting: Waiters) -> None:
    waiting.add(KEY, "a/", "wrong", NOW)
    seen = waiting.miss(KEY, "wrong")
    replaced = waiting.miss(KEY, "right")

    waiting.add(KEY, "b/", "", NOW)

    assert (seen, replaced) == (False, True)
    assert waiting.miss(KEY, "wrong")
