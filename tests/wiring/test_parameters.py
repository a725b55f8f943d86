"""A parameter of a request is written down in three places: its schema, the command's options, the emulator."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from kontext.drops.request import PARAMETERS
from kontext.model import INTEGERS, TUNABLE
from kontext_cli.commands.dropping import drop
from kontext_local.segmind.parameters import Parameters as Emulated
from scripts import contracts

SCHEMAS = Path("layers/kontext/python/kontext/schemas")


def test_what_may_be_asked_for_is_the_same_in_the_schema_and_in_the_type(root: Path) -> None:
    allowed = _schema(root, "request.v1.json")["properties"]
    del allowed["$schema"]

    integers = [name for name, rule in allowed.items() if "integer" in rule.get("type", ())]

    assert tuple(allowed) == PARAMETERS
    assert tuple(integers) == INTEGERS


def test_an_event_tells_all_that_may_be_asked_for(root: Path) -> None:
    told = _schema(root, "event.v1.json")["definitions"]["request"]["properties"]

    assert tuple(told) == TUNABLE


@pytest.mark.parametrize("path", contracts.PARTS, ids=lambda path: path.name)
def test_type_and_events_are_those_of_the_requests_schema(path: Path) -> None:
    assert path.read_text() == contracts.filled(path), "run `make generated`"


def test_the_command_line_has_an_option_for_all_that_may_be_asked_for() -> None:
    options = [name for name in inspect.signature(drop).parameters if name in TUNABLE]

    assert tuple(options) == TUNABLE


def test_the_emulator_takes_all_that_may_be_asked_for() -> None:
    assert set(TUNABLE) <= set(inspect.signature(Emulated).parameters)


def _schema(root: Path, name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((root / SCHEMAS / name).read_text())
    return schema
