"""The main stories once more, on another implementation of AWS and in Lambda's own runtime. Run by `make test-moto`."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from io import BytesIO
from pathlib import Path
from socket import socket
from struct import pack
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from PIL import Image

from kontext.drops.pairs import pair_key
from kontext.due import SET_DUE, TIMER, WAITING
from kontext.dynamodb import Table
from kontext.model import Render
from kontext.polling.durations import SLOTS, Durations
from kontext.polling.history import PollHistory
from kontext.renders.record import render_of
from kontext_local.project import BUILD_FOLDER
from kontext_local.segmind import server
from simulation.template import Spec
from tests.moto.__main__ import RUNTIME
from tests.moto.cloud import MotoCloud
from tests.moto.sandbox import Function, FunctionFailed, Places

T = TypeVar("T")
Json = dict[str, Any]

SECONDS = 90.0
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


@pytest.fixture(scope="session", autouse=True)
def loopback() -> None:
    """The one interface of this network namespace."""
    with socket() as any_socket:
        ioctl(any_socket, SIOCSIFFLAGS, pack("16sh14x", b"lo", IFF_UP))


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """What `sam build` made for AWS, laid out as Lambda lays it out."""
    built, layers = BUILD_FOLDER / "build", tmp_path_factory.mktemp("opt")
    for layer in ("DependenciesLayer", "KontextLayer"):
        shutil.copytree(built / layer, layers, dirs_exist_ok=True)
    return Places(built / "SubmitFunction", layers, RUNTIME)


@pytest.fixture(scope="session")
def segmind() -> Iterator[server.Emulator]:
    with server.start(inference=1.0, pixels=65_536, rate_limit=None) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def cloud(places: Places, segmind: server.Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoCloud]:
    log = tmp_path_factory.mktemp("moto") / "functions.log"
    parameters = {
        "SegmindUrl": segmind.url,
        "ResultHosts": urlsplit(segmind.url).netloc,
        "PromptWaitSeconds": "2",
        "RequestsPerMinute": "1200",
    }
    running = MotoCloud(places, parameters, segmind.api_key, log)
    teach(running)
    yield running
    peaks = {name: f"{one.peak_megabytes()} of {one.spec.memory} MB" for name, one in running.functions.items()}
    print(f"\npeak memory: {peaks}; functions' log: {log}")
    running.stop()
    assert segmind.api_key not in log.read_text()


@pytest.fixture
def probe(places: Places, tmp_path: Path) -> Iterator[Function]:
    """A function that tries what is not allowed; it has 3 seconds and 128 MB."""
    code = Places(Path(__file__).parent / "probe", places.layers, places.runtime)
    function = Function(Spec("probe.handler", {}, 3, 128), code, tmp_path / "probe.log")
    yield function
    function.stop()


def teach(cloud: MotoCloud) -> None:
    """Let the stack know how fast its emulator is; a new one expects 23 s, and looks no earlier."""
    durations = Durations()
    for number in range(3 * SLOTS):
        durations = durations.observe(str(number), number, 0.0, 1.0)
    table = Table(cloud.client("dynamodb"), cloud.outputs["RendersTable"])
    cells = list(durations.cells.items())
    for start in range(0, len(cells), 16):  # moto cannot take all in one expression
        some = dict(cells[start : start + 16])
        table.update(PollHistory.KEY, f"SET {', '.join(f'#{name} = :{name}' for name in some)}", **some)


class Customer:
    """Somebody who drops pairs under a prefix, and waits for what becomes of them."""

    def __init__(self, cloud: MotoCloud, prefix: str) -> None:
        self.cloud, self.prefix = cloud, prefix
        self.s3 = cloud.client("s3")

    def drop(self, **metadata: str) -> None:
        photograph = BytesIO()
        Image.new("RGB", (96, 64), "teal").save(photograph, "PNG")
        for slot in "12":
            self.put(f"{slot}.png", photograph.getvalue(), **metadata)

    def put(self, name: str, body: bytes, **metadata: str) -> None:
        bucket = self.cloud.outputs["InputBucket"]
        self.s3.put_object(Bucket=bucket, Key=self.prefix + name, Body=body, Metadata=metadata)

    def output(self, name: str) -> bytes:
        """What the output bucket holds under the prefix, once it does."""
        bucket, key = self.cloud.outputs["OutputBucket"], self.prefix + name
        wait_for(lambda: key in self.keys(), key)
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def keys(self) -> set[str]:
        listed = self.s3.list_objects_v2(Bucket=self.cloud.outputs["OutputBucket"], Prefix=self.prefix)
        return {one["Key"] for one in listed.get("Contents", ())}

    def renders(self) -> list[Render]:
        table = Table(self.cloud.client("dynamodb"), self.cloud.outputs["RendersTable"])
        items = [item for item in table.scan() if item["sk"].startswith("render#") and item["prefix"] == self.prefix]
        return [render_of(item) for item in items]

    def told(self) -> Json:
        """The first event about this pair that the topic's subscriber receives."""
        queue, sqs = self.cloud.outputs["SubscriberQueue"], self.cloud.client("sqs")

        def look() -> Json | None:
            asked = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1, VisibilityTimeout=0, MaxNumberOfMessages=10)
            events = [json.loads(message["Body"]) for message in asked.get("Messages", ())]
            return next((event for event in events if event["subject"] == self.prefix), None)

        return wait_for(look, "an event")

    def execution(self) -> Json:
        """The one execution of the pair's workflow, once it has ended."""
        states, workflow = self.cloud.client("stepfunctions"), self.cloud.outputs["RenderWorkflow"]

        def look() -> Json | None:
            known = states.list_executions(stateMachineArn=workflow)["executions"]
            ours = [one for one in known if one["name"].startswith(self.prefix.strip("/"))]
            return next((one for one in ours if one["status"] != "RUNNING"), None)

        described: Json = states.describe_execution(executionArn=wait_for(look, "an end")["executionArn"])
        return described


