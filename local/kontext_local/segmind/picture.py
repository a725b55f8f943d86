"""One picture out of two photographs, marked as the emulator's: they meet in a soft, slanting seam."""

from __future__ import annotations

import colorsys
import io
import math
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageOps, PngImagePlugin

from kontext_local.fonts import Typeface, drawable, typeface, wrapped
from kontext_local.segmind.jobs import BadInput
from kontext_local.segmind.parameters import Parameters

MARK = "kontext-drop emulator · not a real render"
PIXELS = 1024 * 1024
"""About what the real model gives."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
LONGEST_RATIO = 21 / 9
SMALLEST_SIDE = 16
LARGEST_SIDE = 2048
WHITE, DARK = (255, 255, 255), (12, 14, 20)

# With a list of formats, Pillow opens only those whose plugins are loaded.
Image.init()


def compose(first: bytes, second: bytes, parameters: Parameters, pixels: int = PIXELS) -> bytes:
    """The encoded picture; the same arguments give the same bytes.

    `pixels` is its area, met about; the asked aspect ratio is met exactly. Raises BadInput naming the input
    that is no image.
    """
    photographs = [_opened(first, "input_image_1"), _opened(second, "input_image_2")]
    size = picture_size(parameters.aspect_ratio, photographs[0].size, pixels)
    look = _Look.of(parameters.seed)
    canvas = _graded(_joined(photographs, size, look), look)
    return _encoded(_lettered(canvas, parameters.prompt, look.tint), parameters)


def picture_size(aspect_ratio: str, first_size: tuple[int, int], pixels: int = PIXELS) -> tuple[int, int]:
    """Width and height in pixels; `match_input_image` follows the first image, within 21:9 and 9:21."""
    if aspect_ratio == "match_input_image":
        ratio = min(max(first_size[0] / first_size[1], 1 / LONGEST_RATIO), LONGEST_RATIO)
        width = max(round(math.sqrt(pixels * ratio)), SMALLEST_SIDE)
        return width, max(round(width / ratio), SMALLEST_SIDE)
    across, down = (int(part) for part in aspect_ratio.split(":"))
    unit = max(round(math.sqrt(pixels / (across * down))), math.ceil(SMALLEST_SIDE / min(across, down)))
    return across * unit, down * unit


@dataclass(frozen=True)
class _Look:
    """What the seed decides: the seam (degrees off upright, and its place) and the colour of the light."""

    slant: float
    place: float
    hue: float

    @classmethod
    def of(cls, seed: int | None) -> _Look:
        rng = Random(seed)  # noqa: S311  a picture, not a secret
        return cls(rng.choice((-1, 1)) * rng.uniform(7, 16), rng.uniform(0.47, 0.53), rng.random())

    @property
    def tint(self) -> tuple[int, int, int]:
        red, green, blue = colorsys.hsv_to_rgb(self.hue, 0.75, 1.0)
        return round(red * 255), round(green * 255), round(blue * 255)

    @property
    def opposite(self) -> tuple[int, int, int]:
        red, green, blue = self.tint
        return 255 - red, 255 - green, 255 - blue


def _opened(content: bytes, name: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        # Lets a JPEG decode at a fraction of its size: the result has a megapixel only.
        image.draft(None, (LARGEST_SIDE, LARGEST_SIDE))
        return _photograph(image)
    except Exception as error:
        raise BadInput(f"{name} is not an image that can be read") from error


def _photograph(image: Image.Image) -> Image.Image:
    """Upright, in RGB, on white where it is transparent, and not much larger than it is needed."""
    image = _upright(image)
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*WHITE, 255)), image)
    image = image.convert("RGB")
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return image


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001  broken EXIF data turns nothing
        return image


def _eight_bits(image: Image.Image) -> Image.Image:
    """Deep greyscale brought into 0..255."""
    deep = image.convert("F")
    low, high = deep.getextrema()
    scale = 255 / (high - low) if high > low else 0  # type: ignore[operator]
    return deep.point(lambda value: value * scale - low * scale).convert("L")  # type: ignore[operator]


def _joined(photographs: list[Image.Image], size: tuple[int, int], look: _Look) -> Image.Image:
    """The two side by side (one above the other in a portrait), each filling its part of the canvas."""
    width, height = size
    upright = width < height * 0.8
    long, short = (height, width) if upright else (width, height)
    seam = round(long * look.place)
    softness = max(long // 14, 2)
    reach = round(short / 2 * math.tan(math.radians(abs(look.slant)))) + softness
    spans = ((0, min(seam + reach, long), reach / 2), (max(seam - reach, 0), long, -reach / 2))
    layers = [_layer(one, size, *span, upright=upright) for one, span in zip(photographs, spans, strict=True)]
    mask = _seam(size, seam, look.slant, softness, upright=upright)
    return Image.composite(layers[1], layers[0], mask)


def _layer(
    photograph: Image.Image, size: tuple[int, int], start: int, end: int, shift: float, *, upright: bool
) -> Image.Image:
    """A canvas that the photograph fills from `start` to `end`, its middle where the seam leaves it visible."""
    part = (size[0], end - start) if upright else (end - start, size[1])
    scale = max(part[0] / photograph.width, part[1] / photograph.height)
    axis = 1 if upright else 0
    spare = photograph.size[axis] * scale - part[axis]
    # A head is rather above the middle of a photograph than below it.
    centre = [0.5, 0.3]
    centre[axis] = min(max(centre[axis] + shift / spare, 0.0), 1.0) if spare >= 1 else 0.5
    fitted = ImageOps.fit(photograph, part, Image.Resampling.LANCZOS, centering=(centre[0], centre[1]))
    layer = Image.new("RGB", size)
    layer.paste(fitted, (0, start) if upright else (start, 0))
    return layer


def _seam(size: tuple[int, int], seam: int, slant: float, softness: int, *, upright: bool) -> Image.Image:
    """A mask from black (the first photograph) to white (the second), smooth across a slanting line."""
    width, height = size
    run, rise = math.cos(math.radians(slant)), math.sin(math.radians(slant))
    across, down = (rise, run) if upright else (run, rise)
    x, y = (width / 2, seam) if upright else (seam, height / 2)
    scale = 128 / softness
    ramp = _ramp(256, 2 * round(scale * (width + height)))
    middle = ramp.height / 2
    row = (across * scale, down * scale, middle - (x * across + y * down) * scale)
    return ramp.transform(size, Image.Transform.AFFINE, (0, 0, 1, *row), Image.Resampling.NEAREST)


def _ramp(length: int, flat: int) -> Image.Image:
    """A column that stays black, climbs smoothly over `length` pixels, and stays white."""
    smooth = (step / (length - 1) for step in range(length))
    climb = bytes(round(255 * t * t * (3 - 2 * t)) for t in smooth)
    column = bytes(flat) + climb + b"\xff" * flat
    return Image.frombytes("L", (1, len(column)), column).resize((3, len(column)), Image.Resampling.NEAREST)


def _graded(image: Image.Image, look: _Look) -> Image.Image:
    """One light over both: the seed's tint from one side, its opposite from the other, darker corners."""
    wash = Image.linear_gradient("L").rotate(90 if image.width >= image.height else 0).resize(image.size)
    light = ImageOps.colorize(wash, black=look.opposite, white=look.tint)
    lit = Image.blend(image, ImageChops.soft_light(image, light), 0.55)
    corners = Image.radial_gradient("L").resize(image.size).point(lambda value: 255 - max(0, value - 110) // 2)
    return ImageChops.multiply(lit, Image.merge("RGB", (corners,) * 3))


def _lettered(image: Image.Image, prompt: str, tint: tuple[int, int, int]) -> Image.Image:
    """The prompt at the foot and the mark below it, both readable on any photograph."""
    em = max(min(image.size) // 30, 6)
    face = typeface()
    font = face(em * 1.25)
    lines = wrapped(drawable(prompt, face), font, image.width - 4 * em, most=2)
    image = _shaded(image, round(em * (5.5 + 2 * len(lines))))
    pen = ImageDraw.Draw(image)
    foot = image.height - em * 4.2
    pen.multiline_text((em * 1.6, foot), "\n".join(lines), WHITE, font, anchor="ld", spacing=em * 0.4)
    _badge(pen, image.size, em, tint, face)
    return image


def _shaded(image: Image.Image, height: int) -> Image.Image:
    """The picture, darker towards its foot."""
    height = min(height, image.height)
    shade = Image.linear_gradient("L").resize((image.width, height)).point(lambda value: min(value * 1.3, 215))
    mask = Image.new("L", image.size)
    mask.paste(shade, (0, image.height - height))
    return Image.composite(Image.new("RGB", image.size, DARK), image, mask)


def _badge(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], em: int, tint: tuple[int, int, int], face: Typeface
) -> None:
    """The mark in a pill with the seed's colour, small enough for the picture's width."""
    letter = em * 0.95
    while letter > 4 and face(letter).getlength(MARK) > size[0] - 6 * em:
        letter -= 0.5
    left, middle = em * 1.6, size[1] - em * 2.4
    right = left + face(letter).getlength(MARK) + em * 2.6
    pen.rounded_rectangle((left, middle - em, right, middle + em), radius=em, fill=WHITE)
    dot = em * 0.32
    pen.ellipse((left + em - dot, middle - dot, left + em + dot, middle + dot), fill=tint)
    pen.text((left + em * 1.8, middle), MARK, DARK, face(letter), anchor="lm")


def _encoded(image: Image.Image, parameters: Parameters) -> bytes:
    file = io.BytesIO()
    if parameters.output_format == "jpg":
        image.save(file, "JPEG", quality=92, comment=MARK)
    else:
        note = PngImagePlugin.PngInfo()
        note.add_itxt("Software", MARK)
        # Level 1 is several times as fast as the default, for a tenth more bytes.
        image.save(file, "PNG", compress_level=1, pnginfo=note)
    return file.getvalue()
