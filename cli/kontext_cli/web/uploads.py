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
from kontext.errors import BadDrop
from kontext.images.image import UNLIMITED, BadPicture
from kontext.images.inspection import inspect
from kontext_cli.drop.client import Drop, DropClient, Errand, checked_name, prepare
from kontext_cli.drop.input_bucket import BESIDE_OTHERS, Refused
from kontext_cli.errors import CommandError, explain
from kontext_cli.web.cards import Card, expected

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
    mark: str | None = None
    """Ends the name that a pair without one gets: sent again, it is the same pair."""


class NotDropped(CommandError):
    """A pair that was not uploaded, or not all of it; `answer` is what the page is told."""

    def __init__(self, message: str, status: int, **answer: str) -> None:
        super().__init__(message)
        self.status = status
        self.answer = {"message": message, **answer}


def choices() -> dict[str, list[str]]:
    """What may be chosen, by parameter, as the request's schema has it."""
    properties = json.loads(SCHEMA.read_text())["properties"]
    return {name: [*filter(None, rule["enum"])] for name, rule in properties.items() if "enum" in rule}


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
    mark = re.fullmatch(r"[0-9a-f]{6,32}", str(told.get("mark")))
    photographs = ((one, rest[:first]), (two, rest[first:]))
    return Upload(photographs, checked_name(told.get("name")), parameters, mark and mark[0])


def put(client: DropClient, upload: Upload) -> tuple[Card, str]:
    """Upload a pair; returns it as the page may show it at once, and what to say of it.

    Raises BadDrop for what cannot be rendered, NotDropped for what is not uploaded, or not all of it.
    """
    with tempfile.TemporaryDirectory(prefix="kontext-console-") as folder:
        files = [_saved(Path(folder), slot, *photograph) for slot, photograph in enumerate(upload.photographs, 1)]
        drop = prepare(files[0], files[1], upload.name, upload.parameters, mark=upload.mark)
        try:
            errand = client.errand(drop)
        except Refused as refused:
            raise NotDropped(_refusal(refused, drop, client.price), 409, field="name") from refused
        _upload(errand)
    return _shown(drop), "" if errand.uploads else f"{drop.prefix} has just this already: nothing more is paid."


def _upload(errand: Errand) -> None:
    try:
        errand.upload()
    except Exception as broken:
        if (why := explain(broken)) is None:
            raise
        there = f"{len(errand.uploaded)} of {len(errand.uploads)} parts of {errand.drop.prefix} are uploaded"
        if isinstance(broken, Refused):
            raise NotDropped(f"{why}. {there}, {BESIDE_OTHERS}.", 409, field="name") from broken
        goes_on = "Once all are, the picture is paid. Render goes on from here and pays for nothing twice."
        raise NotDropped(f"{why.rstrip('.')}. {there}. {goes_on}", 502, name=errand.drop.name) from broken


PARTS = {
    "request": "what is asked for",
    "1": "the first photograph",
    "2": "the second photograph",
}


def _refusal(refused: Refused, drop: Drop, price: float) -> str:
    """Why a pair is not uploaded, in the words of the page."""
    if not refused.parts:
        return f"Nothing was uploaded: {refused}."
    parts = " and ".join(PARTS[str(part.slot)] for part in refused.parts)
    return (
        f"Nothing was uploaded. {drop.prefix} is there already, with other parts: {parts}. Each of them would be "
        f"rendered and paid, {len(refused.parts)} pictures for USD {len(refused.parts) * price:.2f}. Give the pair "
        f"another name (USD {price:g}), or change one of them at a time (USD {price:g} each)."
    )


def _saved(folder: Path, slot: int, name: str, body: bytes) -> Path:
    """One photograph as a file; its content decides on the extension, its name only helps to name the pair."""
    try:
        kind = inspect([body], UNLIMITED).image.kind
    except BadPicture as problem:
        raise BadDrop("invalid_image", f"Photograph {slot} cannot be used: {problem}.") from problem
    stem = re.sub(r"[^\w.-]+", "-", Path(name).stem).strip(".-")[:40]
    file = folder / str(slot) / f"{stem or 'photograph'}.{kind.replace('jpeg', 'jpg')}"
    file.parent.mkdir()
    file.write_bytes(body)
    return file


def _shown(drop: Drop) -> Card:
    pictures = [upload.key for upload in drop.pair.uploads if upload.slot in ("1", "2")]
    return expected(drop.prefix, pictures, drop.parameters.get("prompt"), time.time())
