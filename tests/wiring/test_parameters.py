"""A parameter of a request is written down in three places: the schemas, the type, the command's options."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from kontext.drops.request import PARAMETERS
from kontext.model import INTEGERS, TUNABLE
from kontext_cli.commands.dropping import drop
from kontext_local.segmind.parameters import Parameters as Emulated

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


def test_the_command_line_has_an_option_for_all_that_may_be_asked_for() -> None:
    options = [name for name in inspect.signature(drop).parameters if name in TUNABLE]

    assert tuple(options) == TUNABLE


def test_the_emulator_takes_all_that_may_be_asked_for() -> None:
    assert set(TUNABLE) <= set(inspect.signature(Emulated).parameters)


def _schema(root: Path, name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((root / SCHEMAS / name).read_text())
    return schema
