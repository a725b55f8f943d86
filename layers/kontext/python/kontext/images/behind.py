"""What may stand behind a picture's end.

Phones put more pictures there (gain maps, depth maps, the other eye), the video of a motion photograph, and records of
their own; cameras fill up with zeros; an editor leaves the end of a longer file that it wrote over. All of that is
known by what it is. An archive, a document, a web page or a program is not a photograph's, wherever it stands.
"""

import re
import struct
from collections.abc import Iterable

from kontext.images import identify, jpeg, png
from kontext.images.image import UNLIMITED, BadPicture, CutOff
from kontext.images.source import TAIL_BYTES, Source

_MOST_PICTURES = 100
_UNKNOWN_BYTES = 65_536
"""Makers have more records than are listed here, but no larger ones."""
_APPENDED = "it is cut off, or something else is appended to it; open it and save it as a new picture"

_BOX = re.compile(rb"ftyp|moov|mdat|free|skip|wide|uuid|meta|moof|mfra|sidx|styp|udta|pdin|pnot|junk|mpvd|sefd")
# By how they begin: Sony's and Huawei's; and by how they end, as ExifTool tells them.
_MAKER = re.compile(rb"\x55\x26\x11\x05|edof\0|streamdata|vivo\{\"", re.DOTALL)
_MAKER_END = re.compile(
    rb"(?:\0\0QDIOBS|AXS[!*].{8}|\xa1\xb2\xc3\xd4|cbipcbbl|CANON OPTIONAL DATA\0.{44}|/NIKON APP"
    rb"|zmie~\0\0(?:\x06.{4}[\x10\x18]\x04|\x0a.{8}[\x10\x18]\x08)|8db42d694ccc418790edff439fe026bf"
    rb"|\xff{4}\x1b\*9HWfu\x84\x93\xa2\xb1|jxrs.{3}\0)\Z",
    re.DOTALL,
)
_OLDER_PICTURE_END = re.compile(rb"(?:\xff\xd9|%s)\0*\Z" % re.escape(png.END))
_SAMSUNG = re.compile(rb".{1,2}([\x04-\x40])\0\0\0[A-Z][A-Za-z0-9_]{3}", re.DOTALL)
_SAMSUNG_BYTES = 16_384
"""Of its directory; it has an entry of twelve bytes a record."""

# Within what is not walked. Each is so long that it is not met by chance in megabytes of video.
_NOT_A_PHOTOGRAPH = re.compile(
    rb"PK\x03\x04[\x0a-\x3f]\0[\0-\xff]{2}[\0\x08-\x0e\x5d-\x63]\0|Rar!\x1a\x07|7z\xbc\xaf\x27\x1c|%PDF-[12]\."
    rb"|\x7fELF[\x01\x02][\x01\x02]\x01|<(?i:\?php|script[\s>]|html[\s>]|!doctype|iframe[\s>])"
)
_LONGEST = 16
_ZIP_DIRECTORY = re.compile(rb"PK\x05\x06\0{4}(..)\1(.{4})(.{4})", re.DOTALL)


def check(source: Source) -> None:
    """Read what is left, and see that it belongs to a photograph. Raises BadPicture."""
    for _ in range(_MOST_PICTURES):
        source.skip_zeros()
        head = source.peek(identify.HEAD_BYTES)
        zeros = len(head) - len(head.lstrip(b"\0"))
        if (kind_at := head.find(b"ftyp", 4, zeros + 8)) > 0:
            source.skip(kind_at - 4)
            _video(source)
            continue
        source.skip(zeros)
        if zeros == len(head):
            return
        if not head.startswith(jpeg.START, zeros):
            _record(source, head[zeros:])
            return
        jpeg.walk(source, UNLIMITED)
    raise BadPicture(_APPENDED)


def check_archive(source: Source) -> None:
    """See that the file, which was read to its end, does not open as an archive. Raises BadPicture."""
    for found in _ZIP_DIRECTORY.finditer(source.tail):
        length, start = (int.from_bytes(number, "little") for number in found.group(2, 3))
        if length + start <= source.size - min(source.size, TAIL_BYTES) + found.start():
            raise BadPicture(_also("an archive"))


def _video(source: Source) -> None:
    """Follow a video from box to box: it ends where none begins."""
    while _BOX.fullmatch(head := source.peek(identify.HEAD_BYTES), 4, 8):
        source.count_part()
        (length,) = struct.unpack_from(">I", head)
        start = 16 if length == 1 and len(head) >= 16 else 8
        if start == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
        if (name := identify.as_no_picture(head[start:])) is not None:
            raise BadPicture(_also(name))
        if length == 0:
            _search(source.rest())
        elif length < 8:
            return
        else:
            _search(source.pieces(length))


def _record(source: Source, head: bytes) -> None:
    if (name := identify.as_no_picture(head)) is not None:
        raise BadPicture(_also(name))
    start = source.position
    last = _search(source.rest())
    if _begins_as_samsung(head) or last.endswith(b"SEFT"):
        _check_samsung(last, source.size - start)
        return
    known = _MAKER.match(head) or _MAKER_END.search(last) or _OLDER_PICTURE_END.search(last)
    if not known and source.size - start > _UNKNOWN_BYTES:
        raise BadPicture(_APPENDED)


def _search(pieces: Iterable[bytes]) -> bytes:
    """The last bytes of these. Raises BadPicture for what is no photograph's."""
    last = b""
    for piece in pieces:
        if _NOT_A_PHOTOGRAPH.search(piece) or _NOT_A_PHOTOGRAPH.search(last[-_LONGEST:] + piece[:_LONGEST]):
            raise BadPicture(_also("an archive, a document, a web page or a program"))
        last = (last + piece)[-_SAMSUNG_BYTES:]
    return last


def _begins_as_samsung(head: bytes) -> bool:
    found = _SAMSUNG.match(head)
    return found is not None and head[found.end() - 4 :][: found[1][0]].replace(b"_", b"").isalnum()


def _check_samsung(last: bytes, length: int) -> None:
    """Samsung's records end with a directory, which says how far before itself each begins."""
    if not last.endswith(b"SEFT"):
        raise CutOff("it is cut off in what the phone has put behind its picture; upload the whole file again")
    directory = int.from_bytes(last[-8:-4], "little")
    entries = last[-8 - directory : -8] if directory + 8 <= len(last) else b""
    starts = [int.from_bytes(entries[at + 4 : at + 8], "little") for at in range(12, len(entries) - 11, 12)]
    if not entries.startswith(b"SEFH") or length - max(starts, default=0) - directory > _UNKNOWN_BYTES:
        raise BadPicture("it is damaged: what the phone has put behind its picture makes no sense")


def _also(name: str) -> str:
    return f"it is also something else: {name} stands in it or behind its end; open it and save it as a new picture"
