"""The project's own files, as data."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import boto3
import pytest

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def template() -> Json:
    """`template.yaml`, with short intrinsics (`!Ref`) in their long form."""
    from samcli.yamlhelper import yaml_parse

    return json.loads(json.dumps(yaml_parse((ROOT / "template.yaml").read_text())))  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def resources(template: Json) -> Json:
    """The template's resources as they are written, by logical id."""
    return template["Resources"]  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def transformed(template: Json) -> Json:
    """The template as CloudFormation gets it: after the SAM transform."""
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    uploaded = copy.deepcopy(template)
    for resource in uploaded["Resources"].values():
        _as_if_uploaded(resource.get("Properties", {}))
    _as_if_uploaded(uploaded["Globals"]["Function"])
    anywhere = boto3.session.Session(region_name="us-east-1")
    return Translator({}, Parser(), boto_session=anywhere).translate(uploaded, {})  # type: ignore[no-any-return]


def _as_if_uploaded(properties: Json) -> None:
    for name in ("CodeUri", "ContentUri", "DefinitionUri"):
        if name in properties:
            properties[name] = "s3://bucket/key"


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
    return json.loads((ROOT / "workflow.asl.json").read_text())  # type: ignore[no-any-return]
