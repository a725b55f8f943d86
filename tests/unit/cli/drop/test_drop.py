"""What `kontext drop` uploads, and how it knows the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kontext.dynamodb import Table
from kontext.errors import BadDrop
from kontext_cli.drop.client import DropClient, Outcome, prepare
from kontext_cli.read.records import Records
from kontext_cli.target import Target
from tests.existing import existing
from tests.unit.cli.drop.conftest import (
    INPUTS,
    OUTPUTS,
    deliver,
    keys,
    note,
)


def test_the_request_is_uploaded_before_the_images(pictures: tuple[Path, Path]) -> None:
    drop = prepare(*pictures, "shop/cat", {"prompt": "Ein Kätzchen 🐈", "seed": 7, "output_format": None})

    uploads = drop.pair.uploads

    assert [upload.key for upload in uploads] == ["shop/cat/request.json", "shop/cat/1.png", "shop/cat/2.jpg"]
    assert json.loads(uploads[0].body) == {"prompt": "Ein Kätzchen 🐈", "seed": 7}


def test_what_is_dropped_has_a_content_type(target: Target, pictures: tuple[Path, Path]) -> None:
    DropClient(target).put(prepare(*pictures, "cat", {"seed": 7}))

    heads = [target.client("s3").head_object(Bucket=INPUTS, Key=key) for key in keys(target)]
    assert [head["ContentType"] for head in heads] == ["image/png", "image/jpeg", "application/json"]


def test_without_parameters_there_is_no_request(pictures: tuple[Path, Path]) -> None:
    drop = prepare(*pictures, "cat", {"prompt": None})

    assert [upload.key for upload in drop.pair.uploads] == ["cat/1.png", "cat/2.jpg"]


def test_a_name_is_made_of_the_files_and_never_twice_the_same(pictures: tuple[Path, Path]) -> None:
    names = {prepare(*pictures, None, {}).name for _ in range(20)}

    assert len(names) == 20
    assert all(name.startswith("a-cat-cup-") for name in names)


def test_a_parameter_that_is_not_allowed_is_refused(pictures: tuple[Path, Path]) -> None:
    with pytest.raises(BadDrop, match="safety_tolerance"):
        prepare(*pictures, "cat", {"safety_tolerance": 9})


def test_only_what_came_after_the_drop_counts(target: Target, pictures: tuple[Path, Path]) -> None:
    client, drop = DropClient(target), prepare(*pictures, "cat", {})
    target.client("s3").put_object(Bucket=OUTPUTS, Key="cat/error.json", Body=b'{"code": "old"}')
    before = client.error_mark(drop)
    errand = client.errand(drop)
    errand.upload()
    looks = client.watch(errand, before, 10)

    first = next(looks)
    deliver(target, drop)()
    second = next(looks)

    assert first is None
    assert isinstance(second, Outcome)
    assert second.key == "cat/result.png"


@pytest.mark.parametrize("ends", ["DELIVERED", "FAILED"])
def test_how_an_earlier_drop_of_the_name_ends_is_not_taken_for_the_end_of_this_one(
    target: Target, pictures: tuple[Path, Path], ends: str
) -> None:
    earlier = prepare(*pictures, "cat", {"prompt": "A cat."})
    client, drop = DropClient(target), prepare(*pictures, "cat", {"prompt": "A dog."})
    client.put(earlier)
    note(target, earlier, "PROCESSING")
    errand, before = client.errand(drop), client.error_mark(drop)
    errand.upload()
    looks = client.watch(errand, before, 10)
    s3 = target.client("s3")

    if ends == "DELIVERED":
        deliver(target, earlier)()
    else:
        note(target, earlier, "FAILED")
        told = {"code": "render_failed", "render_id": existing(Records(target).pair("cat/")).renders[0].render_id}
        s3.put_object(Bucket=OUTPUTS, Key="cat/error.json", Body=json.dumps(told).encode())

    assert not isinstance(next(looks), Outcome)


def test_the_rejection_of_a_drop_ends_the_waiting(target: Target, pictures: tuple[Path, Path]) -> None:
    client, drop = DropClient(target), prepare(*pictures, "cat", {})
    looks = client.watch(client.errand(drop), client.error_mark(drop), 10)
    table = Table(target.client("dynamodb"), target.output("RendersTable"))
    item = {"prefix": "cat/", "render_id": "rejected", "status": "FAILED"}
    names = ", ".join(f"#{name} = :{name}" for name in item)
    table.update({"pk": "pair#cat/", "sk": "render#rejected"}, f"SET {names}", **item)
    told = {"code": "invalid_image", "render_id": "rejected"}
    target.client("s3").put_object(Bucket=OUTPUTS, Key="cat/error.json", Body=json.dumps(told).encode())

    outcome = next(looks)

    assert isinstance(outcome, Outcome)
    assert outcome.error == told


def test_an_error_file_ends_the_waiting_with_its_words(target: Target, pictures: tuple[Path, Path]) -> None:
    client, drop = DropClient(target), prepare(*pictures, "cat", {})
    error = {"code": "invalid_image", "message": "2.jpg is not a picture", "charged": "no", "remedy": "Drop one."}
    looks = client.watch(client.errand(drop), client.error_mark(drop), 10)

    target.client("s3").put_object(Bucket=OUTPUTS, Key="cat/error.json", Body=json.dumps(error).encode())

    assert next(looks) == Outcome(None, error=error)


def test_the_waiting_ends_when_its_time_is_over(target: Target, pictures: tuple[Path, Path]) -> None:
    client, drop = DropClient(target), prepare(*pictures, "cat", {})

    looks = list(client.watch(client.errand(drop), None, 0.1))

    assert looks == [None]
