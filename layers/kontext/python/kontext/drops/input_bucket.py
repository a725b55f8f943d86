"""The one seam to the input bucket: what a dropped object is, and a link to it that ends within the hour."""

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from kontext import text
from kontext.drops import keys, request, text_file
from kontext.drops.references import References
from kontext.errors import BadDrop
from kontext.images.image import BadPicture, Limits
from kontext.images.inspection import inspect
from kontext.images.source import PIECE_BYTES
from kontext.model import ErrorCode, ObjectRead, RenderInput

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

LINK_SECONDS = 3600
"""Segmind reads the images when a worker takes the job, which may be long after the submit."""

_ABSENT = {"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed", "KeyTooLongError"}
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


class InputBucket:
    """The input bucket, read-only."""

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        limits: Limits | None = None,
        references: References | None = None,
    ) -> None:
        self.client = client
        self.bucket = bucket
        self.limits = limits or Limits()
        self.references = references or References()

    def read(self, key: str, slot: str) -> ObjectRead | None:
        """What the newest version of an object is as part `1`, `2`, `request` or `prompt`; None if there is none.

        An image is read whole, in a stream, by one request; what is no picture only as far as that takes to see.
        """
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            return self._unreadable(key, slot, error)
        read = _described(key, answer)
        with closing(answer["Body"]) as body:
            try:
                return read | self._content(read, slot, body, answer["Metadata"])
            except BadDrop as bad:
                return read | _problem(key, bad.code, str(bad))
            except BadPicture as bad:
                return read | _problem(key, "invalid_image", str(bad))

    def _content(self, read: ObjectRead, slot: str, body: "StreamingBody", metadata: Mapping[str, str]) -> ObjectRead:
        """What is in an object. Raises BadDrop or BadPicture where it cannot be used."""
        if slot == "request" and not read["bytes"]:
            raise BadDrop("invalid_request", "it is empty (0 bytes)")
        if slot == "request":
            asked = request.parse_request(body.read(text_file.MAX_BYTES + 1))
            self.references.check(keys.folder_of(read["key"]), asked)
            return {"parameters": asked}
        if slot == "prompt":
            return {"parameters": request.parse_prompt(body.read(text_file.MAX_BYTES + 1))}
        return self._image(read, body) | {"parameters": request.parse_metadata(metadata)}

    def _image(self, read: ObjectRead, body: "StreamingBody") -> ObjectRead:
        """What an image is. Raises BadPicture where it cannot be used."""
        if keys.has_steps(read["key"]):
            raise BadPicture("its key has '.' or '..' steps, which no link to it can carry")
        self.limits.check_bytes(read["bytes"])
        picture = inspect(iter(partial(body.read, PIECE_BYTES), b""), self.limits)
        image = picture.image
        return {"kind": image.kind, "width": image.width, "height": image.height, "sha256": picture.sha256}

    def _unreadable(self, key: str, slot: str, error: ClientError) -> ObjectRead | None:
        code = error.response["Error"]["Code"]
        if code in _ABSENT:
            return None
        wrong: ErrorCode = "invalid_request" if slot in ("request", "prompt") else "invalid_image"
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html
        is_our_role = "no identity-based policy allows the s3:" in error.response["Error"].get("Message", "")
        if (code in _CLOSED or code.startswith("KMS.")) and not is_our_role:
            problem = _problem(key, wrong, _CLOSED.get(code, _CLOSED["AccessDenied"]))
            return self._unread(key) | {"closed": True} | problem
        raise error

    def _unread(self, key: str) -> ObjectRead:
        try:
            head = self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (400, 403, 404):
                raise
            return {"key": key, "version_id": None, "etag": "", "bytes": 0}
        return _described(key, head)

    def keys_under(self, start: str, most: int = 100) -> list[str]:
        """The first keys that begin so, the newest objects first."""
        if len(start.encode()) > keys.MAX_KEY_BYTES:
            return []
        answer = self.client.list_objects_v2(Bucket=self.bucket, Prefix=start, MaxKeys=most)
        newest_first = sorted(answer.get("Contents", ()), key=lambda found: found["LastModified"], reverse=True)
        return [found["Key"] for found in newest_first]

    def newest(self, key: str) -> tuple[str | None, str] | None:
        """The version id and the ETag of what stands under a key now; None if nothing does."""
        try:
            head = self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _ABSENT:
                return None
            if code in ("400", "403"):  # it is encrypted with a key of its own, or another account's: reading it tells
                return None, ""
            raise
        return head.get("VersionId"), head["ETag"].strip('"')

    def presign(self, read: ObjectRead | RenderInput) -> str:
        """A URL that gives this version of the object to anyone, for `LINK_SECONDS`."""
        pinned = {"VersionId": read["version_id"]} if read.get("version_id") else {}
        return self.client.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": read["key"], **pinned}, ExpiresIn=LINK_SECONDS
        )


def _described(key: str, answer: "GetObjectOutputTypeDef | HeadObjectOutputTypeDef") -> ObjectRead:
    """What S3 says of an object beside its bytes."""
    return {
        "key": key,
        "version_id": answer.get("VersionId"),
        "etag": answer["ETag"].strip('"'),
        "bytes": answer["ContentLength"],
        "written_at": answer["LastModified"].timestamp(),
    }


def _problem(key: str, code: ErrorCode, message: str) -> ObjectRead:
    message = message.removeprefix("request.json: ").removeprefix("prompt.txt: ")  # which the key says
    return {"problem": {"code": code, "message": f"{text.escape_line(key)}: {message}"}}
