"""A person who decides about renders in doubt, and what Segmind says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Unpack

import httpx
import pytest
from botocore.exceptions import EndpointConnectionError

from kontext.clock import Clock
from kontext.dynamodb import Table
from kontext.model import Charged, ErrorCode, Render, RenderError, Status
from kontext.renders import record
from kontext_cli.decide.operate import Operator
from kontext_cli.target import Target
from tests.unit.conftest import add_uncertain

JOB = "3f2c8f5e-8f5e-4b7a-9d6e-0123456789ab"
OTHER_JOB = "9a1d7c04-1111-4222-8333-abcdefabcdef"
PICTURE = f"https://images.segmind.com/outputs/{JOB}.png"
HOUR = 3600.0


class Segmind(httpx.MockTransport):
    """Knows some jobs and serves their pictures, unless it is `away`; keeps what it was asked."""

    def __init__(self, picture: bytes) -> None:
        super().__init__(self.answer)
        self.picture, self.jobs, self.away = picture, [JOB], 0
        self.asked: list[httpx.Request] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.away:
            return httpx.Response(self.away, json={"error": "temporarily unavailable"})
        name = next((job for job in self.jobs if job in request.url.path), None)
        if name is None:
            return httpx.Response(404, json={"error": "not found"})
        if request.url.host == "images.segmind.com":
            return httpx.Response(200, content=self.picture)
        return httpx.Response(200, json={"status": "COMPLETED", "request_id": name, "metrics": {}})


class LaterClock(Clock):
    """The machine's clock, put forward; nobody sleeps."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.slept: list[float] = []

    def now(self) -> float:
        return super().now() + self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Away:
    """A client for whose writes there is no network."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def send_message(self, **asked: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://sqs.example")

    def update_item(self, **asked: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://dynamodb.example")


@pytest.fixture
def segmind(encoded: Callable[..., bytes]) -> Segmind:
    return Segmind(encoded("PNG"))


@pytest.fixture
def operator(target: Target, segmind: Segmind) -> Operator:
    return Operator(target, LaterClock(0.0), segmind)


def messages(target: Target) -> list[Any]:
    received = target.client("sqs").receive_message(QueueUrl=target.output("UploadQueueUrl"), MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in received.get("Messages", ())]


def render_of(target: Target, prefix: str) -> Render:
    table = Table(target.client("dynamodb"), target.output("RendersTable"))
    return record.render_of(table.get({"pk": f"pair#{prefix}", "sk": f"render#of {prefix}"}) or {})


def without(target: Target, service: str) -> Target:
    """The stack while one of its services does not answer."""
    away = Away(target.client(service))
    return Target("shop", target.outputs, lambda name: away if name == service else target.client(name))


def delivered(table: Table, prefix: str) -> None:
    """A pair whose picture is there."""
    add_uncertain(
        table, prefix, status=Status.DELIVERED, request_id=OTHER_JOB, output_url="https://images.segmind.com/b.png"
    )


def failed(table: Table, code: ErrorCode, charged: Charged, /, **more: Unpack[Render]) -> str:
    """A pair whose render has failed, and was told."""
    error: RenderError = {"code": code, "message": "m", "charged": charged, "remedy": "r"}
    more = {"status": Status.FAILED, "error": error, "announced": True, **more}
    return add_uncertain(table, "a cat/", **more)
