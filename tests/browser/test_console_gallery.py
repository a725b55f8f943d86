"""What the console makes of the table: in which words, and in which bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Unpack, cast

import pytest
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import EndpointConnectionError

from kontext.due import LINE, TIMER
from kontext.dynamodb import Item
from kontext.errors import REASONS, problem
from kontext.model import Part, Render, Status
from kontext.throttle.admission import State
from kontext.throttle.circuit_breaker import Breaker, Stop
from kontext_cli.read.newest import LANES
from kontext_cli.read.views import TEXTS, view_of
from kontext_cli.target import Target
from kontext_cli.web import cards
from kontext_cli.web.app import STATIC
from kontext_cli.web.gallery import EXPECTED_SECONDS, LOOK_SECONDS, Gallery

if TYPE_CHECKING:
    from kontext.model import Reason

NOW = 1_795_384_556.0
LATER = NOW + 300
ISO = "2026-11-22T21:55:56.000Z"
IN_LINE: Render = {"due_lane": LINE, "due_at": NOW + 9, "waiting_since": NOW}
TRIED_LATER: Render = {"due_lane": TIMER, "due_at": LATER, "failures": 1}
PAIRS = 10_000


def part(slot: str, /, **more: Unpack[Part]) -> Part:
    return {"key": f"cat/{slot}.png", "version_id": f"v{slot}", "sequencer": "1", "at": NOW, "kind": "png", **more}


def dropped(**parts: Any) -> dict[str, Any]:
    return {"pk": "pair#cat/", "sk": "pair", "prefix": "cat/", **parts}


def render(render_id: str = "r1", /, **more: Unpack[Render]) -> dict[str, Any]:
    known: Render = {"status": Status.QUEUED, "attempt": 1, "drop_id": 1, "created_at": ISO, "updated_at": ISO}
    return {"pk": "pair#cat/", "sk": f"render#{render_id}", "prefix": "cat/", "render_id": render_id, **known, **more}


def card(items: list[Item], state: State) -> cards.Card | None:
    pair = view_of(items, state)
    return cards.card_of(pair) if pair else None


def both(**more: Any) -> dict[str, Any]:
    return dropped(part_1=part("1"), part_2=part("2"), **more)


@pytest.mark.parametrize(
    ("said", "group"),
    [
        ({"status": Status.CLAIMED}, "running"),
        ({"status": Status.PROCESSING}, "running"),
        ({"status": Status.COMPLETED}, "running"),
        ({"status": Status.CLAIMED, **IN_LINE}, "parked"),
        ({"status": Status.DELIVERED}, "delivered"),
        ({"status": Status.FAILED, "error": problem("refused", "no")}, "failed"),
        ({"status": Status.UNCERTAIN, "error": problem("uncertain", "lost")}, "uncertain"),
    ],
)
def test_every_status_has_its_group(said: Render, group: str) -> None:
    pair = card([both(), render(**said)], State())

    assert pair is not None
    assert pair.group == group


@pytest.mark.parametrize(
    "reason", [*sorted(REASONS.keys() - {"pace", "rate_limited", "paused"}), "a reason of tomorrow"]
)
def test_a_pair_that_waits_for_the_account_says_why_since_when_and_until_when(reason: str) -> None:
    stopped = State(breaker=Breaker(cast("Reason", reason), since=NOW - 60, next_trial_at=LATER))

    assert notice(stopped, **IN_LINE) == (True, NOW, LATER)


@pytest.mark.parametrize(
    ("state", "item", "said"),
    [
        pytest.param(State(), IN_LINE, (True, NOW, None), id="for its slot"),
        pytest.param(State(paused=Stop("paused", NOW - 60)), IN_LINE, (True, NOW, None), id="for a person"),
        pytest.param(State(), TRIED_LATER, (True, None, LATER), id="for a time of its own"),
    ],
)
def test_a_parked_pair_says_why_since_when_and_until_when(state: State, item: Render, said: object) -> None:
    assert notice(state, **item) == said


def notice(state: State, /, **item: Unpack[Render]) -> tuple[bool, float | None, float | None]:
    """Whether a claimed pair says why it waits; since when, and until when."""
    item = {**item, "status": Status.CLAIMED}
    pair = card([both(), render(**item)], state)
    assert pair is not None
    assert pair.notice is not None
    return pair.notice.title.startswith("Parked: waits for "), pair.notice.since, pair.notice.until


def test_a_failed_pair_says_what_was_charged_and_what_to_do() -> None:
    error = problem("render_failed", "Content blocked")

    pair = card([both(), render(status=Status.FAILED, error=error)], State())

    assert pair is not None
    assert pair.notice == cards.Notice(
        "failed", "Failed", "Content blocked", charged="Nothing was charged.", remedy=error["remedy"]
    )


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
    pair = card([dropped(**parts)], State())

    assert pair is not None
    assert (pair.group, pair.notice and pair.notice.title) == ("waiting", title)


def test_a_wrong_drop_is_shown_as_rejected() -> None:
    wrong = part("1", problem={"code": "invalid_image", "message": "cat/1.png: it is empty (0 bytes)"})

    pair = card([dropped(part_1=wrong, part_2=part("2"))], State())

    assert pair is not None
    assert (pair.status, pair.group) == ("REJECTED", "failed")
    assert pair.notice is not None
    assert "it is empty" in pair.notice.text


def test_the_newest_drop_speaks_for_its_pair() -> None:
    old = render("old", status=Status.DELIVERED, drop_id=1)
    new = render("new", status=Status.FAILED, drop_id=2, error=problem("invalid_request", "no"))

    pair = card([both(current="old"), new, old], State())

    assert pair is not None
    assert pair.render_id == "new"


def test_the_program_of_the_page_has_no_list_of_statuses_or_reasons() -> None:
    program = (STATIC / "console.js").read_text()

    assert [name for name in (*TEXTS, *REASONS) if f'"{name}"' in program or f"{name}:" in program] == []


def test_a_long_prompt_is_cut() -> None:
    pair = card([both(), render(parameters={"prompt": "x" * 5000})], State())

    assert pair is not None
    assert pair.prompt is not None
    assert len(pair.prompt) <= cards.PROMPT_SHOWN + 1


class Large:
    """A DynamoDB client with a table of ten thousand delivered pairs; the last one is the newest. It counts what it is
    asked."""

    def __init__(self) -> None:
        self.requests = 0
        self.read: list[str] = []
        self.gone = False

    def get_paginator(self, operation: str) -> Large:
        assert operation == "query", "no page reads the whole table"
        return self

    def paginate(self, **asked: Any) -> Iterator[Any]:
        if self.gone:
            raise EndpointConnectionError(endpoint_url="http://localhost")
        lane = asked["ExpressionAttributeValues"][":lane"]["S"]
        numbers = range(PAIRS - 1, -1, -1) if lane == "DELIVERED" else range(0)
        size = asked["PaginationConfig"]["PageSize"]
        for start in range(0, max(len(numbers), 1), size):
            self.requests += 1
            page = numbers[start : start + size]
            yield {"Count": len(page), "Items": [written(entry(number)) for number in page]}

    def batch_get_item(self, *, RequestItems: Any) -> Any:  # noqa: N803
        self.requests += 1
        ((name, asked),) = RequestItems.items()
        pairs = [key["pk"]["S"] for key in asked["Keys"] if key["sk"]["S"] == "pair"]
        self.read += pairs
        items = [written(item) for pk in pairs for item in pair_of(int(pk.split("/")[1]))]
        return {"Responses": {name: items}}


def entry(number: int) -> dict[str, Any]:
    key = {"pk": f"pair#many/{number:05}/", "sk": "render#r"}
    return {**key, "due_lane": "DELIVERED", "due_at": int(NOW) + number}


def pair_of(number: int) -> list[dict[str, Any]]:
    prefix = f"many/{number:05}/"
    item = {"pk": f"pair#{prefix}", "prefix": prefix}
    ended = {"status": "DELIVERED", "attempt": 1, "created_at": ISO, "updated_at": ISO}
    return [
        {**item, "sk": "pair", "current": "r", "part_1": {**part("1"), "at": int(NOW) + number}},
        {**item, "sk": "render#r", "render_id": "r", "drop_id": 1, "parameters": {"prompt": "x" * 600}, **ended},
    ]


def written(item: dict[str, Any]) -> dict[str, Any]:
    serialize = TypeSerializer().serialize
    return {name: serialize(int(value) if isinstance(value, float) else value) for name, value in item.items()}


class Shown:
    """A gallery of the large table. `now`: what its clock shows."""

    def __init__(self) -> None:
        self.client, self.now = Large(), 1000.0
        target = Target("large", {"RendersTable": "renders"}, lambda service: self.client)
        self.gallery = Gallery(target, clock=lambda: self.now)

    def page(self, group: str = "", start: str = "", limit: int = 24) -> dict[str, Any]:
        return self.gallery.page(group, start, limit)


@pytest.fixture
def large() -> Shown:
    return Shown()


def test_the_newest_of_ten_thousand_pairs_are_shown_in_a_few_requests(large: Shown) -> None:
    page = large.page()

    assert [pair["prefix"] for pair in page["pairs"][:2]] == ["many/09999/", "many/09998/"]
    assert (len(page["pairs"]), page["is_whole"], page["counts"]) == (24, False, {"delivered": page["most"]})
    assert large.client.requests <= 2 * len(LANES) + 3


def test_no_page_is_without_a_bound(large: Shown) -> None:
    assert len(large.page(limit=10**9)["pairs"]) == 2_000


def test_pairs_are_found_by_how_their_names_begin(large: Shown) -> None:
    page = large.page("delivered", "many/0999")

    assert [pair["prefix"] for pair in page["pairs"]] == [f"many/0999{digit}/" for digit in range(9, -1, -1)]
    assert page["counts"] == {"delivered": 10}


def test_what_has_ended_is_read_once_however_long_somebody_looks(large: Shown) -> None:
    large.page()
    read = len(large.client.read)

    for _ in range(5):
        large.now += LOOK_SECONDS
        large.page()

    assert len(large.client.read) == read


def test_many_who_look_at_once_cost_as_much_as_one(large: Shown) -> None:
    large.page()
    asked = large.client.requests

    pages = [large.page() for _ in range(10)]

    assert large.client.requests == asked
    assert {len(page["pairs"]) for page in pages} == {24}


def test_what_was_seen_stays_while_the_stack_cannot_be_read_and_the_page_says_so(large: Shown) -> None:
    large.page()
    large.client.gone = True
    large.now += LOOK_SECONDS

    page = large.page()
    large.client.gone = False
    large.now += LOOK_SECONDS
    later = large.page()

    assert "localhost" in page["problem"]
    assert (len(page["pairs"]), later["problem"]) == (24, None)


def test_a_pair_that_was_dropped_here_is_shown_before_the_table_knows_it(large: Shown) -> None:
    large.gallery.expect(cards.expected("new/", ["new/1.png", "new/2.png"], "Both", NOW + 2 * PAIRS))

    first = large.page()["pairs"][0]
    large.now += EXPECTED_SECONDS
    later = large.page()["pairs"][0]

    assert (first["prefix"], first["status"]) == ("new/", "DROPPED")
    assert later["prefix"] == "many/09999/"
