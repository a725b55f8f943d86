"""The template as CloudFormation gets it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import boto3

ROOT = Path(__file__).parents[1]
Json = dict[str, Any]


def written() -> Json:
    """`template.yaml`, with short intrinsics (`!Ref`) in their long form."""
    from samcli.yamlhelper import yaml_parse

    template: Json = json.loads(json.dumps(yaml_parse((ROOT / "template.yaml").read_text())))
    return template


def transformed(template: Json) -> Json:
    """A template after the SAM transform."""
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    uploaded = copy.deepcopy(template)
    for resource in uploaded["Resources"].values():
        _as_if_uploaded(resource.get("Properties", {}))
    _as_if_uploaded(uploaded["Globals"]["Function"])
    anywhere = boto3.session.Session(region_name="us-east-1")
    translated: Json = Translator({}, Parser(), boto_session=anywhere).translate(uploaded, {})
    return translated


def _as_if_uploaded(properties: Json) -> None:
    for name in ("CodeUri", "ContentUri", "DefinitionUri"):
        if name in properties:
            properties[name] = "s3://bucket/key"


def listed(value: Any) -> list[str]:
    """What may stand alone, or in a list."""
    return value if isinstance(value, list) else [value]
