"""Containers of pictures, videos, records and archives, made by hand or by Pillow."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from random import Random
from typing import Any

from PIL import Image

RANDOM = Random(14)


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    length = len(Image.new(mode, (width, height)).tobytes())
    return Image.frombytes(mode, (width, height), RANDOM.randbytes(length))


def encoded(kind: str, width: int = 96, height: int = 64, mode: str = "RGB", **how: Any) -> bytes:
    file = io.BytesIO()
    noise(width, height, mode).save(file, kind, **how)
    return file.getvalue()


def frames(kind: str) -> bytes:
    file = io.BytesIO()
    noise(16, 12).save(file, kind, save_all=True, append_images=[noise(16, 12), noise(16, 12)])
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_segment(picture: bytes, *segments: tuple[int, bytes]) -> bytes:
    """A JPEG with segments right behind its beginning."""
    added = b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    return picture[:2] + added + picture[2:]


def xmp(said: str) -> tuple[int, bytes]:
    return 0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + said.encode() + b"</x:xmpmeta>"


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def video(size: int = 90_000) -> bytes:
    """An MP4 as a motion photograph has one, as far as its boxes go."""
    return (
        box(b"ftyp", b"mp42\0\0\0\0mp42isom")
        + box(b"moov", box(b"mvhd", bytes(100)))
        + box(b"mdat", RANDOM.randbytes(size))
    )


def samsung(*records: tuple[int, bytes, bytes]) -> bytes:
    """What a Galaxy puts behind its pictures: records, and a directory that says where each begins."""
    blocks, places = b"", []
    for kind, name, content in records:
        block = struct.pack("<HHI", 0, kind, len(name)) + name + content
        places.append((kind, len(blocks), len(block)))
        blocks += block
    directory = b"SEFH" + struct.pack("<II", 107, len(records))
    directory += b"".join(struct.pack("<HHII", 0, kind, len(blocks) - at, size) for kind, at, size in places)
    return blocks + directory + struct.pack("<I", len(directory)) + b"SEFT"


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("payload.txt", "x" * 100)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("payload.txt"))
    return file.getvalue()


def multi_picture() -> bytes:
    file = io.BytesIO()
    noise(96, 64).save(file, "MPO", save_all=True, append_images=[noise(48, 32)])
    return file.getvalue()
