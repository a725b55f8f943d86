"""What is dropped on the page: one line of JSON, followed by the bytes of the two photographs."""

from __future__ import annotations

import json
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kontext
from kontext import images, pairs
from kontext.errors import BadDrop
from kontext_cli.dropping import Desk, Drop, checked_name, prepare
from kontext_cli.webconsole.views import View, expected

MOST_BYTES = 128 * 2**20
"""Of both photographs together."""
HEAD_BYTES = 65_536

SCHEMA = Path(*kontext.__path__) / "schemas" / "request.v1.json"


@dataclass(frozen=True)
class Upload:
    """A pair as the page sends it: two (file name, bytes), a name or None, and the parameters."""

    photographs: tuple[tuple[str, bytes], tuple[str, bytes]]
    name: str | None
    parameters: dict[str, Any]


def choices() -> dict[str, list[str]]:
    """What may be chosen, by parameter, as the request's schema has it."""
    properties = json.loads(SCHEMA.read_text())["properties"]
    return {name: rule["enum"] for name, rule in properties.items() if "enum" in rule}


def read(body: bytes) -> Upload:
    """Take a body apart. Raises BadDrop where it is not what the page sends."""
    head, _, rest = body.partition(b"\n")
    try:
        told = json.loads(head)
        sizes, names, parameters = told["sizes"], told["files"], told["parameters"]
        first, second = (int(size) for size in sizes)
        one, two = (str(name) for name in names)
    except (ValueError, KeyError, TypeError) as problem:
        raise BadDrop("invalid_request", "This is not what the page sends.") from problem
    if not isinstance(parameters, dict) or min(first, second) < 0 or first + second != len(rest):
        raise BadDrop("invalid_request", "The upload was cut off: try it again.")
    return Upload(((one, rest[:first]), (two, rest[first:])), checked_name(told.get("name")), parameters)


def put(desk: Desk, upload: Upload) -> View:
    """Upload a pair; returns it as the page may show it at once. Raises BadDrop for what cannot be rendered."""
    with tempfile.TemporaryDirectory(prefix="kontext-console-") as folder:
        files = [_saved(Path(folder), slot, *photograph) for slot, photograph in enumerate(upload.photographs, 1)]
        drop = prepare(files[0], files[1], upload.name, upload.parameters)
        desk.put(drop)
        return _shown(drop)


def _saved(folder: Path, slot: int, name: str, body: bytes) -> Path:
    """One photograph as a file; its content decides on the extension, its name only helps to name the pair."""
    try:
        kind = images.identify(body[: images.HEAD_BYTES]).kind
    except ValueError as problem:
        raise BadDrop("invalid_image", f"Photograph {slot} cannot be used: {problem}.") from problem
    stem = re.sub(r"[^\w.-]+", "-", Path(name).stem).strip(".-")[:40]
    file = folder / str(slot) / f"{stem or 'photograph'}.{kind.replace('jpeg', 'jpg')}"
    file.parent.mkdir()
    file.write_bytes(body)
    return file


def _shown(drop: Drop) -> View:
    keys = [key for key, _, _ in drop.objects()]
    pictures = [key for key in keys if (part := pairs.parse(key)) and part.slot in ("1", "2")]
    return expected(drop.prefix, pictures, drop.parameters.get("prompt"), time.time())
