"""A name that is dropped once more pays for nothing that is there or on its way."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kontext.drops.keys import IMAGE_SLOTS
from kontext.dynamodb import Table
from kontext_cli.drop.client import DropClient, prepare
from kontext_cli.drop.input_bucket import Bucket, PlannedPair, Refused, UploadObject
from kontext_cli.errors import CommandError, Unfinished
from kontext_cli.target import Target
from tests.unit.cli.drop.conftest import (
    OUTPUTS,
    Described,
    acting,
    carried_out,
    deliver,
    delivered,
    keys,
    note,
    press_ctrl_c,
)


def test_the_same_drop_again_only_fetches_its_picture(
    target: Target, pictures: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drop = delivered(target, pictures, prompt="A cat.")
    closed = acting(target, "put_object", 1, press_ctrl_c)

    code = carried_out(closed, drop, tmp_path, as_json=True)

    said = capsys.readouterr()
    assert code == 0
    assert json.loads(said.out)["result"] == {
        "bucket": OUTPUTS,
        "key": "a cat/result.png",
        "file": str(tmp_path / "a cat.png"),
    }
    assert (tmp_path / "a cat.png").read_bytes() == b"picture"
    assert "with this content: nothing more is paid" in said.err


def test_a_drop_that_is_on_its_way_is_waited_for_and_not_uploaded_again(
    target: Target, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    drop = prepare(*pictures, "cat", {"prompt": "A cat."})
    DropClient(target).put(drop)
    note(target, drop, "QUEUED")
    at_work = acting(acting(target, "put_object", 1, press_ctrl_c), "list_objects_v2", 3, deliver(target, drop))

    assert carried_out(at_work, drop, tmp_path) == 0


def test_the_same_drop_after_a_failure_is_one_more_try_and_not_three(
    target: Target, pictures: tuple[Path, Path]
) -> None:
    drop = prepare(*pictures, "cat", {"prompt": "A cat."})
    DropClient(target).put(drop)
    note(target, drop, "FAILED", error={"code": "render_failed"})

    assert [upload.key for upload in DropClient(target).errand(drop).uploads] == ["cat/2.jpg"]


def test_a_drop_that_was_rejected_a_moment_ago_is_tried_again_at_once(
    target: Target, pictures: tuple[Path, Path]
) -> None:
    drop = prepare(*pictures, "cat", {})
    DropClient(target).put(drop)
    table = Table(target.client("dynamodb"), target.output("RendersTable"))
    rejected = {"prefix": "cat/", "render_id": "r", "status": "FAILED"}
    key = {"pk": "pair#cat/", "sk": "render#r"}
    table.update(key, "SET " + ", ".join(f"#{name} = :{name}" for name in rejected), **rejected)
    at_work = DropClient(target).errand(drop).uploads
    for upload in drop.pair.uploads:
        part = {"key": upload.key, "etag": hashlib.md5(upload.body).hexdigest(), "sequencer": "1", "at": 1}
        set_part = f"SET #prefix = :p, #part_{upload.slot} = :part"
        table.update({"pk": "pair#cat/", "sk": "pair"}, set_part, p="cat/", part=part)

    told = DropClient(target).errand(drop).uploads

    assert at_work == ()
    assert [upload.key for upload in told] == ["cat/1.png", "cat/2.jpg"]


def test_a_drop_that_nobody_has_told_the_stack_of_is_told_by_one_object(
    target: Target, pictures: tuple[Path, Path]
) -> None:
    drop = prepare(*pictures, "cat", {"prompt": "A cat."})
    DropClient(target).put(drop)

    at_once = DropClient(target).errand(drop)
    later = DropClient(target, clock=lambda: time.time() + 3600).errand(drop)

    assert at_once.uploads == ()
    assert [upload.key for upload in later.uploads] == ["cat/2.jpg"]


def test_another_prompt_under_a_name_is_one_picture(target: Target, pictures: tuple[Path, Path]) -> None:
    delivered(target, pictures, prompt="A cat.")

    errand = DropClient(target).errand(prepare(*pictures, "a cat", {"prompt": "A dog."}))

    assert [upload.key for upload in errand.uploads] == ["a cat/request.json"]


def test_both_photographs_exchanged_under_a_name_are_refused_with_their_price(
    target: Target, pictures: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drop = delivered(target, pictures, prompt="A cat.")
    before = keys(target)
    other = replace(drop, first=pictures[1], second=pictures[0], parameters={"prompt": "A dog."})

    with pytest.raises(CommandError) as refused:
        carried_out(acting(target, "put_object", 1, press_ctrl_c), other, tmp_path)

    assert refused.value.exit_code == 2
    assert "Nothing has been dropped: 3 parts of it (request.json, 1.jpg, 2.png) differ" in str(refused.value)
    assert "3 x USD 0.05 = USD 0.15" in str(refused.value)
    assert "give it another name, or change one part at a time (USD 0.05 each)" in str(refused.value)
    assert keys(target) == before
    assert list(tmp_path.glob(".kontext-*")) == []


def test_without_any_prompt_nothing_is_dropped(target: Target, pictures: tuple[Path, Path]) -> None:
    silent = Target(
        "shop", target.outputs, lambda name: Described(DefaultPrompt="") if "cloudf" in name else target.client(name)
    )

    with pytest.raises(Refused, match="no DefaultPrompt"):
        DropClient(silent).errand(prepare(*pictures, "cat", {}))


def test_two_who_drop_other_photographs_under_one_name_at_once_do_not_pay_for_mixtures(
    target: Target, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    theirs = [UploadObject(f"cat/{slot}.webp", slot, made=b"theirs") for slot in IMAGE_SLOTS]

    def drop_theirs() -> None:
        bucket.load([PlannedPair("", "cat/", tuple(theirs), {})])
        list(bucket.upload("cat/", tuple(theirs[:1])))

    bucket = Bucket(target)
    with pytest.raises(Unfinished) as stopped:
        carried_out(acting(target, "put_object", 2, drop_theirs), prepare(*pictures, "cat", {"seed": 7}), tmp_path)
    with pytest.raises(Refused, match="somebody else has just dropped cat/"):
        list(bucket.upload("cat/", tuple(theirs[1:])))

    assert stopped.value.exit_code == 3
    assert str(stopped.value).startswith("somebody else has just dropped cat/1.webp: look at it, and give it another")
    assert "2 of 3 parts are dropped as cat/, beside somebody else's" in str(stopped.value)
    assert keys(target) == ["cat/1.png", "cat/1.webp", "cat/request.json"]


def test_the_same_pair_dropped_twice_at_once_is_one_pair(target: Target, pictures: tuple[Path, Path]) -> None:
    drop = prepare(*pictures, "cat", {"prompt": "A cat."})
    one, other = DropClient(target).errand(drop), DropClient(target).errand(drop)

    one.upload()
    other.upload()

    assert keys(target) == ["cat/1.png", "cat/2.jpg", "cat/request.json"]
