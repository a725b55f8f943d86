"""The examples of what is published keep to their contract, and every sample is explained."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

from kontext.errors import CODES
from tests.wiring.in_process import EVENTS, ROOT, Json, sample

PUBLISHED = sorted((EVENTS / "published").glob("*.json"))
TOLD = [path for path in PUBLISHED if path.name != "error.json"]
SCHEMA = ROOT / "layers" / "kontext" / "python" / "kontext" / "schemas" / "event.v1.json"


@pytest.mark.parametrize("path", TOLD, ids=lambda path: path.stem)
def test_every_published_example_keeps_to_the_contract(path: Path) -> None:
    event = json.loads(path.read_text())

    parsed = from_structured_event(HTTPMessage({"content-type": "application/cloudevents+json"}, path.read_bytes()))

    jsonschema.validate(event, json.loads(SCHEMA.read_text()), jsonschema.Draft7Validator)
    assert parsed.get_type() == f"kontext.{path.stem}"


def test_there_is_an_example_of_every_type_that_is_published() -> None:
    types = json.loads(SCHEMA.read_text())["properties"]["type"]["enum"]

    assert sorted(types) == sorted(f"kontext.{path.stem}" for path in TOLD)


def test_the_example_of_an_error_file_has_a_known_code_and_its_remedy() -> None:
    error = sample("published/error.json")

    assert error["remedy"] == CODES[error["code"]].remedy


def test_there_is_a_sample_event_of_every_function(functions: Json) -> None:
    sampled = {path.stem.partition("-")[0] for path in EVENTS.glob("*.json")}

    assert sampled == {name.removesuffix("Function").lower() for name in functions}


def test_every_sample_event_is_explained() -> None:
    explained = (EVENTS / "README.md").read_text()

    missing = [path.name for path in (*EVENTS.glob("*.json"), *PUBLISHED) if path.name not in explained]

    assert missing == []
