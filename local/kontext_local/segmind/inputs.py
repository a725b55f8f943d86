"""The two photographs, really fetched: where the emulator meets the network and the disk."""

from __future__ import annotations

import itertools
from pathlib import Path

import httpx

from kontext_local.segmind.jobs import BadInput, Picture
from kontext_local.segmind.parameters import Parameters
from kontext_local.segmind.picture import PIXELS, compose

LARGEST_INPUT = 64 * 1024 * 1024
TIMEOUT_SECONDS = 10.0
# A proxy from the environment is for the outside world, never for this machine.
LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")


class PictureFactory:
    """Makes pictures of requests: fetches both inputs, composes them, keeps the result in `folder`.

    Calling it, from any thread, raises BadInput with words that are free of the URL's signature.
    """

    def __init__(self, folder: Path, pixels: int = PIXELS) -> None:
        self._folder, self._pixels = folder, pixels
        self._numbers = itertools.count()
        direct = {loopback: httpx.HTTPTransport() for loopback in LOOPBACK}
        self._client = httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=True, mounts=direct)

    def __call__(self, parameters: Parameters) -> Picture:
        first = self._fetched("input_image_1", parameters.input_image_1)
        second = self._fetched("input_image_2", parameters.input_image_2)
        file = self._folder / f"{next(self._numbers)}.{parameters.output_format}"
        file.write_bytes(compose(first, second, parameters, self._pixels))
        return Picture(file, parameters.content_type)

    def close(self) -> None:
        self._client.close()

    def _fetched(self, name: str, url: str) -> bytes:
        try:
            with self._client.stream("GET", url) as response:
                if response.status_code != 200:
                    raise BadInput(f"{name} could not be downloaded: HTTP {response.status_code}")
                return _read(name, response)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BadInput(f"{name} could not be downloaded: {type(error).__name__}") from error


def _read(name: str, response: httpx.Response) -> bytes:
    content = bytearray()
    for piece in response.iter_bytes():
        content += piece
        if len(content) > LARGEST_INPUT:
            raise BadInput(f"{name} is larger than {LARGEST_INPUT // 1024 // 1024} MB")
    return bytes(content)
