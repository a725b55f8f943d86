"""The services in memory answer as moto does, to the very calls that the pipeline makes."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from kontext.due import REMOVE_DUE, SET_DUE, TIMER, DueIndex, DueItem
from simulation.dynamodb import DynamoDB
from simulation.explore import play
from simulation.fault_injection import EVERYTHING_LOST, Fault
from simulation.s3 import S3
from simulation.schedule import Schedule
from simulation.stories import STORIES
from simulation.template import Template
from simulation.world import World
from tests.aws import Aws

TOLD = (
    "Item",
    "Attributes",
    "Items",
    "ETag",
    "Metadata",
    "ContentType",
    "ContentLength",
    "ContentRange",
    "DeleteMarker",
)
BUCKET = "outputbucket"


@pytest.fixture
def aws(aws: Aws) -> Aws:
    """Clients of moto: `aws("s3")`, with the table and a bucket there."""
    aws("dynamodb").create_table(TableName="RendersTable", **Template().table)
    s3 = aws("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return aws


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        pytest.param("told twice", (), id="everything twice"),
        pytest.param("dropped again after it failed", (), id="a second attempt"),
        pytest.param("changed and changed back at once", (), id="drops that overtake each other"),
        pytest.param("no credits", (), id="a park"),
        pytest.param("a name of no part is explained later", (), id="sets"),
        pytest.param("two pairs wait for one image", (), id="sets of two"),
        pytest.param("spend limit until midnight", (), id="a condition on a number"),
        pytest.param("pair", (Fault(11, "crash after"),), id="a crash"),
        pytest.param("pair", (Fault(20, EVERYTHING_LOST),), id="what is due"),
    ],
)
def test_the_table_in_memory_answers_as_moto_does(aws: Any, name: str, faults: tuple[Fault, ...]) -> None:
    calls = [call for call in play(STORIES[name], *faults).world.injector.calls if call.service == "dynamodb"]
    ours, motos = DynamoDB(), aws("dynamodb")

    for call in calls:
        assert _answer(ours, call.name, call.asked) == _answer(motos, call.name, call.asked)


def test_an_index_that_is_behind_shows_items_as_they_were() -> None:
    now, lag = [0.0], [3.0]
    behind = DueIndex(DynamoDB(lambda: now[0], lambda: lag[0]).table())
    key = {"pk": "pair#taj/", "sk": "pair"}
    behind.table.update(key, f"SET {SET_DUE}", due_lane=TIMER, due_at=10)

    too_early = list(behind.over(20))
    now[0] = 3.0
    there = list(behind.over(20))
    behind.table.update(key, f"REMOVE {REMOVE_DUE}")
    still_there = list(behind.over(20))
    lag[0] = 0.0
    gone = list(behind.over(20))

    assert (too_early, there, still_there, gone) == ([], [DueItem(key, 0)], [DueItem(key, 0)], [])
    assert not behind.dispatch(DueItem(key, 0), 20)


def test_the_bucket_in_memory_answers_as_moto_does(aws: Any) -> None:
    ours, motos = S3(), aws("s3")

    for operation, asked in _writes_and_reads():
        given = {"Bucket": BUCKET, "Key": "taj/result.png", **asked}
        assert _answer(ours, operation, given) == _answer(motos, operation, given), (operation, asked)


def _writes_and_reads() -> list[tuple[str, dict[str, Any]]]:
    first = {"ETag": '"7f138a09169b250e9dcb378140907378"'}
    return [
        ("head_object", {}),
        ("get_object", {}),
        ("put_object", {"Body": b"one", "IfMatch": first["ETag"]}),
        (
            "put_object",
            {"Body": b"MD5", "IfNoneMatch": "*", "ContentType": "image/png", "Metadata": {"render-id": "r"}},
        ),
        ("put_object", {"Body": b"two", "IfNoneMatch": "*"}),
        ("put_object", {"Body": b"two", "IfMatch": '"0"'}),
        ("put_object", {"Body": b"MD5", "IfMatch": first["ETag"]}),
        ("head_object", {}),
        ("get_object", {"Range": "bytes=0-1"}),
        ("get_object", {"Range": "bytes=0-9"}),
        ("get_object", {"Range": "bytes=0-1", "IfMatch": first["ETag"]}),
        ("get_object", {"Range": "bytes=0-1", "IfMatch": '"0"'}),
        ("delete_object", {"IfMatch": '"0"'}),
        ("delete_object", {"IfMatch": first["ETag"]}),
        ("delete_object", {"IfMatch": first["ETag"]}),
        ("delete_object", {}),
        ("head_object", {}),
        ("put_object", {"Body": b"two", "IfNoneMatch": "*"}),
        ("get_object", {}),
        ("put_object", {"Body": b""}),
        ("get_object", {"Range": "bytes=0-9"}),
        ("abort_multipart_upload", {"UploadId": "unknown"}),
    ]


def test_a_part_in_memory_becomes_the_whole_that_moto_makes(aws: Any) -> None:
    whole = [_in_parts(client, BUCKET) for client in (S3(), aws("s3"))]

    assert whole[0] == whole[1]


def _in_parts(client: Any, bucket: str) -> Any:
    target = {"Bucket": bucket, "Key": "large"}
    upload = {**target, "UploadId": client.create_multipart_upload(**target, ContentType="image/png")["UploadId"]}
    parts = [b"a" * 5 * 1024 * 1024, b"b"]
    etags = [client.upload_part(**upload, PartNumber=n, Body=part)["ETag"] for n, part in enumerate(parts, 1)]
    listed = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]
    finished = client.complete_multipart_upload(**upload, MultipartUpload={"Parts": listed})
    return etags, finished["ETag"], _answer(client, "head_object", target)


@pytest.mark.parametrize(
    ("kind", "raised"),
    [
        pytest.param("error", ClientError, id="an error"),
        pytest.param("conflict", ClientError, id="a conflict"),
        pytest.param("time-out without effect", ReadTimeoutError, id="no answer"),
    ],
)
def test_a_call_that_goes_wrong_raises_what_boto3_raises(kind: str, raised: type[Exception]) -> None:
    world, problems = World(Schedule((), faults=(Fault(0, kind),))), []

    world.scheduler.process(
        "submit", world.client("dynamodb").update_item, 120.0, lambda _, problem: problems.append(problem)
    )
    world.go_on()

    assert [type(problem) for problem in problems] == [raised]


def _answer(client: Any, operation: str, asked: dict[str, Any]) -> Any:
    try:
        answer = getattr(client, operation)(**asked)
    except ClientError as error:
        return _refusal(error.response)
    body = answer["Body"].read() if "Body" in answer else None
    return body, {name: _plain(answer[name]) for name in TOLD if answer.get(name)}


def _refusal(said: Any) -> Any:
    reasons = [(reason["Code"], _plain(reason.get("Item"))) for reason in said.get("CancellationReasons", [])]
    return said["Error"]["Code"], said["ResponseMetadata"]["HTTPStatusCode"], _plain(said.get("Item")), reasons


def _plain(value: Any) -> Any:
    """Sets have no order, and numbers no one form."""
    if isinstance(value, dict) and value.keys() == {"SS"}:
        return {"SS": sorted(value["SS"])}
    if isinstance(value, dict) and value.keys() == {"N"}:
        return {"N": float(value["N"])}
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
