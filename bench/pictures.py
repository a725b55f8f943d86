"""What the reader of pictures costs on the worst bytes: `python -m bench.pictures` prints it at 1, 10 and 50 MB.

Each case is made so that as many steps as possible are taken for each byte. Time is the processor's. `make bench` does
not play it: it measures the pipeline, and this the code alone.
"""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from random import Random

from PIL import Image

from kontext.images.image import BadPicture, Limits
from kontext.images.inspection import inspect

MEGABYTES = (1, 10, 50)
LIMITS = Limits(megabytes=60, megapixels=100)
PIECE_BYTES = 65_536


def _encoded(kind: str, width: int = 64, height: int = 48) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, kind)
    return file.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _filled(part: bytes, size: int) -> bytes:
    return part * (size // len(part) + 1)


def _random(size: int) -> bytes:
    return Random(size).randbytes(size)  # noqa: S311  nothing is to be kept secret


def _webp(content: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(content) + 4) + b"WEBP" + content


def _noisy(size: int) -> bytes:
    """A PNG of noise, which packing leaves as large as it is."""
    side = int(size**0.5)
    noise = _random(side * side)
    pixels = b"".join(b"\0" + noise[at : at + side] for at in range(0, len(noise), side))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return _PNG[:8] + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(pixels, 1)) + _chunk(b"IEND", b"")


_JPEG, _PNG = _encoded("JPEG"), _encoded("PNG")
_SCAN = _JPEG.index(b"\xff\xda")
_TO_SCAN = _JPEG[: _SCAN + 14]
_RESTARTING = _JPEG[:_SCAN] + b"\xff\xdd\0\4\0\1" + _JPEG[_SCAN : _SCAN + 14]
_VIDEO = _JPEG + b"\0\0\0\x08ftyp"

CASES: dict[str, Callable[[int], bytes]] = {
    "a photograph's scan": lambda size: _TO_SCAN + _random(size).replace(b"\xff", b"\xfe") + b"\xff\xd9",
    "a scan of escaped bytes": lambda size: _TO_SCAN + _filled(b"\xff\0", size) + b"\xff\xd9",
    "a scan of fill bytes": lambda size: _TO_SCAN + b"\xff" * size + b"\xd9",
    "a scan of restarts": lambda size: _RESTARTING + _filled(bytes.fromhex("ffd0ffd1ffd2ffd3ffd4ffd5ffd6ffd7"), size),
    "scans without end": lambda size: _JPEG[:_SCAN] + _filled(_JPEG[_SCAN:-2], size),
    "empty segments": lambda size: b"\xff\xd8" + _filled(b"\xff\xe0\0\2", size),
    "fill bytes before a segment": lambda size: b"\xff\xd8" + b"\xff" * size,
    "zeros behind a picture": lambda size: _JPEG + bytes(size),
    "half tags behind a picture": lambda size: _JPEG + b"\1\2" + b"<" * size,
    "half archives behind a picture": lambda size: _JPEG + b"\1\2" + _filled(b"PK\3\4", size),
    "directories behind a picture": lambda size: _JPEG + b"\1\2" + _filled(b"PK\5\6\0\0\0\0", size),
    "pictures behind a picture": lambda size: _JPEG + _filled(_JPEG, size),
    "a video behind a picture": lambda size: _VIDEO + b"\0\0\0\0mdat" + _random(size),
    "empty boxes behind a picture": lambda size: _VIDEO + _filled(b"\0\0\0\x08free", size),
    "a PNG of noise": _noisy,
    "empty chunks": lambda size: _PNG[:33] + _filled(_chunk(b"tEXt", b""), size),
    "packed nothing": lambda size: _PNG[:33] + _chunk(b"IDAT", b"\x78\x01" + _filled(b"\0\0\0\xff\xff", size)),
    "empty chunks of a WebP": lambda size: _webp(_filled(b"JUNK\0\0\0\0", size)),
    "no picture": lambda size: _filled(b"<svg ", size),
}


def photograph(megabytes: float, seed: int = 0) -> bytes:
    """A JPEG of so many megabytes whose scan is noise, as that of a photograph seems to be."""
    scan = Random(seed).randbytes(int(megabytes * 1e6))  # noqa: S311  nothing is to be kept secret
    return _TO_SCAN + scan.replace(b"\xff", b"\xfe") + b"\xff\xd9"


def pieces(content: bytes) -> Iterator[bytes]:
    """The content as it comes from S3."""
    return (content[at : at + PIECE_BYTES] for at in range(0, len(content), PIECE_BYTES))


def verdict(given: Iterator[bytes]) -> str:
    """What the reader says of a file."""
    try:
        return inspect(given, LIMITS).image.kind
    except BadPicture as refused:
        return str(refused).partition(";")[0]


def seconds(content: bytes) -> float:
    """How long the processor takes to read a file."""
    started = time.process_time()
    verdict(pieces(content))
    return time.process_time() - started


def peak_bytes(content: bytes) -> list[int]:
    """How much was held at once, at most, before each piece of a file was read, and at its end; the file itself not
    counted."""
    peaks: list[int] = []

    def noted() -> Iterator[bytes]:
        for piece in pieces(content):
            peaks.append(tracemalloc.get_traced_memory()[1])
            yield piece

    tracemalloc.start()
    try:
        verdict(noted())
        return [*peaks, tracemalloc.get_traced_memory()[1]]
    finally:
        tracemalloc.stop()


def rows() -> Iterator[tuple[str, list[float], int, str]]:
    """Each case: its name, the seconds at each size, the most bytes held at the largest, and what is said of it."""
    for name, make in CASES.items():
        files = [make(size * 1_000_000) for size in MEGABYTES]
        yield name, [seconds(content) for content in files], peak_bytes(files[-1])[-1], verdict(pieces(files[-1]))


if __name__ == "__main__":
    print(f"{'':32}" + "".join(f"{size:>6} MB" for size in MEGABYTES) + "   held")
    for name, taken, held, said in rows():
        print(f"{name:32}" + "".join(f"{one:7.3f} s" for one in taken) + f"{held / 1e6:5.1f} MB  {said}", flush=True)
