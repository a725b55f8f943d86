"""Following a picture to its end, held against Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kontext.images.verify import CorruptImage, Reader, TooLarge

Encoded = Callable[..., bytes]
KINDS = {"PNG": "png", "JPEG": "jpeg"}
PICTURES = [
    pytest.param("PNG", "RGB", {}, id="png"),
    pytest.param("PNG", "RGBA", {}, id="png with transparency"),
    pytest.param("PNG", "L", {}, id="grey png"),
    pytest.param("PNG", "1", {}, id="png of one bit"),
    pytest.param("PNG", "P", {}, id="png with a palette"),
    pytest.param("PNG", "I;16", {}, id="png of 16 bits"),
    pytest.param("JPEG", "RGB", {}, id="jpeg"),
    pytest.param("JPEG", "L", {}, id="grey jpeg"),
    pytest.param("JPEG", "CMYK", {}, id="jpeg for printers"),
    pytest.param("JPEG", "RGB", {"progressive": True}, id="progressive jpeg"),
    pytest.param("JPEG", "RGB", {"restart_marker_blocks": 1}, id="jpeg with restarts"),
]


def noisy(kind: str, mode: str = "RGB", size: tuple[int, int] = (61, 43), **how: object) -> bytes:
    """A picture of noise, so that each byte matters."""
    length = len(Image.new(mode, size).tobytes())
    file = io.BytesIO()
    Image.frombytes(mode, size, Random(1).randbytes(length)).save(file, kind, **how)
    return file.getvalue()


def followed(kind: str, content: bytes, step: int = 1 << 20) -> Reader:
    reader = Reader(kind, megapixels=1)
    for at in range(0, len(content), step):
        reader.feed(content[at : at + step])
    return reader


@pytest.mark.parametrize(("kind", "mode", "how"), PICTURES)
@pytest.mark.parametrize("step", [1, 7, 4096, 1 << 20])
def test_a_whole_picture_is_known_as_one_in_whatever_pieces_it_comes(
    kind: str, mode: str, how: dict[str, object], step: int
) -> None:
    reader = followed(KINDS[kind], noisy(kind, mode, **how), step)

    assert reader.is_whole()
    assert reader.image is not None
    assert (reader.image.width, reader.image.height) == (61, 43)


@pytest.mark.parametrize("kind", KINDS)
def test_no_part_of_a_picture_is_taken_for_a_whole_one(kind: str) -> None:
    picture = noisy(kind, size=(16, 8))

    for length in range(len(picture)):
        assert not followed(KINDS[kind], picture[:length]).is_whole()


def test_no_bent_bit_of_a_png_goes_unseen() -> None:
    picture = noisy("PNG", size=(9, 5))

    for at in range(len(picture)):
        bent = picture[:at] + bytes([picture[at] ^ 1]) + picture[at + 1 :]
        assert not is_whole("png", bent)


@pytest.mark.parametrize(("depth", "colour", "channels"), [(8, 2, 3), (1, 0, 1), (16, 6, 4), (4, 3, 1), (2, 0, 1)])
@pytest.mark.parametrize("size", [(1, 1), (3, 9), (8, 8), (13, 7)], ids=str)
def test_an_interlaced_png_needs_as_many_bytes_as_pillow_reads(
    depth: int, colour: int, channels: int, size: tuple[int, int]
) -> None:
    for length in range(4_000):
        picture = interlaced(size, depth, colour, bytes(length))
        if is_whole("png", picture):
            break

    with Image.open(io.BytesIO(picture)) as whole:
        whole.load()
    with (
        pytest.raises(OSError, match="truncated"),
        Image.open(io.BytesIO(interlaced(size, depth, colour, bytes(length - 1)))) as less,
    ):
        less.load()


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_behind_a_picture_is_not_looked_at(kind: str) -> None:
    assert is_whole(KINDS[kind], noisy(kind) + b"\xff\xd8<html>")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked() -> None:
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2000, 2000, 8, 2, 0, 0, 0))

    with pytest.raises(TooLarge, match="1 million"):
        followed("png", head)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = chunk(b"IDAT", zlib.compress(bytes(50_000_000)))
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 10, 8, 2, 0, 0, 0))

    with pytest.raises(CorruptImage, match="more data than pixels"):
        followed("png", head + bomb)


@given(st.sampled_from(["png", "jpeg"]), st.binary(max_size=300), st.integers(0, 60), st.integers(1, 50))
def test_any_bytes_are_followed_or_refused(kind: str, content: bytes, kept: int, step: int) -> None:
    start = {"png": noisy("PNG", size=(2, 2)), "jpeg": noisy("JPEG", size=(2, 2))}[kind][:kept]

    assert is_whole(kind, start + content, step) in (True, False)


def is_whole(kind: str, content: bytes, step: int = 1 << 20) -> bool:
    try:
        return followed(kind, content, step).is_whole()
    except CorruptImage:
        return False


def interlaced(size: tuple[int, int], depth: int, colour: int, pixels: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 1)
    palette = [(b"PLTE", bytes(48))] if colour == 3 else []
    chunks = [(b"IHDR", header), *palette, (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
