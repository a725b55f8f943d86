"""What it costs to look at a stack: the same whether it holds a hundred pairs or ten thousand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from kontext_cli.target import Target
from simulation.dynamodb import DynamoDB
from tests.many_pairs import LOOKS, pair, throttle


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


@pytest.fixture(scope="module")
def clients() -> dict[int, Counting]:
    """A client of a table for each number of pairs."""
    return {count: client_of(count) for count in (100, 10_000)}


def client_of(pairs: int) -> Counting:
    serialize, table = TypeSerializer().serialize, DynamoDB()
    items = [throttle(), *(item for number in range(pairs) for item in pair(number))]
    written = [{name: serialize(value) for name, value in item.items()} for item in items]
    table.restore({(item["pk"]["S"], item["sk"]["S"]): item for item in written})
    return Counting(table)


def target_of(client: Counting) -> Target:
    return Target("shop", {"RendersTable": "renders"}, lambda service: client)


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_at_a_stack_of_ten_thousand_pairs_takes_as_many_requests_as_at_one_of_a_hundred(
    clients: dict[int, Counting], look: str
) -> None:
    asked = {}
    for count, client in clients.items():
        client.requests.clear()
        LOOKS[look](target_of(client))
        asked[count] = dict(client.requests)

    assert asked[10_000] == asked[100]
