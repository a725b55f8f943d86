"""What the console makes of the table: in which words, and in which bounds."""

from __future__ import annotations

import time
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from kontext.due import LINE, TIMER
from kontext.errors import problem
from kontext.throttle.admission import State
from kontext.throttle.circuit_breaker import Breaker, Stop
from kontext_cli.target import Target
from kontext_cli.webconsole import views
from kontext_cli.webconsole.gallery import LOOK_SECONDS, UNITS_PER_SECOND, Gallery, read_on

NOW = 1_795_384_556.0
LATER = NOW + 300
ISO = "2026-11-22T21:55:56.000Z"
IN_LINE = {"due_lane": LINE, "due_at": NOW + 9, "waiting_since": NOW}
TRIED_LATER = {"due_lane": TIMER, "due_at": LATER, "server_errors": 1}
PAIRS = 10_000
PAGE = 400


def part(slot: str, **more: Any) -> dict[str, Any]:
    return {"key": f"cat/{slot}.png", "version_id": f"v{slot}", "sequencer": "1", "at": NOW, "kind": "png", **more}


def dropped(**parts: Any) -> dict[str, Any]:
    return {"pk": "pair#cat/", "sk": "pair", "prefix": "cat/", **parts}


def render(render_id: str = "r1", **more: Any) -> dict[str, Any]:
    known = {"status": "QUEUED", "attempt": 1, "drop_id": 1, "created_at": ISO, "updated_at": ISO}
    return {"pk": "pair#cat/", "sk": f"render#{render_id}", "prefix": "cat/", "render_id": render_id, **known, **more}


def both(**more: Any) -> dict[str, Any]:
    return dropped(part_1=part("1"), part_2=part("2"), **more)


@pytest.mark.parametrize(
    ("said", "group"),
    [
        ({"status": "CLAIMED"}, "running"),
        ({"status": "PROCESSING"}, "running"),
        ({"status": "COMPLETED"}, "running"),
        ({"status": "CLAIMED", **IN_LINE}, "parked"),
        ({"status": "DELIVERED"}, "delivered"),
        ({"status": "FAILED", "error": problem("refused", "no")}, "failed"),
        ({"status": "UNCERTAIN", "error": problem("uncertain", "lost")}, "uncertain"),
    ],
)
def test_every_status_has_its_group(said: dict[str, Any], group: str) -> None:
    pair = views.view([both(), render(**said)], State())

    assert pair is not None
    assert pair.group == group


@pytest.mark.parametrize(
    "reason", [*sorted(views.PARKED.keys() - {"pace", "rate_limited", "paused"}), "a reason of tomorrow"]
)
def test_a_pair_that_waits_for_the_account_says_why_since_when_and_until_when(reason: str) -> None:
    stopped = State(breaker=Breaker(reason, since=NOW - 60, next_trial_at=LATER))

    assert notice(stopped, **IN_LINE) == (True, NOW, LATER)


@pytest.mark.parametrize(
    ("state", "item", "said"),
    [
        pytest.param(State(), IN_LINE, (True, NOW, None), id="for its slot"),
        pytest.param(State(paused=Stop("paused", NOW - 60)), IN_LINE, (True, NOW, None), id="for a person"),
        pytest.param(State(), TRIED_LATER, (True, None, LATER), id="for a time of its own"),
    ],
)
def test_a_parked_pair_says_why_since_when_and_until_when(state: State, item: dict[str, Any], said: object) -> None:
    assert notice(state, **item) == said


def notice(state: State, **item: Any) -> tuple[bool, float | None, float | None]:
    """Whether a claimed pair says why it waits; since when, and until when."""
    pair = views.view([both(), render(status="CLAIMED", **item)], state)
    assert pair is not None
    assert pair.notice is not None
    return pair.notice["title"].startswith("Parked: waits for "), pair.notice.get("since"), pair.notice.get("until")


def test_the_reasons_are_those_that_the_pipeline_parks_for() -> None:
    source = "".join(file.read_text() for file in views_sources())

    assert all(f'"{reason}"' in source for reason in views.PARKED)


def views_sources() -> list[Any]:
    from kontext_local.project import ROOT

    return [*(ROOT / "layers/kontext/python/kontext").rglob("*.py"), ROOT / "functions/submit.py"]


def test_a_failed_pair_says_what_was_charged_and_what_to_do() -> None:
    error = problem("render_failed", "Content blocked")

    pair = views.view([both(), render(status="FAILED", error=error)], State())

    assert pair is not None
    assert pair.notice == {
        **{"tone": "failed", "title": "Failed", "text": "Content blocked", "charged": "no"},
        **{"remedy": error["remedy"], "since": None, "until": None},
    }


