"""The whole of a picture in one stream: what it is, or why it cannot be used."""

from collections.abc import Iterable
from dataclasses import dataclass

from kontext.images import behind, identify, jpeg, png, webp
from kontext.images.image import BadPicture, Image, Limits
from kontext.images.source import Source

_WALKS = {"png": png.walk, "jpeg": jpeg.walk, "webp": webp.walk}
_PDF_BYTES = 1_024
"""Readers of PDF look for its beginning so far."""


@dataclass(frozen=True)
class Picture:
    """A whole picture, and the file that it is: its size in bytes, and its SHA-256 in hex digits."""

    image: Image
    size: int
    sha256: str


def inspect(chunks: Iterable[bytes], limits: Limits) -> Picture:
    """Read a file to its end, and see that it is a PNG, JPEG or WebP, whole, and nothing else as well; a still one,
    unless the limits say otherwise.

    Each byte is looked at once, and little is held beside the chunk that is read. What `chunks` raises is passed on.

    Raises:
        BadPicture: it cannot be used. No more is read then.
    """
    source = Source(limits.counted(chunks))
    head = source.peek(identify.HEAD_BYTES)
    kind = identify.kind_of(head)
    if kind is None:
        raise BadPicture(identify.refusal(head))
    if b"%PDF-" in head[:_PDF_BYTES]:
        raise BadPicture("it is also something else: a PDF; open it and save it as a new picture")
    image = _WALKS[kind](source, limits)
    behind.check(source)
    behind.check_archive(source)
    return Picture(image, source.size, source.sha256)
