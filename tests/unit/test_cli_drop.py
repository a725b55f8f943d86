"""What `kontext drop` uploads, and how it knows the end."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from PIL import Image

from kontext.errors import BadDrop
from kontext_cli.dropping import Desk, Outcome, free_path, prepare
from kontext_cli.target import Target

INPUTS, OUTPUTS, TABLE = "inputs", "outputs", "renders"


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    paths = (tmp_path / "a cat.PNG", tmp_path / "cup.jpg")
    for path, kind in zip(paths, ("PNG", "JPEG"), strict=True):
        body = io.BytesIO()
        Image.new("RGB", (4, 4), "red").save(body, kind)
        path.write_bytes(body.getvalue())
    return paths


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        session: Any = boto3.session.Session(region_name="us-east-1")
        for bucket in (INPUTS, OUTPUTS):
            session.client("s3").create_bucket(Bucket=bucket)
        keys = [("pk", "HASH"), ("sk", "RANGE")]
        session.client("dynamodb").create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        )
        outputs = {"InputBucket": INPUTS, "OutputBucket": OUTPUTS, "RendersTable": TABLE}
        yield Target("test", outputs, session.client)


def test_the_request_is_uploaded_before_the_images(pictures: tuple[Path, Path]) -> None:
    drop = prepare(*pictures, "shop/cat", {"prompt": "Ein Kätzchen 🐈", "seed": 7, "output_format": None})

    objects = list(drop.objects())

    assert [key for key, _, _ in objects] == ["shop/cat/request.json", "shop/cat/1.png", "shop/cat/2.jpg"]
    assert json.loads(objects[0][1]) == {"prompt": "Ein Kätzchen 🐈", "seed": 7}
    assert [kind for _, _, kind in objects] == ["application/json", "image/png", "image/jpeg"]


def test_without_parameters_there_is_no_request(pictures: tuple[Path, Path]) -> None:
    drop = prepare(*pictures, "cat", {"prompt": None})

    assert [key for key, _, _ in drop.objects()] == ["cat/1.png", "cat/2.jpg"]


def test_a_name_is_made_of_the_files_and_never_twice_the_same(pictures: tuple[Path, Path]) -> None:
    names = {prepare(*pictures, None, {}).name for _ in range(20)}

    assert len(names) == 20
    assert all(name.startswith("a-cat-cup-") for name in names)


def test_a_parameter_that_is_not_allowed_is_refused(pictures: tuple[Path, Path]) -> None:
    with pytest.raises(BadDrop, match="safety_tolerance"):
        prepare(*pictures, "cat", {"safety_tolerance": 9})


def test_only_a_result_that_came_after_the_drop_counts(target: Target, pictures: tuple[Path, Path]) -> None:
    desk, drop = Desk(target), prepare(*pictures, "cat", {})
    s3 = target.client("s3")
    s3.put_object(Bucket=OUTPUTS, Key="cat/error.json", Body=b'{"code": "old"}')
    before = desk.answers(drop)
    looks = desk.follow(drop, before, 10)

    first = next(looks)
    s3.put_object(Bucket=OUTPUTS, Key="cat/result.png", Body=b"new")
    second = next(looks)

    assert first is None
    assert second == Outcome(None, "cat/result.png")


def test_an_error_file_ends_the_waiting_with_its_words(target: Target, pictures: tuple[Path, Path]) -> None:
    desk, drop = Desk(target), prepare(*pictures, "cat", {})
    error = {"code": "invalid_image", "message": "2.jpg is not a picture", "charged": "no", "remedy": "Drop one."}
    looks = desk.follow(drop, desk.answers(drop), 10)

    target.client("s3").put_object(Bucket=OUTPUTS, Key="cat/error.json", Body=json.dumps(error).encode())

    assert next(looks) == Outcome(None, error=error)


def test_the_waiting_ends_when_its_time_is_over(target: Target, pictures: tuple[Path, Path]) -> None:
    desk, drop = Desk(target), prepare(*pictures, "cat", {})

    looks = list(desk.follow(drop, {}, 0.1))

    assert looks == [None]


def test_what_is_delivered_already_is_known_by_its_bytes(target: Target, pictures: tuple[Path, Path]) -> None:
    desk, drop = Desk(target), prepare(*pictures, "cat", {"prompt": "A cat."})
    other = prepare(*pictures, "cat", {"prompt": "A dog."})
    render = {"pk": "pair#cat/", "sk": "render#1", "prefix": "cat/", "render_id": "1", "status": "DELIVERED"}
    item = {name: {"S": value} for name, value in render.items()}
    target.client("dynamodb").put_item(TableName=TABLE, Item=item)
    target.client("s3").put_object(Bucket=OUTPUTS, Key="cat/result.png", Body=b"picture")
    desk.put(drop)

    known, unknown = desk.delivered_before(drop), desk.delivered_before(other)

    assert known is not None
    assert known.key == "cat/result.png"
    assert unknown is None


def test_a_result_never_replaces_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop-cat.png").touch()

    assert free_path("shop/cat", ".png") == Path("shop-cat-2.png")
