"""The output bucket: what may be written over what, and how much memory it takes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

from kontext.results.output_bucket import PART_BYTES, PARTS_IN_FLIGHT, Condition, OutputBucket, Overtaken, Written
from tests.aws import Aws

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NEW: Condition = {"IfNoneMatch": "*"}
DESCRIBED = ("image/png", {"render-id": "r1"})


@pytest.fixture
def outputs(aws: Aws, bucket: str) -> OutputBucket:
    return OutputBucket(aws("s3"), bucket)


@pytest.fixture
def stored(aws: Aws, bucket: str) -> Callable[[str], bytes]:

    def read(key: str) -> bytes:
        body: bytes = aws("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    return read


def pictures(client: object, bucket: str = "pictures") -> OutputBucket:
    """The output bucket behind a stand-in for the client of S3."""
    return OutputBucket(cast("S3Client", client), bucket)


def put(outputs: OutputBucket, key: str, parts: Iterable[bytes], condition: Condition = NEW) -> Written:
    with outputs.upload(key, *DESCRIBED, condition) as upload:
        for part in parts:
            upload.add(part)
        return upload.finish()


SIZES = [
    pytest.param([b"small"], id="one part"),
    pytest.param([b"x" * PART_BYTES, b"rest"], id="two parts"),
    pytest.param([bytes([n]) * PART_BYTES for n in range(4)] + [b"rest"], id="more parts than fly at once"),
]


@pytest.mark.parametrize("parts", SIZES)
def test_an_object_is_written_in_parts_and_in_order(
    outputs: OutputBucket, stored: Callable[[str], bytes], parts: list[bytes]
) -> None:
    written = put(outputs, "taj/result.png", parts)

    assert hashlib.sha256(stored("taj/result.png")).digest() == hashlib.sha256(b"".join(parts)).digest()
    assert written["ETag"]
    assert written["VersionId"]


@pytest.mark.parametrize("parts", SIZES[:2])
def test_an_object_keeps_its_type_and_its_metadata(
    outputs: OutputBucket, aws: Aws, bucket: str, parts: list[bytes]
) -> None:
    put(outputs, "taj/result.png", parts)

    head = aws("s3").head_object(Bucket=bucket, Key="taj/result.png")
    assert (head["ContentType"], head["Metadata"]) == ("image/png", {"render-id": "r1"})


def test_the_condition_is_that_nobody_has_written_since_we_looked(
    outputs: OutputBucket, stored: Callable[[str], bytes]
) -> None:
    before = outputs.write_precondition("taj/result.png")
    put(outputs, "taj/result.png", [b"theirs"], condition=before)

    with pytest.raises(Overtaken):
        put(outputs, "taj/result.png", [b"ours"], condition=before)
    put(outputs, "taj/result.png", [b"ours after another look"], condition=outputs.write_precondition("taj/result.png"))

    assert stored("taj/result.png") == b"ours after another look"


class Bucket:
    """An S3 client that takes parts for as long as it is told to, and refuses the end with a status."""

    def __init__(self, refuse: int | None = None) -> None:
        self.refuse = refuse
        self.calls: list[str] = []
        self.flying = self.most_flying = 0
        self._lock = threading.Lock()

    def create_multipart_upload(self, **_: Any) -> dict[str, str]:
        self.calls.append("create")
        return {"UploadId": "u"}

    def upload_part(self, **_: Any) -> dict[str, str]:
        with self._lock:
            self.flying += 1
            self.most_flying = max(self.most_flying, self.flying)
        with self._lock:
            self.flying -= 1
        return {"ETag": "e"}

    def complete_multipart_upload(self, **asked: Any) -> dict[str, Any]:
        self.calls.append(f"complete {asked.get('IfNoneMatch')}")
        return self._answer()

    def put_object(self, **asked: Any) -> dict[str, Any]:
        self.calls.append(f"put {asked.get('IfNoneMatch')}")
        return self._answer()

    def abort_multipart_upload(self, **_: Any) -> None:
        self.calls.append("abort")

    def _answer(self) -> dict[str, Any]:
        if self.refuse:
            metadata: Any = {"HTTPStatusCode": self.refuse}
            raise ClientError({"Error": {"Code": "Refused"}, "ResponseMetadata": metadata}, "Put")
        return {"ETag": "e"}


LARGE = [b"x" * PART_BYTES] * 6


@pytest.mark.parametrize("status", [409, 412])
@pytest.mark.parametrize("parts", [[b"small"], LARGE[:2]], ids=["at once", "in parts"])
def test_whoever_is_overtaken_writes_nothing(status: int, parts: list[bytes]) -> None:
    bucket = Bucket(refuse=status)

    with pytest.raises(Overtaken):
        put(pictures(bucket), "taj/result.png", parts)

    assert bucket.calls == (["put *"] if len(parts) == 1 else ["create", "complete *", "abort"])


def test_any_other_refusal_is_passed_on_and_leaves_no_debris() -> None:
    bucket = Bucket(refuse=403)

    with pytest.raises(ClientError):
        put(pictures(bucket), "taj/result.png", LARGE)

    assert bucket.calls[-1] == "abort"


def test_a_source_that_fails_leaves_neither_object_nor_debris(outputs: OutputBucket, aws: Aws, bucket: str) -> None:
    def parts() -> Iterator[bytes]:
        yield from [b"x" * PART_BYTES] * 2
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        put(outputs, "taj/result.png", parts())

    assert "Uploads" not in aws("s3").list_multipart_uploads(Bucket=bucket)
    assert "Contents" not in aws("s3").list_objects_v2(Bucket=bucket)


def test_no_more_parts_fly_at_once_than_the_memory_is_meant_for() -> None:
    bucket = Bucket()

    put(pictures(bucket), "taj/result.png", LARGE)

    assert bucket.most_flying <= PARTS_IN_FLIGHT
    assert bucket.calls == ["create", "complete *"]


def test_a_part_is_as_large_as_s3_asks_for() -> None:
    assert PART_BYTES == 5 * 1024 * 1024


def test_only_the_picture_of_the_render_itself_is_withdrawn(outputs: OutputBucket, aws: Aws, bucket: str) -> None:
    put(outputs, "taj/result.png", [b"picture"])
    put(outputs, "cafe/result.png", [b"picture"])

    outputs.remove_if_ours("taj/result.png", {"render-id": "r1"})
    outputs.remove_if_ours("cafe/result.png", {"render-id": "r2"})
    outputs.remove_if_ours("never/result.png", {"render-id": "r1"})

    assert [one["Key"] for one in aws("s3").list_objects_v2(Bucket=bucket)["Contents"]] == ["cafe/result.png"]


class Faster:
    """An S3 client to which somebody is faster: a newer picture comes between a look and what follows it."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def head_object(self, **asked: Any) -> Any:
        seen = self.client.head_object(**asked)
        self.client.put_object(**asked, Body=b"newer")
        return seen

    def delete_object(self, **asked: Any) -> Any:
        return self.client.delete_object(**asked)


