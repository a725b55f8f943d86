"""A `kontext drop` that breaks off says what is or may be paid, and how to go on."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from kontext_cli.drop import fetch
from kontext_cli.drop.client import DropClient, prepare
from kontext_cli.errors import CommandError, Unfinished
from kontext_cli.target import Target
from tests.unit.cli.drop.conftest import OUTPUTS, acting, carried_out, delivered, keys, note, press_ctrl_c


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
