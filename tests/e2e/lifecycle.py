"""The lifecycle of a stack: updated with renders in flight, beside a second stack, and removed as docs/deploy.md tells.

Run by `make test-lifecycle`; two deployments of two stacks would be too long for `make test`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kontext.dynamodb import Table
from kontext_local import cloud, deploy
from kontext_local.project import ROOT, TEMPLATE
from kontext_local.segmind import server
from tests.e2e.conftest import Eventually

Json = dict[str, Any]

PREVIOUS = os.environ.get("KONTEXT_PREVIOUS", "2f609e5b")
"""The commit that stacks are updated from: the last release. Until there is one, a day-old state of the project."""
PARAMETERS = {"TlsOnly": "false", "RequestsPerMinute": "60", "DailySpendLimit": "1000"}


@dataclass
class World:
    """An embedded cloud and an emulator of Segmind, with nothing deployed yet."""

    aws: cloud.Cloud
    segmind: server.Emulator
    folder: Path

    def deploy(self, name: str, template: Path = TEMPLATE) -> Stack:
        """Build a template and deploy it as the stack `name`, or change that stack into it."""
        log, folder = self.folder / "sam.log", self.folder / template.parent.name
        host = self.segmind.url.removeprefix("http://")
        given = {"SegmindUrl": self.segmind.url, "SegmindApiKey": self.segmind.api_key, "ResultHosts": host}
        built = deploy.build(log, template, folder)
        outputs = deploy.deploy(self.aws.account, built, PARAMETERS | given, log, stack=name)
        # As documented: the update from a template that had the key as a parameter needs it put there once.
        secrets, secret = self.aws.client("secretsmanager"), outputs["SegmindSecretArn"]
        secrets.put_secret_value(SecretId=secret, SecretString=self.segmind.api_key)
        return Stack(name, self.aws, outputs)


@dataclass
class Stack:
    """A deployed stack, and somebody who drops pairs into it."""

    name: str
    aws: cloud.Cloud
    outputs: dict[str, str]

    def drop(self, pair: str) -> None:
        photograph = BytesIO()
        Image.new("RGB", (96, 64), "teal").save(photograph, "PNG")
        for slot in "12":
            key, metadata = f"{pair}/{slot}.png", {"prompt": f"{self.name}, {pair}"}
            body = photograph.getvalue()
            self.aws.client("s3").put_object(Bucket=self.outputs["InputBucket"], Key=key, Body=body, Metadata=metadata)

    def renders(self) -> list[Json]:
        items = Table(self.aws.client("dynamodb"), self.outputs["RendersTable"]).scan()
        return [item for item in items if item["sk"].startswith("render#")]

    def statuses(self) -> Counter[str]:
        return Counter(item["status"] for item in self.renders())

    def written(self) -> set[str]:
        listed = self.aws.client("s3").list_objects_v2(Bucket=self.outputs["OutputBucket"])
        return {one["Key"] for one in listed.get("Contents", ())}

    def executions(self) -> Counter[str]:
        states = self.aws.client("stepfunctions")
        pages = states.get_paginator("list_executions").paginate(stateMachineArn=self.outputs["RenderWorkflowArn"])
        return Counter(one["status"] for page in pages for one in page["executions"])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with (
        cloud.start(tmp_path / "cloud.log") as aws,
        server.start(log=tmp_path / "segmind.log", inference=12.0, workers=3, pixels=65_536) as segmind,
    ):
        yield World(aws, segmind, tmp_path)


def test_an_update_from_the_previous_release_keeps_all_renders_in_flight(world: World, eventually: Eventually) -> None:
    pairs = [f"pair-{number}" for number in range(12)]
    stack = world.deploy("kontext-drop", previous(world.folder / "previous"))
    for pair in pairs:
        stack.drop(pair)
    eventually(lambda: stack.executions()["RUNNING"] >= 3, "renders in flight")
    before = stack.statuses()

    updated = world.deploy("kontext-drop")
    after = updated.statuses()
    # An invocation may die in the update: its messages come back only after the queue's visibility time-out (260 s).
    eventually(lambda: len(ended(updated.renders())) == len(pairs), "an end of every pair", 420)

    print(f"before the update {dict(before)}, after it {dict(after)}, at last {dict(updated.statuses())}")
    assert updated.outputs.items() >= stack.outputs.items()  # nothing was replaced
    assert after["DELIVERED"] < len(pairs)
    assert [one.get("error") for one in updated.renders() if one["status"] != "DELIVERED"] == []
    assert updated.written() == {f"{pair}/result.png" for pair in pairs}
    assert len(world.segmind.ledger()["charges"]) == len(pairs)
    assert updated.executions() == {"SUCCEEDED": len(pairs)}


def test_two_stacks_live_side_by_side_and_one_is_removed_as_documented(world: World, eventually: Eventually) -> None:
    one, other = world.deploy("kontext-one"), world.deploy("kontext-other")
    one.drop("in-one")
    other.drop("in-other")
    eventually(lambda: one.written() and other.written(), "both delivered")

    assert one.written() == {"in-one/result.png"}
    assert other.written() == {"in-other/result.png"}
    assert not one.outputs.items() & other.outputs.items()

    removed(one)
    assert one.written() == {"in-one/result.png"}  # no picture is lost by removing the stack
    wiped(one)
    other.drop("later")
    eventually(lambda: other.statuses()["DELIVERED"] == 2, "the other stack went on")

    names = json.dumps(world.aws.client("s3").list_buckets()["Buckets"], default=str)
    assert one.outputs["InputBucket"] not in names
    assert one.outputs["OutputBucket"] not in names
    assert one.outputs["RendersTable"] not in world.aws.client("dynamodb").list_tables()["TableNames"]
    assert [name for name in functions(world.aws) if name.startswith("kontext-one-")] == []


def ended(renders: list[Json]) -> list[Json]:
    return [one for one in renders if one["status"] in ("DELIVERED", "FAILED", "UNCERTAIN")]


def previous(folder: Path) -> Path:
    """The template of the previous release, in a copy of that release's sources."""
    archive = subprocess.run(["git", "archive", PREVIOUS], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.fail(f"the history of the project is needed here: {archive.stderr.decode()}")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder / "template.yaml"


def removed(stack: Stack) -> None:
    """`sam delete`, as documented."""
    command = [str(deploy.BIN / "sam"), "delete", "--stack-name", stack.name, "--no-prompts", "--region", cloud.REGION]
    environment = os.environ | stack.aws.account.environment() | {"SAM_CLI_TELEMETRY": "0"}
    subprocess.run(command, env=environment, cwd=stack.aws.folder, check=True, capture_output=True)


def wiped(stack: Stack) -> None:
    """What is documented for those who want the pictures and the record gone too."""
    (block,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "deploy.md").read_text(), re.MULTILINE | re.DOTALL)
    for output in ("InputBucket", "OutputBucket", "RendersTable"):
        assert f"<{output}>" in block
        block = block.replace(f"<{output}>", stack.outputs[output])
    environment = os.environ | stack.aws.account.environment()
    subprocess.run([sys.executable, "-c", block], env=environment, check=True)


def functions(aws: cloud.Cloud) -> list[str]:
    return [one["FunctionName"] for one in aws.client("lambda").list_functions()["Functions"]]
