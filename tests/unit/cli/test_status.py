"""What `kontext status` makes of the table."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from math import inf
from operator import itemgetter
from typing import Any, Unpack, cast

import pytest
from boto3.dynamodb.types import TypeSerializer
from rich.console import Console
from rich.text import Text

from kontext.clock import iso
from kontext.due import LINE, TIMER, UNKNOWN, WAITING
from kontext.errors import problem
from kontext.model import ENDED, HistoryEntry, ObjectRead, Part, Render, Status
from kontext.throttle.throttle import Throttle
from kontext_cli.read.newest import MOST
from kontext_cli.read.records import Filter, Records
from kontext_cli.read.timeline import describe_entry
from kontext_cli.read.views import PairView
from kontext_cli.status import age, progress_of, watch_pairs
from kontext_cli.target import Target

Item = dict[str, Any]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SINCE = int(NOW.timestamp())


class Table:
    """A DynamoDB client that knows only how to read one table, and counts what it is asked."""

    def __init__(self, items: list[Item]) -> None:
        self.items = items
        self.requests: Counter[str] = Counter()

    def get_paginator(self, operation: str) -> Table:
        assert operation == "query", "no view reads the whole table"
        return self

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        values = {name: value.get("S") for name, value in asked["ExpressionAttributeValues"].items()}
        found = self._lane(values[":lane"], asked) if "IndexName" in asked else self._pair(values[":pk"])
        size = asked.get("PaginationConfig", {}).get("PageSize", 1000)
        for start in range(0, max(len(found), 1), size):
            self.requests["query"] += 1
            page = found[start : start + size]
            yield {"Items": list(map(_written, page)), "Count": len(page)}

    def get_item(self, *, Key: Item, **asked: Any) -> dict[str, Any]:  # noqa: N803
        self.requests["get"] += 1
        found = [_written(item) for item in self.items if (item["pk"], item["sk"]) == (Key["pk"]["S"], Key["sk"]["S"])]
        return {"Item": found[0]} if found else {}

    def batch_get_item(self, *, RequestItems: Item) -> dict[str, Any]:  # noqa: N803
        self.requests["batch"] += 1
        ((name, asked),) = RequestItems.items()
        places = [(key["pk"]["S"], key["sk"]["S"]) for key in asked["Keys"]]
        assert len(places) <= 100
        assert len(set(places)) == len(places), "DynamoDB refuses a key that is asked for twice"
        wanted = set(places)
        found = [_written(item) for item in self.items if (item["pk"], item["sk"]) in wanted]
        return {"Responses": {name: found}}

    def _pair(self, pk: str) -> list[Item]:
        return [item for item in self.items if item["pk"] == pk]

    def _lane(self, lane: str, asked: Item) -> list[Item]:
        values = {name: float(value["N"]) for name, value in asked["ExpressionAttributeValues"].items() if "N" in value}
        since, until = values.get(":since", -inf), values.get(":until", inf)
        there = [item for item in self.items if item.get("due_lane") == lane and since <= item["due_at"] <= until]
        projected = ("pk", "sk", "due_lane", "due_at")
        newest_first = not asked.get("ScanIndexForward", True)
        ordered = sorted(there, key=itemgetter("due_at"), reverse=newest_first)
        return [{name: item[name] for name in projected} for item in ordered]


def _written(item: Item) -> dict[str, Any]:
    serialize = TypeSerializer().serialize
    return {name: serialize(value) for name, value in item.items()}


def records(*items: Item) -> tuple[Records, Table]:
    table = Table(list(items))
    return Records(Target("test", {"RendersTable": "renders"}, lambda service: table)), table


def newest(reader: Records, start: str = "", wanted: Filter | None = None) -> list[PairView]:
    return reader.newest(start, 30, wanted).pairs


def render(prefix: str = "cat/", render_id: str = "1", /, **more: Unpack[Render]) -> Item:
    status, created_at = more.get("status", Status.QUEUED), more.get("created_at", NOW.isoformat())
    known: Render = {"prefix": prefix, "render_id": render_id, "status": status}
    known |= {"created_at": created_at, "updated_at": created_at}
    known |= {"due_lane": status if status in ENDED else TIMER}
    known |= {"due_at": int(datetime.fromisoformat(created_at).timestamp())}
    return {"pk": f"pair#{prefix}", "sk": f"render#{render_id}", **known, **more}


def dropped(prefix: str = "cat/", /, **parts: ObjectRead) -> Item:
    seen: Part = {"sequencer": "1", "at": int(NOW.timestamp())}
    return {
        "pk": f"pair#{prefix}",
        "sk": "pair",
        "prefix": prefix,
        "due_lane": WAITING,
        "due_at": SINCE,
        **{f"part_{slot}": {**part, **seen} for slot, part in parts.items()},
    }


IMAGE: ObjectRead = {"key": "cat/1.png", "etag": "e"}
WAITS: Render = {"status": Status.CLAIMED, "due_lane": LINE, "due_at": SINCE + 60, "waiting_since": SINCE}


def throttle(**state: Any) -> Item:
    """What the table knows of the throttle."""
    return {**Throttle.KEY, "state": state}


@pytest.mark.parametrize("start", ["cat/", "cat"])
def test_one_pair_is_found_without_a_look_at_others(start: str) -> None:
    reader, table = records(render("cat/"), render("catalogue/"))

    found = newest(reader, start)

    assert [pair.prefix for pair in found] == ["cat/"]
    assert not table.requests["batch"]


def test_a_beginning_finds_all_its_pairs_the_newest_first() -> None:
    later = (NOW + timedelta(hours=1)).isoformat()
    reader, _ = records(render("summer/a/"), render("summer/b/", created_at=later), render("winter/"))

    found = newest(reader, "summer/")

    assert [pair.prefix for pair in found] == ["summer/b/", "summer/a/"]


def test_the_render_that_speaks_for_the_pair_comes_first() -> None:
    newer = render("cat/", "2", created_at=(NOW + timedelta(hours=1)).isoformat(), status=Status.FAILED)
    reader, _ = records(dropped() | {"current": "1"}, render("cat/", "1", status=Status.DELIVERED), newer)

    pair = reader.pair("cat/")

    assert pair is not None
    assert [one.render_id for one in pair.renders] == ["1", "2"]
    assert pair.status == "DELIVERED"


@pytest.mark.parametrize("asked", ["", "cat"], ids=["among all", "alone"])
def test_a_drop_that_was_rejected_speaks_also_while_an_older_one_is_on_its_way(asked: str) -> None:
    known = {"current": "1", "current_count": 1, "rejected": "2", "rejected_count": 2}
    running = render("cat/", "1", drop_id=1, due_lane=TIMER, due_at=SINCE + 900)
    wrong = render("cat/", "2", drop_id=2, status=Status.FAILED, error=problem("invalid_request", "seed is x"))
    reader, _ = records(dropped() | known, running, wrong)

    (pair,) = newest(reader, asked)

    assert (pair.status, pair.detail) == ("FAILED", "seed is x")
    assert [one.render_id for one in pair.renders] == ["2", "1"]


@pytest.mark.parametrize(
    ("items", "status", "said"),
    [
        pytest.param([dropped(**{"1": IMAGE})], "WAITING", "image 2", id="half a pair"),
        pytest.param([dropped(**{"1": IMAGE, "2": IMAGE})], "WAITING", "prompt", id="no prompt"),
        pytest.param(
            [dropped(request={"problem": {"code": "invalid_request", "message": "seed is x"}})],
            "REJECTED",
            "seed is x",
            id="a wrong part",
        ),
        pytest.param(
            [render(**WAITS), throttle(breaker={"reason": "no_credits", "since": SINCE - 60, "next_trial_at": SINCE})],
            "CLAIMED",
            "parked (no_credits) since 03:04:05 UTC, goes on by itself",
            id="parked",
        ),
        pytest.param(
            [render(**WAITS), throttle(paused={"reason": "paused", "since": SINCE - 60})],
            "CLAIMED",
            "parked (paused) since 03:04:05 UTC, until `kontext resume`",
            id="paused",
        ),
        pytest.param([render(**WAITS)], "CLAIMED", "number 1 in line", id="in line"),
        pytest.param(
            [render(status=Status.CLAIMED, due_lane=TIMER, due_at=SINCE + 60, failures=1)],
            "CLAIMED",
            "parked (outage), goes on by itself",
            id="tried later",
        ),
        pytest.param(
            [render(status=Status.CLAIMED, due_lane=TIMER, due_at=SINCE + 130)], "CLAIMED", "", id="worked on"
        ),
        pytest.param(
            [render(status=Status.FAILED, error=problem("render_failed", "blocked"))], "FAILED", "blocked", id="failed"
        ),
        pytest.param([render(status=Status.DELIVERED, result={"key": "k"})], "DELIVERED", "k", id="delivered"),
    ],
)
@pytest.mark.parametrize("asked", ["", "cat"], ids=["among all", "alone"])
def test_a_pair_says_the_one_thing_worth_knowing(items: list[Item], status: str, said: str, asked: str) -> None:
    reader, _ = records(*items)

    (pair,) = newest(reader, asked)

    assert pair.status == status
    assert said in pair.detail
    assert said or not pair.detail


def test_who_waits_for_a_slot_says_its_place_in_line_and_about_when_it_goes() -> None:
    places = {"third/": 90, "first/": -30, "second/": 60}
    waiting = [render(name, name, **WAITS | {"due_at": SINCE + at}) for name, at in places.items()]
    reader, table = records(*waiting, render("at-work/", "at-work"), throttle(interval=2))

    alone = [newest(reader, name)[0] for name in ("first/", "second/", "third/")]
    looks = table.requests["batch"]
    among_all = {pair.prefix: pair.renders[0] for pair in newest(reader, "")}

    assert looks == 0
    assert [pair.renders[0].place for pair in alone] == [1, 2, 3]
    assert [among_all[name].place for name in ("first/", "second/", "third/", "at-work/")] == [1, 2, 3, None]
    until = [float((pair.renders[0].parked or {})["until"]) for pair in alone]
    assert until == pytest.approx([datetime.now(UTC).timestamp() + 2 * place for place in (1, 2, 3)], abs=10)
    assert re.fullmatch(r"number 2 in line, goes at about \d\d:\d\d:\d\d UTC", alone[1].detail)


def test_nobody_has_a_place_in_line_while_nobody_goes() -> None:
    reader, _ = records(render(**WAITS), throttle(interval=2, paused={"reason": "paused", "since": SINCE}))

    (pair,) = newest(reader, "cat/")

    assert pair.renders[0].place is None


def test_items_that_are_no_pairs_are_left_out() -> None:
    ledger = {"pk": "stack", "sk": "ledger#2026-01-02", "cost": 1}
    wanted = {"pk": "pair#logo/", "sk": "pair", "prefix": "logo/", "wanted_by": {"cat/"}}
    reader, _ = records(ledger, wanted, render())

    assert [pair.prefix for pair in newest(reader, "")] == ["cat/"]


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
    assert fits(describe_entry(cast("HistoryEntry", entry)))


YESTERDAY = (NOW - timedelta(days=1)).isoformat()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param(Filter(), ["done/", "failed/", "parked/"], id="all"),
        pytest.param(Filter(status="failed"), ["failed/"], id="a status, in any case"),
        pytest.param(Filter(status="PARKED"), ["parked/"], id="parked"),
        pytest.param(Filter(status="claimed"), ["parked/"], id="what is parked is claimed, too"),
        pytest.param(Filter(day=NOW.date()), ["done/", "parked/"], id="a day"),
        pytest.param(Filter("failed", NOW.date()), [], id="a status on a day"),
    ],
)
def test_pairs_are_chosen_by_status_and_day(wanted: Filter, found: list[str]) -> None:
    reader, _ = records(
        render("done/", status=Status.DELIVERED),
        render("failed/", status=Status.FAILED, created_at=YESTERDAY),
        render("parked/", **WAITS),
    )

    assert sorted(pair.prefix for pair in newest(reader, "", wanted)) == found


def test_how_far_all_pairs_are_is_told_in_a_line() -> None:
    reader, _ = records(
        *(render(f"{n}/", status=Status.DELIVERED) for n in range(3)), render("a/"), render("b/", **WAITS)
    )

    line = progress(reader, limit=30)

    assert line == "3 of 5 delivered, 1 parked, 1 QUEUED"


def test_how_far_all_pairs_are_is_told_though_few_are_shown() -> None:
    reader, _ = records(*(render(f"{n}/", status=Status.DELIVERED) for n in range(MOST + 9)), render("b/", **WAITS))

    line = progress(reader, limit=3)

    assert line == f"{MOST:,} or more of {MOST:,} or more delivered, 1 parked"


def progress(reader: Records, limit: int) -> str:
    return Text.from_markup(progress_of(reader, "", Filter(), reader.newest("", limit))).plain


@pytest.mark.parametrize("pairs", [100, 10_000])
def test_a_status_costs_the_same_however_large_the_table_is(pairs: int) -> None:
    ended = [iso((NOW - timedelta(minutes=number)).timestamp()) for number in range(pairs)]
    reader, table = records(*(render(f"{n}/", status=Status.DELIVERED, created_at=at) for n, at in enumerate(ended)))

    listing = reader.newest("", 30)
    progress_of(reader, "", Filter(), listing)

    assert [pair.prefix for pair in listing.pairs] == [f"{n}/" for n in range(30)]
    assert not listing.is_whole
    assert table.requests == {"query": 14, "batch": 1, "get": 2}


def test_pairs_are_followed_until_none_of_them_moves() -> None:
    stages = [render(status=status) for status in (Status.QUEUED, Status.PROCESSING, Status.DELIVERED)]
    shown = Console(file=io.StringIO(), width=100)
    slept: list[float] = []

    watch_pairs(lambda: records(stages[len(slept)])[0].newest("", 9), lambda listing: str(listing), shown, slept.append)

    assert len(slept) == 2
    assert min(slept) >= 2.0


def test_an_object_that_fits_no_rule_is_counted_and_named_with_the_rule_that_it_misses() -> None:
    loose = {"pk": "object#shop/3.png", "sk": "object", "reported": True, "due_lane": UNKNOWN, "due_at": SINCE + 9}
    reader, _ = records(render("cat/", status=Status.DELIVERED), loose)

    listing = reader.newest("", 30)

    assert [(pair.prefix, pair.status) for pair in listing.pairs] == [("shop/3.png", "UNKNOWN"), ("cat/", "DELIVERED")]
    assert "an image is named 1 or 2" in listing.pairs[0].detail
    assert "1 of 1" in progress_of(reader, "", Filter(), listing)
    assert "1 [yellow]fit no rule" in progress_of(reader, "", Filter(), listing)
    assert [pair.prefix for pair in newest(reader, "shop/")] == ["shop/3.png"]
    assert [pair.prefix for pair in newest(reader, "", Filter(status="unknown"))] == ["shop/3.png"]
    assert newest(reader, "dog/") == []
