"""Whether a picture is whole and of the kind that was asked for, told while its bytes go by.

A PNG is checked to the last pixel: every chunk's checksum, and that its data unpack to just as many bytes as its
size needs. A JPEG is followed from marker to marker to its end; what is coded in between is not decoded.
"""

import re
import struct
import zlib
from collections.abc import Generator

from kontext.images.identify import Image

_PIECE = 65_536
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset(range(0xD0, 0xD8)) | {0x01}
_SCAN, _END = 0xDA, 0xD9

Wanted = int | re.Pattern[bytes]
"""What a reader needs next: so many bytes, or to skip what comes before a pattern of two bytes."""
Steps = Generator[Wanted, bytes, None]


class CorruptImage(ValueError):
    """The bytes are not those of a picture of the kind."""


class TooLarge(CorruptImage):
    """It has more pixels than anybody wants to unpack."""


class Reader:
    """Follows one picture of at most `megapixels`. `image` is known as soon as its size was read."""

    def __init__(self, kind: str, megapixels: float) -> None:
        self.image: Image | None = None
        self._megapixels = megapixels
        self._steps: Steps = {"png": self._png, "jpeg": self._jpeg}[kind]()
        self._wanted: Wanted | None = next(self._steps)
        self._rest = b""

    def feed(self, part: bytes) -> None:
        """Take the next bytes. What stands behind the picture's end is not looked at. Raises Damaged, TooLarge."""
        data, at = self._rest + part, 0
        while self._wanted is not None:
            taken = _taken(self._wanted, data, at)
            if taken is None:
                break
            at = taken[1]
            self._wanted = self._next(data[taken[0] : at])
        self._rest = b"" if self._wanted is None else data[at:] if isinstance(self._wanted, int) else data[at:][-1:]

    def is_whole(self) -> bool:
        """Whether the picture's end has been seen."""
        return self._wanted is None

    def _next(self, given: bytes) -> Wanted | None:
        try:
            return self._steps.send(given)
        except StopIteration:
            return None

    def _png(self) -> Steps:
        signature = yield 16
        if signature != b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR":
            raise CorruptImage("it does not begin as a PNG does")
        width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header := (yield 13))
        if colour not in _CHANNELS or not width * height or interlaced > 1:
            raise CorruptImage("its header makes no sense")
        _check((yield 4), zlib.crc32(header, zlib.crc32(b"IHDR")))
        self.image = self._bounded(Image("png", width, height))
        pixels = _Pixels(_unpacked(width, height, depth * _CHANNELS[colour], interlaced))
        kind = b""
        while kind != b"IEND":
            length, kind = struct.unpack(">I4s", (yield 8))
            checksum = zlib.crc32(kind)
            while length:
                data = yield min(length, _PIECE)
                checksum = zlib.crc32(data, checksum)
                if kind == b"IDAT":
                    pixels.unpack(data)
                length -= len(data)
            _check((yield 4), checksum)
        pixels.end()

    def _jpeg(self) -> Steps:
        if (yield 2) != b"\xff\xd8":
            raise CorruptImage("it does not begin as a JPEG does")
        scanned = False
        while (marker := (yield _AFTER_SCAN if scanned else _MARKER)[1]) != _END:
            if marker in _ALONE:
                continue
            (length,) = struct.unpack(">H", (yield 2))
            body = (yield length - 2) if length > 2 else b""
            if marker in _SIZES and self.image is None:
                self.image = self._bounded(_sized(body))
            scanned = scanned or marker == _SCAN
        if self.image is None or not scanned:
            raise CorruptImage("it ends before its picture begins")

    def _bounded(self, image: Image) -> Image:
        if image.megapixels > self._megapixels:
            raise TooLarge(f"it has more than {self._megapixels:g} million pixels")
        return image


class _Pixels:
    """The unpacked size of a PNG's data against what its header promises; bombs are not unpacked."""

    def __init__(self, expected: int) -> None:
        self._left = expected
        self._stream = zlib.decompressobj()

    def unpack(self, data: bytes) -> None:
        while data:
            try:
                self._left -= len(self._stream.decompress(data, 4 * _PIECE))
            except zlib.error as problem:
                raise CorruptImage("its data cannot be unpacked") from problem
            if self._left < 0:
                raise CorruptImage("it has more data than pixels")
            data = self._stream.unconsumed_tail

    def end(self) -> None:
        while not self._stream.eof and (late := self._stream.decompress(b"", 4 * _PIECE)):
            self._left -= len(late)
        if self._left or not self._stream.eof:
            raise CorruptImage("it has fewer data than pixels")


def _taken(wanted: Wanted, data: bytes, at: int) -> tuple[int, int] | None:
    if isinstance(wanted, int):
        return (at, at + wanted) if len(data) - at >= wanted else None
    found = wanted.search(data, at)
    return found.span() if found else None


def _check(stated: bytes, checksum: int) -> None:
    if stated != checksum.to_bytes(4, "big"):
        raise CorruptImage("a checksum in it is wrong")


def _unpacked(width: int, height: int, bits: int, interlaced: int) -> int:
    if not interlaced:
        return height * (1 + (width * bits + 7) // 8)
    sizes = (((width - x + dx - 1) // dx, (height - y + dy - 1) // dy) for x, y, dx, dy in _ADAM7)
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns)


def _sized(body: bytes) -> Image:
    if len(body) < 5:
        raise CorruptImage("its size is missing")
    height, width = struct.unpack_from(">HH", body, 1)
    if not width * height:
        raise CorruptImage("its size is zero")
    return Image("jpeg", width, height)
