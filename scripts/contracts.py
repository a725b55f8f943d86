"""Writes what follows from `schemas/request.v1.json`, the error codes and the reasons: the type of a request's
parameters, and those parts of the events' schema. `make generated`.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path

from kontext.errors import CODES, REASONS
from kontext.model import IMAGES

KONTEXT = Path(__file__).parents[1] / "layers" / "kontext" / "python" / "kontext"
MODEL = KONTEXT / "model.py"
REQUEST = KONTEXT / "schemas" / "request.v1.json"
EVENT = KONTEXT / "schemas" / "event.v1.json"

Rule = dict[str, object]

ONLY_ASKED = ("maxLength", "pattern")
"""What may become wider any day is not promised to subscribers."""
TOLD: dict[str, Rule] = {
    "aspect_ratio": {"type": "string", "minLength": 3},
    "seed": {"type": "integer", "minimum": 0, "description": "Left out for a random one."},
}
"""What an event tells in another way than it is asked for: Segmind may come to know more ratios, and -1 is no seed."""
NO_RENDERS = "unknown_drop"
OF_ONE_RENDER = ("pace", "rate_limited")
"""The code and the reasons that no event has."""


def rules() -> dict[str, Rule]:
    """What may be asked for, by parameter."""
    properties: dict[str, Rule] = json.loads(REQUEST.read_text())["properties"]
    return {name: rule for name, rule in properties.items() if name != "$schema"}


def fields() -> str:
    """The parameters as fields of a TypedDict."""
    return "".join(f"    {name}: {'int' if 'integer' in _types(rule) else 'str'}\n" for name, rule in rules().items())


def _types(rule: Rule) -> list[object]:
    """The types that a rule allows, but for null, which says nothing."""
    kinds = rule.get("type", [])
    return [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if kind != "null"]


def told() -> str:
    """The parameters as an event tells them."""
    lines = (
        f'"{name}": {_flat(TOLD.get(name) or _told(rule))}' for name, rule in rules().items() if name not in IMAGES
    )
    return textwrap.indent(",\n".join(lines), " " * 8)


def _told(rule: Rule) -> Rule:
    """A rule without what holds for the one who asks alone."""
    kept = {key: value for key, value in rule.items() if key not in ONLY_ASKED}
    if "type" in kept:
        (kept["type"],) = _types(rule)
    if isinstance(values := kept.get("enum"), list):
        kept["enum"] = [value for value in values if value is not None]
    return kept


def _flat(rule: Rule) -> str:
    return f"{{ {json.dumps(rule, ensure_ascii=False)[1:-1]} }}"


def reasons() -> str:
    """The reasons for which all renders wait."""
    return _listed(name for name in REASONS if name not in OF_ONE_RENDER)


def codes() -> str:
    """The codes with which a render ends."""
    return _listed(name for name in CODES if name != NO_RENDERS)


def _listed(names: Iterable[str]) -> str:
    """Names as the lines of a JSON array."""
    lines = textwrap.wrap(", ".join(f'"{name}"' for name in names), 100)
    return textwrap.indent("\n".join(lines), " " * 12)


def _between(before: str, after: str) -> re.Pattern[str]:
    return re.compile(f"({re.escape(before)}).*?({re.escape(after)})", re.DOTALL)


PARTS: dict[Path, list[tuple[re.Pattern[str], Callable[[], str]]]] = {
    MODEL: [(re.compile(r'(class Parameters\(.*?"""\n\n).*?(\n\nIMAGES)', re.DOTALL), fields)],
    EVENT: [
        (_between('empty if the drop was rejected.",\n      "properties": {\n', "\n      }"), told),
        (_between('"reason": {\n          "enum": [\n', "\n          ]"), reasons),
        (_between('"examples": [\n', "\n          ]"), codes),
    ],
}
"""What is written in each file, and between what it stands."""


def filled(path: Path) -> str:
    """A file with its generated parts as they ought to be. Raises ValueError where there is no place for one."""
    text = path.read_text()
    for place, made in PARTS[path]:
        found = place.search(text)
        if not found:
            raise ValueError(f"{path} has no place for {made.__name__}")
        text = text[: found.end(1)] + made() + text[found.start(2) :]
    return text


def main() -> None:
    """Write every file anew."""
    for path in PARTS:
        path.write_text(filled(path))


if __name__ == "__main__":
    main()
