"""The drop convention: object key ⇄ part of a pair.

A key is a sequence of bytes to S3. It is compared and kept as it is, never normalised: two spellings of "é" are
two prefixes.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

Slot = Literal["1", "2", "request", "prompt"]
IMAGE_SLOTS: tuple[Slot, Slot] = ("1", "2")
SLOTS: tuple[Slot, ...] = (*IMAGE_SLOTS, "request", "prompt")

SPELLINGS: dict[Slot, tuple[str, ...]] = {
    "request": ("request.json", "Request.json", "REQUEST.JSON", "Request.JSON"),
    "prompt": ("prompt.txt", "Prompt.txt", "PROMPT.TXT", "Prompt.TXT"),
}
"""How people and tools spell the names of the parts that may hold a prompt."""

# The prefix ends with the last "/", "_" or "-" before the slot; it is empty at the root of the bucket.
_PART = re.compile(
    r"(?P<prefix>(?:.*[/_-])?)(?:(?P<image>[12])\.(?:png|jpe?g|jpe|jfif|webp)|(?P<request>request)\.json|(?P<prompt>prompt)\.txt)",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)

# What this pipeline writes. A tool that copies the output bucket into the input bucket must not start it again.
_ERROR_FILE = re.compile(r".*(?:^|[/_.-])error\.json", re.DOTALL)
_RESULT = re.compile(r"(?:.*[/_-])?(?:result|superseded/[0-9a-f]{24})\.(?:png|jpg)", re.DOTALL)

MAX_KEY_BYTES = 1024
"""S3's limit. A key of ours that would be longer is cut, and a hash takes the place of what is left out."""

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


def is_folder_placeholder(key: str, size: int | None) -> bool:
    """Consoles and sync tools mark folders by empty objects; they are nobody's drop. A size of None is not known."""
    return size == 0 and key.endswith(("/", "_$folder$", "/.keep"))


def is_error_file(key: str) -> bool:
    """Whether a key is one under which only this pipeline writes: its explanations are nobody's drop."""
    return _ERROR_FILE.fullmatch(key) is not None


def is_result(key: str) -> bool:
    """Whether a key is named like a result."""
    return _RESULT.fullmatch(key) is not None


def has_steps(key: str) -> bool:
    """Whether a key has "." or ".." steps, which clients take out of the links that lead to it."""
    return any(step in (".", "..") for step in key.split("/"))


def resolve_name(prefix: str, name: str) -> str:
    """The key that `input_image_1/2` names: relative to the request's folder, or from the root with a leading "/".

    Raises:
        ValueError: the name is empty or too long, climbs with "." or "..", or is that of one of our results.
    """
    key = name[1:] if name.startswith("/") else prefix[: prefix.rfind("/") + 1] + name
    if not key or key.endswith("/") or any(step in ("", ".", "..") for step in name.lstrip("/").split("/")):
        raise ValueError("must name an object of the input bucket, without '.' or '..' steps")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"must name an object of the input bucket: a key has {MAX_KEY_BYTES} bytes at most")
    if is_result(key):
        raise ValueError("is named like a result; copy the picture to another name to use it as an input")
    return key


def result_key(prefix: str, output_format: str) -> str:
    """Where the picture goes in the output bucket."""
    return _fitting(prefix, "/", f"result.{output_format}")


def superseded_key(prefix: str, render_id: str, output_format: str) -> str:
    """Where a paid picture goes that a newer drop has overtaken."""
    return _fitting(prefix, "/", f"superseded/{render_id}.{output_format}")


def error_key(prefix: str) -> str:
    """Where the reason goes when a pair cannot be rendered."""
    return _fitting(prefix, "/", "error.json")


def unknown_drop_key(key: str) -> str:
    """Where the reason goes when an object fits no rule."""
    return _fitting(key, "", ".error.json")


def _fitting(start: str, joint: str, end: str) -> str:
    if len((start + end).encode()) <= MAX_KEY_BYTES:
        return start + end
    end = f"~{hashlib.sha256(start.encode()).hexdigest()[:16]}{joint}{end}"
    return start.encode()[: MAX_KEY_BYTES - len(end)].decode(errors="ignore") + end
