"""What `kontext drop` uploads, and how it knows the end."""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from PIL import Image

from kontext.drops import request
from kontext.drops.keys import IMAGE_SLOTS
from kontext.dynamodb import Table
from kontext.errors import BadDrop
from kontext_cli.drop import fetch
from kontext_cli.drop.client import Drop, DropClient, Outcome, prepare
from kontext_cli.drop.command import carry_out
from kontext_cli.drop.input_bucket import Bucket, PlannedPair, Refused, UploadObject
from kontext_cli.drop.saving import Destination
from kontext_cli.errors import CommandError, Unfinished
from kontext_cli.read.records import Records
from kontext_cli.target import Target
from tests.aws import Aws
from tests.existing import existing

INPUTS, OUTPUTS = "inputs", "outputs"
SETTINGS = {
    "DefaultPrompt": "Bring them together.",
    "PricePerRender": "0.05",
    "MaxInputMegabytes": "50",
    "MaxInputMegapixels": "100",
}


class Described:
    """A CloudFormation client that knows one stack."""

    def __init__(self, **settings: str) -> None:
        self.settings = SETTINGS | settings

    def describe_stacks(self, **asked: str) -> dict[str, Any]:
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in self.settings.items()]
        return {"Stacks": [{**asked, "Parameters": given}]}


class Acting:
    """An S3 client at which something happens: `act` is called before the `at`th call of an operation."""

    def __init__(self, client: Any, operation: str, at: int, act: Callable[[], object]) -> None:
        self.client, self.operation, self.at, self.act = client, operation, at, act

    def __getattr__(self, name: str) -> Any:
        if name != self.operation:
            return getattr(self.client, name)
        self.at -= 1
        if self.at == 0:
            self.act()
        return getattr(self.client, name)


def press_ctrl_c() -> None:
    raise KeyboardInterrupt


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    paths = (tmp_path / "a cat.PNG", tmp_path / "cup.jpg")
    for path, kind in zip(paths, ("PNG", "JPEG"), strict=True):
        body = io.BytesIO()
        Image.new("RGB", (4, 4), "red").save(body, kind)
        path.write_bytes(body.getvalue())
    return paths


@pytest.fixture
def target(aws: Aws, renders_table: str) -> Target:
    for bucket in (INPUTS, OUTPUTS):
        aws("s3").create_bucket(Bucket=bucket)
    outputs = {"InputBucket": INPUTS, "OutputBucket": OUTPUTS, "RendersTable": renders_table}
    clients: dict[str, Any] = {"cloudformation": Described()}
    return Target("shop", outputs, functools.cache(lambda name: clients.get(name) or aws(name)))


def acting(target: Target, operation: str, at: int, act: Callable[[], object]) -> Target:
    """The stack with an S3 at which something happens."""
    s3 = Acting(target.client("s3"), operation, at, act)
    return Target(target.name, target.outputs, lambda name: s3 if name == "s3" else target.client(name))


def keys(target: Target) -> list[str]:
    return [one["Key"] for one in target.client("s3").list_objects_v2(Bucket=INPUTS).get("Contents", ())]


def note(target: Target, drop: Drop, status: str, **values: Any) -> None:
    """A render of just this drop, as the stack would note it."""
    one, two = (hashlib.sha256(upload.body).hexdigest() for upload in drop.pair.uploads[-2:])
    asked = {"prompt": "Bring them together.", "aspect_ratio": "1:1", **drop.parameters}
    render_id = request.render_id(drop.prefix, one, two, drop.parameters)
    item = {"prefix": drop.prefix, "render_id": render_id, "status": status, "parameters": asked, **values}
    item["inputs"] = [{"sha256": one}, {"sha256": two}]
    table = Table(target.client("dynamodb"), target.output("RendersTable"))
    key = {"pk": f"pair#{drop.prefix}", "sk": f"render#{render_id}"}
    table.update(key, "SET " + ", ".join(f"#{name} = :{name}" for name in item), **item)


def deliver(target: Target, drop: Drop, body: bytes = b"picture") -> Callable[[], None]:
    """Does what the pipeline does: a result and its record."""

    def act() -> None:
        target.client("s3").put_object(Bucket=OUTPUTS, Key=f"{drop.prefix}result.png", Body=body)
        note(target, drop, "DELIVERED", result={"bucket": OUTPUTS, "key": f"{drop.prefix}result.png"})

    return act


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


def delivered(target: Target, pictures: tuple[Path, Path], **parameters: Any) -> Drop:
    """A drop whose picture is there."""
    drop = prepare(*pictures, "a cat", parameters)
    DropClient(target).put(drop)
    deliver(target, drop)()
    return drop


def carried_out(target: Target, drop: Drop, folder: Path, **options: Any) -> int:
    """The exit code of the command."""
    with Destination(str(folder), drop.name) as destination:
        return carry_out(target, drop, destination, options.get("seconds", 30), as_json=options.get("as_json", False))


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


