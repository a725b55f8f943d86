"""Answers of Segmind, as the client gets them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

from kontext.model import Parameters
from kontext.segmind.client import Segmind

ID = "3f2c8f5e-8f5e-4b7a-9d6e-0123456789ab"
URL = "https://images.segmind.com/outputs/a.png"
PARAMETERS: Parameters = {
    "prompt": "Zwei Kätzchen",
    "input_image_1": "https://a/1.png",
    "input_image_2": "https://a/2.png",
}
HTML = "<!doctype html>\n<title>405 Method Not Allowed</title>\n"
RESET = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
Answer = httpx.Response | Exception
Client = Callable[..., Segmind]
READS: list[Callable[[Segmind], object]] = [
    lambda client: client.status(ID),
    lambda client: client.result(ID),
    lambda client: client.credits(),
]


class Network:
    """Gives one prepared answer after the other, the last one for ever, and keeps what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(
        self, api_key: Callable[[bool], str] = lambda fresh: "SG_0123456789abcdef", previous_key: str | None = None
    ) -> Segmind:
        transport = httpx.MockTransport(self)
        return Segmind("https://api.segmind.com/", "multi-image-kontext-pro", api_key, transport, lambda: previous_key)


class BrokenOff(httpx.SyncByteStream):
    """An answer of which only the beginning comes."""

    def __init__(self, part: bytes) -> None:
        self.part = part

    def __iter__(self) -> Iterator[bytes]:
        yield self.part
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


def says(code: int, /, *, text: str | None = None, headers: dict[str, str] | None = None, **content: Any) -> Answer:
    """An answer with a JSON body, or with a text."""
    if text is not None:
        return httpx.Response(code, text=text, headers={"content-type": "text/html"} | (headers or {}))
    return httpx.Response(code, json=content, headers=headers)
