"""A PNG to its last pixel: every chunk's checksum, and that its data unpack to just as many bytes as its size needs."""

import struct
import zlib

from kontext.images.image import BadPicture, CorruptImage, Image, Limits
from kontext.images.source import PIECE_BYTES, Source

START = b"\x89PNG\r\n\x1a\n"
END = b"\0\0\0\0IEND\xaeB`\x82"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def walk(source: Source, limits: Limits) -> Image:
    """Follow a PNG to its end. Raises BadPicture."""
    if source.read(8) != START:
        raise CorruptImage("it does not begin as a PNG does")
    length, kind = struct.unpack(">I4s", source.read(8))
    if kind == b"CgBI":
        raise BadPicture(
            "it is a PNG in Apple's own form (CgBI), which only iOS reads; "
            "export it from the app or with macOS's Preview as a PNG"
        )
    if kind != b"IHDR" or length != 13:
        raise CorruptImage("its header makes no sense")
    header = source.read(13)
    _check(source.read(4), zlib.crc32(header, zlib.crc32(kind)))
    width, height, depth, colour, packing, filtering, interlaced = struct.unpack(">IIBBBBB", header)
    if depth not in _DEPTHS.get(colour, ()) or packing or filtering or interlaced > 1:
        raise CorruptImage("its header makes no sense")
    image = limits.checked(Image("png", width, height))
    pixels = _Pixels(_unpacked(width, height, depth * _CHANNELS[colour], interlaced))
    while kind != b"IEND":
        kind = _chunk(source, pixels, limits)
    pixels.end()
    return image


def _chunk(source: Source, pixels: "_Pixels", limits: Limits) -> bytes:
    """Follow one chunk; returns its kind."""
    source.count_part()
    length, kind = struct.unpack(">I4s", source.read(8))
    checksum = zlib.crc32(kind)
    if kind == b"acTL" and source.peek(4) != b"\0\0\0\1":
        limits.check_animated()
    for piece in source.pieces(length):
        checksum = zlib.crc32(piece, checksum)
        if kind == b"IDAT":
            pixels.unpack(piece)
    _check(source.read(4), checksum)
    return bytes(kind)


class _Pixels:
    """The unpacked size of a PNG's data against what its header promises; bombs are not unpacked."""

    def __init__(self, expected: int) -> None:
        self._left = expected
        self._stream = zlib.decompressobj()

    def unpack(self, data: bytes) -> None:
        while data:
            try:
                self._left -= len(self._stream.decompress(data, 4 * PIECE_BYTES))
            except zlib.error as problem:
                raise CorruptImage("its data cannot be unpacked") from problem
            if self._left < 0:
                raise CorruptImage("it has more data than pixels")
            data = self._stream.unconsumed_tail

    def end(self) -> None:
        while not self._stream.eof and (late := self._stream.decompress(b"", 4 * PIECE_BYTES)):
            self._left -= len(late)
        if self._left or not self._stream.eof:
            raise CorruptImage("it has fewer data than pixels")


def _check(stated: bytes, checksum: int) -> None:
    if stated != checksum.to_bytes(4, "big"):
        raise CorruptImage("a checksum in it is wrong")


def _unpacked(width: int, height: int, bits: int, interlaced: int) -> int:
    if not interlaced:
        return height * (1 + (width * bits + 7) // 8)
    sizes = (((width - x + dx - 1) // dx, (height - y + dy - 1) // dy) for x, y, dx, dy in _ADAM7)
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns)
