"""The one seam to DynamoDB: plain Python values in and out, conditions that say what they found."""

import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import DYNAMODB_CONTEXT
from botocore.exceptions import ClientError

from kontext.errors import KontextError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]
Key = dict[str, str]
Write = tuple[Key, str, str | None, Item]
"""One write of a transaction: the item, its expression, its condition, and the values in both."""
EXISTS = "attribute_exists(#pk)"
"""The condition that an item is there."""

_CONFLICTS = (
    "TransactionCanceledException",
    "TransactionConflictException",
    "TransactionInProgressException",
    "TransactionConflict",
)
_MOST_TRIES = 20


def stack_key(name: str) -> Key:
    """Where an item stands of which the stack has one."""
    return {"pk": "stack", "sk": name}


def key_of(item: Item) -> Key:
    """Where an item stands."""
    return {"pk": item["pk"], "sk": item["sk"]}


class ConditionFailed(KontextError):
    """A conditional write was refused. `found`: the item as it is, None where there is none."""

    def __init__(self, found: Item | None, position: int = 0) -> None:
        super().__init__("the item is not as expected")
        self.found = found
        self.position = position


class Conflict(KontextError):
    """Another transaction touched the same item at the same moment: the write had no effect and may be repeated."""


class Table:
    """The Renders table. Times are numbers (unix seconds); sets are non-empty sets of strings."""

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self.client = client
        self.name = name

    def get(self, key: Key) -> Item | None:
        """Read one item, strongly consistent."""
        answer = self.client.get_item(TableName=self.name, Key=_to(key), ConsistentRead=True)
        return _from(answer["Item"]) if "Item" in answer else None

    def get_many(self, keys: Sequence[Key]) -> list[Item]:
        """Read those of up to a hundred items that are there, in any order. For operators only."""
        found: list[Item] = []
        asked: Any = {self.name: {"Keys": [_to(key) for key in keys], "ConsistentRead": True}} if keys else {}
        while asked:
            answer = self.client.batch_get_item(RequestItems=asked)
            found += map(_from, answer["Responses"].get(self.name, ()))
            asked = answer.get("UnprocessedKeys")
        return found

    def query(self, pk: str) -> list[Item]:
        """All items of one partition: a pair and its renders."""
        pages = self.client.get_paginator("query").paginate(
            TableName=self.name,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=_to({":pk": pk}),
            ConsistentRead=True,
        )
        return [_from(item) for page in pages for item in page["Items"]]

    def query_after(self, pk: str, sk: str, page_size: int = 1000) -> Iterator[Item]:
        """The items of one partition behind a sort key, in their order."""
        pages = self.client.get_paginator("query").paginate(
            TableName=self.name,
            KeyConditionExpression="pk = :pk AND sk > :sk",
            ExpressionAttributeValues=_to({":pk": pk, ":sk": sk}),
            ConsistentRead=True,
            PaginationConfig={"PageSize": page_size},
        )
        for page in pages:
            yield from map(_from, page["Items"])

    def query_due(
        self,
        lane: str,
        until: float | None = None,
        page_size: int = 1000,
        *,
        since: float | None = None,
        newest_first: bool = False,
    ) -> Iterator[Item]:
        """What the index `due` holds of a lane, the oldest first unless `newest_first`, in the times that are given;
        only the attributes that it projects."""
        read = self.client.get_paginator("query").paginate
        asked = self._of_lane(lane, since, until) | ({"ScanIndexForward": False} if newest_first else {})
        for page in read(**asked, PaginationConfig={"PageSize": page_size}):
            yield from map(_from, page["Items"])

    def count_due(self, lane: str, most: int) -> int:
        """How many items the index `due` holds of a lane, counted up to about `most`."""
        read = self.client.get_paginator("query").paginate
        count = 0
        for page in read(**self._of_lane(lane), Select="COUNT", PaginationConfig={"PageSize": most}):
            count += page["Count"]
            if count >= most:
                break
        return count

    def _of_lane(self, lane: str, since: float | None = None, until: float | None = None) -> dict[str, Any]:
        times = {name: at for name, at in ((":since", since), (":until", until)) if at is not None}
        condition = {
            (): "due_lane = :lane",
            (":since",): "due_lane = :lane AND due_at >= :since",
            (":until",): "due_lane = :lane AND due_at <= :until",
            (":since", ":until"): "due_lane = :lane AND due_at BETWEEN :since AND :until",
        }[tuple(times)]
        return {
            "TableName": self.name,
            "IndexName": "due",
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": _to({":lane": lane, **times}),
        }

    def scan(self) -> list[Item]:
        """Every item. For operators only: it costs as much as the table is large."""
        pages = self.client.get_paginator("scan").paginate(TableName=self.name)
        return [_from(item) for page in pages for item in page["Items"]]

    def update(self, key: Key, expression: str, condition: str | None = None, **values: Any) -> Item:
        """Write to one item and return it as it is now.

        Names in the expressions are spelled `#name`, values `:value`.

        Raises:
            ConditionFailed: with the item as it was found.
            Conflict: transactions touched the item again and again: nothing was written.
        """
        write = _update(self.name, key, expression, condition, values) | {"ReturnValues": "ALL_NEW"}
        return _from(_repeated(self.client.update_item, **write)["Attributes"])

    def delete(self, key: Key, condition: str, **values: Any) -> None:
        """Delete one item. Raises what `update` does."""
        write = _write(self.name, key, condition, condition, values)
        _repeated(self.client.delete_item, **write)

    def transact(self, *writes: Write) -> None:
        """Write to several items, all or nothing.

        Raises:
            ConditionFailed: `position` says which write was refused, `found` the item.
            Conflict: other transactions touched one of the items again and again: nothing was written.
        """
        if len(writes) == 1:
            key, expression, condition, values = writes[0]
            self.update(key, expression, condition, **values)
            return
        items: Any = [{"Update": _update(self.name, *write)} for write in writes]
        _repeated(self.client.transact_write_items, TransactItems=items)


