"""What an image is, told from its first bytes: its extension and its content type are only claims."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

HEAD_BYTES = 65_536
"""How much of an object is read to know it: a JPEG may carry a colour profile and a thumbnail before its size."""

_JPEG_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class Image:
    """An image's kind (`png`, `jpeg` or `webp`) and its size in pixels."""

    kind: str
    width: int
    height: int


def identify(head: bytes) -> Image:
    """Tell the kind and the size of an image from its first bytes (`HEAD_BYTES` are enough).

    Raises:
        ValueError: not a PNG, JPEG or WebP image, or cut off before its size; the message says which.
    """
    if not head:
        raise ValueError("it is empty (0 bytes)")
    reader = _reader_of(head)
    if reader is None:
        raise ValueError("it is not a PNG, JPEG or WebP image")
    try:
        image = reader(head)
    except (struct.error, IndexError) as cut_off:
        raise ValueError("it is cut off or damaged") from cut_off
    if image.width == 0 or image.height == 0:
        raise ValueError("it is damaged: its size is zero")
    return image


def _reader_of(head: bytes) -> Callable[[bytes], Image] | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png
    if head.startswith(b"\xff\xd8\xff"):
        return _jpeg
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp
    return None


def _png(head: bytes) -> Image:
    if head[12:16] != b"IHDR":
        raise ValueError("it is cut off or damaged")
    return Image("png", *struct.unpack_from(">II", head, 16))


def _jpeg(head: bytes) -> Image:
    at = 2
    while True:
        (marker, length) = struct.unpack_from(">HH", head, at)
        if marker < 0xFF00:
            raise ValueError("it is cut off or damaged")
        if marker == 0xFFFF:  # fill bytes may stand before a marker
            at += 1
        elif marker & 0xFF in _JPEG_SIZE_MARKERS:
            (height, width) = struct.unpack_from(">HH", head, at + 5)
            return Image("jpeg", width, height)
        else:
            at += 2 + length


def _webp(head: bytes) -> Image:
    chunk = head[12:16]
    if chunk == b"VP8X":
        width, height = (1 + int.from_bytes(head[i : i + 3], "little") for i in (24, 27))
        struct.unpack_from("6s", head, 24)
        return Image("webp", width, height)
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return Image("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if chunk == b"VP8 ":
        (width, height) = struct.unpack_from("<HH", head, 26)
        return Image("webp", width & 0x3FFF, height & 0x3FFF)
    raise ValueError("it is cut off or damaged")
