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
from kontext.drops import text_file
from kontext.errors import BadDrop
from kontext.model import IMAGES, INTEGERS, TUNABLE, Parameters
from kontext.net import addresses

_SCHEMA = Path(__file__).parents[1] / "schemas" / "request.v1.json"
PARAMETERS = (*TUNABLE, *IMAGES)
"""All that may be asked for."""
_LIKE_A_URL = re.compile(r".*://|(?:https?|data|file|blob|javascript):", re.IGNORECASE | re.DOTALL)
_RATIO = re.compile(r"\s*0*(\d{1,2})\s*[:x×/]\s*0*(\d{1,2})(?::00)?\s*", re.ASCII)
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
        why = text_file.explain_json(decoded, problem)
        raise _invalid(f"request.json: it is not valid JSON: {why}") from problem
    if not isinstance(content, dict):
        raise _invalid(f"request.json: it must hold one JSON object, not {_shown(content)}")
    return _checked(_asked(content), "request.json")


def parse_prompt(body: bytes) -> Parameters:
    """The prompt in a prompt.txt; none where it is empty. Raises BadDrop where it is too long, or no plain text."""
    prompt = _text(body, "prompt.txt").strip()
    if _is_json_object(prompt):
        raise _invalid("prompt.txt: it holds JSON, which belongs into request.json")
    return _checked({} if text.is_blank(prompt) else {"prompt": prompt}, "prompt.txt")


def parse_metadata(metadata: Mapping[str, str]) -> Parameters:
    """The parameters in an image's S3 metadata (`x-amz-meta-prompt`, `x-amz-meta-aspect-ratio`, …).

    S3 stores text beyond ASCII in RFC 2047 form; "-" and "_" both separate words; other metadata is none of our
    business. Raises BadDrop where a value is not allowed.
    """
    given = {name.lower().replace("-", "_"): value for name, value in metadata.items()}
    found = {name: _decoded(given[name]) for name in TUNABLE if name in given}
    said = {name: _number(name, value) for name, value in found.items() if not text.is_blank(value)}
    return _checked(said, "the image's metadata")


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


def _checked(content: dict[str, object], source: str) -> Parameters:
    from fastjsonschema import JsonSchemaValueException

    content = {name: _as_meant(name, value) for name, value in content.items()}
    try:
        _validator()(content)
    except JsonSchemaValueException as problem:
        raise _invalid(f"{source}: {_explained(problem, content)}") from problem
    for name in IMAGES:
        _check_link(name, str(content.get(name, "")), source)
    return cast("Parameters", {name: _plain(name, value, source) for name, value in content.items()})


def _plain(name: str, value: Any, source: str) -> Any:
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise _invalid(f"{source}: {name} holds half of a character (a lone surrogate)")
    if name == "prompt" and text.is_blank(value):
        raise _invalid(f"{source}: prompt is {_shown(value)}, in which nothing can be seen")
    return int(value) if isinstance(value, float) else value  # JSON Schema counts 1.0 as an integer


def _check_link(name: str, value: str, source: str) -> None:
    if _LIKE_A_URL.match(value):
        try:
            addresses.check_url(value)
        except ValueError as problem:
            raise _invalid(f"{source}: {name} {problem}") from problem


def _explained(problem: Any, content: dict[str, object]) -> str:
    if problem.rule == "additionalProperties":
        unknown = sorted(set(content) - set(PARAMETERS))
        named = ", ".join(_shown(name) for name in unknown[:3]) + (", …" if len(unknown) > 3 else "")
        return f"unknown field {named}; the fields are {', '.join(PARAMETERS)}"
    field = problem.path[-1]
    return f"{field} is {_shown(problem.value)}; allowed is {_allowed(_properties()[field])}"


def _allowed(rule: dict[str, Any]) -> str:
    if "enum" in rule:
        return ", ".join(filter(None, rule["enum"]))
    if "string" in rule["type"]:
        blank = ", not only blanks" if "pattern" in rule else ""
        return f"a text of {rule['minLength']} to {rule['maxLength']} characters{blank}"
    return f"a whole number from {rule['minimum']} to {rule['maximum']}, or null"


@cache
def _properties() -> dict[str, dict[str, Any]]:
    properties: dict[str, dict[str, Any]] = json.loads(_SCHEMA.read_text())["properties"]
    return properties


@cache
def _validator() -> Callable[[Any], Any]:
    # Imported and compiled at the first use: Poll and Finalize never need it.
    import fastjsonschema

    return fastjsonschema.compile(json.loads(_SCHEMA.read_text()))


def _text(body: bytes, source: str) -> str:
    try:
        return text_file.decode(body)
    except ValueError as problem:
        raise _invalid(f"{source}: it {problem}") from problem


def _is_json_object(prompt: str) -> bool:
    try:
        return isinstance(json.loads(prompt), dict)
    except (ValueError, RecursionError):
        return False


def _asked(content: dict[str, object]) -> dict[str, object]:
    """What a request asks for. A field that is null says nothing, but for the seed, and neither does `$schema`."""
    return {
        name: value for name, value in content.items() if name != "$schema" and (value is not None or name == "seed")
    }


def _as_meant(name: str, value: Any) -> Any:
    """A value in the words of the schema, where it is only spelled otherwise: Excel makes 16:09:00 of 16:9."""
    if not isinstance(value, str):
        return value
    if name == "output_format":
        return {"jpeg": "jpg"}.get(spelled := value.strip().lower().removeprefix("."), spelled)
    if name == "aspect_ratio" and (ratio := _RATIO.fullmatch(value)):
        return f"{int(ratio[1])}:{int(ratio[2])}"
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, object]:
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
        return int(value) if name in INTEGERS else value
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
