"""The emulator's pictures: both photographs, as asked, and marked."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile

from kontext_local.segmind import BadInput, Parameters
from kontext_local.segmind.padded_file import LEAST, padded
from kontext_local.segmind.parameters import ASPECT_RATIOS
from kontext_local.segmind.picture import MARK, compose, picture_size
from tests.contract.conftest import Encoded, pixel

ASKED = Parameters("Two colours meet.", "https://a/1.png", "https://a/2.png", seed=1)
RATIOS = [ratio for ratio in ASPECT_RATIOS if ratio != "match_input_image"]
RED, BLUE = (220, 30, 30), (30, 30, 220)
PIXELS = 40_000
Place = tuple[float, float]
"""Of a pixel: parts of the width and of the height."""
Colour = float | tuple[int, ...]


class Drawn:
    """Draws a small picture of red and blue."""

    def __init__(self, encoded: Encoded) -> None:
        self.encoded = encoded

    def as_bytes(self, first: bytes | None = None, second: bytes | None = None, **fields: Any) -> bytes:
        left = self.encoded(color=RED) if first is None else first
        right = self.encoded(color=BLUE) if second is None else second
        return compose(left, right, replace(ASKED, **fields), PIXELS)

    def __call__(self, *photographs: bytes, **fields: Any) -> ImageFile:
        return Image.open(io.BytesIO(self.as_bytes(*photographs, **fields)))


@pytest.fixture
def drawn(encoded: Encoded) -> Drawn:
    """`drawn(seed=2, ...)` gives the picture decoded, and `drawn.as_bytes(...)` as it is."""
    return Drawn(encoded)


@pytest.mark.parametrize("ratio", RATIOS)
def test_every_aspect_ratio_is_met_exactly_with_about_a_megapixel(ratio: str) -> None:
    across, down = map(int, ratio.split(":"))

    width, height = picture_size(ratio, (100, 100))

    assert width * down == height * across
    assert width * height == pytest.approx(1024 * 1024, rel=0.05)


def test_fourteen_aspect_ratios_are_known() -> None:
    assert len(set(ASPECT_RATIOS)) == 14


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (451, 300), (64, 64)])
def test_the_first_image_gives_the_ratio_where_none_is_asked(size: tuple[int, int]) -> None:
    width, height = picture_size("match_input_image", size)

    assert width / height == pytest.approx(size[0] / size[1], rel=0.005)


def test_a_ribbon_of_an_image_does_not_make_a_ribbon_of_a_picture() -> None:
    width, height = picture_size("match_input_image", (5000, 1))

    assert width / height == pytest.approx(21 / 9, rel=0.01)


def test_a_camera_held_upright_makes_an_upright_picture(drawn: Drawn, encoded: Encoded) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6

    picture = drawn(encoded(size=(90, 60), kind="JPEG", exif=exif))

    assert picture.width < picture.height


@pytest.mark.parametrize(("asked", "made"), [("png", "PNG"), ("jpg", "JPEG")])
def test_the_format_is_honoured(drawn: Drawn, asked: str, made: str) -> None:
    assert drawn(output_format=asked).format == made


@pytest.mark.parametrize(
    ("ratio", "first", "second"),
    [
        pytest.param("16:9", (0.1, 0.4), (0.9, 0.4), id="side by side"),
        pytest.param("9:16", (0.5, 0.1), (0.5, 0.7), id="one above the other"),
    ],
)
def test_both_photographs_are_in_the_picture(drawn: Drawn, ratio: str, first: Place, second: Place) -> None:
    picture = drawn(aspect_ratio=ratio).convert("RGB")

    red, blue = (pixel(picture, round(x * picture.width), round(y * picture.height)) for x, y in (first, second))

    assert red[0] > 2 * red[2]
    assert blue[2] > 2 * blue[0]


def test_the_same_seed_inputs_and_prompt_give_the_same_bytes(drawn: Drawn) -> None:
    assert drawn.as_bytes(seed=5) == drawn.as_bytes(seed=5)


def test_another_seed_gives_another_picture(drawn: Drawn) -> None:
    assert drawn(seed=5).convert("RGB").tobytes() != drawn(seed=6).convert("RGB").tobytes()


def test_the_prompt_is_written_on_the_picture(drawn: Drawn) -> None:
    assert drawn(prompt="A cat.").convert("RGB").tobytes() != drawn(prompt="A dog.").convert("RGB").tobytes()


def test_the_mark_is_in_the_file_too(drawn: Drawn) -> None:
    png = drawn()

    assert isinstance(png, PngImageFile)
    assert png.text["Software"] == MARK
    assert drawn(output_format="jpg").info["comment"] == MARK.encode()


@pytest.mark.parametrize(
    ("mode", "kind", "color"),
    [
        pytest.param("1", "PNG", 1, id="black and white"),
        pytest.param("L", "PNG", 7, id="grey"),
        pytest.param("LA", "PNG", (7, 8), id="grey with alpha"),
        pytest.param("P", "GIF", 3, id="palette"),
        pytest.param("RGBA", "PNG", (1, 2, 3, 0), id="transparent"),
        pytest.param("RGBA", "WEBP", (1, 2, 3, 4), id="WebP with alpha"),
        pytest.param("CMYK", "JPEG", (1, 2, 3, 4), id="CMYK"),
        pytest.param("I;16", "PNG", 40_000, id="16 bits"),
        pytest.param("I", "TIFF", 70_000, id="32 bits"),
        pytest.param("F", "TIFF", 0.5, id="floating point"),
        pytest.param("LAB", "TIFF", (1, 2, 3), id="Lab"),
        pytest.param("YCbCr", "JPEG", (1, 2, 3), id="YCbCr"),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (1, 400), (30, 20)], ids=str)
def test_no_mode_and_no_size_is_too_strange(
    drawn: Drawn, encoded: Encoded, mode: str, kind: str, color: Colour, size: tuple[int, int]
) -> None:
    odd = encoded(mode, size, kind, color=color)

    assert drawn(odd, odd).size == drawn(encoded(size=size)).size


def test_a_palette_with_transparency_stands_on_white(drawn: Drawn, encoded: Encoded) -> None:
    see_through = Image.new("P", (90, 60), 1)
    see_through.putpalette([255, 255, 255, 0, 0, 0])
    file = io.BytesIO()
    see_through.save(file, "PNG", transparency=1)

    picture = drawn(file.getvalue()).convert("RGB")

    assert min(pixel(picture, picture.width // 10, picture.height // 3)) > 120


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not an image", id="text"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="SVG"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", id="PostScript"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(40), id="a broken PNG"),
    ],
)
@pytest.mark.parametrize("name", ["input_image_1", "input_image_2"])
def test_what_is_no_image_is_refused_by_name(drawn: Drawn, encoded: Encoded, content: bytes, name: str) -> None:
    inputs = (content, encoded()) if name == "input_image_1" else (encoded(), content)

    with pytest.raises(BadInput, match=f"{name} is not an image"):
        drawn(*inputs)


def test_a_truncated_photograph_is_refused(drawn: Drawn, samples: Path) -> None:
    half = (samples / "astronaut.png").read_bytes()[:200_000]

    with pytest.raises(BadInput):
        drawn(half)


@pytest.mark.parametrize(
    "prompt",
    ["x" * 5000, "word " * 5000, "\n\t", "café ☕ 日本語 🐈", "\u202eright to left", "\0", "a\nb"],
    ids=["one long word", "many words", "blank", "other scripts", "bidirectional", "null", "lines"],
)
def test_any_prompt_can_be_written(drawn: Drawn, prompt: str) -> None:
    assert drawn(prompt=prompt).size == drawn().size


@pytest.mark.parametrize("output_format", ["png", "jpg"])
@pytest.mark.parametrize("more", [0, LEAST, LEAST + 1, 65_537, 65_540, 3_000_001])
def test_a_padded_picture_has_the_asked_size_and_is_the_same_picture(
    drawn: Drawn, output_format: str, more: int
) -> None:
    picture = drawn.as_bytes(output_format=output_format)

    grown = b"".join(padded(picture, len(picture) + more))

    assert len(grown) == len(picture) + more
    assert Image.open(io.BytesIO(grown)).tobytes() == Image.open(io.BytesIO(picture)).tobytes()
