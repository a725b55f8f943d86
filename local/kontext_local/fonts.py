"""Text on pictures: one typeface for all of them, and lines that fit."""

from __future__ import annotations

import contextlib
import math
import unicodedata
from collections.abc import Callable
from functools import partial

from PIL import ImageFont

FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial Unicode.ttf",
    "Arial.ttf",
)
BESIDE_ASCII = "“”·…"
"""What Pillow's own font has beside ASCII."""
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Typeface = Callable[[float], Font]


def own_font(size: float) -> Font:
    """The font that comes with Pillow."""
    return ImageFont.load_default(size)


def typeface() -> Typeface:
    """From a size to a font: the first of `FONTS` that this machine has, which have most letters, else Pillow's own.

    It is the same for every text, so that pictures and sheets that show them match.
    """
    for name in FONTS:
        with contextlib.suppress(OSError):
            ImageFont.truetype(name, 10)
            return partial(_truetype, name)
    return own_font


def drawable(text: str, face: Typeface) -> str:
    """The text as a typeface can show it."""
    if face is not own_font or all(map(_is_own, text)):
        return text
    return "".join(filter(_is_own, unicodedata.normalize("NFKD", text.replace("×", "x"))))


def _truetype(name: str, size: float) -> Font:
    return ImageFont.truetype(name, size * 0.92)


def _is_own(letter: str) -> bool:
    return letter.isascii() or letter in BESIDE_ASCII


def wrapped(text: str, font: Font, width: float, most: int) -> list[str]:
    """The text in lines no wider than `width` pixels; what does not fit ends in an ellipsis."""
    lines: list[str] = []
    # No line holds so many letters: measuring more of a huge prompt would only take time.
    words = text[:1000].split()
    while words and len(lines) < most:
        fit = _fitting(words, font, width)
        lines.append(" ".join(words[:fit]))
        words = words[fit:]
    if lines and (words or font.getlength(lines[-1]) > width):
        lines[-1] = _shortened(lines[-1], font, width)
    return lines


def _fitting(words: list[str], font: Font, width: float) -> int:
    """How many words a line holds; one at least."""
    count = 1
    while count < len(words) and font.getlength(" ".join(words[: count + 1])) <= width:
        count += 1
    return count


def _shortened(line: str, font: Font, width: float) -> str:
    """The line cut to fit with an ellipsis, by proportion first and then letter by letter."""
    line = line[: math.ceil(len(line) * min(width / font.getlength(line), 1.0))]
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…"
