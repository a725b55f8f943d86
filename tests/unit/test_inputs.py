"""The input bucket: what a dropped object is, and the link that Segmind gets."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from PIL import Image

from kontext.clock import Clock
from kontext.drops.input_bucket import LINK_SECONDS, InputBucket
from kontext.drops.reads import Reads
from kontext.dynamodb import Table
from kontext.images.source import PIECE_BYTES
from simulation.s3 import S3
from tests.aws import Aws

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Encoded = Callable[..., bytes]
Drop = Callable[..., str]


@pytest.fixture
def inputs(aws: Aws, bucket: str) -> InputBucket:
    signing = boto3.client("s3", region_name="us-east-1", config=Config(signature_version="s3v4"))
    return InputBucket(signing, bucket)


@pytest.fixture
def drop(aws: Aws, bucket: str) -> Drop:
    """Drops an object; gives its version: `drop(key, body, prompt="…")`, the rest is its metadata."""

    def put(key: str, body: bytes, **metadata: str) -> str:
        answer = aws("s3").put_object(Bucket=bucket, Key=key, Body=body, Metadata=metadata)
        return str(answer["VersionId"])

    return put


def test_an_image_is_read_with_its_size_and_its_metadata(inputs: InputBucket, drop: Drop, encoded: Encoded) -> None:
    picture = encoded("JPEG", (40, 30))
    version = drop("a b+ü/1.PNG", picture, prompt="A cat.", seed="7")

    read = inputs.read("a b+ü/1.PNG", "1")

    assert read is not None
    assert read.pop("etag")
    assert abs(read.pop("written_at") - time.time()) < 60
    assert read == {
        "key": "a b+ü/1.PNG",
        "version_id": version,
        "bytes": len(picture),
        "kind": "jpeg",
        "width": 40,
        "height": 30,
        "sha256": hashlib.sha256(picture).hexdigest(),
        "parameters": {"prompt": "A cat.", "seed": 7},
    }


@pytest.mark.parametrize(
    ("slot", "body", "parameters"),
    [
        (
            "request",
            b'{"prompt": "A cat.", "input_image_1": "/taj/me.png"}',
            {"prompt": "A cat.", "input_image_1": "/taj/me.png"},
        ),
        ("prompt", b"A cat.\n", {"prompt": "A cat."}),
    ],
)
def test_a_file_that_asks_for_something_is_read(
    inputs: InputBucket, drop: Drop, slot: str, body: bytes, parameters: dict[str, Any]
) -> None:
    drop(f"taj/{slot}", body)

    read = inputs.read(f"taj/{slot}", slot)

    assert read is not None
    assert read["parameters"] == parameters
    assert "problem" not in read


@pytest.mark.parametrize(
    ("slot", "body", "code", "said"),
    [
        pytest.param("1", b"", "invalid_image", "empty", id="empty image"),
        pytest.param("1", b"<!doctype html><html>", "invalid_image", "not a PNG, JPEG or WebP", id="web page"),
        pytest.param("2", b"\x89PNG\r\n\x1a\n\0\0", "invalid_image", "cut off", id="truncated image"),
        pytest.param("image", b"GIF89a", "invalid_image", "not a PNG, JPEG or WebP", id="named image of another kind"),
        pytest.param("request", b"", "invalid_request", "empty", id="empty request"),
        pytest.param("request", b'{"seed": "x"}', "invalid_request", "seed", id="wrong parameter"),
        pytest.param("request", b" " * 70_000, "invalid_request", "longer than", id="huge request"),
        pytest.param("prompt", b"\xff\xfe\x00\xd8", "invalid_request", "UTF-8", id="prompt in bytes"),
    ],
)
def test_what_cannot_be_used_says_why_and_is_kept_as_a_problem(
    inputs: InputBucket, drop: Drop, slot: str, body: bytes, code: str, said: str
) -> None:
    drop("taj/x", body)

    read = inputs.read("taj/x", slot)

    assert read is not None
    assert read["problem"]["code"] == code
    assert read["problem"]["message"].startswith("taj/x: ")
    assert said in read["problem"]["message"]
    assert read["etag"]
    assert "parameters" not in read


def test_wrong_metadata_is_a_problem_of_the_request_not_of_the_image(
    inputs: InputBucket, drop: Drop, encoded: Encoded
) -> None:
    drop("taj/1.png", encoded(), seed="seven")

    read = inputs.read("taj/1.png", "1")

    assert read is not None
    assert read["problem"]["code"] == "invalid_request"
    assert "seed" in read["problem"]["message"]


def test_an_object_that_is_gone_is_none(inputs: InputBucket, drop: Drop, aws: Aws, bucket: str) -> None:
    drop("taj/1.png", b"x")
    aws("s3").delete_object(Bucket=bucket, Key="taj/1.png")

    assert inputs.read("taj/1.png", "1") is None
    assert inputs.read("never/there.png", "1") is None


def test_an_object_that_may_not_be_read_is_not_taken_for_one_that_is_gone(aws: Aws) -> None:
    with pytest.raises(ClientError):
        InputBucket(aws("s3"), "no-such-bucket-of-ours").read("taj/1.png", "1")


class Counting:
    """An S3 client that keeps what it was asked for."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.asked: list[dict[str, Any]] = []

    def get_object(self, **asked: Any) -> Any:
        self.asked.append(asked)
        return self.client.get_object(**asked)

    def head_object(self, **asked: Any) -> Any:
        return self.client.head_object(**asked)


