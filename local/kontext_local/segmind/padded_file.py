"""Pictures of any size in bytes, made on the way out: for tests of what happens to very large results."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_HEADER_END = 33
"""The signature and the IHDR chunk, which has to come first."""
PNG_CHUNK, PNG_FRAME = 1 << 20, 12
JPEG_SEGMENT, JPEG_FRAME = 65_537, 4
LEAST = PNG_FRAME
"""The fewest bytes by which a picture can grow."""


def padded(picture: bytes, size: int) -> Iterator[bytes]:
    """The picture in pieces, `size` bytes in all and still valid: padded with chunks that decoders skip.

    `size` is that of the picture, or larger by `LEAST` at least.
    """
    if picture.startswith(PNG_SIGNATURE):
        head, largest, frame, make = PNG_HEADER_END, PNG_CHUNK, PNG_FRAME, _png_chunk
    else:
        head, largest, frame, make = 2, JPEG_SEGMENT, JPEG_FRAME, _jpeg_segment
    yield picture[:head]
    for length in _lengths(size - len(picture), largest, frame):
        yield make(length - frame)
    yield picture[head:]


def _lengths(total: int, largest: int, frame: int) -> Iterator[int]:
    while total >= frame:
        # Never leave a rest that is too short to be framed.
        length = total if total <= largest else min(largest, total - frame)
        yield length
        total -= length


def _png_chunk(length: int) -> bytes:
    chunk = b"kpAd" + bytes(length)
    return struct.pack(">I", length) + chunk + struct.pack(">I", zlib.crc32(chunk))


def _jpeg_segment(length: int) -> bytes:
    return b"\xff\xfe" + struct.pack(">H", length + 2) + bytes(length)
