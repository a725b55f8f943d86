"""How a result names its picture: `output` is always there, but the vendor promises no shape for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

USUAL = ("string", "list", "object")
ELSEWHERE = "https://pictures.elsewhere.example"

_SHAPES: dict[str, Callable[[str, str], Any]] = {
    "string": lambda host, name: host + name,
    "list": lambda host, name: [host + name],
    "object": lambda host, name: {"url": host + name},
    "deep": lambda host, name: {"result": {"data": {"images": [{"url": host + name}]}}},
    "blank": lambda host, name: f"{host}{name} ",
    "relative": lambda _, name: name,
    "none": lambda *_: None,
    "several": lambda host, name: [ELSEWHERE + name, host + name],
    "elsewhere": lambda _, name: ELSEWHERE + name,
}
SHAPES = tuple(_SHAPES)
"""`several`: of two links only the second leads to the vendor's own host; `elsewhere`: none does."""


def picture_fields(shape: str, host: str, name: str, content_type: str) -> dict[str, Any]:
    """The `output` and the `images` of a result whose picture is the file `name` of a host."""
    output = _SHAPES[shape](host, name)
    links = [host + name] if shape in USUAL else output if isinstance(output, list) else [output]
    return {
        "output": output,
        "images": [{"url": url, "content_type": content_type} for url in links if isinstance(url, str)],
    }
