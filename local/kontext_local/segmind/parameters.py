"""The body of a POST: what the model takes, and how the vendor refuses the rest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeVar

from kontext_local.segmind.answers import Refused

ASPECT_RATIOS = (
    "match_input_image", "1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3",
    "4:5", "5:4", "21:9", "9:21", "2:1", "1:2",
)  # fmt: skip
OUTPUT_FORMATS = ("png", "jpg")
SAFETY_TOLERANCES = (0, 1, 2)

Choice = TypeVar("Choice", str, int)


@dataclass(frozen=True)
class Parameters:
    """One validated request. `seed` is None where the client left the choice to the vendor."""

    prompt: str
    input_image_1: str
    input_image_2: str
    aspect_ratio: str = "match_input_image"
    output_format: str = "png"
    safety_tolerance: int = 2
    seed: int | None = None

    @property
    def content_type(self) -> str:
        return "image/png" if self.output_format == "png" else "image/jpeg"


def parse(body: bytes) -> Parameters:
    """Read a POST's body.

    Raises Refused: 400 for a body, a missing field or a type that is wrong; 406 for a value outside its
    fixed set. Unknown fields are ignored, as the vendor does.
    """
    fields = _object(body)
    return Parameters(
        prompt=_text(fields, "prompt"),
        input_image_1=_url(fields, "input_image_1"),
        input_image_2=_url(fields, "input_image_2"),
        aspect_ratio=_chosen(fields, "aspect_ratio", ASPECT_RATIOS, "match_input_image"),
        output_format=_chosen(fields, "output_format", OUTPUT_FORMATS, "png"),
        safety_tolerance=_chosen(fields, "safety_tolerance", SAFETY_TOLERANCES, 2),
        seed=_seed(fields.get("seed")),
    )


def prompt_of(body: bytes) -> str:
    """The prompt of any body, for matching scripts; empty where there is none to read."""
    try:
        return str(_object(body).get("prompt", ""))
    except Refused:
        return ""


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise Refused(400, "The request body is not valid JSON") from error
    if not isinstance(fields, dict):
        raise Refused(400, "The request body must be a JSON object")
    return fields


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None or value == "":
        raise Refused(400, f"{name}: field required")
    if not isinstance(value, str):
        raise Refused(400, f"{name}: a string is required, got {json.dumps(value)}")
    return value


def _url(fields: dict[str, Any], name: str) -> str:
    url = _text(fields, name)
    if not url.startswith(("http://", "https://")):
        raise Refused(400, f"{name}: an http(s) URL is required")
    return url


def _chosen(fields: dict[str, Any], name: str, allowed: tuple[Choice, ...], default: Choice) -> Choice:
    value = fields.get(name)
    if value is None:
        return default
    if type(value) is not type(default):
        raise Refused(400, f"{name}: {type(default).__name__} required, got {json.dumps(value)}")
    if value not in allowed:
        listed = ", ".join(str(one) for one in allowed)
        raise Refused(406, f"Invalid value {json.dumps(value)} for {name}. Allowed values: {listed}")
    return value


def _seed(value: Any) -> int | None:
    if value in (None, "", -1):
        return None
    if type(value) is not int:
        raise Refused(400, f"seed: an integer is required, got {json.dumps(value)}")
    return value
