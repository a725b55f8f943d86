"""Segmind's side: the emulator on virtual time, with pictures that say what they were made of."""

from __future__ import annotations

import json
import struct
import zlib
from datetime import datetime, timedelta
from email.utils import formatdate
from random import Random
from typing import Any

import httpx

from kontext_local.segmind import BadInput, Parameters, Picture, Segmind, Settings, segmind_transport
from kontext_local.segmind.rates import RESET_HEADER
from simulation.fault_injection import EVERYWHERE, FailureModes, FaultInjector
from simulation.s3 import S3
from simulation.scheduler import Scheduler

CAPITAL = 1000.0
OTHERWISE = "(this is made in the other format)"
"""What the vendor does to a prompt with these words in it."""
_PATIENCE_SECONDS = 20.0


def vendor(scheduler: Scheduler, store: S3, settings: Settings, rng: Random) -> Segmind:
    """The vendor, who really follows the links that it is given."""

    def draw(asked: Parameters) -> Picture:
        for link in (asked.input_image_1, asked.input_image_2):
            if "amazonaws.com" in link and store.version(link)[1] is None:
                raise BadInput(f"{link} could not be downloaded: HTTP 404")
        return Picture(picture(vars(asked)), asked.content_type)

    return Segmind(settings, draw=draw, clock=lambda: scheduler.now, rng=rng)


def picture(asked: dict[str, Any]) -> bytes:
    """A valid, tiny picture that nothing else than this request gives."""
    told = json.dumps(asked, sort_keys=True).encode()
    return jpeg(told) if (asked["output_format"] == "jpg") != (OTHERWISE in asked["prompt"]) else png(told)


def png(told: bytes) -> bytes:
    """A PNG of one pixel with a text in it."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tEXt", b"asked\0" + told), (b"IDAT", _PIXEL), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def jpeg(told: bytes) -> bytes:
    """A JPEG of one pixel, as far as its markers go, with a comment in it."""
    comment = b"\xff\xfe" + struct.pack(">H", len(told) + 2) + told
    size = b"\xff\xc0\x00\x0b\x08\x00\x01\x00\x01\x01\x01\x11\x00"
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x3f"
    return b"\xff\xd8" + comment + size + scan + b"\xff\xd9"


_PIXEL = zlib.compress(b"\0\0")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


class Transport(httpx.BaseTransport):
    """The network: every request goes through the border, and to the vendor.

    All times that the vendor tells are by a clock of its own, which is `ahead` by so many seconds.
    """

    def __init__(self, injector: FaultInjector, service: Segmind, ahead: float = 0.0) -> None:
        self._injector, self._ahead = injector, ahead
        self._network = segmind_transport(service, injector.scheduler.pause)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        def fail(kind: str) -> httpx.Response:
            if kind.startswith("time-out"):
                raise httpx.ReadTimeout("The read operation timed out", request=request)
            status = 503 if kind == "error" else 504
            return httpx.Response(status, json={"error": "try again"}, request=request)

        patience = request.extensions.get("timeout", {}).get("read") or _PATIENCE_SECONDS
        modes = FailureModes((*EVERYWHERE, "gateway time-out"), fail, patience)
        asked = request.content if request.method == "POST" else b""
        name = f"{request.method} {request.url.path}"
        answer: httpx.Response = self._injector.call("segmind", name, asked, lambda: self._answer(request), modes)
        return answer

    def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = self._network.handle_request(request)
        answer.headers["date"] = formatdate(self._injector.scheduler.now + self._ahead, usegmt=True)
        if self._ahead and (reset := answer.headers.get(RESET_HEADER)):
            there = datetime.fromisoformat(reset) + timedelta(seconds=self._ahead)
            answer.headers[RESET_HEADER] = there.isoformat()
        return answer
