"""The one seam to the input bucket: what a dropped object is, and a link to it that ends within the hour."""

from contextlib import closing
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from kontext import text
from kontext.drops import keys, request
from kontext.errors import BadDrop
from kontext.images.image import BadPicture, Limits
from kontext.images.inspection import inspect
from kontext.images.source import PIECE_BYTES
from kontext.model import ObjectRead, RenderInput

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

LINK_SECONDS = 3600
"""Segmind reads the images when a worker takes the job, which may be long after the submit."""

_ABSENT = {"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed"}
_CLOSED = {
    "AccessDenied": (
        "this stack may not read it: it is encrypted with a KMS key that the stack's role may not use, or belongs to "
        "another account; drop it again with the bucket's own encryption"
    ),
    "InvalidObjectState": "it is archived; drop it again in the storage class STANDARD",
    "InvalidRequest": (
        "it cannot be read without the key that it was encrypted with (SSE-C); drop it again with the bucket's own "
        "encryption"
    ),
}
"""What S3 answers for an object that is there and that no try again will read: its dropper is told."""
_FIRST_BYTES = request.MAX_BYTES + 1


class InputBucket:
    """The input bucket, read-only."""

    def __init__(self, client: "S3Client", bucket: str, limits: Limits | None = None) -> None:
        self.client = client
        self.bucket = bucket
        self.limits = limits or Limits()

    def read(self, key: str, slot: str) -> ObjectRead | None:
        """What the newest version of an object is as part `1`, `2`, `request` or `prompt`; None if there is none.

        An image is read whole, in a stream, by one request; what is no picture only as far as that takes to see.
        """
        asked: Any = {"Range": f"bytes=0-{_FIRST_BYTES - 1}"} if slot in ("request", "prompt") else {}
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=key, **asked)
        except ClientError as error:
            return self._unreadable(key, slot, error)
        read: ObjectRead = {
            "key": key,
            "version_id": answer.get("VersionId"),
            "etag": answer["ETag"].strip('"'),
            "bytes": int(answer.get("ContentRange", "").rpartition("/")[2] or answer["ContentLength"]),
        }
        try:
            with closing(answer["Body"]) as body:
                if slot == "request":
                    return read | {"parameters": request.parse_request(body.read())}
                if slot == "prompt":
                    return read | {"parameters": request.parse_prompt(body.read())}
                seen = self._seen(read, body)
            return read | seen | {"parameters": request.parse_metadata(answer["Metadata"])}
        except BadDrop as bad:
            return read | _problem(key, bad.code, str(bad))
        except BadPicture as bad:
            return read | _problem(key, "invalid_image", str(bad))

    def _seen(self, read: ObjectRead, body: "StreamingBody") -> ObjectRead:
        """What an image is. Raises BadPicture where it cannot be used."""
        if keys.has_steps(read["key"]):
            raise BadPicture("its key has '.' or '..' steps, which no link to it can carry")
        self.limits.check_bytes(read["bytes"])
        picture = inspect(iter(lambda: body.read(PIECE_BYTES), b""), self.limits)
        image = picture.image
        return {"kind": image.kind, "width": image.width, "height": image.height, "sha256": picture.sha256}

    def _unreadable(self, key: str, slot: str, error: ClientError) -> ObjectRead | None:
        code = error.response["Error"]["Code"]
        if code in _ABSENT:
            return None
        wrong = "invalid_request" if slot in ("request", "prompt") else "invalid_image"
        if code == "InvalidRange":  # what S3 answers for an object of no bytes
            return self._unread(key) | _problem(key, wrong, "it is empty (0 bytes)")
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html
        is_our_role = "no identity-based policy allows the s3:" in error.response["Error"].get("Message", "")
        if (code in _CLOSED or code.startswith("KMS.")) and not is_our_role:
            return self._unread(key) | _problem(key, wrong, _CLOSED.get(code, _CLOSED["AccessDenied"]))
        raise error

    def _unread(self, key: str) -> ObjectRead:
        try:
            head = self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (400, 403, 404):
                raise
            return {"key": key, "version_id": None, "etag": "", "bytes": 0}
        etag = head["ETag"].strip('"')
        return {"key": key, "version_id": head.get("VersionId"), "etag": etag, "bytes": head["ContentLength"]}

    def presign(self, read: ObjectRead | RenderInput) -> str:
        """A URL that gives this version of the object to anyone, for `LINK_SECONDS`."""
        pinned = {"VersionId": read["version_id"]} if read.get("version_id") else {}
        return self.client.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": read["key"], **pinned}, ExpiresIn=LINK_SECONDS
        )


def _problem(key: str, code: str, message: str) -> ObjectRead:
    return {"problem": {"code": code, "message": f"{text.escape_line(key)}: {message}"}}
