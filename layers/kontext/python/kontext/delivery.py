"""The one seam to the picture: from Segmind's file host into the output bucket, in a stream, as often as it
takes."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from kontext import images
from kontext.errors import DeliveryError
from kontext.outputs import PART_BYTES, Condition, Outputs

MAX_PICTURE_BYTES = 200 * 1024 * 1024
_MAX_REDIRECTS = 3
_TIMEOUT = httpx.Timeout(20.0, connect=5.0)

_KINDS = {"png": ("png", "image/png", b"IEND"), "jpg": ("jpeg", "image/jpeg", b"\xff\xd9")}
_TAIL_BYTES = 1024


@dataclass(frozen=True)
class Allowed:
    """The hosts that a picture may come from: `name` (https, the usual port) or `name:port` (also plain http)."""

    hosts: tuple[str, ...]

    def check(self, url: str) -> None:
        """Raises DeliveryError (final) unless the URL leads to an allowed host."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError as problem:
            raise DeliveryError("the result's URL cannot be read", final=True) from problem
        secure = parts.scheme == "https" and port in (None, 443) and host in self.hosts
        named = parts.scheme in ("http", "https") and f"{host}:{port}" in self.hosts
        if parts.username is not None or not (secure or named):
            raise DeliveryError(f"the result's host {host[:80]!r} is not one of the allowed hosts", final=True)


class Delivery:
    """Copies pictures into the output bucket. `transport`: another way to the network, for tests."""

    def __init__(self, outputs: Outputs, allowed: Allowed, transport: httpx.BaseTransport | None = None) -> None:
        self.outputs = outputs
        self.allowed = allowed
        self._http = httpx.Client(
            timeout=_TIMEOUT, transport=transport, headers={"user-agent": "kontext-drop", "accept-encoding": "identity"}
        )

    def copy(
        self, url: str, key: str, output_format: str, metadata: dict[str, str], condition: Condition
    ) -> dict[str, Any]:
        """Copy a picture to a key; returns the object as events tell of it.

        Memory is bounded by the size of a part, not of the picture.

        Raises:
            DeliveryError: the host is not allowed, or what it gave is not the whole picture that was asked for.
            Overtaken: `condition` does not hold any more.
        """
        kind, content_type, end = _KINDS[output_format]
        digest, size, tail, image = hashlib.sha256(), 0, b"", None
        with self.outputs.upload(key, content_type, metadata, condition) as upload:
            for part in _parts(self._stream(url)):
                image = image or _expect(part, kind)
                digest.update(part)
                size += len(part)
                tail = (tail + part[-_TAIL_BYTES:])[-_TAIL_BYTES:]
                upload.add(part)
            if image is None or end not in tail:
                raise DeliveryError("the picture is not complete")
            written = upload.finish()
        return {
            "bucket": self.outputs.bucket,
            "key": key,
            "version_id": written.get("VersionId"),
            "etag": written["ETag"].strip('"'),
            "content_type": content_type,
            "bytes": size,
            "sha256": digest.hexdigest(),
            "width": image.width,
            "height": image.height,
        }

    def _stream(self, url: str) -> Iterator[bytes]:
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                self.allowed.check(url)
                with self._http.stream("GET", url) as answer:
                    if answer.is_redirect:
                        url = urljoin(url, answer.headers.get("location", ""))
                        continue
                    yield from _checked(answer)
                    return
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise DeliveryError(f"the picture did not arrive: {type(problem).__name__}") from problem
        raise DeliveryError("the result's URL redirects too often", final=True)


def _checked(answer: httpx.Response) -> Iterator[bytes]:
    if answer.status_code != 200:
        raise DeliveryError(f"the result's host answers HTTP {answer.status_code}")
    if int(answer.headers.get("content-length", 0)) > MAX_PICTURE_BYTES:
        raise DeliveryError(f"the picture is larger than {MAX_PICTURE_BYTES} bytes", final=True)
    size = 0
    for chunk in answer.iter_bytes(65_536):
        size += len(chunk)
        if size > MAX_PICTURE_BYTES:
            raise DeliveryError(f"the picture is larger than {MAX_PICTURE_BYTES} bytes", final=True)
        yield chunk


def _parts(chunks: Iterator[bytes]) -> Iterator[bytes]:
    part = bytearray()
    for chunk in chunks:
        part += chunk
        if len(part) >= PART_BYTES:
            yield bytes(part)
            part.clear()
    if part:
        yield bytes(part)


def _expect(head: bytes, kind: str) -> images.Image:
    try:
        image = images.identify(head[: images.HEAD_BYTES])
    except ValueError as problem:
        raise DeliveryError(f"what the result's host gave is not a picture: {problem}", final=True) from problem
    if image.kind != kind:
        raise DeliveryError(f"the picture is a {image.kind}, asked for was a {kind}", final=True)
    return image
