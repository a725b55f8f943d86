"""What is asked of a render: read from the drops, checked against `schemas/request.v1.json`, and merged."""

import email.errors
import email.header
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from kontext import text
from kontext.errors import BadDrop
from kontext.model import Parameters
from kontext.net import addresses

MAX_BYTES = 65_536
"""A longer request.json or prompt.txt is refused unread."""

_SCHEMA = Path(__file__).parents[1] / "schemas" / "request.v1.json"
_TUNABLE = ("prompt", "aspect_ratio", "output_format", "safety_tolerance", "seed")
_INTEGERS = ("safety_tolerance", "seed")
_IMAGES = ("input_image_1", "input_image_2")
_LIKE_A_URL = re.compile(r".*://|(?:https?|data|file|blob|javascript):", re.IGNORECASE | re.DOTALL)
_DIGITS = 40
_MOST_SHOWN = 1000


def parse_request(body: bytes) -> Parameters:
    """The parameters in a request.json.

    Raises:
        BadDrop: not JSON, or something in it is not allowed; the message names the field, what came and what is
        allowed.
    """
    decoded = _text(body, "request.json")
    try:
        content = json.loads(
            decoded, object_pairs_hook=_no_duplicates, parse_constant=_no_constants, parse_int=_no_endless_number
        )
    except (ValueError, RecursionError) as problem:
        raise _invalid(f"request.json is not valid JSON: {_first_line(problem)}") from problem
    if not isinstance(content, dict):
        raise _invalid(f"request.json must hold one JSON object, not {_shown(content)}")
    return _checked(content, "request.json")


def parse_prompt(body: bytes) -> Parameters:
    """The prompt in a prompt.txt. Raises BadDrop where it is empty, too long or not UTF-8."""
    return _checked({"prompt": _text(body, "prompt.txt").strip()}, "prompt.txt")


def parse_metadata(metadata: Mapping[str, str]) -> Parameters:
    """The parameters in an image's S3 metadata (`x-amz-meta-prompt`, `x-amz-meta-aspect-ratio`, …).

    S3 stores text beyond ASCII in RFC 2047 form; "-" and "_" both separate words; other metadata is none of our
    business. Raises BadDrop where a value is not allowed.
    """
    given = {name.lower().replace("-", "_"): value for name, value in metadata.items()}
    found = {name: _decoded(given[name]) for name in _TUNABLE if given.get(name, "").strip()}
    return _checked({name: _number(name, value) for name, value in found.items()}, "the image's metadata")


def merge(*sources: Parameters) -> Parameters:
    """One set of parameters out of several, the first that names a parameter decides; a random seed is left out."""
    merged: Parameters = {}
    for source in sources:
        merged = {**source, **merged}
    if merged.get("seed") in (None, -1):
        merged.pop("seed", None)
    return merged


def render_id(prefix: str, image_1: str, image_2: str, parameters: Parameters) -> str:
    """The name of a render: 24 hex digits out of its prefix, what identifies its images (ETag or URL) and its
    parameters.

    The same content dropped again is the same render.
    """
    canonical = json.dumps([prefix, image_1, image_2, parameters], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:24]


def _checked(content: dict[str, Any], source: str) -> Parameters:
    from fastjsonschema import JsonSchemaValueException

    try:
        _validator()(content)
    except JsonSchemaValueException as problem:
        raise _invalid(f"{source}: {_explained(problem, content)}") from problem
    for name in _IMAGES:
        _check_link(name, content.get(name, ""), source)
    return cast("Parameters", {name: _plain(name, value, source) for name, value in content.items()})


def _plain(name: str, value: Any, source: str) -> Any:
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise _invalid(f"{source}: {name} holds half of a character (a lone surrogate)")
    return int(value) if isinstance(value, float) else value  # JSON Schema counts 1.0 as an integer


def _check_link(name: str, value: str, source: str) -> None:
    if _LIKE_A_URL.match(value):
        try:
            addresses.check_url(value)
        except ValueError as problem:
            raise _invalid(f"{source}: {name} {problem}") from problem


def _explained(problem: Any, content: dict[str, Any]) -> str:
    if problem.rule == "additionalProperties":
        unknown = sorted(set(content) - set(_properties()))
        named = ", ".join(_shown(name) for name in unknown[:3]) + (", …" if len(unknown) > 3 else "")
        return f"unknown field {named}; the fields are {', '.join(_properties())}"
    field = problem.path[-1]
    return f"{field} is {_shown(problem.value)}; allowed is {_allowed(_properties()[field])}"


def _allowed(rule: dict[str, Any]) -> str:
    if "enum" in rule:
        return ", ".join(rule["enum"])
    if rule["type"] == "string":
        blank = ", not only blanks" if "pattern" in rule else ""
        return f"a text of {rule['minLength']} to {rule['maxLength']} characters{blank}"
    whole = f"a whole number from {rule['minimum']} to {rule['maximum']}"
    return whole if rule["type"] == "integer" else f"{whole}, or null"


@cache
def _properties() -> dict[str, Any]:
    properties: dict[str, Any] = json.loads(_SCHEMA.read_text())["properties"]
    return properties


@cache
def _validator() -> Callable[[Any], Any]:
    # Imported and compiled at the first use: Poll and Finalize never need it.
    import fastjsonschema

    return fastjsonschema.compile(json.loads(_SCHEMA.read_text()))


def _text(body: bytes, source: str) -> str:
    if len(body) > MAX_BYTES:
        raise _invalid(f"{source} is longer than {MAX_BYTES} bytes")
    try:
        return body.decode("utf-16" if body[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as problem:
        raise _invalid(f"{source} is not UTF-8 text") from problem


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen = dict(pairs)
    if len(seen) < len(pairs):
        for name, _ in pairs:
            if name not in seen:
                raise ValueError(f"{_shown(name)} is given twice")
            del seen[name]
    return seen


def _no_constants(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _no_endless_number(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number has more than {_DIGITS} digits")
    return int(digits)


def _decoded(value: str) -> str:
    try:
        parts = email.header.decode_header(value)
        return "".join(part if isinstance(part, str) else part.decode(charset or "ascii") for part, charset in parts)
    except (ValueError, LookupError, email.errors.MessageError):
        return value  # it only looks like RFC 2047


def _number(name: str, value: str) -> Any:
    try:
        return int(value) if name in _INTEGERS else value
    except ValueError:
        return value


def _invalid(message: str) -> BadDrop:
    return BadDrop("invalid_request", message)


def _shown(value: Any) -> str:
    try:
        quoted = text.redact(json.dumps(value, ensure_ascii=True, default=str)[:_MOST_SHOWN])
    except RecursionError:
        return "something nested deeply"
    return quoted if len(quoted) <= 80 else f"{quoted[:77]}..."


def _first_line(problem: BaseException) -> str:
    return "nested too deeply" if isinstance(problem, RecursionError) else str(problem).split("\n")[0]
