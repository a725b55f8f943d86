"""A WebP from chunk to chunk. Its pixels are not decoded, so damage within them is not seen."""

import struct

from kontext.images.image import CorruptImage, Image, Limits
from kontext.images.source import Source

_ANIMATED = 0x02
_FRAME = {b"VP8 ", b"VP8L"}


def walk(source: Source, limits: Limits) -> Image:
    """Follow a WebP to its end. Raises BadPicture."""
    form, length, kind = struct.unpack("<4sI4s", source.read(12))
    if (form, kind) != (b"RIFF", b"WEBP"):
        raise CorruptImage("it does not begin as a WebP does")
    canvas, frame, is_animated, end = None, None, False, source.position - 4 + length
    while end - source.position >= 8:
        source.count_part()
        kind, length = struct.unpack("<4sI", source.read(8))
        chunk_end = source.position + length
        if chunk_end > end:
            raise CorruptImage("a chunk is longer than the file says that it is")
        if kind == b"VP8X" and canvas is None:
            canvas = limits.checked(_canvas(source.read(min(length, 10)), limits))
        elif kind in _FRAME and frame is None:
            frame = limits.checked(_frame(kind, source.read(min(length, 10)), length))
        elif kind == b"ANMF":
            limits.check_animated()
            is_animated = is_animated or _is_frame(source.read(min(length, 20)))
        source.skip(min(chunk_end + length % 2, end) - source.position)
    source.skip(end - source.position)
    if canvas and is_animated:
        return canvas
    if frame is None or (canvas or frame) != frame:
        raise CorruptImage("it ends before its picture begins" if frame is None else "it has two sizes")
    return frame


def _is_frame(head: bytes) -> bool:
    """Whether a frame of an animation begins so: where it stands and for how long, and a picture."""
    return head[16:20] in (*_FRAME, b"ALPH")


def _canvas(head: bytes, limits: Limits) -> Image:
    if len(head) < 10:
        raise CorruptImage("its header makes no sense")
    if head[0] & _ANIMATED:
        limits.check_animated()
    width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (4, 7))
    return Image("webp", width, height)


def _frame(kind: bytes, head: bytes, length: int) -> Image:
    if kind == b"VP8L" and head[:1] == b"\x2f" and len(head) >= 5:
        bits = int.from_bytes(head[1:5], "little")
        return Image("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    first_partition = int.from_bytes(head[:3], "little") >> 5
    if kind == b"VP8 " and head[3:6] == b"\x9d\x01\x2a" and len(head) == 10 and first_partition <= length:
        width, height = struct.unpack_from("<HH", head, 6)
        return Image("webp", width & 0x3FFF, height & 0x3FFF)
    raise CorruptImage("its picture's header makes no sense")
