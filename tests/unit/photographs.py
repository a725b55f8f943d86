"""Pictures as phones, cameras, browsers, editors and mishaps leave them, made by hand: nobody's photographs.

Each is told with what is to become of it.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from tests.unit.containers import (
    RANDOM,
    box,
    chunk,
    encoded,
    frames,
    multi_picture,
    samsung,
    tarred,
    video,
    with_segment,
    xmp,
    zipped,
)


@dataclass(frozen=True)
class File:
    """A file, and words of its refusal; None if it is taken. `differs`: why we do not follow Pillow, which opens what
    is refused."""

    name: str
    content: bytes
    refusal: str | None = None
    differs: str = ""


JPEG, PNG, WEBP = encoded("JPEG"), encoded("PNG"), encoded("WEBP")
LARGE = encoded("JPEG", 640, 420)
MOTION = xmp('<rdf:Description GCamera:MotionPhoto="1" Container:Directory="video/mp4 MotionPhoto MicroVideo"/>')
GALAXY = samsung((0x0A30, b"MotionPhoto_Data", video()), (0x0A01, b"Image_UTC_Data", b"1470000000000"))
PROFILE = [(0xE2, b"ICC_PROFILE\0" + bytes([part, 2]) + RANDOM.randbytes(40_000)) for part in (1, 2)]
THUMBNAIL = b"Exif\0\0" + encoded("JPEG", 16, 12)
RESTARTS = encoded("JPEG", 96, 64, restart_marker_rows=1)
ANIMATED = frames("PNG")


def photographs() -> Iterator[File]:
    """What phones and cameras write."""
    yield File("phone.jpg", LARGE)
    yield File("phone-motion.jpg", with_segment(LARGE, MOTION) + video())
    yield File("phone-motion-video-to-the-end.jpg", JPEG + box(b"ftyp", b"mp42") + b"\0\0\0\0mdat" + bytes(70_000))
    yield File(
        "phone-motion-large-boxes.jpg",
        JPEG + box(b"ftyp", b"mp42") + b"\0\0\0\1mdat" + struct.pack(">Q", 99) + bytes(83),
    )
    yield File(
        "phone-gain-map.jpg",
        with_segment(JPEG, (0xE2, b"urn:iso:std:iso:ts:21496:-1\0")) + encoded("JPEG", 48, 32, "L"),
    )
    yield File("phone-gain-map-and-motion.jpg", with_segment(JPEG, MOTION) + encoded("JPEG", 24, 16) + video())
    yield File("phone-large-profile.jpg", with_segment(JPEG, *PROFILE))
    yield File("phone-depth-map-before-its-size.jpg", with_segment(JPEG, *[(0xE1, bytes(65_000))] * 70))
    yield File("phone-thumbnail.jpg", with_segment(JPEG, (0xE1, THUMBNAIL)))
    yield File(
        "phone-upright.jpg",
        with_segment(JPEG, (0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0" + bytes(4))),
    )
    yield File("galaxy.jpg", LARGE + samsung((0x0A01, b"Image_UTC_Data", b"1470000000000")))
    yield File("galaxy-motion.jpg", LARGE + GALAXY)
    yield File("galaxy-gain-map-and-motion.jpg", JPEG + encoded("JPEG", 24, 16) + GALAXY)
    yield File("galaxy-depth.jpg", JPEG + samsung((0x0AB1, b"DualShot_DepthMap_1", RANDOM.randbytes(300_000))))
    yield File("galaxy-behind-an-unknown-record.jpg", JPEG + RANDOM.randbytes(500) + GALAXY)
    yield File("huawei-live.jpg", JPEG + video() + b"v3_f31_c            " + b"LIVE_3637829        ")
    yield File("oneplus.jpg", JPEG + RANDOM.randbytes(100_000) + b"jxrs\0\1\2\0")
    yield File(
        "vivo.jpg", JPEG + b'vivo{"watermark":0}' + bytes(90_000) + bytes.fromhex("ffffffff1b2a394857667584 93a2b1")
    )
    yield File("other-eye.jpg", multi_picture())
    yield File("camera-padding.jpg", JPEG + bytes(32_768))
    yield File("camera-three-zeros.jpg", JPEG + bytes(3))
    yield File("camera-restarts.jpg", RESTARTS)
    yield File("camera-unknown-record.jpg", JPEG + RANDOM.randbytes(4_000))
    yield File(
        "canon-recipe.jpg", JPEG + b"CANON OPTIONAL DATA\0" + bytes(80_000) + b"CANON OPTIONAL DATA\0" + bytes(44)
    )
    yield File("sony-hidden.jpg", JPEG + b"\x55\x26\x11\x05\0" + RANDOM.randbytes(120_000))
    yield File("padding-before-a-preview.jpg", JPEG + bytes(5_000) + encoded("JPEG", 24, 16))


def encodings() -> Iterator[File]:
    """What browsers, editors and libraries write."""
    yield File("grey.jpg", encoded("JPEG", mode="L"))
    yield File("printers.jpg", encoded("JPEG", mode="CMYK"))
    yield File("progressive.jpg", encoded("JPEG", progressive=True))
    yield File("progressive-restarts.jpg", encoded("JPEG", progressive=True, restart_marker_blocks=2))
    yield File("optimized.jpg", encoded("JPEG", optimize=True, quality=100, subsampling=0))
    yield File("one-colour.jpg", solid("JPEG"))
    yield File("fill-bytes.jpg", JPEG[:2] + b"\xff\xff\xff" + JPEG[2:])
    yield File("browser-download.jfif", JPEG)
    for mode in ("RGBA", "L", "LA", "P", "1", "I;16"):
        yield File(f"mode-{mode.replace(';', '')}.png", encoded("PNG", mode=mode))
    yield File("still-of-one-frame.png", PNG[:33] + chunk(b"acTL", b"\0\0\0\1\0\0\0\0") + PNG[33:])
    yield File("large-text.png", PNG[:33] + chunk(b"tEXt", b"Comment\0" + b"x" * 300_000) + PNG[33:])
    yield File("newline-behind.png", PNG + b"\r\n")
    yield File("zeros-behind.png", PNG + bytes(32_768))
    yield File("older-picture-behind.png", PNG + encoded("PNG", 300, 300)[-200_000:])
    yield File("older-picture-behind.jpg", JPEG + LARGE[-70_000:])
    yield File("comment-behind.png", PNG + b"\n<!-- generated -->")
    yield File("lossy.webp", WEBP)
    yield File("lossless.webp", encoded("WEBP", lossless=True))
    yield File("transparent.webp", encoded("WEBP", mode="RGBA"))
    yield File("extended.webp", encoded("WEBP", exif=b"Exif\0\0", icc_profile=bytes(99)))
    yield File("zeros-behind.webp", WEBP + bytes(20_000))
    yield File("named-otherwise.png", JPEG)


def solid(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (320, 200), "white").save(file, kind, optimize=True)
    return file.getvalue()


_ENOUGH = "Pillow stops at the last pixel"
_ALSO = "also something else"
_APPENDED = f"{_ENOUGH}, and does not look at what is behind"


def mishaps() -> Iterator[File]:
    """Files that are cut off or damaged."""
    yield File("empty.jpg", b"", "empty")
    yield File("cut.jpg", LARGE[:9_000], "cut off")
    yield File("cut-motion.jpg", with_segment(LARGE, MOTION)[:9_000], "cut off")
    yield File("cut-in-its-video.jpg", (with_segment(JPEG, MOTION) + video())[:-1_000], "cut off", _APPENDED)
    yield File("cut-in-its-gain-map.jpg", (JPEG + encoded("JPEG", 48, 32))[:-50], "cut off", _APPENDED)
    yield File("cut-galaxy.jpg", (JPEG + GALAXY)[:-1_000], "cut off", _APPENDED)
    yield File("cut-galaxy-soon.jpg", (JPEG + GALAXY)[: len(JPEG) + 3_000], "cut off", _APPENDED)
    yield File("cut-with-thumbnail.jpg", with_segment(LARGE, (0xE1, THUMBNAIL))[:9_000], "cut off")
    yield File("no-end.jpg", JPEG[:-2], "cut off")
    yield File("cut.png", PNG[:-4_000], "cut off")
    yield File("no-end.png", PNG[:-12], "cut off", _ENOUGH)
    yield File("cut.webp", WEBP[:-10], "cut off")
    yield File(
        "restart-missing.jpg", RESTARTS.replace(b"\xff\xd1", b"\xff\xd3", 1), "damaged", "Pillow draws what it finds"
    )
    yield File("second-beginning-in-a-scan.jpg", LARGE[:9_000] + LARGE, "damaged")
    yield File("bent.png", PNG[:200] + bytes([PNG[200] ^ 1]) + PNG[201:], "damaged")
    yield File("copied-as-text.png", PNG.replace(b"\r\n", b"\n"), "copied as text")
    yield File("two-sizes.webp", two_sizes(), "two sizes")


def two_sizes() -> bytes:
    picture = bytearray(encoded("WEBP", icc_profile=bytes(99)))
    picture[24] += 1
    return bytes(picture)


def brand(*brands: bytes) -> bytes:
    return box(b"ftyp", brands[0] + bytes(4) + b"".join(brands[1:])) + bytes(300)


def others() -> Iterator[File]:
    """What is no PNG, JPEG or WebP, or no still one, whatever it is named."""
    apple = PNG[:8] + chunk(b"CgBI", b"\x50\0\x20\6") + PNG[8:]
    yield File("xcode.png", apple, "Apple's own form", "Pillow passes over the chunk, and its colours are wrong")
    yield File("animated.png", ANIMATED, "animated", "Pillow shows the first frame")
    late = ANIMATED[:33] + chunk(b"tEXt", b"Comment\0" + b"x" * 100_000) + ANIMATED[33:]
    yield File("animated-behind-a-text.png", late, "animated", "Pillow shows the first frame")
    yield File("animated.webp", frames("WEBP"), "animated", "Pillow shows the first frame")
    yield File("animated.gif.jpg", frames("GIF"), "a GIF", "Segmind is given PNG, JPEG and WebP alone")
    yield File("paint.bmp.jpg", encoded("BMP"), "a BMP", "Segmind is given PNG, JPEG and WebP alone")
    yield File("scan.tiff.jpg", encoded("TIFF"), "a TIFF", "Segmind is given PNG, JPEG and WebP alone")
    yield File("heic.jpg", brand(b"heic", b"mif1", b"heic"), "a HEIC")
    yield File("heif-of-many.jpg", brand(b"msf1", b"hevc"), "a HEIC")
    yield File("avif.jpg", brand(b"avif", b"mif1", b"miaf"), "an AVIF")
    yield File("avif-that-says-mif1.jpg", brand(b"mif1", b"mif1", b"avif"), "an AVIF")
    yield File("jxl.jpg", b"\xff\x0a" + bytes(300), "a JPEG XL")
    yield File("jxl-boxes.jpg", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(300), "a JPEG XL")
    yield File("jp2.jpg", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(300), "a JPEG 2000")
    yield File("dng.jpg", b"II*\0\x08\0\0\0\1\0\x12\xc6\1\0\4\0\0\0\1\4\0\0" + bytes(300), "a DNG")
    yield File("cr2.jpg", b"II*\0\x10\0\0\0CR\2\0" + bytes(300), "a CR2")
    yield File("cr3.jpg", brand(b"crx ", b"isom"), "a CR3")
    yield File("raf.jpg", b"FUJIFILMCCD-RAW " + bytes(300), "RAW")
    yield File("nef.jpg", b"MM\0*" + bytes(300), "RAW")
    yield File("video.jpg", video(300), "a video")
    yield File("._1.png", b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(100), "AppleDouble")
    yield File("drawing.png", b"<?xml version='1.0'?><svg/>", "an SVG")
    yield File("page.png", b"<!doctype html><html>", "a web page")
    yield File("document.png", b"%PDF-1.4" + bytes(100), "a PDF")
    yield File("archive.png", zipped(), "an archive")
    yield File("text.png", b"this is no picture", "not a PNG, JPEG or WebP image")


def hidden() -> Iterator[File]:
    """Pictures with something behind them, or in them, that is no photograph's."""
    page = b"<html><script>alert(1)</script></html>"
    parts = {
        "zip": zipped(),
        "tar": tarred(),
        "gzip": b"\x1f\x8b\x08\0" + bytes(100),
        "rar": b"Rar!\x1a\7\0" + bytes(100),
        "7z": b"7z\xbc\xaf\x27\x1c" + bytes(100),
        "page": page,
        "php": b"<?php system($_GET[0]); ?>",
        "script": b"#!/bin/sh\nrm -rf /",
        "elf": b"\x7fELF\2\1\1" + bytes(100),
        "exe": b"MZ" + bytes(100),
        "pdf": b"%PDF-1.4" + bytes(100),
    }
    for name, part in parts.items():
        yield File(f"{name}-behind.jpg", JPEG + part, _ALSO, _APPENDED)
        yield File(f"{name}-behind.png", PNG + part, _ALSO, _APPENDED)
        yield File(f"{name}-behind.webp", WEBP + part, _ALSO, _APPENDED)
    claims = with_segment(JPEG, MOTION)
    for name in ("zip", "page", "rar", "exe"):
        part = parts[name]
        yield File(f"{name}-in-a-said-video.jpg", claims + part, _ALSO, _APPENDED)
        yield File(f"{name}-behind-a-video.jpg", claims + video() + part, _ALSO, _APPENDED)
        hides = box(b"ftyp", b"mp42") + box(b"mdat", part)
        yield File(f"{name}-in-a-video.jpg", claims + hides, _ALSO, _APPENDED)
        yield File(f"{name}-behind-zeros.jpg", JPEG + bytes(40_000) + part, _ALSO, _APPENDED)
        yield File(f"{name}-behind-a-picture.jpg", JPEG + JPEG + part, _ALSO, _APPENDED)
        yield File(f"{name}-between-pictures.jpg", JPEG + part + JPEG, _ALSO, _APPENDED)
        if name != "exe":  # its mark is too short to be looked for within a record
            hides = samsung((0x0A30, b"MotionPhoto_Data", part))
            yield File(f"{name}-as-a-galaxy-record.jpg", JPEG + hides, _ALSO, _APPENDED)
    yield File("zip-in-a-comment.jpg", with_segment(JPEG, (0xFE, zipped())), _ALSO, _APPENDED)
    yield File("pdf-in-a-text.png", PNG[:33] + chunk(b"tEXt", b"a\0%PDF-1.4") + PNG[33:], _ALSO, _APPENDED)
    megabyte = RANDOM.randbytes(1_000_000)
    yield File("unknown-megabyte-behind.jpg", JPEG + megabyte, "something else is appended", _APPENDED)


CORPUS = [*photographs(), *encodings(), *mishaps(), *others(), *hidden()]
