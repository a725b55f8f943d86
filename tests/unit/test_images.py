"""Following a picture to its end, in whatever pieces it comes, held against Pillow."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kontext.images.image import BadPicture, CorruptImage, CutOff, Limits, TooLarge
from kontext.images.inspection import Picture, inspect
from tests.unit.containers import chunk
from tests.unit.photographs import CORPUS, File

Encoded = Callable[..., bytes]
KINDS = ["PNG", "JPEG", "WEBP"]


def noisy(kind: str, mode: str = "RGB", size: tuple[int, int] = (61, 43), **how: object) -> bytes:
    """A picture of noise, so that each byte matters."""
    length = len(Image.new(mode, size).tobytes())
    file = io.BytesIO()
    Image.frombytes(mode, size, Random(1).randbytes(length)).save(file, kind, **how)
    return file.getvalue()


def inspected(content: bytes, step: int = 1 << 20, megapixels: float = 1) -> Picture:
    pieces = (content[at : at + step] for at in range(0, len(content), step))
    return inspect(pieces, Limits(megapixels=megapixels))


def found_in(content: bytes, step: int = 1 << 20) -> Picture | str:
    """The picture, or the words with which it was refused."""
    try:
        return inspected(content, step, megapixels=100)
    except BadPicture as refused:
        return str(refused)


@pytest.mark.parametrize("file", [pytest.param(file, id=file.name) for file in CORPUS])
def test_a_file_is_the_same_in_whatever_pieces_it_comes(file: File) -> None:
    content = file.content[:20_000]

    assert len({found_in(content, step) for step in (1, 7, 4096, 1 << 20)}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_its_size_and_its_hash_are_those_of_the_whole_file(kind: str) -> None:
    content = noisy(kind) + bytes(100_000)

    picture = inspected(content, 4096)

    assert (picture.size, picture.sha256) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("kind", KINDS)
def test_no_part_of_a_picture_is_taken_for_a_whole_one(kind: str) -> None:
    content = noisy(kind, size=(16, 8))

    for length in range(12, len(content)):
        with pytest.raises(CutOff):
            inspected(content[:length])


def test_no_bent_bit_of_a_png_goes_unseen() -> None:
    content = noisy("PNG", size=(9, 5))

    for at in range(len(content)):
        with pytest.raises(BadPicture):
            inspected(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


@pytest.mark.parametrize(("depth", "colour"), [(8, 2), (1, 0), (16, 6), (4, 3), (2, 0)])
@pytest.mark.parametrize("size", [(1, 1), (3, 9), (8, 8), (13, 7)], ids=str)
def test_an_interlaced_png_needs_as_many_bytes_as_pillow_reads(depth: int, colour: int, size: tuple[int, int]) -> None:
    length = next(n for n in range(4_000) if isinstance(found_in(interlaced(size, depth, colour, bytes(n))), Picture))

    with Image.open(io.BytesIO(interlaced(size, depth, colour, bytes(length)))) as whole:
        whole.load()
    with (
        pytest.raises(OSError, match="truncated"),
        Image.open(io.BytesIO(interlaced(size, depth, colour, bytes(length - 1)))) as less,
    ):
        less.load()


def interlaced(size: tuple[int, int], depth: int, colour: int, pixels: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 1)
    palette = [(b"PLTE", bytes(48))] if colour == 3 else []
    chunks = [(b"IHDR", header), *palette, (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked() -> None:
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2000, 2000, 8, 2, 0, 0, 0))

    with pytest.raises(TooLarge, match=r"4\.0 million pixels; at most 1 million"):
        inspected(header)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = chunk(b"IDAT", zlib.compress(bytes(50_000_000)))
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 10, 8, 2, 0, 0, 0))

    with pytest.raises(CorruptImage, match="more data than pixels"):
        inspected(header + bomb)


def test_a_file_of_too_many_bytes_is_not_read_to_its_end() -> None:
    def endless() -> Iterator[bytes]:
        yield noisy("PNG")
        while True:
            yield bytes(100_000)

    with pytest.raises(TooLarge, match="more than 50 megabytes"):
        inspect(endless(), Limits())


def scan_start(content: bytes) -> int:
    at = content.index(b"\xff\xda")
    return at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda scan: b"", id="nothing is left"),
        pytest.param(lambda scan: scan[:30], id="a small part is left"),
        pytest.param(lambda scan: scan[:999] + b"\xff\xc0" + scan[1001:], id="another marker"),
        pytest.param(lambda scan: scan[:999] + b"\xff\xd0" + scan[1001:], id="a restart that nobody has announced"),
    ],
)
def test_what_breaks_a_jpegs_scan_is_seen_without_decoding_it(damage: Callable[[bytes], bytes]) -> None:
    content = noisy("JPEG", size=(200, 200))
    start = scan_start(content)

    with pytest.raises(CorruptImage):
        inspected(content[:start] + damage(content[start:-2]) + content[-2:])


def test_a_jpeg_whose_blocks_came_in_another_order_or_not_at_all_is_damaged() -> None:
    content = noisy("JPEG", size=(64, 64), restart_marker_rows=1)
    start, first_end = scan_start(content), content.index(b"\xff\xd0") + 2

    with pytest.raises(CorruptImage, match="missing"):
        inspected(content[:start] + content[first_end:])


@given(
    st.sampled_from(KINDS),
    st.binary(max_size=300),
    st.integers(0, 60),
    st.integers(1, 50),
)
def test_any_bytes_are_a_picture_or_a_plain_refusal(kind: str, content: bytes, kept: int, step: int) -> None:
    found = found_in(noisy(kind, size=(2, 2))[:kept] + content, step)

    assert isinstance(found, Picture) or found.startswith("it ")
