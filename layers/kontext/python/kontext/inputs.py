"""The one seam to the input bucket: what a dropped object is, and a link to it that ends within the hour."""

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from kontext import images, request
from kontext.errors import BadDrop

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LINK_SECONDS = 3600
"""Segmind reads the images when a worker takes the job, which may be long after the submit."""

_ABSENT = {"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed"}

Read = dict[str, Any]
"""What is known of an object: `key`, `version_id`, `etag`, `bytes`, and either `problem` or what was read from it:
`parameters`, and for an image its `kind`, `width` and `height`."""


class Inputs:
    """The input bucket, read-only."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self.client = client
        self.bucket = bucket

    def read(self, key: str, slot: str) -> Read | None:
        """What the newest version of an object is as part `1`, `2`, `request` or `prompt`; None if there is none.

        An image costs one ranged request for its first bytes, whatever its size.
        """
        try:
            answer = self.client.get_object(
                Bucket=self.bucket, Key=key, Range=f"bytes=0-{max(images.HEAD_BYTES, request.MAX_BYTES)}"
            )
        except ClientError as error:
            return self._unreadable(key, error)
        read: Read = {
            "key": key,
            "version_id": answer.get("VersionId"),
            "etag": answer["ETag"].strip('"'),
            "bytes": int(answer.get("ContentRange", "/0").rpartition("/")[2]),
        }
        return read | _understood(answer["Body"].read(), answer["Metadata"], key, slot)

    def _unreadable(self, key: str, error: ClientError) -> Read | None:
        code = error.response["Error"]["Code"]
        if code in _ABSENT:
            return None
        if code == "InvalidRange":  # what S3 answers for an object of no bytes
            head = self.client.head_object(Bucket=self.bucket, Key=key)
            return {
                "key": key,
                "version_id": head.get("VersionId"),
                "etag": head["ETag"].strip('"'),
                "bytes": 0,
                "problem": {"code": "invalid_image", "message": f"{key}: it is empty (0 bytes)"},
            }
        raise error

    def link(self, read: Read) -> str:
        """A URL that gives this version of the object to anyone, for `LINK_SECONDS`."""
        pinned = {"VersionId": read["version_id"]} if read.get("version_id") else {}
        return self.client.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": read["key"], **pinned}, ExpiresIn=LINK_SECONDS
        )


def _understood(body: bytes, metadata: dict[str, str], key: str, slot: str) -> dict[str, Any]:
    try:
        if slot == "request":
            return {"parameters": request.parse_request(body)}
        if slot == "prompt":
            return {"parameters": request.parse_prompt(body)}
        image = images.identify(body)
        seen = {"kind": image.kind, "width": image.width, "height": image.height}
        return seen | {"parameters": request.parse_metadata(metadata)}
    except BadDrop as bad:
        return {"problem": {"code": bad.code, "message": f"{key}: {bad}"}}
    except ValueError as bad:
        return {"problem": {"code": "invalid_image", "message": f"{key}: {bad}"}}