def bucket_of(client: object, name: str = "bucket") -> InputBucket:
    """The input bucket behind a stand-in for the client of S3."""
    return InputBucket(cast("S3Client", client), name)


def test_an_image_of_many_pieces_is_read_by_one_request(aws: Aws, bucket: str, drop: Drop) -> None:
    noise = io.BytesIO()
    Image.effect_noise((700, 500), 50).save(noise, "PNG")
    drop("taj/1.png", noise.getvalue())
    client = Counting(aws("s3"))

    read = bucket_of(client, bucket).read("taj/1.png", "1")

    assert read is not None
    assert read["bytes"] == len(noise.getvalue()) > 3 * PIECE_BYTES
    assert read["sha256"] == hashlib.sha256(noise.getvalue()).hexdigest()
    assert len(client.asked) == 1


def test_a_photograph_that_pairs_name_is_read_once_a_version(
    aws: Aws, bucket: str, table: Table, drop: Drop, encoded: Encoded
) -> None:
    client = Counting(aws("s3"))
    reads = Reads(table, bucket_of(client, bucket), Clock())
    drop("shared/a.png", encoded("PNG", (40, 30)))

    seen = [reads.image("shared/a.png"), reads.image("shared/a.png")]
    drop("shared/a.png", encoded("PNG", (60, 50)))
    newer = reads.image("shared/a.png")

    assert seen[0] == seen[1]
    assert newer is not None
    assert (newer["width"], len(client.asked)) == (60, 2)
    assert reads.image("shared/b.png") is None


def test_an_image_that_is_replaced_is_looked_at_anew(inputs: InputBucket, drop: Drop, encoded: Encoded) -> None:
    drop("shared/a.png", encoded("PNG", (400, 300)))
    inputs.read("shared/a.png", "image")
    drop("shared/a.png", encoded("PNG", (8, 6)))

    read = inputs.read("shared/a.png", "image")

    assert read is not None
    assert (read["width"], read["height"]) == (8, 6)


class Endless:
    """An S3 client whose object is too large to be read."""

    def get_object(self, **_: Any) -> Any:
        written = {"LastModified": datetime.now(UTC), "Metadata": {}}
        return {"ETag": '"e"', "ContentLength": 50_000_001, "Body": self, **written}

    def read(self, _: int = 0) -> bytes:
        raise AssertionError("it is read")

    def close(self) -> None:
        pass


def test_an_image_of_too_many_bytes_is_refused_unread() -> None:
    read = bucket_of(Endless()).read("taj/1.png", "1")

    assert read is not None
    assert "50.0 megabytes; at most 50" in read["problem"]["message"]


