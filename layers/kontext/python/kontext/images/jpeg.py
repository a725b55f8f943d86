"""A JPEG from its first marker to its last: segments, scans, and what can be known of a scan without decoding it.

What is coded in a scan is not decoded, which takes seconds in Python: so damage is seen only where it breaks a marker,
the order or number of restart markers, or leaves fewer bits than blocks.
"""

import re
from dataclasses import dataclass

from kontext.images.image import BadPicture, CorruptImage, Image, Limits
from kontext.images.source import Source

START = b"\xff\xd8\xff"
_EOI, _SOS, _DRI = 0xD9, 0xDA, 0xDD
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_DECODED_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
"""Sequential and progressive, by either coder. No browser and few programs read the others."""
_ALONE = frozenset(range(0xD0, 0xD8)) | {0x01}
_SEGMENTS = frozenset(range(0xE0, 0xF0)) | {0xC4, 0xCC, 0xDB, 0xDC, 0xFE, _DRI, _SOS}

_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_RESTARTS = bytes(range(0xD0, 0xD8)) * (65_536 // 8 + 1)
_DAMAGED = "a segment in it makes no sense"
_MISPLACED = "a part of it is missing, or in the wrong place"


@dataclass
class _Frame:
    """The picture's size, and how its components are sampled: id → (horizontal, vertical)."""

    image: Image
    is_sequential: bool
    sampling: dict[int, tuple[int, int]]

    def units(self, components: bytes) -> tuple[int, int]:
        """Of a scan of these components: how many units it is coded in, and how many blocks each has at least."""
        widest, highest = (max(rates) for rates in zip(*self.sampling.values(), strict=True))
        if len(components) == 1:
            across, down = self.sampling[components[0]]
            columns = -(-self.image.width * across // (8 * widest))
            return columns * -(-self.image.height * down // (8 * highest)), 1
        columns, rows = -(-self.image.width // (8 * widest)), -(-self.image.height // (8 * highest))
        return columns * rows, sum(across * down for across, down in map(self.sampling.__getitem__, components))


def walk(source: Source, limits: Limits) -> Image:
    """Follow a JPEG to its end. Raises BadPicture."""
    if source.read(2) != START[:2]:
        raise CorruptImage("it does not begin as a JPEG does")
    frame, interval, scanned = None, 0, False
    while (marker := _next_marker(source)) != _EOI:
        source.count_part()
        if marker in _ALONE:
            continue
        length = int.from_bytes(source.read(2), "big") - 2
        if length < 0 or marker not in _SEGMENTS | _FRAMES or (marker in _FRAMES and frame):
            raise CorruptImage(_DAMAGED)
        if marker in _FRAMES:
            frame = _frame(marker, source.read(length), limits)
        elif marker == _DRI:
            interval = int.from_bytes(source.read(length)[:2], "big")
        elif marker == _SOS:
            scanned = True
            _scan(source, frame, source.read(length), interval)
        else:
            source.skip(length)
    if frame is None or not scanned:
        raise CorruptImage("it ends before its picture begins")
    return frame.image


def _next_marker(source: Source) -> int:
    for _ in source.before(_MARKER):  # decoders pass over what stands between segments
        pass
    return source.read(2)[1]


def _frame(marker: int, header: bytes, limits: Limits) -> _Frame:
    if marker not in _DECODED_FRAMES or header[:1] != b"\x08":
        raise BadPicture("it is a JPEG of a kind that most programs cannot read (lossless, or of more than 8 bits)")
    if len(header) < 9 or len(header) != 6 + 3 * header[5]:
        raise CorruptImage(_DAMAGED)
    height, width = int.from_bytes(header[1:3], "big"), int.from_bytes(header[3:5], "big")
    image = limits.checked(Image("jpeg", width, height))
    sampling = {header[at]: (header[at + 1] >> 4, header[at + 1] & 15) for at in range(6, len(header), 3)}
    if not all(1 <= rate <= 4 for rates in sampling.values() for rate in rates):
        raise CorruptImage(_DAMAGED)
    return _Frame(image, marker in (0xC0, 0xC1), sampling)


def _scan(source: Source, frame: _Frame | None, header: bytes, interval: int) -> None:
    components = header[1:-3:2]
    if frame is None or not components or len(header) != 4 + 2 * header[0] or not {*components} <= {*frame.sampling}:
        raise CorruptImage(_DAMAGED)
    units, blocks = frame.units(components)
    coded, restarts = 0, 0
    for piece in source.before(_AFTER_SCAN if interval else _MARKER):
        found = b"".join(_RESTART.findall(piece)) if interval else b""
        if found != _RESTARTS[restarts % 8 :][: len(found)]:
            raise CorruptImage(_MISPLACED)
        restarts += len(found)
        if restarts > units:
            raise CorruptImage("it has more parts than its size needs")
        coded += len(piece) - 2 * len(found)
    if source.peek(2)[1:] in _RESTARTS[:8]:  # which nothing has announced
        raise CorruptImage(_MISPLACED)
    least = units * blocks * 2 if frame.is_sequential else 0  # a code for its mean, and one for its end
    if coded * 8 < least or (interval and restarts < -(-units // interval) - 1):
        raise CorruptImage("a part of it is missing")
