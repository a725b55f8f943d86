"""`kontext backfill`: what it says that it costs, and what it does when it is interrupted."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from kontext_cli.backfill import command as backfill
from kontext_cli.backfill.sources import read
from kontext_cli.errors import Unfinished
from kontext_cli.target import Target
from tests.unit.cli.backfill.pairs import (
    HEAD,
    LIMITS,
    REFERENCES,
    ROW,
    UNREADABLE,
    Described,
    keys,
    planned,
)


class Interrupting:
    """An S3 client whose user presses Ctrl-C at the last of `puts`, or at which something else happens then."""

    def __init__(self, client: Any, puts: int, problem: BaseException | None = None) -> None:
        self.client = client
        self.left = puts
        self.problem = problem or KeyboardInterrupt()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def put_object(self, **asked: Any) -> Any:
        self.left -= 1
        if not self.left:
            raise self.problem
        return self.client.put_object(**asked)


def stack(target: Target, **clients: Any) -> Target:
    """The stack as the command finds it, some of its clients replaced."""
    chosen = {"cloudformation": Described(), **clients}
    return Target("shop", target.outputs, lambda name: chosen.get(name) or target.client(name))


class ReaderGone(io.StringIO):
    """A standard output whose reader goes while pairs are uploaded."""

    def write(self, text: str) -> int:
        if "uploading" in text:
            raise BrokenPipeError
        return super().write(text)


class Full(io.StringIO):
    """A standard output on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_nothing_is_uploaded_unless_told_to(
    target: Target, table: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(HEAD, ROW, "dog,gone.png,cup.jpg,")

    code = backfill.carry_out(stack(target), path, "", upload=False, as_json=True)

    said = capsys.readouterr()
    told = json.loads(said.out)
    assert code == 1
    assert (told["new"], told["price_usd"], told["uploaded"]) == (["shop/cat/"], 0.05, 0)
    assert told["wrong"] == [{"where": "row 3 (dog)", "why": "gone.png: No such file or directory"}]
    assert "Nothing has been uploaded: --upload does it." in said.err
    assert "USD 0.05 (1 picture at USD 0.05)" in said.err
    assert keys(target) == []


def test_after_an_interrupt_the_same_command_goes_on(
    target: Target, table: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(HEAD, ROW, ROW.replace("cat,", "dog,", 1))
    pressed = stack(target, s3=Interrupting(target.client("s3"), puts=5))

    stopped = backfill.carry_out(pressed, path, "", upload=True, as_json=False)
    said, there = capsys.readouterr().out, keys(target)
    again = backfill.carry_out(stack(target), path, "", upload=True, as_json=True)

    told = json.loads(capsys.readouterr().out)
    assert (stopped, again) == (130, 0)
    assert there == ["shop/cat/1.png", "shop/cat/2.jpg", "shop/cat/request.json", "shop/dog/request.json"]
    assert "Stopped after 1 of 2 pairs. They go on by themselves, and are, or will be, paid: USD 0.05." in said
    assert "Of shop/dog/ 1 of 3 parts are there, and perhaps 1.png; once all are, it is paid, too (USD 0.05)." in said
    assert "The same command goes on from there" in said
    assert (told["dropped_before"], told["new"], told["uploaded"]) == (["shop/cat/"], ["shop/dog/"], 1)


def test_a_backfill_that_aws_stops_says_what_is_paid(
    target: Target, table: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(HEAD, ROW, ROW.replace("cat,", "dog,", 1))
    away = EndpointConnectionError(endpoint_url="https://s3.example")
    gone = stack(target, s3=Interrupting(target.client("s3"), puts=6, problem=away))

    code = backfill.carry_out(gone, path, "", upload=True, as_json=True)

    said = capsys.readouterr()
    assert code == 3
    assert "Stopped after 1 of 2 pairs: AWS could not be reached" in said.err
    assert "are, or will be, paid: USD 0.05." in said.err
    assert "Of shop/dog/ 2 of 3 parts are there, and perhaps 2.jpg; once all are, it is paid, too" in said.err
    assert "could not be reached" in json.loads(said.out)["error"]["message"]


def test_a_file_that_vanishes_before_its_upload_costs_only_its_own_pair(
    target: Target, table: Callable[..., Path], folder: Path
) -> None:
    shutil.copy(folder / "cat.png", folder / "dog.png")
    plan = planned(target, read(table(HEAD, ROW, "dog,dog.png,cup.jpg,A dog."), "", LIMITS, REFERENCES))
    (folder / "cat.png").unlink()

    uploaded = [job.pair.prefix for job in plan.upload()]

    assert uploaded == ["dog/"]
    assert plan.wrong[0].why == f"No such file or directory: {folder / 'cat.png'}"
    assert [key for key in keys(target) if key.startswith("shop/")] == []


def test_a_pair_that_somebody_else_drops_meanwhile_is_not_mixed_with_theirs(
    target: Target, table: Callable[..., Path]
) -> None:
    plan = planned(target, read(table(HEAD, ROW), "", LIMITS, REFERENCES))
    target.client("s3").put_object(Bucket="inputs", Key="shop/cat/request.json", Body=b'{"prompt": "Theirs."}')

    uploaded = list(plan.upload())

    assert uploaded == []
    assert "somebody else has just dropped shop/cat/request.json" in plan.wrong[0].why
    assert keys(target) == ["shop/cat/request.json"]


def test_a_photograph_that_comes_from_elsewhere_during_a_backfill_is_not_completed_to_a_pair(
    target: Target, table: Callable[..., Path]
) -> None:
    plan = planned(target, read(table(HEAD, ROW, "dog,cat.png,cup.jpg,"), "", LIMITS, REFERENCES))
    target.client("s3").put_object(Bucket="inputs", Key="shop/cat/2.webp", Body=b"theirs")

    uploaded = [job.pair.prefix for job in plan.upload()]

    assert uploaded == ["dog/"]
    assert "somebody else has just dropped shop/cat/2.webp" in plan.wrong[0].why
    assert "2 of 3 parts are there" in plan.wrong[0].why


def test_a_photograph_in_the_bucket_that_the_stack_rejects_leaves_the_other_pairs_alone(
    target: Target, table: Callable[..., Path], folder: Path
) -> None:
    cat = (folder / "cat.png").read_bytes()
    rejected = {"aspect-ratio": "99:1"}
    target.client("s3").put_object(Bucket="inputs", Key="shop/cat/1.png", Body=cat, Metadata=rejected)

    plan = planned(target, read(table(HEAD, ROW, "dog,cat.png,cup.jpg,"), "", LIMITS, REFERENCES))

    assert [job.pair.prefix for job in plan.jobs] == ["dog/"]
    assert "shop/cat/1.png is there with metadata that is rejected" in plan.wrong[0].why


@pytest.mark.skipif(not UNREADABLE.exists(), reason="a file that nobody can read is needed, root included")
def test_a_request_that_cannot_be_read_leaves_the_other_pairs_alone(
    target: Target, drop_folder: Callable[..., Path]
) -> None:
    root = drop_folder("a/1.png", "a/2.png", "b/1.png", "b/2.png")
    (root / "a/request.json").symlink_to(UNREADABLE)

    source = read(root, "", LIMITS, REFERENCES)

    assert [pair.prefix for pair in source.pairs] == ["b/"]
    assert [(wrong.where, wrong.why) for wrong in source.wrong] == [("a/", "Input/output error")]


def test_a_backfill_whose_reader_goes_says_what_is_paid_where_errors_go(
    target: Target, table: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(HEAD, ROW)
    monkeypatch.setattr(sys, "stdout", ReaderGone())

    code = backfill.carry_out(stack(target), path, "", upload=True, as_json=False)

    assert code == 141
    assert "Stopped after 1 of 1 pairs" in capsys.readouterr().err


def test_a_backfill_that_can_write_no_json_says_what_was_uploaded(
    target: Target, table: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(HEAD, ROW)
    monkeypatch.setattr(sys, "stdout", Full())

    with pytest.raises(Unfinished, match=r"No space left on device\. 1 pair uploaded"):
        backfill.carry_out(stack(target), path, "", upload=True, as_json=True)