def test_a_picture_that_comes_while_an_older_one_is_withdrawn_stays(
    outputs: OutputBucket, aws: Aws, bucket: str
) -> None:
    put(outputs, "taj/result.png", [b"picture"])

    pictures(Faster(aws("s3")), bucket).remove_if_ours("taj/result.png", {"render-id": "r1"})

    assert aws("s3").get_object(Bucket=bucket, Key="taj/result.png")["Body"].read() == b"newer"


def test_what_is_removed_is_out_of_sight_and_kept(outputs: OutputBucket, aws: Aws, bucket: str) -> None:
    put(outputs, "taj/result.png", [b"picture"])

    outputs.remove("taj/result.png")
    outputs.remove("never/there.png")

    assert "Contents" not in aws("s3").list_objects_v2(Bucket=bucket)
    (version,) = aws("s3").list_object_versions(Bucket=bucket)["Versions"]
    assert version["Key"] == "taj/result.png"


def test_an_error_file_is_json_for_every_program(outputs: OutputBucket, aws: Aws, bucket: str) -> None:
    outputs.put_json("taj/error.json", b'{"code": "refused"}', {})

    answer = aws("s3").get_object(Bucket=bucket, Key="taj/error.json")
    assert answer["ContentType"] == "application/json"
    assert json.loads(answer["Body"].read()) == {"code": "refused"}


@pytest.mark.parametrize("parts", SIZES[:2])
def test_a_picture_that_was_replaced_is_put_back_as_it_was(
    outputs: OutputBucket, stored: Callable[[str], bytes], parts: list[bytes]
) -> None:
    written = put(outputs, "taj/result.png", parts)
    before: Any = {
        "key": "taj/result.png",
        "version_id": written["VersionId"],
        "content_type": "image/png",
        "sha256": "s",
    }
    put(outputs, "taj/result.png", [b"newer"], {"IfMatch": outputs.write_precondition("taj/result.png")["IfMatch"]})

    restored = outputs.restore(before, "taj/result.png", outputs.write_precondition("taj/result.png"))

    assert stored("taj/result.png") == b"".join(parts)
    assert restored is not None
    assert (restored["sha256"], restored["key"]) == ("s", "taj/result.png")
    assert restored["version_id"] != written["VersionId"]


@pytest.mark.parametrize("version_id", ["5fbf5d5a-0000-4000-8000-000000000000", None])
def test_a_picture_that_the_bucket_holds_no_more_is_not_put_back(outputs: OutputBucket, version_id: str | None) -> None:
    before: Any = {"key": "taj/result.png", "version_id": version_id, "content_type": "image/png"}

    assert outputs.restore(before, "taj/result.png", NEW) is None
