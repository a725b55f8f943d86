"""What an image is, told from its first and last bytes: its extension and its content type are only claims."""

import re
import struct
import zlib
from dataclasses import dataclass, field

HEAD_BYTES = 65_536
"""How much of an object is read to know it: a JPEG may carry a colour profile and a thumbnail before its size."""
MAX_HEAD_BYTES = 4 * 1024 * 1024
"""How much of a JPEG is read to find its size at most: depth maps of telephones stand before it."""
TAIL_BYTES = 16_384
"""How much of the end is read to see that an image is whole; cameras add small records of their own behind it."""

_JPEG_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNG_END = b"IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
_VIDEO_BEHIND = (b"MotionPhoto", b"MicroVideo")  # in the XMP of a JPEG that a telephone has put a video behind
_OTHER_BEHIND = re.compile(
    rb"PK\x03\x04|PK\x05\x06|Rar!\x1a\x07|7z\xbc\xaf|\x7fELF|%PDF-|<(?:!doctype|html|head|body|script|svg|iframe|\?php)",
    re.IGNORECASE,
)
_ANIMATED_WEBP = 0x02
_OTHERS = (
    (b"GIF8", 0, "a GIF"),
    (b"BM", 0, "a BMP"),
    (b"II*\0", 0, "a TIFF"),
    (b"MM\0*", 0, "a TIFF"),
    (b"ftypavif", 4, "an AVIF"),
    (b"ftyphe", 4, "a HEIC"),
    (b"ftypmif1", 4, "a HEIC"),
    (b"%PDF", 0, "a PDF"),
)


@dataclass(frozen=True)
class Image:
    """An image's kind (`png`, `jpeg` or `webp`) and its size in pixels; `known_at` is where its size was found."""

    kind: str
    width: int
    height: int
    known_at: int = field(default=0, compare=False)

    @property
    def megapixels(self) -> float:
        """Its area in millions of pixels."""
        return self.width * self.height / 1e6


def identify(head: bytes) -> Image:
    """Tell the kind and the size of an image from its first bytes (`HEAD_BYTES` are mostly enough).

    Raises:
        ValueError: not a still PNG, JPEG or WebP image, or cut off before its size; the message says which.
    """
    if not head:
        raise ValueError("it is empty (0 bytes)")
    kind = kind_of(head)
    if kind is None:
        raise ValueError(f"it is {_known_as(head)}not a PNG, JPEG or WebP image")
    try:
        image = {"png": _png, "jpeg": _jpeg, "webp": _webp}[kind](head)
    except (struct.error, IndexError) as cut_off:
        raise ValueError("it is cut off or damaged") from cut_off
    if image.width == 0 or image.height == 0:
        raise ValueError("it is damaged: its size is zero")
    return image


def check_end(image: Image, head: bytes, tail: bytes, size: int) -> None:
    """See that an image of `size` bytes is whole, by its last `TAIL_BYTES`. What was in between is not seen.

    Raises:
        ValueError: it is cut off, something else is appended to it, or it is something else as well.
    """
    behind = _behind(image, head, tail, size)
    if behind is None:
        raise ValueError("it is cut off, or something else is appended to it")
    if _OTHER_BEHIND.search(behind) or b"%PDF-" in head[:1024]:
        raise ValueError("it is also something else: an archive, a document, a web page or a program")


def _behind(image: Image, head: bytes, tail: bytes, size: int) -> bytes | None:
    """What stands behind the image's end; None if its end is not there."""
    if image.kind == "webp":
        stated = 8 + int.from_bytes(head[4:8], "little")
        return tail[len(tail) - (size - stated) :] if stated <= size <= stated + len(tail) else None
    # A thumbnail's end must not be taken for the picture's; within the picture itself the bytes cannot occur.
    mark, known_at = (_PNG_END, 0) if image.kind == "png" else (_JPEG_END, image.known_at)
    _, end, behind = tail[max(0, len(tail) - (size - known_at)) :].partition(mark)
    if end or any(mark in head for mark in _VIDEO_BEHIND):
        return behind
    return None


def kind_of(head: bytes) -> str | None:
    """The kind that the first twelve bytes claim; None for whatever is not an image that is dealt with here."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    return "webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def _known_as(head: bytes) -> str:
    name = next((name for mark, at, name in _OTHERS if head.startswith(mark, at)), None)
    start = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<"):
        name = "an SVG drawing" if b"<svg" in head[:4096].lower() else "a web page or other markup"
    return f"{name}, " if name else ""


def _png(head: bytes) -> Image:
    if head[12:16] != b"IHDR":
        raise ValueError("it is cut off or damaged")
    (width, height) = struct.unpack_from(">II", head, 16)
    image = Image("png", width, height, known_at=16)
    if len(head) >= 33 and 0 not in (image.width, image.height):
        _check_png(head)
    return image


def _check_png(head: bytes) -> None:
    (checksum,) = struct.unpack_from(">I", head, 29)
    if head[8:12] != b"\0\0\0\x0d" or zlib.crc32(head[12:29]) != checksum:
        raise ValueError("it is cut off or damaged")
    at = 33
    while (kind := head[at + 4 : at + 8]) and kind != b"IDAT":
        if kind == b"acTL":
            raise ValueError("it is animated; a still picture is needed")
        at += 12 + int.from_bytes(head[at : at + 4], "big")


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
            return Image("jpeg", width, height, known_at=at)
        elif length < 2 or marker in (0xFFD8, 0xFFD9, 0xFFDA):
            raise ValueError("it is cut off or damaged")
        else:
            at += 2 + length


def _webp(head: bytes) -> Image:
    chunk = head[12:16]
    if chunk == b"VP8X":
        width, height = (1 + int.from_bytes(head[i : i + 3], "little") for i in (24, 27))
        struct.unpack_from("6s", head, 24)
        if head[20] & _ANIMATED_WEBP:
            raise ValueError("it is animated; a still picture is needed")
        return Image("webp", width, height)
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return Image("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if chunk == b"VP8 ":
        (width, height) = struct.unpack_from("<HH", head, 26)
        return Image("webp", width & 0x3FFF, height & 0x3FFF)
    raise ValueError("it is cut off or damaged")
