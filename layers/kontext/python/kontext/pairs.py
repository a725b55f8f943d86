"""The drop convention: object key ⇄ part of a pair."""

import re
from dataclasses import dataclass
from typing import Literal

Slot = Literal["1", "2", "request", "prompt"]

# The prefix ends with the last "/", "_" or "-" before the slot; it is empty at the root of the bucket.
_PART = re.compile(
    r"(?P<prefix>(?:.*[/_-])?)(?:(?P<image>[12])\.(?:png|jpe?g|webp)|(?P<request>request)\.json|(?P<prompt>prompt)\.txt)",
    re.IGNORECASE | re.DOTALL,
)

RULE = (
    "Images are named <prefix>1.<png|jpg|jpeg|webp> and <prefix>2.<…>, the optional files <prefix>request.json and "
    "<prefix>prompt.txt; the prefix ends with '/', '_' or '-'. A request.json may name images under any other name."
)


@dataclass(frozen=True)
class Part:
    """One object of a pair: under which prefix, and which slot it fills."""

    prefix: str
    slot: Slot


def parse(key: str) -> Part | None:
    """The part that an object key names, or None if it fits no rule.

    >>> parse("summer/taj_2.JPG")
    Part(prefix='summer/taj_', slot='2')
    """
    match = _PART.fullmatch(key)
    if match is None:
        return None
    slot: Slot = match["image"] or ("request" if match["request"] else "prompt")  # type: ignore[assignment]
    return Part(match["prefix"], slot)


def is_folder_placeholder(key: str, size: int) -> bool:
    """Consoles and sync tools mark folders by empty objects; they are nobody's drop."""
    return size == 0 and key.endswith(("/", "_$folder$", "/.keep"))


def resolve_name(prefix: str, name: str) -> str:
    """The key that `input_image_1/2` names: relative to the request's folder, or from the root with a leading "/".

    Raises:
        ValueError: the name is empty, or climbs with "." or "..".
    """
    key = name[1:] if name.startswith("/") else prefix[: prefix.rfind("/") + 1] + name
    if not key or key.endswith("/") or any(step in ("", ".", "..") for step in name.lstrip("/").split("/")):
        raise ValueError("must name an object of the input bucket, without '.' or '..' steps")
    return key


def result_key(prefix: str, output_format: str) -> str:
    """Where the picture goes in the output bucket."""
    return f"{prefix}result.{output_format}"


def superseded_key(prefix: str, render_id: str, output_format: str) -> str:
    """Where a paid picture goes that a newer drop has overtaken."""
    return f"{prefix}superseded/{render_id}.{output_format}"


def error_key(prefix: str) -> str:
    """Where the reason goes when a pair cannot be rendered."""
    return f"{prefix}error.json"


def unknown_drop_key(key: str) -> str:
    """Where the reason goes when an object fits no rule."""
    return f"{key}.error.json"
