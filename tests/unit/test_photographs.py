"""What people have on their phones and disks: held against Pillow, and the same at every door."""

from __future__ import annotations

import io

import pytest
from PIL import Image as Pillow

from kontext.images.image import BadPicture, Limits
from kontext.images.inspection import inspect
from tests.unit.photographs import CORPUS, File

FILES = [pytest.param(file, id=file.name) for file in CORPUS]
TAKEN = [pytest.param(file, id=file.name) for file in CORPUS if file.refusal is None]


def refusal_of(content: bytes) -> str | None:
    try:
        inspect([content], Limits())
    except BadPicture as refused:
        return str(refused)
    return None


def pillow_opens(content: bytes) -> bool:
    try:
        with Pillow.open(io.BytesIO(content)) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


@pytest.mark.parametrize("file", FILES)
def test_each_is_taken_or_refused_in_words_that_say_what_it_is(file: File) -> None:
    refusal = refusal_of(file.content)

    if file.refusal is None:
        assert refusal is None
    else:
        assert refusal is not None
        assert file.refusal in refusal


@pytest.mark.parametrize("file", FILES)
def test_pillow_opens_just_what_is_taken_but_for_what_has_a_reason(file: File) -> None:
    taken = file.refusal is None

    assert pillow_opens(file.content) is (taken != bool(file.differs))


@pytest.mark.parametrize("file", TAKEN)
def test_what_is_taken_has_the_size_that_pillow_reads(file: File) -> None:
    image = inspect([file.content], Limits()).image

    with Pillow.open(io.BytesIO(file.content)) as picture:
        assert (image.width, image.height) == picture.size
        assert image.kind == str(picture.format).lower().replace("mpo", "jpeg")
