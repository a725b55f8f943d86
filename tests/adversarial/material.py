"""The bytes that the corpus describes: pictures, texts, and what becomes of them when they are cut, bent and joined.

A description is a text, or a mapping with one way to begin:

    text, hex, base64         as they stand
    repeat: [TEXT, TIMES]     the same again and again
    zeros: N                  so many bytes of zero
    gzip: DESCRIPTION         packed
    image: KIND               by Pillow; `size` [w, h], `noise`, `mode`, `frames`, `save` (Pillow's own options)
    photograph: NAME          a file of tests/unit/photographs.py
    segments: N               a JPEG with so many segments of 64 KB before its size
    png: [W, H]               a PNG by hand; `colour` and `depth` of its header, `chunks` [[KIND, description], …]
                              before its data, `data`: how much of its pixels' data it has (1.0: all)

and then, in this order: `keep` (the part of it from the beginning: a share or a number of bytes), `flip` (the index of
a byte to be inverted, from the end if negative), `replace` [HEX, HEX] (once), `before` and `behind` (descriptions).
"""

from __future__ import annotations

import base64
import gzip
import io
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

from PIL import Image

from tests.unit.photographs import CORPUS

Description = str | dict[str, Any]


def made(what: Description) -> bytes:
    """The bytes of a description. Raises KeyError for one that says nothing."""
    if isinstance(what, str):
        return what.encode("utf-8", "surrogatepass")
    return _bent(_begun(what), what)


def _begun(what: dict[str, Any]) -> bytes:
    for way, make in WAYS.items():
        if way in what:
            return make(what)
    raise KeyError(f"nothing is described by {sorted(what)}")


def _bent(content: bytes, what: dict[str, Any]) -> bytes:
    if "keep" in what:
        share = what["keep"]
        content = content[: int(len(content) * share) if isinstance(share, float) else share]
    if "flip" in what:
        at = what["flip"] % len(content)
        content = content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]
    if "replace" in what:
        old, new = (bytes.fromhex(one) for one in what["replace"])
        if old not in content:
            raise KeyError(f"{old.hex()} is not in it")
        content = content.replace(old, new, 1)
    return made(what.get("before", "")) + content + made(what.get("behind", ""))


def _image(what: dict[str, Any]) -> bytes:
    size, mode = tuple(what.get("size", (8, 6))), what.get("mode", "RGB")
    pictures = [_pixels(mode, size, seed if what.get("noise") else None) for seed in range(what.get("frames", 1))]
    options = {name: _option(value) for name, value in what.get("save", {}).items()}
    if len(pictures) > 1:
        options |= {"save_all": True, "append_images": pictures[1:]}
    file = io.BytesIO()
    pictures[0].save(file, what["image"], **options)
    return file.getvalue()


def _option(value: Any) -> Any:
    return made(value) if isinstance(value, dict) else value


def _pixels(mode: str, size: tuple[int, int], seed: int | None) -> Image.Image:
    if seed is None:
        return Image.new(mode, size)
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, size, Random(seed).randbytes(size[0] * size[1] * bands))


def _segmented(what: dict[str, Any]) -> bytes:
    picture, segments = _image({"image": "JPEG"}), int(what["segments"])
    return picture[:2] + (b"\xff\xe1\xff\xff" + bytes(65_533)) * segments + picture[2:]


def _png(what: dict[str, Any]) -> bytes:
    width, height = what["png"]
    colour, depth = what.get("colour", 0), what.get("depth", 8)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = bytes(int(height * (1 + width) * what.get("data", 1.0))) if width * height < 1e8 else b""
    chunks = [(kind, made(content)) for kind, content in what.get("chunks", ())]
    all_chunks = [("IHDR", header), *chunks, ("IDAT", zlib.compress(pixels)), ("IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind.encode(), content) for kind, content in all_chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


_PHOTOGRAPHS = {file.name: file.content for file in CORPUS}
WAYS: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "text": lambda what: what["text"].encode("utf-8", "surrogatepass"),
    "hex": lambda what: bytes.fromhex(what["hex"]),
    "base64": lambda what: base64.b64decode(what["base64"]),
    "repeat": lambda what: what["repeat"][0].encode() * what["repeat"][1],
    "zeros": lambda what: bytes(what["zeros"]),
    "gzip": lambda what: gzip.compress(made(what["gzip"])),
    "image": _image,
    "photograph": lambda what: _PHOTOGRAPHS[what["photograph"]],
    "segments": _segmented,
    "png": _png,
}
