"""Photographs on this machine, read as the stack reads them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from kontext.images.image import BadPicture, Limits
from kontext.images.inspection import Picture, inspect
from kontext.images.source import PIECE_BYTES

EXTENSIONS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp")


def inspect_file(file: Path, limits: Limits) -> Picture:
    """What an image file is. Raises ValueError for one that the stack would reject, or that cannot be read."""
    try:
        limits.check_bytes(file.stat().st_size)
        with file.open("rb") as opened:
            return inspect(iter(partial(opened.read, PIECE_BYTES), b""), limits)
    except OSError as problem:
        raise ValueError(f"{file.name}: {problem.strerror}") from problem
    except BadPicture as problem:
        raise ValueError(f"{file.name}: {problem}") from problem


def limits_of(settings: dict[str, str]) -> Limits:
    """The limits that a stack with these parameters has."""
    return Limits(float(settings["MaxInputMegabytes"]), float(settings["MaxInputMegapixels"]))
