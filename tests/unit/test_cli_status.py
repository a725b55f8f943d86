"""What `kontext status` makes of the table."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from rich.console import Console
from rich.text import Text

from kontext.clock import iso
from kontext_cli.journey import told
from kontext_cli.records import Records
from kontext_cli.status import Wanted, age, follow, progress_of
from kontext_cli.target import Target

Item = dict[str, Any]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Table:
    """A DynamoDB client that knows only how to read one table."""

    def __init__(self, items: list[Item]) -> None:
        self.items = items
        self.scans = 0

    def get_paginator(self, operation: str) -> Table:
        self.operation = operation
        return self

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        self.scans += self.operation == "scan"
        pk = asked.get("ExpressionAttributeValues", {}).get(":pk", {}).get("S")
        found = [item for item in self.items if pk in (None, item["pk"])]
        serialize = TypeSerializer().serialize
        return [{"Items": [{name: serialize(value) for name, value in item.items()} for item in found]}]


def records(*items: Item) -> tuple[Records, Table]:
    table = Table(list(items))
    return Records(Target("test", {"RendersTable": "renders"}, lambda service: table)), table


def render(prefix: str = "cat/", render_id: str = "1", **more: Any) -> Item:
    return {
        "pk": f"pair#{prefix}",
        "sk": f"render#{render_id}",
        "prefix": prefix,
        "render_id": render_id,
        "status": "QUEUED",
        "created_at": NOW.isoformat(),
        **more,
    }


def dropped(prefix: str = "cat/", **parts: Any) -> Item:
    seen = {"sequencer": "1", "at": int(NOW.timestamp())}
    return {
        "pk": f"pair#{prefix}",
        "sk": "pair",
        "prefix": prefix,
        **{f"part_{slot}": part | seen for slot, part in parts.items()},
    }


IMAGE = {"key": "cat/1.png", "etag": "e"}


@pytest.mark.parametrize("start", ["cat/", "cat"])
def test_one_pair_is_found_without_reading_the_whole_table(start: str) -> None:
    reader, table = records(render("cat/"), render("catalogue/"))

    found = reader.matching(start)

    assert [pair.prefix for pair in found] == ["cat/"]
    assert table.scans == 0


def test_a_beginning_finds_all_its_pairs_the_newest_first() -> None:
    later = (NOW + timedelta(hours=1)).isoformat()
    reader, _ = records(render("summer/a/"), render("summer/b/", created_at=later), render("winter/"))

    found = reader.matching("summer/")

    assert [pair.prefix for pair in found] == ["summer/b/", "summer/a/"]


def test_the_render_that_speaks_for_the_pair_comes_first() -> None:
    newer = render(render_id="2", created_at=(NOW + timedelta(hours=1)).isoformat(), status="FAILED")
    reader, _ = records(dropped() | {"current": "1"}, render(render_id="1", status="DELIVERED"), newer)

    pair = reader.pair("cat/")

    assert pair is not None
    assert [one.render_id for one in pair.renders] == ["1", "2"]
    assert pair.status == "DELIVERED"


@pytest.mark.parametrize(
    ("item", "status", "said"),
    [
        pytest.param(dropped(**{"1": IMAGE}), "WAITING", "image 2", id="half a pair"),
        pytest.param(dropped(**{"1": IMAGE, "2": IMAGE}), "WAITING", "prompt", id="no prompt"),
        pytest.param(
            dropped(request={"problem": {"code": "invalid_request", "message": "seed is x"}}),
            "REJECTED",
            "seed is x",
            id="a wrong part",
        ),
        pytest.param(
            render(status="CLAIMED", parked={"reason": "no_credits", "since": int(NOW.timestamp())}),
            "CLAIMED",
            "parked (no_credits) since 03:04:05 UTC, goes on by itself",
            id="parked",
        ),
        pytest.param(
            render(status="CLAIMED", parked={"reason": "paused", "since": int(NOW.timestamp())}),
            "CLAIMED",
            "parked (paused) since 03:04:05 UTC, until `kontext resume`",
            id="paused",
        ),
        pytest.param(
            render(status="CLAIMED", parked={"reason": "pace", "until": int(NOW.timestamp())}),
            "CLAIMED",
            "number 1 in line, goes at about 03:04:05 UTC",
            id="in line",
        ),
        pytest.param(render(status="FAILED", error={"message": "blocked"}), "FAILED", "blocked", id="failed"),
        pytest.param(render(status="DELIVERED", result={"key": "k"}), "DELIVERED", "k", id="delivered"),
    ],
)
def test_a_pair_says_the_one_thing_worth_knowing(item: Item, status: str, said: str) -> None:
    reader, _ = records(item)

    (pair,) = reader.matching("")

    assert pair.status == status
    assert said in pair.detail


def test_items_that_are_no_pairs_are_left_out() -> None:
    ledger = {"pk": "stack", "sk": "ledger#2026-01-02", "cost": 1}
    wanted = {"pk": "pair#logo/", "sk": "pair", "prefix": "logo/", "wanted_by": {"cat/"}}
    reader, _ = records(ledger, wanted, render())

    assert [pair.prefix for pair in reader.matching("")] == ["cat/"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_an_age_is_told_in_one_unit(seconds: int, said: str) -> None:
    assert age(datetime.now(UTC) - timedelta(seconds=seconds)) == said


WORDS: list[tuple[Item, Callable[[str], bool]]] = [
    ({"what": "accepted", "request_id": "r-1"}, lambda text: "r-1" in text),
    ({"what": "parked", "reason": "pace"}, lambda text: text.startswith("parked (pace): Renders are spaced")),
    (
        {"what": "parked", "reason": "no_credits", "message": "0.01 left", "times": 3, "last_at": iso(75.0)},
        lambda text: text.startswith("parked (no_credits, 3 times until 00:01:15)") and "(Segmind: 0.01 left)" in text,
    ),
    (
        {"what": "rejected", "code": "invalid_image", "message": "empty"},
        lambda text: "REJECTED (invalid_image)" in text,
    ),
    ({"what": "something new", "at": "now"}, lambda text: text == "something new"),
]


@pytest.mark.parametrize(("entry", "fits"), WORDS, ids=[f"{entry['what']}-{len(entry)}" for entry, _ in WORDS])
def test_every_entry_of_a_history_can_be_told(entry: Item, fits: Callable[[str], bool]) -> None:
    assert fits(told(entry))


PARKED: Item = {"status": "CLAIMED", "parked": {"reason": "no_credits", "since": 1, "until": 2}}
YESTERDAY = (NOW - timedelta(days=1)).isoformat()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param(Wanted(), ["done/", "failed/", "parked/"], id="all"),
        pytest.param(Wanted(status="failed"), ["failed/"], id="a status, in any case"),
        pytest.param(Wanted(status="PARKED"), ["parked/"], id="parked"),
        pytest.param(Wanted(status="claimed"), ["parked/"], id="what is parked is claimed, too"),
        pytest.param(Wanted(day=NOW.date()), ["done/", "parked/"], id="a day"),
        pytest.param(Wanted("failed", NOW.date()), [], id="a status on a day"),
    ],
)
def test_pairs_are_chosen_by_status_and_day(wanted: Wanted, found: list[str]) -> None:
    reader, _ = records(
        render("done/", status="DELIVERED"),
        render("failed/", status="FAILED", created_at=YESTERDAY),
        render("parked/", **PARKED),
    )

    assert sorted(pair.prefix for pair in reader.matching("") if wanted.fits(pair)) == found


def test_how_far_all_pairs_are_is_told_in_a_line() -> None:
    reader, _ = records(*(render(f"{n}/", status="DELIVERED") for n in range(3)), render("a/"), render("b/", **PARKED))

    line = Text.from_markup(progress_of(reader.matching(""))).plain

    assert line == "3 of 5 delivered, 1 QUEUED, 1 parked"


def test_pairs_are_followed_until_none_of_them_moves() -> None:
    stages = [render(status=status) for status in ("QUEUED", "PROCESSING", "DELIVERED")]
    shown = Console(file=io.StringIO(), width=100)
    slept: list[float] = []

    follow(lambda: records(stages[len(slept)])[0].matching(""), shown, 10, slept.append)

    assert len(slept) == 2
    assert min(slept) >= 2.0
