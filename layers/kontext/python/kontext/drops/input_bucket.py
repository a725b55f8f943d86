"""The one seam to the input bucket: what a dropped object is, and a link to it that ends within the hour."""

import hashlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from kontext import text
from kontext.drops import keys, request
from kontext.errors import BadDrop
from kontext.images import identify
from kontext.model import ObjectRead, RenderInput

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

LINK_SECONDS = 3600
"""Segmind reads the images when a worker takes the job, which may be long after the submit."""

_ABSENT = {"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed"}
_WRONG = {"request": "invalid_request", "prompt": "invalid_request"}
"""The code of what is wrong with a part that is no image."""
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """The largest image that is sent to Segmind, in millions of bytes and of pixels."""

    megabytes: float = 50
    megapixels: float = 100

    def check(self, image: identify.Image, size: int) -> None:
        """Raises ValueError for an image of `size` bytes that is too large."""
        if size > self.megabytes * 1e6:
            raise ValueError(f"it has {size / 1e6:.1f} megabytes; at most {self.megabytes:g} are allowed")
        if image.megapixels > self.megapixels:
            has = f"it has {image.width} x {image.height} pixels, {image.megapixels:.1f} million"
            raise ValueError(f"{has}; at most {self.megapixels:g} million are allowed")


class InputBucket:
    """The input bucket, read-only."""

    def __init__(self, client: "S3Client", bucket: str, limits: Limits | None = None) -> None:
        self.client = client
        self.bucket = bucket
        self.limits = limits or Limits()

    def read(self, key: str, slot: str) -> ObjectRead | None:
        """What the newest version of an object is as part `1`, `2`, `request` or `prompt`; None if there is none.

        It is read once, in a stream: an image to its end, for its SHA-256 is what it is known by.
        """
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            return self._unreadable(key, slot, error)
        read: ObjectRead = {
            "key": key,
            "version_id": answer.get("VersionId"),
            "etag": answer["ETag"].strip('"'),
            "bytes": answer["ContentLength"],
        }
        with closing(answer["Body"]) as body:
            try:
                return read | self._content(read, slot, body, answer["Metadata"])
            except BadDrop as bad:
                return read | _problem(key, bad.code, str(bad))
            except ValueError as bad:
                return read | _problem(key, _WRONG.get(slot, "invalid_image"), str(bad))

    def _content(self, read: ObjectRead, slot: str, body: "StreamingBody", metadata: Mapping[str, str]) -> ObjectRead:
        """What is in an object. Raises BadDrop or ValueError where it cannot be used."""
        if not read["bytes"]:
            raise ValueError("it is empty (0 bytes)")
        if slot in _WRONG:
            parse = request.parse_request if slot == "request" else request.parse_prompt
            return {"parameters": parse(body.read(request.MAX_BYTES + 1))}
        return self._image(read, body) | {"parameters": request.parse_metadata(metadata)}

    def _image(self, read: ObjectRead, body: "StreamingBody") -> ObjectRead:
        """The kind, the size in pixels and the SHA-256 of an image. Raises ValueError where it cannot be used."""
        if keys.has_steps(read["key"]):
            raise ValueError("its key has '.' or '..' steps, which no link to it can carry")
        image, head = _identified(body)
        self.limits.check(image, read["bytes"])
        digest, tail = hashlib.sha256(head), head[-identify.TAIL_BYTES :]
        while chunk := body.read(_CHUNK_BYTES):
            digest.update(chunk)
            tail = (tail + chunk)[-identify.TAIL_BYTES :]
        identify.check_end(image, head, tail, read["bytes"])
        return {"kind": image.kind, "width": image.width, "height": image.height, "sha256": digest.hexdigest()}

    def _unreadable(self, key: str, slot: str, error: ClientError) -> ObjectRead | None:
        code = error.response["Error"]["Code"]
        if code in _ABSENT:
            return None
        wrong = _WRONG.get(slot, "invalid_image")
        if code == "InvalidRequest":  # it is encrypted with a key that came with it
            unknown: ObjectRead = {"key": key, "version_id": None, "etag": "", "bytes": 0}
            return unknown | _problem(key, wrong, "it cannot be read without the key that it was encrypted with")
        if code == "InvalidObjectState":
            return self._unread(key) | _problem(key, wrong, "it is archived; restore it, then drop it again")
        raise error

    def _unread(self, key: str) -> ObjectRead:
        head = self.client.head_object(Bucket=self.bucket, Key=key)
        etag = head["ETag"].strip('"')
        return {"key": key, "version_id": head.get("VersionId"), "etag": etag, "bytes": head["ContentLength"]}

    def newest(self, key: str) -> tuple[str | None, str] | None:
        """The version id and the ETag of what stands under a key now; None if nothing does."""
        try:
            head = self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _ABSENT:
                return None
            if code == "400":  # it is encrypted with a key that came with it: nothing is told of it
                return None, ""
            raise
        return head.get("VersionId"), head["ETag"].strip('"')

    def presign(self, read: ObjectRead | RenderInput) -> str:
        """A URL that gives this version of the object to anyone, for `LINK_SECONDS`."""
        pinned = {"VersionId": read["version_id"]} if read.get("version_id") else {}
        return self.client.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": read["key"], **pinned}, ExpiresIn=LINK_SECONDS
        )


def _identified(body: "StreamingBody") -> tuple[identify.Image, bytes]:
    """An image, and as much of its beginning as it took to know it."""
    head = body.read(identify.HEAD_BYTES)
    try:
        return identify.identify(head), head
    except ValueError:
        if not head.startswith(b"\xff\xd8\xff"):
            raise
    head += body.read(identify.MAX_HEAD_BYTES - len(head))
    return identify.identify(head), head


def _problem(key: str, code: str, message: str) -> ObjectRead:
    return {"problem": {"code": code, "message": f"{text.escape_line(key)}: {message}"}}
