"""Pictures out of the stack's two buckets, whole or made small for the gallery. No link to S3 leaves the server."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

from botocore.exceptions import ClientError
from PIL import Image, ImageOps

from kontext.images.image import UNLIMITED, BadPicture
from kontext.images.inspection import inspect
from kontext_cli.target import Target

BUCKETS = {"input": "InputBucket", "output": "OutputBucket"}
WIDTHS = (480, 1600)
MOST_BYTES = 64 * 2**20
MOST_PIXELS = 120_000_000
CACHE_BYTES = 32 * 2**20
KINDS = ("PNG", "JPEG", "WEBP")
ANY_PICTURE = replace(UNLIMITED, animated=True)
"""Whether it may be rendered is said where it is dropped; of one that moves the first picture is shown."""


class NoPicture(Exception):
    """There is no such picture; the message says why."""


@dataclass(frozen=True)
class Pointer:
    """One version of an object (the newest if None) in the `input` or the `output` bucket."""

    role: str
    key: str
    version: str | None


class Pictures:
    """The pictures of one stack. Any thread may ask."""

    def __init__(self, target: Target) -> None:
        self._s3 = target.client("s3")
        self._buckets = {role: target.output(name) for role, name in BUCKETS.items()}
        self._lock = threading.Lock()
        self._small: OrderedDict[tuple[Pointer, int], tuple[bytes, str]] = OrderedDict()

    def original(self, pointer: Pointer) -> tuple[bytes, str]:
        """A picture as it is, and its kind: `png`, `jpeg` or `webp`. Raises NoPicture."""
        body = self._read(pointer)
        try:
            return body, inspect([body], ANY_PICTURE).image.kind
        except BadPicture as problem:
            raise NoPicture(str(problem)) from problem

    def small(self, pointer: Pointer, width: int) -> tuple[bytes, str]:
        """A picture at most so wide and high, the right way up, and its kind. Raises NoPicture."""
        if (known := self._known(pointer, width)) is not None:
            return known
        body, _ = self.original(pointer)
        drawn = _shrunk(body, width)
        if pointer.version:
            self._keep(pointer, width, drawn)
        return drawn

    def _read(self, pointer: Pointer) -> bytes:
        asked = {"Bucket": self._buckets[pointer.role], "Key": pointer.key}
        if pointer.version:
            asked["VersionId"] = pointer.version
        try:
            answer = self._s3.get_object(**asked)
            if answer["ContentLength"] > MOST_BYTES:
                raise NoPicture("the picture is too large to be shown here")
            body: bytes = answer["Body"].read()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (400, 404, 405):
                raise
            raise NoPicture("there is no such object") from error
        return body

    def _known(self, pointer: Pointer, width: int) -> tuple[bytes, str] | None:
        with self._lock:
            if (pointer, width) in self._small:
                self._small.move_to_end((pointer, width))
            return self._small.get((pointer, width))

    def _keep(self, pointer: Pointer, width: int, drawn: tuple[bytes, str]) -> None:
        with self._lock:
            self._small[pointer, width] = drawn
            while sum(len(body) for body, _ in self._small.values()) > CACHE_BYTES:
                self._small.popitem(last=False)


def _shrunk(body: bytes, width: int) -> tuple[bytes, str]:
    try:
        # Only the formats that a pair may have: Pillow's other readers are not for strangers' files.
        with Image.open(io.BytesIO(body), formats=KINDS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise NoPicture("the picture has too many pixels to be shown here")
            picture.draft("RGB", (width * 2, width * 2))
            picture.thumbnail((width, width))
            return _encoded(ImageOps.exif_transpose(picture))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
        raise NoPicture("the picture is damaged") from problem


def _encoded(picture: Image.Image) -> tuple[bytes, str]:
    out = io.BytesIO()
    if picture.has_transparency_data:
        picture.convert("RGBA").save(out, "WEBP", quality=82, method=1)
        return out.getvalue(), "webp"
    picture.convert("RGB").save(out, "JPEG", quality=85)
    return out.getvalue(), "jpeg"
