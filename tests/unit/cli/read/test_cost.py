"""What it costs to look at a stack: the same whether it holds a hundred pairs or ten thousand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from kontext.clock import iso
from kontext.due import LINE, TIMER, WAITING
from kontext.dynamodb import Item
from kontext.errors import problem
from kontext.model import Render, Status
from kontext.throttle.throttle import Throttle
from kontext_cli.doctor import account_checks, standstill_checks
from kontext_cli.doctor import command as doctor
from kontext_cli.doctor.checks import StackInspection
from kontext_cli.read.records import Filter, Records
from kontext_cli.status import progress_of
from kontext_cli.target import Target
from kontext_cli.web.gallery import Gallery
from simulation.dynamodb import DynamoDB

NOW = 1_795_384_556
CHECKS = (
    account_checks.circuit_breaker,
    standstill_checks.loose_objects,
    standstill_checks.stuck_renders,
    standstill_checks.stuck_items,
)
"""What `kontext doctor` asks the table."""
ON_ITS_WAY: Item = {"due_lane": TIMER, "request_id": "q", "submitted_at": NOW}
REFUSED: Item = {"due_lane": "FAILED", "error": problem("refused", "no")}
KINDS: tuple[tuple[str, Item], ...] = (
    *[("DELIVERED", {"due_lane": "DELIVERED"})] * 6,
    *[("CLAIMED", {"due_lane": LINE, "waiting_since": NOW - 900})] * 5,
    *[("QUEUED", ON_ITS_WAY), ("FAILED", REFUSED)] * 3,
    ("UNCERTAIN", {"due_lane": "UNCERTAIN", "error": problem("uncertain", "lost")}),
    *[("half", {"due_lane": WAITING}), ("settling", {"due_lane": TIMER})] * 1,
)
"""Of which kind pairs are, in turn, and where they stand."""


class Counting:
    """A client of a table that counts the requests: each page is one."""

    def __init__(self, table: DynamoDB) -> None:
        self.table = table
        self.requests: Counter[str] = Counter()

    def get_paginator(self, operation: str) -> Any:
        assert operation == "query", "no view reads the whole table"
        return self

    def paginate(self, **asked: Any) -> Iterator[Any]:
        for page in self.table.get_paginator("query").paginate(**asked):
            self.requests["query"] += 1
            yield page

    def __getattr__(self, name: str) -> Any:
        self.requests[name] += 1
        return getattr(self.table, name)


def pair(number: int) -> list[Item]:
    status, more = KINDS[number % len(KINDS)]
    at, prefix = NOW - 10 * number, f"{number:05}/"
    item, place = {"pk": f"pair#{prefix}", "prefix": prefix}, more | {"due_at": at}
    parts = {f"part_{n}": {"key": f"{prefix}{n}.png", "sequencer": "1", "at": at, "kind": "png"} for n in (1, 2)}
    if status in ("half", "settling"):
        return [{**item, "sk": "pair", "part_1": parts["part_1"], **place}]
    known: Render = {"render_id": "r", "status": Status(status), "attempt": 1, "drop_id": 1}
    known |= {"parameters": {"prompt": "x" * 400}, "created_at": iso(at), "updated_at": iso(at)}
    return [{**item, "sk": "pair", "current": "r", **parts}, {**item, "sk": "render#r", **known, **place}]


@pytest.fixture(scope="module")
def clients() -> dict[int, Counting]:
    """A client of a table for each number of pairs."""
    return {count: client_of(count) for count in (100, 10_000)}


def client_of(pairs: int) -> Counting:
    serialize, table = TypeSerializer().serialize, DynamoDB()
    throttle = {**Throttle.KEY, "state": {"interval": 2, "next_free": NOW}}
    items = [throttle, *(item for number in range(pairs) for item in pair(number))]
    written = [{name: serialize(value) for name, value in item.items()} for item in items]
    table.restore({(item["pk"]["S"], item["sk"]["S"]): item for item in written})
    return Counting(table)


def target_of(client: Counting) -> Target:
    return Target("shop", {"RendersTable": "renders"}, lambda service: client)


def status(target: Target) -> None:
    records = Records(target)
    listing = records.newest("", 30)
    assert len(listing.pairs) == 30
    progress_of(records, "", Filter(), listing)


def folder(target: Target) -> None:
    assert len(Records(target).newest("0000", 5).pairs) == 5


def examination(target: Target) -> None:
    findings = list(doctor.examine(StackInspection(target), CHECKS))
    assert {finding.state for finding in findings} == {"good", "wrong"}


def page(target: Target) -> None:
    shown = Gallery(target).page("", "", 24)
    assert (len(shown["pairs"]), shown["problem"]) == (24, None)


@pytest.mark.parametrize("look", [status, folder, examination, page], ids=["status", "folder", "doctor", "page"])
def test_a_look_at_a_stack_of_ten_thousand_pairs_takes_as_many_requests_as_at_one_of_a_hundred(
    clients: dict[int, Counting], look: Callable[[Target], None]
) -> None:
    asked = {}
    for count, client in clients.items():
        client.requests.clear()
        look(target_of(client))
        asked[count] = dict(client.requests)

    assert asked[10_000] == asked[100]