def _repeated(write: Callable[..., Any], **asked: Any) -> Any:
    """Write, and again when a transaction is at the same item at the same moment. The SDK does not retry conflicts."""
    for _ in range(_MOST_TRIES - 1):
        try:
            return _answer(write, asked)
        except Conflict:
            time.sleep(random.uniform(0, 0.05))  # noqa: S311 - no secret
    return _answer(write, asked)


def _answer(write: Callable[..., Any], asked: Any) -> Any:
    try:
        return write(**asked)
    except ClientError as error:
        if refusal := _refusal(error):
            raise refusal from error
        raise


def _refusal(error: ClientError) -> KontextError | None:
    """What a write was refused for; None if it has failed for another reason."""
    answer: Any = error.response
    code = answer["Error"]["Code"]
    if code == "ConditionalCheckFailedException":
        return ConditionFailed(_found(answer))
    for position, reason in enumerate(answer.get("CancellationReasons", ())):
        if reason.get("Code") == "ConditionalCheckFailed":
            return ConditionFailed(_found(reason), position)
    return Conflict(str(error)) if code in _CONFLICTS else None


def _found(response: Any) -> Item | None:
    return _from(response["Item"]) if response.get("Item") else None


def _update(table: str, key: Key, expression: str, condition: str | None, values: Item) -> Any:
    text = f"{expression} {condition or ''}"
    return _write(table, key, text, condition, values) | {"UpdateExpression": expression}


def _write(table: str, key: Key, text: str, condition: str | None, values: Item) -> Any:
    """A write with the names and values that stand in the `text` of its expressions."""
    names = {f"#{word}": word for word in _words(text, "#")}
    used = {f":{word}": values[word] for word in _words(text, ":")}
    write = {"TableName": table, "Key": _to(key)}
    if condition:
        write |= {"ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    if names:
        write["ExpressionAttributeNames"] = names
    if used:
        write["ExpressionAttributeValues"] = _to(used)
    return write


def _words(text: str, mark: str) -> set[str]:
    return set(re.findall(rf"{mark}(\w+)", text))


# Each in one walk: with boto3's own, a second one turns floats into decimals before, and back after.
def _to(item: Item) -> Any:
    return {name: _attribute(value) for name, value in item.items()}


def _from(item: Any) -> Item:
    return {name: _natural(attribute) for name, attribute in item.items()}


def _attribute(value: Any) -> Any:
    match value:
        case None:
            return {"NULL": True}
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int() | float():
            return {"N": _digits(value)}
        case dict():
            return {"M": {name: _attribute(inner) for name, inner in value.items() if inner is not None}}
        case list() | tuple():
            return {"L": [_attribute(inner) for inner in value]}
        case set() | frozenset():
            return {"SS": list(value)}
    raise TypeError(f"DynamoDB has no type for {value!r}")


def _digits(value: float) -> str:
    # DynamoDB knows decimal numbers only; repr() is the shortest text that gives the same float again.
    exact = DYNAMODB_CONTEXT.create_decimal(repr(value))
    if not exact.is_finite():
        raise TypeError(f"DynamoDB has no number {value!r}")
    return str(exact)


def _natural(attribute: Any) -> Any:
    ((kind, value),) = attribute.items()
    match kind:
        case "N":
            return _number(Decimal(value))
        case "M":
            return {name: _natural(inner) for name, inner in value.items()}
        case "L":
            return [_natural(inner) for inner in value]
        case "SS":
            return set(value)
        case "NULL":
            return None
    return value


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
