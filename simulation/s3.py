"""S3 in memory: two versioned buckets, conditional writes, uploads in parts, and links that pin a version.

`test_fakes.py` holds it against moto.
"""

# ruff: noqa: N803  the services' own names

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from botocore.exceptions import ClientError

from simulation.sorted_keys import SortedKeys


@dataclass(frozen=True)
class Version:
    """One version of an object; a delete marker has no body."""

    version_id: str
    body: bytes | None
    etag: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    content_type: str = "binary/octet-stream"
    at: float = 0.0
    closed: str = ""
    """The code with which S3 refuses to give it to the stack's role."""

    @cached_property
    def digest(self) -> str:
        """What its content is, however it was uploaded."""
        return hashlib.sha256(self.body or b"").hexdigest()[:12]


@dataclass
class Upload:
    """An upload in parts that is not finished."""

    key: str
    described: dict[str, Any]
    parts: dict[int, bytes] = field(default_factory=dict)


class S3:
    """Buckets appear when first written to; `now`: the time."""

    def __init__(self, now: Callable[[], float] = lambda: 0.0) -> None:
        self._now = now
        self.buckets: dict[str, dict[str, list[Version]]] = {}
        self.uploads: dict[str, Upload] = {}
        self.written: dict[tuple[str, str, str], Version] = {}
        """Every version that there ever was, by bucket, key and version id: also what was removed for good."""
        self._keys: defaultdict[str, SortedKeys] = defaultdict(SortedKeys)
        """The keys of each bucket under which there ever was anything."""
        self._numbers = itertools.count(1)

    def newest(self, bucket: str, key: str) -> Version | None:
        """What stands under a key now."""
        versions = self.buckets.get(bucket, {}).get(key, [])
        return versions[-1] if versions and versions[-1].body is not None else None

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """What a listing shows."""
        return [key for key in self._keys[bucket].beginning_with(prefix) if self.newest(bucket, key)]

    def list_objects_v2(self, *, Bucket: str, Prefix: str = "", MaxKeys: int = 1000) -> dict[str, Any]:
        keys = self.keys(Bucket, Prefix)[:MaxKeys]
        return {"Contents": [_listed(key, one) for key in keys if (one := self.newest(Bucket, key))]}

    def list_object_versions(self, *, Bucket: str, Prefix: str = "", **_: int) -> dict[str, Any]:
        """All versions in one listing."""
        there = [(key, self.buckets[Bucket][key]) for key in self._keys[Bucket].beginning_with(Prefix)]
        listed = [(key, one, one is all_of[-1]) for key, all_of in there for one in all_of]
        versions = [(_listed(key, one), one, latest) for key, one, latest in listed if one.body is not None]
        return {
            "Versions": [told | {"VersionId": one.version_id, "IsLatest": latest} for told, one, latest in versions]
        }

    def version(self, url: str) -> tuple[str, Version | None]:
        """The key that a link leads to, and the version that it pins."""
        key, pinned = linked(url)
        versions = self.buckets.get(urlsplit(url).netloc.partition(".")[0], {}).get(key, [])
        return key, next((one for one in versions if one.version_id == pinned and one.body is not None), None)

    def get_object(
        self, *, Bucket: str, Key: str, Range: str = "", IfMatch: str = "", VersionId: str = ""
    ) -> dict[str, Any]:
        if VersionId:
            found = self._version(Bucket, Key, VersionId)
        else:
            found = self._existing(Bucket, Key, "GetObject", "NoSuchKey")
        if IfMatch not in ("", f'"{found.etag}"'):
            raise error("PreconditionFailed", 412, "GetObject")
        if found.closed:
            raise error(found.closed, 403, "GetObject")
        body = found.body or b""
        answer = _told(found)
        if Range:
            first, last = (int(n) for n in re.findall(r"\d+", Range))
            if first >= len(body):
                raise error("InvalidRange", 416, "GetObject")
            part = body[first : last + 1]
            answer["ContentRange"] = f"bytes {first}-{first + len(part) - 1}/{len(body)}"
            body = part
        return answer | {"Body": io.BytesIO(body), "ContentLength": len(body)}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        found = self._existing(Bucket, Key, "HeadObject", "404")
        return _told(found) | {"ContentLength": len(found.body or b"")}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **said: Any) -> dict[str, Any]:
        if said.get("ChecksumSHA256", _sha256(Body)) != _sha256(Body):
            raise error("BadDigest", 400, "PutObject")
        self._check(Bucket, Key, said, "PutObject")
        return self._write(Bucket, Key, Body, self._etag(Body, said), said)

    def delete_object(self, *, Bucket: str, Key: str, IfMatch: str = "") -> dict[str, Any]:
        if IfMatch and self._existing(Bucket, Key, "DeleteObject", "NoSuchKey").etag != IfMatch.strip('"'):
            raise error("PreconditionFailed", 412, "DeleteObject")
        marker = Version(self._version_id(), None)
        self._append(Bucket, Key, marker)
        return {"DeleteMarker": True, "VersionId": marker.version_id}

    def remove_version(self, bucket: str, key: str) -> None:
        """Remove what is newest under a key for good: a version, or the delete marker that hides one."""
        self.buckets[bucket][key].pop()

    def create_multipart_upload(self, *, Bucket: str, Key: str, **said: Any) -> dict[str, Any]:
        upload_id = f"upload-{next(self._numbers)}"
        self.uploads[upload_id] = Upload(Key, said)
        return {"UploadId": upload_id}

    def upload_part(
        self,
        *,
        Bucket: str,
        Key: str,
        UploadId: str,
        PartNumber: int,
        Body: bytes,
    ) -> dict[str, Any]:
        self._upload(UploadId, "UploadPart").parts[PartNumber] = Body
        return {"ETag": f'"{hashlib.md5(Body).hexdigest()}"'}

    def complete_multipart_upload(
        self,
        *,
        Bucket: str,
        Key: str,
        UploadId: str,
        MultipartUpload: dict[str, Any],
        **said: Any,
    ) -> dict[str, Any]:
        upload = self._upload(UploadId, "CompleteMultipartUpload")
        self._check(Bucket, Key, said, "CompleteMultipartUpload")
        parts = [upload.parts[part["PartNumber"]] for part in MultipartUpload["Parts"]]
        digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
        del self.uploads[UploadId]
        return self._write(Bucket, Key, b"".join(parts), f"{digest}-{len(parts)}", upload.described)

    def abort_multipart_upload(self, *, Bucket: str, Key: str, UploadId: str) -> dict[str, Any]:
        self._upload(UploadId, "AbortMultipartUpload")
        del self.uploads[UploadId]
        return {}

    def generate_presigned_url(self, operation: str, *, Params: dict[str, str], ExpiresIn: int) -> str:
        pinned = f"versionId={Params['VersionId']}&" if "VersionId" in Params else ""
        return f"https://{Params['Bucket']}.s3.amazonaws.com/{quote(Params['Key'])}?{pinned}X-Amz-Expires={ExpiresIn}"

    def _existing(self, bucket: str, key: str, operation: str, code: str) -> Version:
        found = self.newest(bucket, key)
        if found is None:
            raise error(code, 404, operation)
        return found

    def _version(self, bucket: str, key: str, version_id: str) -> Version:
        versions = self.buckets.get(bucket, {}).get(key, [])
        found = next((one for one in versions if one.version_id == version_id and one.body is not None), None)
        if found is None:
            raise error("NoSuchVersion", 404, "GetObject")
        return found

    def _check(self, bucket: str, key: str, said: dict[str, Any], operation: str) -> None:
        found = self.newest(bucket, key)
        if "IfMatch" in said and found is None:
            raise error("NoSuchKey", 404, operation)
        if "IfMatch" in said and found and said["IfMatch"].strip('"') != found.etag:
            raise error("PreconditionFailed", 412, operation)
        if "IfNoneMatch" in said and found is not None:
            raise error("PreconditionFailed", 412, operation)

    def _write(self, bucket: str, key: str, body: bytes, etag: str, said: dict[str, Any]) -> dict[str, Any]:
        kind = said.get("ContentType", "binary/octet-stream")
        metadata, closed = dict(said.get("Metadata", {})), _closed(said)
        version = Version(self._version_id(), body, etag, metadata, kind, self._now(), closed)
        self._append(bucket, key, version)
        self.written[bucket, key, version.version_id] = version
        return {"ETag": f'"{etag}"', "VersionId": version.version_id}

    def _append(self, bucket: str, key: str, version: Version) -> None:
        self._keys[bucket].add(key)
        self.buckets.setdefault(bucket, {}).setdefault(key, []).append(version)

    def _upload(self, upload_id: str, operation: str) -> Upload:
        if upload_id not in self.uploads:
            raise error("NoSuchUpload", 404, operation)
        return self.uploads[upload_id]

    def _etag(self, body: bytes, said: dict[str, Any]) -> str:
        # Under a key of KMS it is no digest: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
        salt = self._version_id() if said.get("ServerSideEncryption") == "aws:kms" else ""
        return hashlib.md5(body + salt.encode()).hexdigest()

    def _version_id(self) -> str:
        return f"v{next(self._numbers)}"


def _closed(said: dict[str, Any]) -> str:
    if said.get("StorageClass") in ("GLACIER", "DEEP_ARCHIVE"):
        return "InvalidObjectState"
    return "AccessDenied" if "SSEKMSKeyId" in said else ""


def linked(url: str) -> tuple[str, str]:
    """The key that a link leads to, and the id of the version that it pins."""
    parts = urlsplit(url)
    return unquote(parts.path[1:]), parse_qs(parts.query).get("versionId", [""])[0]


def error(code: str, status: int, operation: str) -> ClientError:
    """An answer that the SDK raises."""
    said: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(said, operation)


def _listed(key: str, version: Version) -> dict[str, Any]:
    return {
        "Key": key,
        "ETag": f'"{version.etag}"',
        "Size": len(version.body or b""),
        "LastModified": datetime.fromtimestamp(int(version.at), UTC),
    }


def _told(found: Version) -> dict[str, Any]:
    return {
        "ETag": f'"{found.etag}"',
        "VersionId": found.version_id,
        "LastModified": datetime.fromtimestamp(int(found.at), UTC),
        "Metadata": dict(found.metadata),
        "ContentType": found.content_type,
    }


def _sha256(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()
