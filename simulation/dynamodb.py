"""DynamoDB in memory: the calls and the expressions that `kontext.dynamodb` uses, refusing all others.

`test_fakes.py` holds it against moto.
"""

# ruff: noqa: N803  the services' own names

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from kontext.dynamodb import Table
from simulation.expressions import Item, Words, check_words, invalid, service_error, steps, test_of
from simulation.index import PROJECTED, Entry, Index

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Path = tuple[str, ...]
MAX_ITEM_BYTES = 400 * 1024
MAX_KEY_BYTES = {"pk": 2048, "sk": 1024}
_MOST_KEYS = 100


class ConditionalCheckFailedException(ClientError):
    pass


class TransactionCanceledException(ClientError):
    pass


class Exceptions:
    ConditionalCheckFailedException = ConditionalCheckFailedException
    TransactionCanceledException = TransactionCanceledException


class Refused(Exception):
    """A condition did not hold; `found` is the item."""

    def __init__(self, found: Item | None) -> None:
        super().__init__("The conditional request failed")
        self.found = found


class Pages:
    """The answers, page by page."""

    def __init__(self, query: Callable[..., dict[str, Any]]) -> None:
        self.query = query

    def paginate(self, *, PaginationConfig: dict[str, int] | None = None, **asked: Any) -> Iterator[dict[str, Any]]:
        size = {"Limit": PaginationConfig["PageSize"]} if PaginationConfig else {}
        page = self.query(**asked, **size)
        yield page
        while start := page.get("LastEvaluatedKey"):
            page = self.query(**asked, **size, ExclusiveStartKey=start)
            yield page


