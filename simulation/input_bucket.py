"""The input bucket: what is dropped into it and taken out again, what stood there when, and what S3 tells of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote_plus

from kontext.clock import iso
from simulation.s3 import S3
from simulation.schedule import DroppedObject, Stood
from simulation.scheduler import Scheduler
from simulation.sorted_keys import SortedKeys


class InputBucket:
    """What people do to the bucket. `notify`: lets S3 tell the queue.

    `stood`: what stood under each key from when on; `spellings`: the keys that differ in capitals alone; `drops`: of
    each key, in order.
    """

    def __init__(self, s3: S3, scheduler: Scheduler, notify: Callable[[dict[str, Any]], None]) -> None:
        self.stood: dict[str, list[Stood]] = defaultdict(list)
        self.spellings: dict[str, set[str]] = defaultdict(set)
        self.drops: dict[str, list[DroppedObject]] = defaultdict(list)
        self._keys = SortedKeys()
        self._came: dict[str, int] = {}
        """The how-manieth key each is."""
        self._s3, self._scheduler, self._notify = s3, scheduler, notify
        self._told = 0

    def drop(
        self,
        key: str,
        content: bytes,
        metadata: Mapping[str, str],
        part_bytes: int = 0,
        encryption: str = "AES256",
        more: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Put an object into the input bucket, in parts if their size is given; returns what S3 has to tell of it."""
        place = {"Bucket": "InputBucket", "Key": key}
        described: dict[str, Any] = {"Metadata": dict(metadata), "ServerSideEncryption": encryption, **(more or {})}
        if part_bytes:
            written = self._put_in_parts(place, described, content, part_bytes)
        else:
            written = self._s3.put_object(**place, **described, Body=content)
        has_prompt = "prompt" in metadata or key.removesuffix(".txt").endswith(("request.json", "prompt"))
        self.drops[key].append(DroppedObject(self._scheduler.now, key, has_prompt))
        self._changed(key)
        event_name = "ObjectCreated:CompleteMultipartUpload" if part_bytes else "ObjectCreated:Put"
        return self._record(event_name, key, written, len(content))

    def _put_in_parts(
        self, place: dict[str, str], described: dict[str, Any], content: bytes, part_bytes: int
    ) -> dict[str, Any]:
        upload = {**place, "UploadId": self._s3.create_multipart_upload(**place, **described)["UploadId"]}
        starts = range(0, len(content), part_bytes)
        for number, start in enumerate(starts, 1):
            self._s3.upload_part(**upload, PartNumber=number, Body=content[start : start + part_bytes])
        listed = [{"PartNumber": number} for number, _ in enumerate(starts, 1)]
        return self._s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": listed})

    def keys_of(self, prefix: str) -> list[str]:
        """The keys that begin so, under which there ever was anything, in their order."""
        return list(self._keys.beginning_with(prefix))

    def changes(self, prefix: str, keys: Iterable[str | None]) -> list[float]:
        """When something was dropped or taken away under a prefix, and under these keys; the keys as they came."""
        changed = {*self._keys.beginning_with(prefix), *(key for key in keys if key in self.stood)}
        first = sorted(changed, key=self._came.__getitem__)
        return [one.since for key in first for one in self.stood[key]]

    def _changed(self, key: str) -> None:
        self._keys.add(key)
        self._came.setdefault(key, len(self._came))
        self.spellings[key.lower()].add(key)
        self.stood[key].append(Stood(self._scheduler.now, self._s3.newest("InputBucket", key)))

    def remove(self, key: str, event_name: str = "ObjectRemoved:DeleteMarkerCreated") -> None:
        """Hide an object of the input bucket behind a delete marker."""
        marker = self._s3.delete_object(Bucket="InputBucket", Key=key)
        self._changed(key)
        self._notify(self._record(event_name, key, marker, None))

    def remove_version(self, key: str) -> None:
        """Remove what is newest under a key of the input bucket for good: a version, or a delete marker."""
        self._s3.remove_version("InputBucket", key)
        self._changed(key)
        self._notify(self._record("ObjectRemoved:Delete", key, {"VersionId": ""}, None))

    def _record(self, event_name: str, key: str, written: Mapping[str, Any], size: int | None) -> dict[str, Any]:
        self._told += 1
        told = {"key": quote_plus(key), "versionId": written["VersionId"], "sequencer": f"00{self._told:014X}"}
        if size is not None:
            told |= {"size": size, "eTag": written["ETag"].strip('"')}
        return {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": iso(self._scheduler.now),
            "eventName": event_name,
            "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": "InputBucket"}, "object": told},
        }
