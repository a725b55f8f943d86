"""The contact sheet: the photographs of each pair beside the picture that became of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageDraw, ImageOps

from kontext_local.fonts import Typeface, drawable, typeface, wrapped

WIDTH, MARGIN, GAP = 1600, 64, 28
SMALL, LARGE, TILE_HEIGHT = 340, 640, 440
HEADER, ROW = 132, 620
PAPER, INK, QUIET, LINE, ACCENT = "#f6f4ef", "#1d1d1f", "#6f6d68", "#d9d5cb", "#b4532a"
CORNER = 14


@dataclass(frozen=True)
class Row:
    """One pair: its two photographs, the result, and what to say about it."""

    first: Path
    second: Path
    result: Path
    prompt: str
    facts: str


def draw(rows: list[Row], file: BinaryIO, title: str, note: str) -> None:
    """Write the sheet as a PNG."""
    face = typeface()
    sheet = Image.new("RGB", (WIDTH, HEADER + ROW * len(rows) + MARGIN // 2), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 52), drawable(title, face), INK, face(40))
    pen.text((WIDTH - MARGIN, 70), drawable(note, face), QUIET, face(20), anchor="ra")
    for number, row in enumerate(rows):
        _draw_row(sheet, pen, face, row, HEADER + ROW * number)
    sheet.save(file, "PNG", optimize=True)


def _draw_row(sheet: Image.Image, pen: ImageDraw.ImageDraw, face: Typeface, row: Row, top: int) -> None:
    pen.line((MARGIN, top, WIDTH - MARGIN, top), LINE, 2)
    font = face(24)
    for line, text in enumerate(wrapped(drawable(f"“{row.prompt}”", face), font, WIDTH - 2 * MARGIN, most=2)):
        pen.text((MARGIN, top + 22 + 32 * line), text, INK, font)
    tiles, left = top + 96, MARGIN
    for image in (row.first, row.second):
        _place(sheet, pen, face, image, (left, tiles), SMALL, image.name)
        left += SMALL + GAP
    _arrow(pen, left + 20, tiles + TILE_HEIGHT // 2)
    _place(sheet, pen, face, row.result, (WIDTH - MARGIN - LARGE, tiles), LARGE, row.facts)


def _place(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    face: Typeface,
    path: Path,
    corner: tuple[int, int],
    width: int,
    caption: str,
) -> None:
    """Fit a picture into the middle of its tile, with rounded corners, and its caption below the tile."""
    with Image.open(path) as opened:
        picture = ImageOps.contain(ImageOps.exif_transpose(opened).convert("RGB"), (width, TILE_HEIGHT))
    mask = Image.new("L", picture.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, picture.width - 1, picture.height - 1), CORNER, 255)
    left, top = corner
    at = (left + (width - picture.width) // 2, top + (TILE_HEIGHT - picture.height) // 2)
    sheet.paste(picture, at, mask)
    below = at[1] + picture.height + 14
    font = face(19)
    for line in wrapped(drawable(caption, face), font, width, most=1):
        pen.text((left + width // 2, below), line, QUIET, font, anchor="ma")


def _arrow(pen: ImageDraw.ImageDraw, left: int, middle: int) -> None:
    right = WIDTH - MARGIN - LARGE - 20
    pen.line((left, middle, right - 10, middle), ACCENT, 4)
    pen.polygon(((right, middle), (right - 18, middle - 11), (right - 18, middle + 11)), ACCENT)