class Refusing:
    """An S3 client that refuses to give an object, and to describe it where it is not `described`."""

    def __init__(self, code: str, message: str = "", *, described: bool = True) -> None:
        self.code, self.message = code, message
        self.described = described

    def get_object(self, **_: Any) -> Any:
        raise self._refusal(self.code, "GetObject")

    def head_object(self, **_: Any) -> Any:
        if not self.described:
            raise self._refusal("403", "HeadObject")
        return {"ETag": '"e"', "VersionId": "v", "ContentLength": 7, "LastModified": datetime.now(UTC)}

    def _refusal(self, code: str, operation: str) -> ClientError:
        metadata: Any = {"HTTPStatusCode": 403}
        return ClientError({"Error": {"Code": code, "Message": self.message}, "ResponseMetadata": metadata}, operation)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        pytest.param("AccessDenied", "may not read it", id="under a KMS key of others, or of another account"),
        pytest.param("KMS.DisabledException", "may not read it", id="under a KMS key that is disabled"),
        pytest.param("KMS.KMSInvalidStateException", "may not read it", id="under a KMS key that is to be deleted"),
        pytest.param("InvalidObjectState", "archived", id="archived"),
        pytest.param("InvalidRequest", "encrypted", id="under a key of its own"),
    ],
)
@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize(("slot", "problem"), [("1", "invalid_image"), ("request", "invalid_request")])
def test_an_object_that_the_stack_may_not_read_is_a_problem_of_the_drop_not_of_the_stack(
    code: str, said: str, described: bool, slot: str, problem: str
) -> None:
    read = bucket_of(Refusing(code, described=described)).read("taj/1.png", slot)

    assert read is not None
    assert read["problem"]["code"] == problem
    assert said in read["problem"]["message"]
    assert read["version_id"] == ("v" if described else None)


def test_a_photograph_that_s3_does_not_even_describe_is_there_and_is_read_to_see_why() -> None:
    bucket = bucket_of(Refusing("AccessDenied", described=False))

    assert bucket.newest("shared/a.png") == (None, "")


def test_a_named_photograph_that_was_archived_is_read_once_it_is_restored(encoded: Encoded, table: Table) -> None:
    s3 = S3()
    s3.put_object(Bucket="b", Key="shared/a.png", Body=encoded(), StorageClass="DEEP_ARCHIVE")
    reads = Reads(table, bucket_of(s3, "b"), Clock())
    archived = reads.image("shared/a.png")
    versions = s3.buckets["b"]["shared/a.png"]

    versions[-1] = replace(versions[-1], closed="")
    restored = reads.image("shared/a.png")

    assert archived
    assert "archived" in archived["problem"]["message"]
    assert restored
    assert "sha256" in restored


def test_a_role_that_has_lost_its_rights_is_no_problem_of_the_drop() -> None:
    said = (
        "User: r is not authorized to perform: s3:GetObject, as no identity-based policy allows the s3:GetObject action"
    )

    with pytest.raises(ClientError):
        bucket_of(Refusing("AccessDenied", said)).read("taj/1.png", "1")


@pytest.mark.parametrize("code", ["SlowDown", "InternalError", "NoSuchBucket"])
def test_an_outage_of_s3_is_no_problem_of_the_drop(code: str) -> None:
    with pytest.raises(ClientError):
        bucket_of(Refusing(code)).read("taj/1.png", "1")


def test_a_link_gives_the_version_that_was_read_and_ends_within_the_hour(
    inputs: InputBucket, drop: Drop, encoded: Encoded
) -> None:
    version = drop("a b+ü/1.png", encoded())
    read = inputs.read("a b+ü/1.png", "1")
    drop("a b+ü/1.png", b"something newer")

    assert read is not None
    link = httpx.URL(inputs.presign(read))

    assert link.params["versionId"] == version
    assert int(link.params["X-Amz-Expires"]) == LINK_SECONDS <= 3600
    assert link.params["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert link.path.endswith("/a b+ü/1.png")


def test_an_empty_prompt_file_says_nothing_and_is_no_mistake(inputs: InputBucket, drop: Drop) -> None:
    drop("taj/prompt.txt", b"")

    read = inputs.read("taj/prompt.txt", "prompt")

    assert read is not None
    assert (read["parameters"], "problem" in read) == ({}, False)


@pytest.mark.parametrize("body", [b"x", b"[]", b'{"promt": "x"}', b"\xe4"])
def test_a_mistake_in_a_file_names_the_file_once(inputs: InputBucket, drop: Drop, body: bytes) -> None:
    drop("typo/request.json", body)

    read = inputs.read("typo/request.json", "request")

    assert read is not None
    assert read["problem"]["message"].count("request.json") == 1
