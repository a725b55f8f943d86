"""One reader of pictures: whatever door a file comes to, it is the same picture, or refused in the same words."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from kontext.drops.input_bucket import InputBucket
from kontext.drops.references import References
from kontext.errors import BadDrop, DeliveryError
from kontext.images.image import BadPicture, Limits
from kontext.images.inspection import inspect
from kontext.results.copy import Delivery
from kontext.results.hosts import Allowed
from kontext.results.output_bucket import OutputBucket
from kontext_cli.backfill import sources
from kontext_cli.drop.client import DropClient, prepare
from kontext_cli.target import Target
from kontext_cli.web import uploads
from kontext_cli.web.pictures import NoPicture, Pictures, Pointer
from tests.aws import Aws
from tests.unit.photographs import CORPUS, PNG

Door = Callable[[str, bytes], str | None]
"""What a door answers to a file under a name: words of refusal, or None."""
SETTINGS = {
    "DefaultPrompt": "Together.",
    "PricePerRender": "0.05",
    "MaxInputMegabytes": "50",
    "MaxInputMegapixels": "100",
}


class Described:
    """CloudFormation, which tells of a stack and its parameters."""

    def describe_stacks(self, **_: Any) -> Any:
        parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in SETTINGS.items()]
        return {"Stacks": [{"Parameters": parameters, "StackStatus": "CREATE_COMPLETE"}]}


@pytest.fixture
def target(aws: Aws, bucket: str, renders_table: str) -> Target:
    outputs = {"InputBucket": bucket, "OutputBucket": bucket, "RendersTable": renders_table}
    clients: dict[str, Any] = {"cloudformation": Described()}
    return Target("shop", outputs, functools.cache(lambda name: clients.get(name) or aws(name)))


@pytest.fixture
def s3(target: Target, bucket: str) -> Door:
    inputs = InputBucket(target.client("s3"), bucket)

    def drop(name: str, content: bytes) -> str | None:
        target.client("s3").put_object(Bucket=bucket, Key=name, Body=content)
        problem = (inputs.read(name, "image") or {}).get("problem")
        return problem["message"] if problem else None

    return drop


@pytest.fixture
def folder(tmp_path: Path) -> Door:
    def read(name: str, content: bytes) -> str | None:
        root = tmp_path / name.lstrip(".")
        root.mkdir()
        (root / "1.png").write_bytes(content)
        (root / "2.png").write_bytes(PNG)
        wrong = sources.read(root, "", Limits(), References()).wrong
        return wrong[0].why if wrong else None

    return read


@pytest.fixture
def table(tmp_path: Path) -> Door:
    def read(name: str, content: bytes) -> str | None:
        (tmp_path / name).write_bytes(content)
        (tmp_path / "two.png").write_bytes(PNG)
        (tmp_path / "pairs.csv").write_text(f"name,image 1,image 2\ncat,{name},two.png\n")
        wrong = sources.read(tmp_path / "pairs.csv", "", Limits(), References()).wrong
        return wrong[0].why if wrong else None

    return read


@pytest.fixture
def command(target: Target, tmp_path: Path) -> Door:
    client = DropClient(target)

    def drop(name: str, content: bytes) -> str | None:
        one, two = tmp_path / f"{name}.png", tmp_path / "two.png"
        one.write_bytes(content)
        two.write_bytes(PNG)
        try:
            client.errand(prepare(one, two, "cat", {}))
        except BadDrop as refused:
            return str(refused)
        return None

    return drop


@pytest.fixture
def page(target: Target) -> Door:
    client = DropClient(target)

    def drop(name: str, content: bytes) -> str | None:
        try:
            uploads.put(client, uploads.Upload(((name, content), ("two.png", PNG)), name.lstrip("."), {}))
        except BadDrop as refused:
            return str(refused)
        return None

    return drop


@pytest.fixture
def gallery(target: Target, bucket: str) -> Door:
    pictures = Pictures(target)

    def show(name: str, content: bytes) -> str | None:
        target.client("s3").put_object(Bucket=bucket, Key=name, Body=content)
        try:
            pictures.original(Pointer("input", name, None))
        except NoPicture as refused:
            return str(refused)
        return None

    return show


@pytest.fixture
def finalize(target: Target, bucket: str) -> Door:
    def copy(name: str, content: bytes) -> str | None:
        way = httpx.MockTransport(lambda _: httpx.Response(200, content=content))
        delivery = Delivery(OutputBucket(target.client("s3"), bucket), Allowed(("images.segmind.com",)), way)
        try:
            with delivery.fetch("https://images.segmind.com/a.png") as arriving:
                delivery.copy(arriving, name, {"render-id": "r"}, {"IfNoneMatch": "*"})
        except DeliveryError as refused:
            return str(refused)
        return None

    return copy


def refusal_of(content: bytes) -> str | None:
    try:
        inspect([content], Limits())
    except BadPicture as refused:
        return str(refused).rstrip(".")
    return None


def moving(door: str) -> set[str]:
    """What a door takes that others refuse: a result that is animated is paid."""
    return {file.name for file in CORPUS if file.refusal == "animated" and door in ("gallery", "finalize")}


@pytest.mark.parametrize("door", ["s3", "folder", "table", "command", "page", "gallery", "finalize"])
def test_every_door_takes_and_refuses_the_same_files(door: str, request: pytest.FixtureRequest) -> None:
    ask: Door = request.getfixturevalue(door)

    answers = {file.name: ask(file.name, file.content) for file in CORPUS if file.name}

    taken = {name for name, answer in answers.items() if answer is None}
    assert taken == {file.name for file in CORPUS if refusal_of(file.content) is None} | moving(door)


@pytest.mark.parametrize("door", ["s3", "folder", "table", "command", "page", "gallery"])
def test_every_door_says_the_same_of_what_it_refuses(door: str, request: pytest.FixtureRequest) -> None:
    ask: Door = request.getfixturevalue(door)
    refused = [file for file in CORPUS if file.refusal and file.name not in moving(door)]

    answers = {file.name: ask(file.name, file.content) or "" for file in refused}

    unsaid = [file.name for file in refused if (refusal_of(file.content) or "?") not in answers[file.name]]
    assert unsaid == []