class DynamoDB:
    """One table with the keys `pk` and `sk`, and the index `due`.

    `now`: the time; `lag`: by so many seconds an index is behind, at a query; `written`: is told of each item.
    """

    exceptions = Exceptions

    def __init__(
        self,
        now: Callable[[], float] = lambda: 0.0,
        lag: Callable[[], float] = lambda: 0.0,
        written: Callable[[Item], None] = lambda _: None,
    ) -> None:
        self.items: dict[tuple[str, str], Item] = {}
        self.largest_item = 0
        self.expired: list[Item] = []
        """What was deleted because its time was over."""
        self._now, self._lag, self._tell = now, lag, written
        self._index = Index()
        self._numbers = itertools.count(1)
        self._sort_keys: defaultdict[str, set[str]] = defaultdict(set)
        """Under which `sk` there ever was an item with a `pk`."""
        self._came: dict[tuple[str, str], int] = {}
        """The how-manieth item each is."""

    def table(self, name: str = "RendersTable") -> Table:
        """The product's own table over these items: it is given this in place of boto3's client."""
        return Table(cast("DynamoDBClient", self), name)

    def expire(self, now: float) -> None:
        """Delete the items whose `expires_at` is over, as the service does of its own accord, some day."""
        over = [place for place, item in self.items.items() if float(item.get("expires_at", {"N": "inf"})["N"]) < now]
        for place in over:
            self.expired.append(self.items.pop(place))
            self._index.put(place, self.expired[-1], {}, now)

    def in_lanes(self, *lanes: str) -> list[Item]:
        """The items that stand in some lanes of the index, in the order in which they were first written."""
        places = sorted(self._index.places(*lanes), key=self._came.__getitem__)
        return [self.items[place] for place in places]

    def restore(self, items: dict[tuple[str, str], Item]) -> None:
        """Be what another table was at some moment."""
        self.items.clear()
        self._index = Index()
        for place, item in items.items():
            self._put(place, dict(item))

    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool) -> dict[str, Any]:
        item = self.items.get(_place(Key))
        return {"Item": dict(item)} if item is not None else {}

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:
        ((table, asked),) = RequestItems.items()
        places = [_place(key) for key in asked["Keys"]]
        if not 0 < len(places) <= _MOST_KEYS or len(set(places)) < len(places):
            raise invalid("one to a hundred keys, each of them once", "BatchGetItem")
        return {"Responses": {table: [dict(self.items[place]) for place in places if place in self.items]}}

    def get_paginator(self, operation: str) -> Pages:
        operations: dict[str, Callable[..., dict[str, Any]]] = {"query": self.query, "scan": self.scan}
        return Pages(operations[operation])

    def scan(self, *, TableName: str) -> dict[str, Any]:
        return {"Items": [dict(item) for item in self.items.values()]}

    def query(
        self,
        *,
        TableName: str,
        KeyConditionExpression: str,
        ExpressionAttributeValues: Item,
        ConsistentRead: bool = False,
        IndexName: str = "",
        **paged: Any,
    ) -> dict[str, Any]:
        if IndexName:
            return self._query_due(IndexName, KeyConditionExpression, ExpressionAttributeValues, **paged)
        if KeyConditionExpression not in ("pk = :pk", "pk = :pk AND sk > :sk"):
            raise NotImplementedError(KeyConditionExpression)
        wanted = ExpressionAttributeValues[":pk"]["S"]
        after = ExpressionAttributeValues.get(":sk", {"S": ""})["S"]
        places = [(wanted, sk) for sk in sorted(self._sort_keys[wanted]) if sk > after]
        return {"Items": [dict(self.items[place]) for place in places if place in self.items]}

    def _query_due(
        self,
        index: str,
        condition: str,
        values: Item,
        Limit: int | None = None,
        Select: str = "",
        ExclusiveStartKey: Item | None = None,
        ScanIndexForward: bool = True,
    ) -> dict[str, Any]:
        if (index, condition) not in (("due", "due_lane = :lane AND due_at <= :until"), ("due", "due_lane = :lane")):
            raise NotImplementedError(f"{index}: {condition}")
        start = (Decimal(ExclusiveStartKey["due_at"]["N"]), _place(ExclusiveStartKey)) if ExclusiveStartKey else None
        entries = self._index.query(values[":lane"]["S"], start if ScanIndexForward else None, self._now(), self._lag())
        if not ScanIndexForward:
            entries = (one for one in reversed(list(entries)) if start is None or one[0] < start)
        until = Decimal(values[":until"]["N"]) if ":until" in values else None
        found = list(islice(takewhile(lambda one: until is None or one[0][0] <= until, entries), Limit))
        last = {"LastEvaluatedKey": _key(found[-1][0])} if Limit and len(found) == Limit else {}
        if Select == "COUNT":
            return {"Count": len(found), **last}
        items = [self.items[entry[1]] if item is None else item for entry, item in found]
        return {
            "Items": [{name: item[name] for name in PROJECTED if name in item} for item in items],
            "Count": len(found),
            **last,
        }

    def _put(self, place: tuple[str, str], item: Item) -> None:
        self._index.put(place, self.items.get(place, {}), item, self._now())
        if place not in self.items:
            self._came[place] = next(self._numbers)
        self.items[place] = item
        self._sort_keys[place[0]].add(place[1])
        self._tell(item)

    def update_item(self, *, ReturnValues: str = "NONE", **write: Any) -> dict[str, Any]:
        try:
            item = self._written(write)
        except Refused as refused:
            told = refused.found if write.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" else None
            raise ConditionalCheckFailedException(
                service_error("ConditionalCheckFailedException", str(refused)) | ({"Item": told} if told else {}),
                "UpdateItem",
            ) from refused
        self._put(_place(write["Key"]), item)
        return {"Attributes": dict(item)} if ReturnValues == "ALL_NEW" else {}

    def delete_item(self, **delete: Any) -> dict[str, Any]:
        words, place = Words(delete), _place(delete["Key"])
        check_words(delete["ConditionExpression"], words)
        found = self.items.get(place)
        if not test_of(delete["ConditionExpression"])(found or {}, words):
            refused = service_error("ConditionalCheckFailedException", "The conditional request failed")
            raise ConditionalCheckFailedException(refused | ({"Item": found} if found else {}), "DeleteItem")
        self._index.put(place, self.items.pop(place), {}, self._now())
        return {}

    def transact_write_items(self, *, TransactItems: list[Any]) -> dict[str, Any]:
        writes = [entry["Update"] for entry in TransactItems]
        if len({_place(write["Key"]) for write in writes}) < len(writes):
            raise invalid("Transaction request cannot include multiple operations on one item", "TransactWriteItems")
        reasons, written = [], []
        for write in writes:
            try:
                written.append((_place(write["Key"]), self._written(write)))
                reasons.append({"Code": "None"})
            except Refused as refused:
                reasons.append(_reason(write, refused))
        if len(written) < len(writes):
            raise cancelled(reasons)
        for place, item in written:
            self._put(place, item)
        return {}

    def _written(self, write: dict[str, Any]) -> Item:
        words = Words(write)
        condition, expression = write.get("ConditionExpression"), write["UpdateExpression"]
        check_words(f"{expression} {condition or ''}", words)
        if any(len(write["Key"][name]["S"].encode()) > most for name, most in MAX_KEY_BYTES.items()):
            raise invalid("One or more parameter values were invalid: Size of a key has exceeded its limit")
        found = self.items.get(_place(write["Key"]))
        if condition and not test_of(condition)(found or {}, words):
            raise Refused(found)
        item = dict(found if found is not None else write["Key"])
        for step in steps(expression):
            step(item, words)
        size = sum(map(_size, item.items()))
        if size > MAX_ITEM_BYTES:
            raise invalid("Item size to update has exceeded the maximum allowed size")
        self.largest_item = max(self.largest_item, size)
        return item


def cancelled(reasons: list[Any]) -> ClientError:
    """The answer to a transaction that did not happen."""
    codes = ", ".join(reason["Code"] for reason in reasons)
    message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    answer = service_error("TransactionCanceledException", message) | {"CancellationReasons": reasons}
    return TransactionCanceledException(answer, "TransactWriteItems")


def _reason(write: dict[str, Any], refused: Refused) -> dict[str, Any]:
    told = refused.found if write.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" else None
    return {"Code": "ConditionalCheckFailed", "Message": str(refused)} | ({"Item": told} if told else {})


def _size(named: tuple[str, Any]) -> int:
    """Bytes of an attribute:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html"""
    name, value = named
    return len(name.encode()) + _bytes(value)


def _bytes(value: Any) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return len(content.strip("-").replace(".", "").strip("0")) // 2 + 2
        case "M":
            return 3 + sum(1 + _size(named) for named in content.items())
        case "L":
            return 3 + sum(1 + _bytes(one) for one in content)
        case "SS":
            return sum(len(one.encode()) for one in content)
    return 1


def _place(key: Item) -> tuple[str, str]:
    return key["pk"]["S"], key["sk"]["S"]


def _key(entry: Entry) -> Item:
    due_at, (pk, sk) = entry
    return {"pk": {"S": pk}, "sk": {"S": sk}, "due_at": {"N": str(due_at)}}
