"""The one seam to the output bucket."""

import base64
import hashlib
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypedDict

from botocore.exceptions import ClientError

from kontext.errors import KontextError
from kontext.model import Result

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

PART_BYTES = 5 * 1024 * 1024
"""The least that S3 takes as a part of an upload; with `PARTS_IN_FLIGHT` it bounds the memory, whatever the
picture."""
PARTS_IN_FLIGHT = 1

Condition = dict[str, str]
"""Under which an object may be written: `{"IfMatch": etag}` or `{"IfNoneMatch": "*"}`."""


class Overtaken(KontextError):
    """Somebody else wrote the object between our look at it and our write."""


class OutputBucket:
    """The output bucket."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self.client = client
        self.bucket = bucket

    def write_precondition(self, key: str) -> Condition:
        """The condition under which the object as it stands now may be replaced."""
        head = self._head(key)
        return {"IfMatch": head["ETag"]} if head else {"IfNoneMatch": "*"}

    def remove_if_ours(self, key: str, ours: dict[str, str]) -> None:
        """Take an object with this metadata out of sight; another's, also one that comes at this very moment, stays."""
        head = self._head(key)
        if head and ours.items() <= head["Metadata"].items():
            self.remove(key, {"IfMatch": head["ETag"]})

    def _head(self, key: str) -> "HeadObjectOutputTypeDef | None":
        try:
            return self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise

    def put_json(self, key: str, body: bytes, metadata: dict[str, str], condition: Condition | None = None) -> None:
        """Write a small JSON file.

        Raises:
            Overtaken: `condition` does not hold any more.
        """
        with self.upload(key, "application/json", metadata, condition or {}) as upload:
            upload.add(body)
            upload.finish()

    def remove(self, key: str, write_precondition: Condition | None = None) -> None:
        """Take an object out of sight, if it is still what stood there; the bucket is versioned and keeps it."""
        if write_precondition is not None and "IfMatch" not in write_precondition:  # nothing stood there
            return
        try:
            self.client.delete_object(Bucket=self.bucket, Key=key, **(write_precondition or {}))  # type: ignore[arg-type]
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (404, 409, 412):
                raise

    def restore(self, before: Result, key: str, condition: Condition) -> Result | None:
        """Put a picture that was written before under a key, byte for byte; None if it cannot be read any more: the
        bucket forgets what was replaced after a month.

        Raises:
            Overtaken: `condition` does not hold any more.
        """
        version_id = before.get("version_id")
        if not version_id:
            return None
        try:
            found = self.client.get_object(Bucket=self.bucket, Key=before["key"], VersionId=version_id)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                raise
            return None
        with self.upload(key, before["content_type"], found["Metadata"], condition) as upload:
            while part := found["Body"].read(PART_BYTES):
                upload.add(part)
            written = upload.finish()
        return {**before, "key": key, "version_id": written.get("VersionId"), "etag": written["ETag"].strip('"')}

    def upload(self, key: str, content_type: str, metadata: dict[str, str], condition: Condition) -> "Upload":
        """Begin to write an object in parts, as a context."""
        described = {"ContentType": content_type, "Metadata": metadata}
        return Upload(self.client, {"Bucket": self.bucket, "Key": key}, described, condition)


class Written(TypedDict, total=False):
    """What S3 answers when an object was written; a version where the bucket keeps them."""

    ETag: str
    VersionId: str


class CompletedPart(TypedDict):
    """One part of an upload, as S3 wants to hear of it in the end."""

    PartNumber: int
    ETag: str


class Upload:
    """One object written in parts, the parts in flight while the next is read; a single part is put at once."""

    def __init__(
        self, client: "S3Client", target: dict[str, str], described: Mapping[str, object], condition: Condition
    ) -> None:
        self.client: Any = client
        self.target = target
        self.described = described
        self.condition = condition
        self.upload_id: str | None = None
        self.held: bytes | None = None
        self.parts: list[CompletedPart] = []
        self.in_flight: deque[Future[CompletedPart]] = deque()
        self.pool = ThreadPoolExecutor(PARTS_IN_FLIGHT)

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, problem: object, *_: object) -> None:
        self.pool.shutdown(cancel_futures=True)
        if problem and self.upload_id:
            self.client.abort_multipart_upload(**self.target, UploadId=self.upload_id)

    def add(self, part: bytes) -> None:
        """Take the next part. The first is held back: it may be the only one."""
        if self.held is None and self.upload_id is None:
            self.held = part
            return
        if self.upload_id is None:
            self.upload_id = self.client.create_multipart_upload(**self.target, **self.described)["UploadId"]
            self._send(self.held or b"")
            self.held = None
        self._send(part)

    def finish(self) -> Written:
        """Make the object appear.

        Raises:
            Overtaken: its condition does not hold any more.
        """
        try:
            if self.upload_id is None:
                return self._put(self.held or b"")
            while self.in_flight:
                self.parts.append(self.in_flight.popleft().result())
            return self.client.complete_multipart_upload(  # type: ignore[no-any-return]
                **self.target, **self.condition, UploadId=self.upload_id, MultipartUpload={"Parts": self.parts}
            )
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in (404, 409, 412):
                raise Overtaken from error
            raise

    def _put(self, body: bytes) -> Written:
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        return self.client.put_object(  # type: ignore[no-any-return]
            **self.target, **self.described, **self.condition, Body=body, ChecksumSHA256=checksum
        )

    def _send(self, body: bytes) -> None:
        if len(self.in_flight) == PARTS_IN_FLIGHT:
            self.parts.append(self.in_flight.popleft().result())
        number = len(self.parts) + len(self.in_flight) + 1
        self.in_flight.append(self.pool.submit(self._part, number, body))

    def _part(self, number: int, body: bytes) -> CompletedPart:
        answer = self.client.upload_part(**self.target, UploadId=self.upload_id, PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": answer["ETag"]}
