"""The expressions of DynamoDB that `kontext.dynamodb` uses, conditions and steps of an update, refusing all others."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

Item = dict[str, Any]
Path = tuple[str, ...]
Test = Callable[[Item, "Words"], bool]
Step = Callable[[Item, "Words"], None]


class Words:
    """What the names and values in an expression stand for."""

    def __init__(self, write: dict[str, Any]) -> None:
        self.names: dict[str, str] = write.get("ExpressionAttributeNames", {})
        self.values: dict[str, Any] = write.get("ExpressionAttributeValues", {})


def service_error(code: str, message: str, status: int = 400) -> Any:
    return {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}


def invalid(message: str, operation: str = "UpdateItem") -> ClientError:
    """What the service answers to a call that breaks its rules."""
    return ClientError(service_error("ValidationException", message), operation)


@cache
def _words_in(text: str, mark: str) -> frozenset[str]:
    return frozenset(re.findall(rf"{mark}\w+", text))


def check_words(text: str, words: Words) -> None:
    if _words_in(text, "#") != words.names.keys() or _words_in(text, ":") != words.values.keys():
        raise invalid("an expression names or values what is not given, or not all that is")


@cache
def test_of(text: str) -> Test:
    either = [[_atom(atom.strip()) for atom in part.split(" AND ")] for part in text.split(" OR ")]
    return lambda item, words: any(all(test(item, words) for test in tests) for tests in either)


def _atom(text: str) -> Test:
    if match := re.fullmatch(r"attribute_(not_)?exists\(([#.\w]+)\)", text):
        path, wanted = match[2].split("."), match[1] is None
        return lambda item, words: (_value(item, path, words) is not None) is wanted
    if match := re.fullmatch(r"([#.\w]+) (=|<>|<|<=|>|>=) (:\w+)", text):
        path, value, holds = match[1].split("."), match[3], _OPERATORS[match[2]]
        return lambda item, words: _compares(_value(item, path, words), words.values[value], holds)
    raise NotImplementedError(f"this fake knows no condition {text!r}")


_OPERATORS = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _value(item: Item, path: list[str], words: Words) -> Any:
    value: Any = {"M": item}
    for step in path:
        value = value.get("M", {}).get(words.names[step]) if value else None
    return value


def _compares(left: Any, right: Any, holds: Callable[[Any, Any], bool]) -> bool:
    if left is None or left.keys() != right.keys():
        return holds is operator.ne
    ((kind, one),), ((_, two),) = left.items(), right.items()
    return holds(Decimal(one), Decimal(two)) if kind == "N" else holds(one, two)


@cache
def steps(expression: str) -> tuple[Step, ...]:
    parts = re.split(r"\s*\b(SET|REMOVE|ADD|DELETE) ", expression)
    if parts[0]:
        raise NotImplementedError(f"this fake knows no update {expression!r}")
    clauses = zip(parts[1::2], parts[2::2], strict=True)
    return tuple(_STEPS[verb](part.strip()) for verb, clause in clauses for part in re.split(r",(?![^(]*\))", clause))


def _set(text: str) -> Step:
    match = re.fullmatch(r"(#\w+) = (?:if_not_exists\((#\w+), (:\w+)\)|(:\w+))", text)
    if not match:
        raise NotImplementedError(f"this fake knows no assignment {text!r}")
    name, kept, otherwise, value = match.groups()

    def step(item: Item, words: Words) -> None:
        given = words.values[value or otherwise]
        item[words.names[name]] = item.get(words.names[kept], given) if kept else given

    return step


def _remove(name: str) -> Step:
    return lambda item, words: item.pop(words.names[name], None)


def _add(text: str) -> Step:
    name, value = text.split(" ")

    def step(item: Item, words: Words) -> None:
        ((kind, more),) = words.values[value].items()
        held = item.get(words.names[name], {kind: "0" if kind == "N" else []})
        if kind not in held:
            raise invalid("An operand in the update expression has an incorrect data type")
        sum_ = str(Decimal(held["N"]) + Decimal(more)) if kind == "N" else sorted({*held[kind], *more})
        item[words.names[name]] = {kind: sum_}

    return step


def _delete(text: str) -> Step:
    name, value = text.split(" ")

    def step(item: Item, words: Words) -> None:
        ((kind, less),) = words.values[value].items()
        left = [one for one in item.pop(words.names[name], {}).get(kind, []) if one not in less]
        if left:
            item[words.names[name]] = {kind: left}

    return step


_STEPS: dict[str, Callable[[str], Step]] = {"SET": _set, "REMOVE": _remove, "ADD": _add, "DELETE": _delete}