def test_ctrl_c_while_uploading_says_what_is_there_and_how_to_go_on(
    target: Target, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    drop = prepare(*pictures, "a cat", {"prompt": "A cat."})

    with pytest.raises(Unfinished) as stopped:
        carried_out(acting(target, "put_object", 3, press_ctrl_c), drop, tmp_path)
    rest = DropClient(target).errand(drop).uploads

    assert stopped.value.exit_code == 130
    assert "2 of 3 parts are dropped as a cat/, and perhaps 2.jpg." in str(stopped.value)
    assert "The picture is paid (USD 0.05) once all are there." in str(stopped.value)
    assert "--name=a cat'" in str(stopped.value)
    assert [upload.key for upload in rest] == ["a cat/2.jpg"]


def test_ctrl_c_before_the_first_upload_says_that_nothing_is_dropped(
    target: Target, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(Unfinished, match=r"Interrupted\. Nothing has been dropped\."):
        carried_out(acting(target, "get_paginator", 1, press_ctrl_c), prepare(*pictures, "cat", {}), tmp_path)

    assert keys(target) == []


def test_ctrl_c_while_waiting_says_what_will_be_paid_and_how_to_get_it(
    target: Target, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    drop = prepare(*pictures, "a cat", {"prompt": "A cat."})

    with pytest.raises(Unfinished) as stopped:
        carried_out(acting(target, "list_objects_v2", 3, press_ctrl_c), drop, tmp_path)

    assert "goes on by itself: its picture is, or will be, paid (USD 0.05)" in str(stopped.value)
    assert "kontext fetch --stack shop 'a cat'` saves the picture then" in str(stopped.value)
    assert stopped.value.document["status"] == "DROPPED"
    assert list(tmp_path.glob(".kontext-*")) == []


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


def no_space() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        pytest.param(no_space, "No space left on device.", id="a full disk"),
        pytest.param(press_ctrl_c, "Interrupted.", id="Ctrl-C"),
        pytest.param(lambda: 1 / 0, None, id="a bug of ours"),
    ],
)
def test_a_picture_that_is_paid_and_not_saved_says_where_it_lies(
    target: Target,
    pictures: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    broken: Callable[[], object],
    why: str | None,
) -> None:
    drop = delivered(target, pictures, prompt="A cat.")

    with pytest.raises(BaseException) as ended:  # noqa: PT011  what ends it is what is tried
        carried_out(acting(target, "download_fileobj", 1, broken), drop, tmp_path)

    said = str(ended.value) if isinstance(ended.value, Unfinished) else capsys.readouterr().err
    assert why is None or said.startswith(why)
    assert "The picture is paid; it was delivered as s3://outputs/a cat/result.png" in said
    assert "kontext fetch --stack shop 'a cat'` saves it." in said


def test_the_command_that_is_given_for_a_paid_picture_fetches_it(
    target: Target, pictures: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    delivered(target, pictures, prompt="A cat.")

    code = fetch.carry_out(target, "a cat", str(tmp_path / "new" / "cat.png"), as_json=True)

    assert code == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(tmp_path / "new" / "cat.png")
    assert (tmp_path / "new" / "cat.png").read_bytes() == b"picture"


def test_a_picture_that_was_taken_away_is_said_to_be_redeliverable(
    target: Target, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    delivered(target, pictures, prompt="A cat.")
    target.client("s3").delete_object(Bucket=OUTPUTS, Key="a cat/result.png")

    with pytest.raises(CommandError, match="kontext redeliver"):
        fetch.carry_out(target, "a cat", str(tmp_path / "cat.png"), as_json=False)

    assert not (tmp_path / "cat.png").exists()


def test_there_is_nothing_to_fetch_of_a_pair_that_is_on_its_way(target: Target, pictures: tuple[Path, Path]) -> None:
    drop = prepare(*pictures, "cat", {})
    note(target, drop, "QUEUED")

    with pytest.raises(CommandError, match="There is no picture to fetch: cat/ is QUEUED"):
        fetch.carry_out(target, "cat", None, as_json=False)


def unreachable() -> None:
    raise EndpointConnectionError(endpoint_url="https://s3.example")


def test_a_network_that_is_away_before_the_first_upload_leaves_nothing_to_pay(
    target: Target, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(CommandError, match="Nothing has been dropped: AWS could not be reached") as away:
        carried_out(acting(target, "get_paginator", 1, unreachable), prepare(*pictures, "cat", {}), tmp_path)

    assert away.value.exit_code == 2


def test_a_time_that_is_over_is_no_reason_to_pay_again(
    target: Target, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(Unfinished, match=r"No result after 0 s\. cat/ is dropped and goes on by itself") as over:
        carried_out(target, prepare(*pictures, "cat", {}), tmp_path, seconds=0.1)

    assert over.value.exit_code == 3


def test_a_photograph_that_vanishes_before_its_upload_leaves_nothing_behind(
    target: Target, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    drop = prepare(*pictures, "cat", {"prompt": "A cat."})
    pictures[1].unlink()

    with pytest.raises(CommandError, match=r"Nothing has been dropped: cup\.jpg: No such file or directory"):
        carried_out(target, drop, tmp_path)

    assert keys(target) == []
