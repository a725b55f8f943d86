"""The seam to DynamoDB, in process."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from kontext.dynamodb import ConditionFailed, Conflict, Table, _from, _to

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY = {"pk": "pair#taj/", "sk": "pair"}
SET = "SET #a = :one"
OTHER = {"pk": "pair#taj/", "sk": "render#1"}

VALUES = st.recursive(
    st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e100, max_value=1e100).filter(
        lambda x: abs(x) > 1e-100
    )
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
def test_a_value_comes_back_as_it_went_in(value: Any) -> None:
    back = _from(_to({"value": value}))["value"]

    assert _same(back, value)


@given(VALUES)
def test_a_value_is_written_as_boto3_would_write_it(value: Any) -> None:
    exact = json.loads(json.dumps(value), parse_float=Decimal)

    assert _to({"value": value})["value"] == TypeSerializer().serialize(exact)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, b"bytes", object()])
def test_what_dynamodb_has_no_place_for_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="DynamoDB has no"):
        _to({"value": value})


def _same(one: Any, other: Any) -> bool:
    """Equal, where a whole float may come back as an integer."""
    if isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in other)
    if isinstance(other, float):
        return math.isclose(one, other, rel_tol=0, abs_tol=0)
    return type(one) is type(other) and bool(one == other)


pytestmark = pytest.mark.usefixtures("aws")  # what is tested here is the seam to a real one


def test_what_is_nothing_inside_a_value_is_left_out(table: Table) -> None:
    item = table.update(KEY, "SET #part = :part", part={"key": "1.png", "version_id": None, "inner": {"url": None}})

    assert item["part"] == {"key": "1.png", "inner": {}}


def test_an_update_gives_the_item_as_it_is_then(table: Table) -> None:
    table.update(KEY, "SET #one = :one", one=1)

    item = table.update(KEY, "SET #two = :two ADD #names :names", two=2.5, names={"a"})

    assert item == {**KEY, "one": 1, "two": 2.5, "names": {"a"}}
    assert table.get(KEY) == item


def test_an_item_that_is_not_there_is_none(table: Table) -> None:
    assert table.get(KEY) is None


def test_reserved_words_are_good_names(table: Table) -> None:
    item = table.update(KEY, "SET #status = :status, #at = :at", "attribute_not_exists(#status)", status="x", at=1)

    assert item["status"] == "x"


def test_a_refused_write_says_what_it_found(table: Table) -> None:
    table.update(KEY, "SET #count = :one", one=1)

    with pytest.raises(ConditionFailed) as refused:
        table.update(KEY, "SET #count = :two", "attribute_not_exists(#count)", two=2)

    assert refused.value.found == {**KEY, "count": 1}
    assert table.get(KEY) == {**KEY, "count": 1}


def test_a_write_refused_because_there_is_nothing_found_nothing(table: Table) -> None:
    with pytest.raises(ConditionFailed) as refused:
        table.update(KEY, "SET #count = :one", "attribute_exists(#count)", one=1)

    assert refused.value.found is None


def test_a_transaction_writes_everything(table: Table) -> None:
    table.transact(
        (KEY, "SET #a = :one", None, {"one": 1}),
        (OTHER, "SET #b = :two", "attribute_not_exists(#b)", {"two": 2}),
    )

    assert table.query("pair#taj/") == [{**KEY, "a": 1}, {**OTHER, "b": 2}]


def test_a_refused_transaction_writes_nothing_and_says_which_condition_failed(table: Table) -> None:
    table.update(OTHER, "SET #b = :one", one=1)

    with pytest.raises(ConditionFailed) as refused:
        table.transact(
            (KEY, "SET #a = :one", None, {"one": 1}),
            (OTHER, "SET #b = :two", "attribute_not_exists(#b)", {"two": 2}),
        )

    assert (refused.value.position, refused.value.found) == (1, {**OTHER, "b": 1})
    assert table.get(KEY) is None


class Refusing:
    """A DynamoDB client that refuses every transaction in one way."""

    def __init__(self, code: str, *reasons: str) -> None:
        self.code = code
        self.reasons = [{"Code": reason} for reason in reasons]

    def transact_write_items(self, **_: Any) -> None:
        answer: Any = {"Error": {"Code": self.code}, "CancellationReasons": self.reasons}
        raise ClientError(answer, "TransactWriteItems")


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(Refusing("TransactionCanceledException", "None", "TransactionConflict"), id="cancelled"),
        pytest.param(Refusing("TransactionInProgressException"), id="in progress"),
    ],
)
def test_a_transaction_that_met_another_one_may_be_repeated(client: Any) -> None:
    with pytest.raises(Conflict):
        Table(client, "renders").transact((KEY, SET, None, {"one": 1}), (OTHER, SET, None, {"one": 1}))


class Busy:
    """A DynamoDB client whose item is in other transactions for the first `times` writes."""

    def __init__(self, inner: Any, times: int) -> None:
        self.inner, self.times = inner, times

    def update_item(self, **write: Any) -> Any:
        self._meet("TransactionConflictException", "UpdateItem")
        return self.inner.update_item(**write)

    def transact_write_items(self, **write: Any) -> Any:
        self._meet("TransactionInProgressException", "TransactWriteItems")
        return self.inner.transact_write_items(**write)

    def _meet(self, code: str, operation: str) -> None:
        self.times -= 1
        if self.times >= 0:
            raise ClientError({"Error": {"Code": code, "Message": "busy"}}, operation)


def busy(table: Table, times: int) -> Table:
    return Table(cast("DynamoDBClient", Busy(table.client, times)), "renders")


def test_a_write_that_met_a_transaction_is_repeated_until_it_is_through(table: Table) -> None:
    busy(table, 3).update(KEY, "SET #a = :one", one=1)
    busy(table, 3).transact((OTHER, "SET #b = :two", None, {"two": 2}))

    assert table.query("pair#taj/") == [{**KEY, "a": 1}, {**OTHER, "b": 2}]


def test_a_write_that_meets_transactions_for_ever_gives_up_and_says_that_nothing_was_written(table: Table) -> None:
    with pytest.raises(Conflict):
        busy(table, 1000).update(KEY, "SET #a = :one", one=1)

    assert table.get(KEY) is None


def test_any_other_refusal_of_a_transaction_is_passed_on() -> None:
    client: Any = Refusing("ValidationException")

    with pytest.raises(ClientError, match="ValidationException"):
        Table(client, "renders").transact((KEY, SET, None, {"one": 1}), (OTHER, SET, None, {"one": 1}))


def test_all_pages_of_a_table_are_read(table: Table) -> None:
    for number in range(30):
        table.update({"pk": "pair#a/", "sk": f"render#{number:02}"}, "SET #x = :x", x="x" * 60_000)

    items = table.query("pair#a/")

    assert len(items) == len(table.scan()) == 30
