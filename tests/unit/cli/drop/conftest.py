"""A stack to drop into, two photographs, and what the pipeline would make of them."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kontext.drops import request
from kontext.dynamodb import Table
from kontext_cli.drop.client import Drop, DropClient, prepare
from kontext_cli.drop.command import carry_out
from kontext_cli.drop.saving import Destination
from kontext_cli.target import Target
from tests.aws import Aws

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
