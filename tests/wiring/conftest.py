"""The project's own files, as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import transformed as transform

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def template() -> Json:
    """`template.yaml`, with short intrinsics (`!Ref`) in their long form."""
    return transform.written()


@pytest.fixture(scope="session")
def resources(template: Json) -> Json:
    """The template's resources as they are written, by logical id."""
    resources: Json = template["Resources"]
    return resources


@pytest.fixture(scope="session")
def transformed(template: Json) -> Json:
    """The template as CloudFormation gets it: after the SAM transform."""
    return transform.transformed(template)


@pytest.fixture(scope="session")
def functions(template: Json) -> dict[str, Json]:
    """The properties of each function, those of `Globals` included, by logical id."""
    shared = template["Globals"]["Function"]
    found = {
        name: {**shared, **resource["Properties"]}
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    assert found
    return found


@pytest.fixture(scope="session")
def workflow() -> Json:
    """The state machine's definition."""
    definition: Json = json.loads((ROOT / "workflow.asl.json").read_text())
    return definition