@pytest.mark.parametrize(
    ("parts", "title"),
    [
        pytest.param({"part_1": part("1")}, "Waiting for image 2", id="the second image"),
        pytest.param({"part_2": part("2")}, "Waiting for image 1", id="the first image"),
        pytest.param({"part_prompt": {**part("prompt"), "parameters": {"prompt": "Go"}}},
                     "Waiting for image 1 and image 2", id="both images"),
        pytest.param({"part_1": part("1"), "part_2": part("2")}, "Waiting for a prompt", id="a prompt"),
    ],
)  # fmt: skip
def test_a_half_pair_says_which_part_is_missing(parts: dict[str, Any], title: str) -> None:
    pair = views.view([dropped(**parts)], State())

    assert pair is not None
    assert (pair.group, pair.notice and pair.notice["title"]) == ("waiting", title)


def test_a_wrong_drop_is_shown_as_rejected() -> None:
    wrong = part("1", problem={"code": "invalid_image", "message": "cat/1.png: it is empty (0 bytes)"})

    pair = views.view([dropped(part_1=wrong, part_2=part("2"))], State())

    assert pair is not None
    assert (pair.status, pair.group) == ("REJECTED", "failed")
    assert pair.notice is not None
    assert "it is empty" in pair.notice["text"]


def test_the_newest_drop_speaks_for_its_pair() -> None:
    old = render("old", status="DELIVERED", drop_id=1)
    new = render("new", status="FAILED", drop_id=2, error=problem("invalid_request", "no"))

    pair = views.view([both(current="old"), new, old], State())

    assert pair is not None
    assert pair.render_id == "new"


def test_a_long_prompt_is_cut() -> None:
    pair = views.view([both(), render(parameters={"prompt": "x" * 5000})], State())

    assert pair is not None
    assert pair.prompt is not None
    assert len(pair.prompt) <= views.PROMPT_SHOWN + 1


class Large:
    """A DynamoDB client with a table of ten thousand delivered pairs; the last key is the newest pair's."""

    def __init__(self) -> None:
        serialize = TypeSerializer().serialize
        self.pages = 0
        self.items = [{k: serialize(v) for k, v in item.items()} for n in range(PAIRS) for item in self._pair(n)]

    def _pair(self, number: int) -> list[dict[str, Any]]:
        prefix = f"many/{number:05}/"
        item = {"pk": f"pair#{prefix}", "prefix": prefix}
        ended = {"status": "DELIVERED", "attempt": 1, "created_at": ISO, "updated_at": ISO}
        return [
            {**item, "sk": "pair", "part_1": {**part("1"), "at": int(NOW) + number}},
            {**item, "sk": "render#r", "render_id": "r", "drop_id": 1, "parameters": {"prompt": "x" * 600}, **ended},
        ]

    def get_paginator(self, operation: str) -> Large:
        return self

    def paginate(self, **asked: Any) -> Any:
        assert "#0" in asked["ExpressionAttributeNames"], "only what is shown is read"
        for start in range(0, len(self.items), PAGE):
            self.pages += 1
            yield {"Items": self.items[start : start + PAGE], "ConsumedCapacity": {"CapacityUnits": 128.0}}


@pytest.fixture(scope="module")
def large() -> Gallery:
    gallery = Gallery(Target("large", {"RendersTable": "renders"}, lambda service: Large()))
    gallery.scan()
    return gallery


def test_ten_thousand_pairs_are_shown_by_the_page_newest_first(large: Gallery) -> None:
    page = large.page("", "", 24)

    assert [pair["prefix"] for pair in page["pairs"][:2]] == ["many/09999/", "many/09998/"]
    assert (len(page["pairs"]), page["matching"], page["counts"]) == (24, PAIRS, {"delivered": PAIRS})


def test_no_page_is_without_a_bound(large: Gallery) -> None:
    assert len(large.page("", "", 10**9)["pairs"]) == 2_000


def test_a_page_of_ten_thousand_pairs_is_made_in_no_time(large: Gallery) -> None:
    started = time.process_time()

    for _ in range(10):
        large.page("delivered", "many/0", 24)

    assert time.process_time() - started < 2.0


def test_a_large_table_is_read_at_a_bounded_price() -> None:
    client = Large()
    gallery = Gallery(Target("large", {"RendersTable": "renders"}, lambda service: client), clock=lambda: 1000.0)

    next_scan = read_on(gallery, 0.0)
    again = read_on(gallery, next_scan)

    units = 128.0 * client.pages
    assert gallery.is_whole
    assert next_scan - 1000.0 >= units / UNITS_PER_SECOND - LOOK_SECONDS
    assert (again, client.pages) == (next_scan, len(client.items) // PAGE), "until then it is not read again"


def test_the_table_is_left_alone_when_nobody_looks() -> None:
    now = [1000.0]
    gallery = Gallery(Target("large", {"RendersTable": "renders"}, lambda service: Large()), clock=lambda: now[0])
    assert gallery.is_watched()

    now[0] += 60
    is_watched_without = gallery.is_watched()
    gallery.page("", "", 1)

    assert not is_watched_without
    assert gallery.is_watched()
