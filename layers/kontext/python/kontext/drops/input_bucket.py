"""The one seam to the input bucket: what a dropped object is, and a link to it that ends within the hour."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from kontext import text
from kontext.drops import keys, request
from kontext.errors import BadDrop, KontextError
from kontext.images import identify
from kontext.model import ObjectRead, RenderInput

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LINK_SECONDS = 3600
"""Segmind reads the images when a worker takes the job, which may be long after the submit."""

_ABSENT = {"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed"}
_FIRST_BYTES = max(identify.HEAD_BYTES, request.MAX_BYTES) + 1


class Overwritten(KontextError):
    """The object is another one than that whose first bytes were read, or gone."""


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

        A large image costs two small ranged requests, for its first and its last bytes, whatever its size.
        """
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=key, Range=f"bytes=0-{_FIRST_BYTES - 1}")
        except ClientError as error:
            return self._unreadable(key, slot, error)
        body = answer["Body"].read()
        read: ObjectRead = {
            "key": key,
            "version_id": answer.get("VersionId"),
            "etag": answer["ETag"].strip('"'),
            "bytes": int(answer["ContentRange"].rpartition("/")[2]) if "ContentRange" in answer else len(body),
        }
        try:
            if slot == "request":
                return read | {"parameters": request.parse_request(body)}
            if slot == "prompt":
                return read | {"parameters": request.parse_prompt(body)}
            seen = self._seen(read, body)
            return read | seen | {"parameters": request.parse_metadata(answer["Metadata"])}
        except Overwritten:
            return self.read(key, slot)
        except BadDrop as bad:
            return read | _problem(key, bad.code, str(bad))
        except ValueError as bad:
            return read | _problem(key, "invalid_image", str(bad))

    def _seen(self, read: ObjectRead, head: bytes) -> ObjectRead:
        """The kind and the size in pixels of an image. Raises ValueError where it cannot be used."""
        if keys.has_steps(read["key"]):
            raise ValueError("its key has '.' or '..' steps, which no link to it can carry")
        size = read["bytes"]
        image, head = self._identified(read, head)
        self.limits.check(image, size)
        start = max(0, size - identify.TAIL_BYTES)
        tail = head[start:] if len(head) == size else self._part(read, start, size)
        identify.check_end(image, head, tail, size)
        return {"kind": image.kind, "width": image.width, "height": image.height}

    def _identified(self, read: ObjectRead, head: bytes) -> tuple[identify.Image, bytes]:
        try:
            return identify.identify(head), head
        except ValueError:
            end = min(read["bytes"], identify.MAX_HEAD_BYTES)
            if not head.startswith(b"\xff\xd8\xff") or len(head) >= end:
                raise
        head += self._part(read, len(head), end)
        return identify.identify(head), head

    def _part(self, read: ObjectRead, start: int, end: int) -> bytes:
        # By ETag, not by version: the embedded cloud answers a range of a version with all of it.
        part: Any = {"Range": f"bytes={start}-{end - 1}", "IfMatch": f'"{read["etag"]}"'}
        try:
            return self.client.get_object(Bucket=self.bucket, Key=read["key"], **part)["Body"].read()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in (404, 412):
                raise Overwritten from error
            raise

    def _unreadable(self, key: str, slot: str, error: ClientError) -> ObjectRead | None:
        code = error.response["Error"]["Code"]
        if code in _ABSENT:
            return None
        wrong = "invalid_request" if slot in ("request", "prompt") else "invalid_image"
        if code == "InvalidRange":  # what S3 answers for an object of no bytes
            return self._unread(key) | _problem(key, wrong, "it is empty (0 bytes)")
        if code == "InvalidRequest":  # and for one that is encrypted with a key that came with it
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
            if error.response["Error"]["Code"] in _ABSENT:
                return None
            raise
        return head.get("VersionId"), head["ETag"].strip('"')

    def presign(self, read: ObjectRead | RenderInput) -> str:
        """A URL that gives this version of the object to anyone, for `LINK_SECONDS`."""
        pinned = {"VersionId": read["version_id"]} if read.get("version_id") else {}
        return self.client.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": read["key"], **pinned}, ExpiresIn=LINK_SECONDS
        )


def _problem(key: str, code: str, message: str) -> ObjectRead:
    return {"problem": {"code": code, "message": f"{text.escape_line(key)}: {message}"}}