def wait_for(look: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + SECONDS
    while not (seen := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come within {SECONDS:.0f} s")
        time.sleep(0.1)
    return seen


def test_a_pair_becomes_one_picture_one_event_and_one_charge(cloud: MotoCloud, segmind: server.Emulator) -> None:
    customer = Customer(cloud, "good/")
    customer.drop(prompt="success")

    picture = Image.open(BytesIO(customer.output("result.png")))
    event = customer.told()

    assert picture.format == "PNG"
    assert event["type"] == "kontext.rendered"
    assert customer.execution()["status"] == "SUCCEEDED"
    assert [render["status"] for render in customer.renders()] == ["DELIVERED"]
    assert charges(segmind, "success") == 1


def test_a_job_that_fails_at_segmind_is_told_and_not_charged(cloud: MotoCloud, segmind: server.Emulator) -> None:
    segmind.script(prompt="failure", fail="blocked by a content check", times=None)
    customer = Customer(cloud, "bad/")
    customer.drop(prompt="failure")

    error = json.loads(customer.output("error.json"))
    execution = customer.execution()

    assert error["code"] == "render_failed"
    assert error["charged"] == "no"
    assert (execution["status"], execution["error"]) == ("FAILED", "render_failed")
    assert customer.told()["type"] == "kontext.failed"
    assert charges(segmind, "failure") == 0


def test_an_invalid_request_is_refused_before_anything_is_sent(cloud: MotoCloud, segmind: server.Emulator) -> None:
    before = len(segmind.ledger()["posts"])
    customer = Customer(cloud, "wrong/")
    customer.put("request.json", b'{"prompt": "invalid", "aspect_ration": "1:1"}')
    customer.drop()

    error = json.loads(customer.output("error.json"))

    assert error["code"] == "invalid_request"
    assert "aspect_ration" in error["message"]
    assert len(segmind.ledger()["posts"]) == before


def test_the_same_content_dropped_again_is_rendered_and_paid_once(cloud: MotoCloud, segmind: server.Emulator) -> None:
    customer = Customer(cloud, "again/")
    customer.drop(prompt="duplicate")
    customer.output("result.png")

    customer.drop(prompt="duplicate")
    marker = Customer(cloud, "marker/")
    marker.drop(prompt="marker")
    marker.output("result.png")

    assert len(customer.renders()) == 1
    assert charges(segmind, "duplicate") == 1


def test_what_is_due_is_found_by_a_sweep_and_looked_at(cloud: MotoCloud) -> None:
    customer = Customer(cloud, "due/")
    customer.drop(prompt="due")
    customer.output("result.png")
    table, key = Table(cloud.client("dynamodb"), cloud.outputs["RendersTable"]), pair_key("due/")

    table.update(key, f"SET {SET_DUE}", due_lane=TIMER, due_at=0)

    wait_for(lambda: (table.get(key) or {}).get("due_lane") == WAITING, "a look at the pair")


def test_a_function_may_write_nothing_but_tmp(probe: Function) -> None:
    for path in ("/var/task/probe.py", "/opt/python/new.py", "/usr/new", "/root/new", "/var/runtime/new"):
        with pytest.raises(FunctionFailed, match="Read-only file system"):
            probe.invoke({"write": path})

    assert probe.invoke({"write": "/tmp/new"}) > 0


def test_a_function_reaches_nothing_outside(probe: Function) -> None:
    with pytest.raises(FunctionFailed, match="Network is unreachable"):
        probe.invoke({"connect": "192.0.2.1"})


def test_a_function_has_the_time_and_memory_that_it_is_given(probe: Function) -> None:
    with pytest.raises(FunctionFailed, match="timed out after 3"):
        probe.invoke({"sleep": 10})
    with pytest.raises(FunctionFailed, match="of 128"):
        probe.invoke({"hold": 256})


def test_a_function_has_the_packages_of_its_layers_and_of_the_runtime_and_no_others(probe: Function) -> None:
    assert probe.invoke({"import": "httpx"}).startswith("/opt/python/")
    assert probe.invoke({"import": "boto3"}).startswith("/var/runtime/")
    with pytest.raises(FunctionFailed, match="No module named"):
        probe.invoke({"import": "typer"})


def charges(segmind: server.Emulator, prompt: str) -> int:
    """How often a job with this prompt was charged."""
    ledger = segmind.ledger()
    jobs = {one["request_id"] for one in ledger["jobs"] if one["prompt"] == prompt}
    return sum(one["request_id"] in jobs for one in ledger["charges"])
