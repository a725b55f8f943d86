"""Somebody who drops pairs with a plain S3 client, and looks what becomes of them."""

from __future__ import annotations

import io
import json
import secrets
from email.header import Header
from pathlib import Path
from typing import Any

import jsonschema
from PIL import Image

from kontext.drops.pairs import pair_key
from kontext.dynamodb import Table
from kontext.errors import CODES
from kontext.model import Parameters, Render
from kontext.renders.record import render_of
from kontext.renders.workflow import execution_name
from kontext.results import cloudevents as published
from kontext_cli.demo.subscriber import Subscriber
from kontext_local.stack import LocalStack
from tests.e2e.conftest import Eventually

Json = dict[str, Any]

CONTRACT = jsonschema.Draft7Validator(
    json.loads((Path(published.__file__).parents[1] / "schemas" / "event.v1.json").read_text())
)
SECONDS = 300.0
"""For whatever has to happen: about five on an idle machine; a busy one may have to take a message twice."""


class Owner:
    """Somebody who drops pairs under a folder of their own, and subscribes to the topic."""

    def __init__(self, local: LocalStack, samples: Path, subscriber: Subscriber, eventually: Eventually) -> None:
        self.local, self.subscriber, self.eventually = local, subscriber, eventually
        self.s3 = local.client("s3")
        self.table = Table(local.client("dynamodb"), local.outputs["RendersTable"])
        self.home = f"owner-{secrets.token_hex(4)}/"
        self.cat, self.coffee = (samples / "chelsea.png").read_bytes(), (samples / "coffee.png").read_bytes()
        self.admiral = (samples / "grace_hopper.jpg").read_bytes()
        self.received: list[Json] = []

    def prompt(self, text: str) -> str:
        """A prompt that nobody else has."""
        return f"{text} ({self.home[:-1]})"

    def put(self, key: str, body: bytes | str | Json, **metadata: str) -> None:
        """Drop one object."""
        if isinstance(body, dict):
            body = json.dumps(body, ensure_ascii=False)
        data = body.encode() if isinstance(body, str) else body
        bucket = self.local.outputs["InputBucket"]
        self.s3.put_object(Bucket=bucket, Key=self.home + key, Body=data, Metadata=metadata)

    def pair(self, prefix: str, request: Json | None = None) -> None:
        """Drop a pair: the request first, so that it never waits for one."""
        if request is not None:
            self.put(f"{prefix}request.json", request)
        self.put(f"{prefix}1.png", self.cat)
        self.put(f"{prefix}2.jpg", self.admiral)

    def events(self, prefix: str) -> list[Json]:
        """What has been published about a pair so far."""
        self.received += self.subscriber.receive()
        return [event for event in self.received if event["data"]["pair"] == self.home + prefix]

    def event(self, prefix: str, **expected: Any) -> Json:
        """What is published about a pair in the end, with these values in its request."""

        def fits(event: Json) -> bool:
            return all(event["data"]["request"].get(name) == value for name, value in expected.items())

        def find() -> Json | None:
            return next((event for event in self.events(prefix) if fits(event)), None)

        event: Json = self.eventually(find, f"the event of {prefix}", SECONDS)
        assert [error.message for error in CONTRACT.iter_errors(event)] == []
        return event

    def output(self, key: str) -> Any:
        """An object of the output bucket, None where there is none."""
        try:
            return self.s3.get_object(Bucket=self.local.outputs["OutputBucket"], Key=self.home + key)
        except self.s3.exceptions.NoSuchKey:
            return None

    def outputs(self, prefix: str) -> list[str]:
        """The keys in the output bucket that begin with a prefix, without the owner's folder."""
        found = self.s3.list_objects_v2(Bucket=self.local.outputs["OutputBucket"], Prefix=self.home + prefix)
        return [item["Key"].removeprefix(self.home) for item in found.get("Contents", ())]

    def error(self, key: str) -> Json:
        """The content of an error file, as soon as there is one."""
        answer = self.eventually(lambda: self.output(key), key, SECONDS)
        content: Json = json.loads(answer["Body"].read())
        assert answer["ContentType"] == "application/json"
        assert content["remedy"] == CODES[content["code"]].remedy
        return content

    def picture(self, key: str) -> Image.Image:
        """A picture in the output bucket, decoded."""
        image = Image.open(io.BytesIO(self.output(key)["Body"].read()))
        image.load()
        return image

    def records(self, prefix: str) -> list[Render]:
        """The renders of a pair, as they stand in the table."""
        items = self.table.query(pair_key(self.home + prefix)["pk"])
        return [render_of(item) for item in items if item["sk"].startswith("render#")]

    def execution(self, render: Render) -> Json:
        """The execution of a render, with the states that it visited."""
        machine = self.local.outputs["RenderWorkflowArn"].replace(":stateMachine:", ":execution:")
        states, arn = self.local.client("stepfunctions"), f"{machine}:{execution_name(render)}"
        history = states.get_execution_history(executionArn=arn)["events"]
        visited = [
            event["stateEnteredEventDetails"]["name"] for event in history if "stateEnteredEventDetails" in event
        ]
        return {**states.describe_execution(executionArn=arn), "visited": visited}

    def posts(self, prompt: str) -> list[Json]:
        """What Segmind was sent with a prompt."""
        return [post for post in self.ledger()["posts"] if post["prompt"] == prompt]

    def job(self, request_id: str) -> Json:
        """A job as Segmind sees it."""
        job: Json
        (job,) = (job for job in self.ledger()["jobs"] if job["request_id"] == request_id)
        return job

    def ledger(self) -> Json:
        """Everything that Segmind was asked, and what became of it."""
        with self.local.emulator() as emulator:
            ledger: Json = emulator.get("ledger").json()
        return ledger

    def script(self, **rule: Any) -> None:
        """Have Segmind misbehave."""
        with self.local.emulator() as emulator:
            emulator.post("script", json=rule).raise_for_status()

    def drop_everything(self) -> None:
        """All pairs that need no second step."""
        self.script(prompt=self.prompt("blocked"), fail="The request was blocked by the content filter.", times=None)
        self.pair("full/", {**ASKED, "prompt": self.prompt("full")})
        self.pair("blocked/", {"prompt": self.prompt("blocked")})
        self.pair("wrong/", {"prompt": self.prompt("wrong"), "aspect_ratio": "16:10"})
        for prefix in NAMINGS:
            self.pair(prefix, {"prompt": self.prompt(prefix)})
        self.put("a b+c ü%20/1.PNG", self.cat, prompt=self.prompt("strange key"))
        self.put("a b+c ü%20/2.Jpeg", self.admiral)
        for order in ORDERS:
            for part in order:
                self.put(f"order-{order}/{PARTS[part]}", self.part(part, self.prompt(order)))
        self.put("text/prompt.txt", self.prompt("text") + "\r\n")
        self.pair("text/")
        self.put("metadata/2.png", self.coffee, **{"aspect-ratio": "1:1"})
        self.put("metadata/1.png", self.cat, prompt=Header(self.prompt("Kätzchen 🐈"), "utf-8", 5000).encode())
        self.pair("settled/")
        self.drop_shared()
        self.put("notes.txt", "Do not forget the milk.")
        self.put("holidays/", b"")
        for name, body in BROKEN.items():
            self.put(f"broken-{name}/2.png", self.coffee, prompt=self.prompt(name))
            self.put(f"broken-{name}/1.png", self.cat[:20_000] if body is None else body)
        self.put("half/2.png", self.coffee)

    def drop_shared(self) -> None:
        """Pairs whose images are named by their request: dropped before it, and after it."""
        before = {"input_image_1": f"/{self.home}shared/product.png", "input_image_2": "me.jpg"}
        self.put("shared/product.png", self.coffee)
        self.put("before/me.jpg", self.admiral)
        self.put("before/request.json", before | {"prompt": self.prompt("before")})
        after = {"input_image_1": f"/{self.home}shared/later.png", "input_image_2": "1.png"}
        self.put("after/request.json", after | {"prompt": self.prompt("after")})
        self.put("after/1.png", self.cat)
        self.put("shared/later.png", self.coffee)

    def part(self, slot: str, prompt: str) -> bytes | Json:
        parts: dict[str, bytes | Json] = {"1": self.cat, "2": self.admiral, "r": {"prompt": prompt}}
        return parts[slot]


ASKED: Parameters = {"aspect_ratio": "16:9", "output_format": "jpg", "safety_tolerance": 1, "seed": 7}
NAMINGS = ["folder/", "taj_", "a-", "deep/er/x_y-"]
ORDERS = ["12r", "1r2", "21r", "2r1", "r12", "r21"]
PARTS = {"1": "1.png", "2": "2.jpg", "r": "request.json"}
BROKEN = {"empty": b"", "page": b"<!doctype html>\n<title>Not found</title>", "cut": None}
