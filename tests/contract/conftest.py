"""A customer of the emulated vendor: in process on a virtual clock, or over a socket."""

from __future__ import annotations

import functools
import http.server
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from PIL import Image

from kontext_local.segmind import Parameters, Picture, Segmind, Settings, segmind_transport
from kontext_local.segmind.server import Emulator, start

MODEL = "multi-image-kontext-pro"
RED, BLUE = (220, 30, 30), (30, 30, 220)


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def name_as_picture(parameters: Parameters) -> Picture:
    """A picture that shows what it was made of, and costs nothing to make."""
    return Picture(f"{parameters.prompt} #{parameters.seed}".encode(), parameters.content_type)


class Customer:
    """The vendor in process, with an httpx client for it."""

    def __init__(self, service: Segmind, clock: Clock) -> None:
        self.service, self.clock = service, clock
        self.http = httpx.Client(
            base_url=service.api_url,
            headers={"x-api-key": service.api_key},
            transport=segmind_transport(service, clock.sleep),
        )

    def post(self, version: str = "v2", **fields: Any) -> httpx.Response:
        body = {"prompt": "p", "input_image_1": "https://a/1.png", "input_image_2": "https://a/2.png", **fields}
        return self.http.post(f"/{version}/{MODEL}", json=body)

    def submit(self, **fields: Any) -> str:
        request_id: str = self.post(**fields).json()["request_id"]
        return request_id

    def status(self, request_id: str) -> httpx.Response:
        return self.http.get(f"/v2/requests/{request_id}/status")

    def state(self, request_id: str) -> str:
        state: str = self.status(request_id).json()["status"]
        return state

    def result(self, request_id: str) -> httpx.Response:
        return self.http.get(f"/v2/requests/{request_id}")


Customers = Callable[..., Customer]
Encoded = Callable[..., bytes]


def pixel(picture: Image.Image, x: int, y: int) -> tuple[int, ...]:
    """The bands of a pixel of a picture in colour."""
    bands = picture.getpixel((x, y))
    assert isinstance(bands, tuple)
    return bands


@pytest.fixture
def customer() -> Customers:
    """Open an account: `customer(**settings, draw=...)`; every job takes 10 seconds if nothing else is said."""

    def opened(draw: Callable[[Parameters], Picture] = name_as_picture, **settings: Any) -> Customer:
        clock = Clock()
        plain = Settings().changed({"inference": {"values": [10]}, "rate_limit": None, **settings})
        return Customer(Segmind(plain, draw=draw, clock=clock, rng=Random(1)), clock)

    return opened


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a server with `red.png`, `blue.jpg` and `text.png` (which is none)."""
    folder = tmp_path_factory.mktemp("photographs")
    Image.new("RGB", (90, 60), RED).save(folder / "red.png")
    Image.new("RGB", (60, 90), BLUE).save(folder / "blue.jpg")
    (folder / "text.png").write_text("not an image")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def started_emulator() -> Iterator[Emulator]:
    with start(inference=0.02, rate_limit=None, pixels=10_000) as emulator:
        yield emulator


@pytest.fixture
def emulator(started_emulator: Emulator) -> Iterator[Emulator]:
    """A running emulator with an empty ledger and tiny pictures, each of which takes 0.02 seconds."""
    started_emulator.reset()
    yield started_emulator
    started_emulator.reset()


@pytest.fixture
def asked(photographs: str) -> dict[str, str]:
    """The parameters of a good request."""
    return {
        "prompt": "Two colours meet.",
        "input_image_1": f"{photographs}/red.png",
        "input_image_2": f"{photographs}/blue.jpg",
    }


@pytest.fixture
def encoded() -> Encoded:
    """An image of any mode, size and format as bytes: `encoded("RGBA", (4, 3), "PNG", color=0)`."""

    def encode(mode: str = "RGB", size: tuple[int, int] = (90, 60), kind: str = "PNG", **how: Any) -> bytes:
        file = io.BytesIO()
        Image.new(mode, size, how.pop("color", 0)).save(file, kind, **how)
        return file.getvalue()

    return encode


@pytest.fixture
def samples() -> Path:
    return Path(__file__).parents[2] / "samples"
