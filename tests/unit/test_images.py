"""Telling an image from its first bytes, held against Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from kontext.images.identify import HEAD_BYTES, Image, identify

Encoded = Callable[..., bytes]

NO_IMAGE = "it is not a PNG, JPEG or WebP image"
SIGNATURES = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF____WEBPVP8 ", b"RIFF____WEBPVP8L", b"RIFF____WEBPVP8X"]


def told(head: bytes) -> tuple[Image | None, str]:
    """The image, or the words with which it was refused."""
    try:
        return identify(head), ""
    except ValueError as refusal:
        return None, str(refusal)


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        pytest.param("PNG", {}, id="png"),
        pytest.param("JPEG", {}, id="jpeg"),
        pytest.param("JPEG", {"progressive": True}, id="progressive jpeg"),
        pytest.param("JPEG", {"exif": b"Exif\0\0" + bytes(40_000)}, id="jpeg with a large thumbnail"),
        pytest.param("JPEG", {"comment": b"x" * 60_000}, id="jpeg with a large comment"),
        pytest.param("WEBP", {}, id="lossy webp"),
        pytest.param("WEBP", {"lossless": True}, id="lossless webp"),
        pytest.param("WEBP", {"exif": b"Exif\0\0"}, id="extended webp"),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (640, 480), (3, 5000)], ids=str)
def test_kind_and_size_are_those_that_pillow_reads(
    encoded: Encoded, kind: str, how: dict[str, object], size: tuple[int, int]
) -> None:
    picture = encoded(kind, size, **how)

    image = identify(picture[:HEAD_BYTES])

    with Pillow.open(io.BytesIO(picture)) as read:
        assert image == Image(str(read.format).lower(), *read.size)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(b"<!doctype html><html>", "not a PNG, JPEG or WebP", id="web page"),
        pytest.param(b"GIF89a\x01\x00\x01\x00", "not a PNG, JPEG or WebP", id="another format"),
        pytest.param(b"RIFF\x00\x00\x00\x00WAVEfmt ", "not a PNG, JPEG or WebP", id="a sound"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "cut off or damaged", id="only a signature"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(4) + b"IDAT" + bytes(20), "cut off or damaged", id="png, no header"),
        pytest.param(b"\xff\xd8\xff\xe0\x00\x10JFIF", "cut off or damaged", id="jpeg, cut off"),
        pytest.param(b"\xff\xd8\xff\xe0\x00\x02not a marker", "cut off or damaged", id="jpeg, damaged"),
        pytest.param(b"RIFF\x00\x00\x00\x00WEBPVP8X\x00", "cut off or damaged", id="webp, cut off"),
        pytest.param(b"RIFF\x00\x00\x00\x00WEBPnope" + bytes(40), "cut off or damaged", id="webp, strange chunk"),
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(8), "size is zero", id="no pixels"),
    ],
)
def test_what_is_no_image_is_said_in_plain_words(head: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        identify(head)


@given(st.binary(max_size=200) | st.builds(bytes.__add__, st.sampled_from(SIGNATURES), st.binary(max_size=200)))
def test_any_bytes_are_an_image_or_a_plain_refusal(head: bytes) -> None:
    image, refusal = told(head)

    assert (image is None) == refusal.startswith("it is ")
    assert image is None or (image.kind in ("png", "jpeg", "webp") and image.width > 0 and image.height > 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_image_cut_anywhere_is_identified_or_refused(encoded: Encoded, kind: str) -> None:
    picture = encoded(kind, (40, 30))
    whole = identify(picture)

    seen = {told(picture[:length]) for length in range(len(picture))}

    assert {image for image, _ in seen} == {whole, None}
    assert {refusal for _, refusal in seen} <= {"", "it is empty (0 bytes)", NO_IMAGE, "it is cut off or damaged"}
