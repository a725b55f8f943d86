"""What is fuzzed: each target takes any bytes, and raises only if something is wrong."""
# ruff: noqa: PT017 (no test of pytest's)

from __future__ import annotations

import contextlib
import ipaddress
import json
import math
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx

from kontext import text
from kontext.drops import keys, request
from kontext.errors import BadDrop, DeliveryError, SegmindError
from kontext.images.image import BadPicture, Limits
from kontext.images.inspection import inspect
from kontext.model import Parameters
from kontext.net import addresses
from kontext.results.hosts import Allowed
from kontext.segmind import answers
from kontext.segmind.answers import JobResult
from kontext.segmind.client import Segmind

Target = Callable[[bytes], None]
STATUSES = (200, 201, 204, 302, 400, 401, 403, 404, 405, 406, 410, 422, 429, 500, 503, 504)
FIELDS = ("prompt", "aspect-ratio", "output_format", "safety-tolerance", "seed", "input_image_1", "other")


def key(data: bytes) -> None:
    """An object's key: whatever it names, what is written for it fits S3 and is never taken up again."""
    said = data[:1024].decode(errors="ignore")
    part = keys.parse(said)
    if part:
        assert said.startswith(part.prefix)
        assert keys.parse(said.swapcase()) is not None
    prefix = part.prefix if part else said
    written = [keys.result_key(prefix, "png"), keys.superseded_key(prefix, "0" * 24, "jpg")]
    assert all(keys.is_result(one) for one in written) or not part
    for one in (*written, keys.error_key(prefix), keys.unknown_drop_key(said)):
        assert len(one.encode()) <= keys.MAX_KEY_BYTES
        assert keys.parse(one) is None or not part
    assert keys.is_error_file(keys.unknown_drop_key(said))


def name(data: bytes) -> None:
    """A name in a request.json: it stays in the bucket, below its folder or from the root, and is no result."""
    folder, _, named = data.decode(errors="ignore").partition("\n")
    with contextlib.suppress(ValueError):
        found = keys.resolve_name(f"{folder}/", named)
        assert named.startswith("/") or found.startswith(f"{folder}/")
        assert ".." not in found.removeprefix(f"{folder}/").split("/")
        assert not keys.is_result(found)
        assert not keys.is_litter(found)


def request_file(data: bytes) -> None:
    """A request.json or a prompt.txt: read or refused in plain words, and what was read can be passed on."""
    for parse in (request.parse_request, request.parse_prompt):
        try:
            _passed_on(parse(data))
        except BadDrop as refused:
            assert refused.code == "invalid_request"
            assert len(str(refused)) < 1000
            assert str(refused).isprintable()


def metadata(data: bytes) -> None:
    """An image's metadata, as HTTP headers can carry it."""
    values = data.decode("latin-1").replace("\r", "").split("\n")
    with contextlib.suppress(BadDrop):
        _passed_on(request.parse_metadata(dict(zip(FIELDS, values, strict=False))))


def _passed_on(parameters: Parameters) -> None:
    assert parameters.keys() <= set(request.PARAMETERS)
    merged = request.merge(parameters, {"prompt": "x"})
    assert len(request.render_id("p/", "1", "2", merged)) == 24
    assert request.parse_request(json.dumps(parameters).encode()) == parameters
    text.dumps(merged).encode()


def link(data: bytes) -> None:
    """A link in a request.json: if it is allowed, every parser sees the same public host in it."""
    url = "https://" + data.decode(errors="ignore")
    try:
        addresses.check_url(url)
    except ValueError:
        return
    host = httpx.URL(url).raw_host.decode().rstrip(".").lower()
    assert host == (urlsplit(url).hostname or "").rstrip(".")
    assert urlsplit(url).username is None
    with contextlib.suppress(OSError):
        assert addresses.is_public(ipaddress.IPv4Address(socket.inet_aton(host)))


def result_link(data: bytes) -> None:
    """A link in an answer: if it is allowed, every parser sees the allowed host in it."""
    url = data.decode(errors="replace")
    with contextlib.suppress(DeliveryError):
        read = Allowed(("images.segmind.com", "127.0.0.1:80")).check(url)
        host = read.raw_host.decode().rstrip(".")
        assert (read.scheme, host) in {("https", "images.segmind.com"), ("http", "127.0.0.1")}
        assert (urlsplit(url).hostname or "").rstrip(".") == host


def answer(data: bytes) -> None:
    """An answer of Segmind: told as what it is, or as one of the vendor's own errors."""
    status = STATUSES[data[0] % len(STATUSES)] if data else 200
    reset = data[1:25].decode("latin-1").split("\n")[0]
    headers = {b"x-rate-limit-reset-at-utc": reset.encode("latin-1"), b"content-type": b"application/json"}

    def answers(asked: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=list(headers.items()), content=data[1:])

    vendor = Segmind("https://api.segmind.com", "m", lambda fresh: "SG_0123456789abcdef", httpx.MockTransport(answers))
    calls: tuple[Callable[[], Any], ...] = (
        lambda: vendor.submit({}),
        lambda: vendor.status("a"),
        lambda: vendor.result("a"),
        vendor.credits,
    )
    for call in calls:
        try:
            _plain(call())
        except SegmindError as said:
            assert str(said).isprintable()
            assert len(str(said)) <= 600


def _plain(told: Any) -> None:
    if isinstance(told, str):
        assert told.isascii()
        assert told.isprintable()
        assert "/" not in told
    if isinstance(told, JobResult):
        assert all(link.isascii() and link.isprintable() for link in (*told.links, *told.others))
        assert told.answer.isprintable()
    for name, value in getattr(told, "metrics", {}).items():
        assert (-1e9 if name == "remaining_credits" else 0) <= value < 1e9


def reset(data: bytes) -> None:
    """A reset time in a header: a finite time, or none."""
    at = answers.parse_time(data.decode("latin-1"))
    assert at is None or math.isfinite(at)


def picture(data: bytes) -> None:
    """A picture in pieces: the same is found whatever the pieces are."""
    step = 1 + (data[0] if data else 0)
    assert _inspected(data[1:], step) == _inspected(data[1:], 1 << 20)


def _inspected(data: bytes, step: int) -> object:
    try:
        found = inspect((data[at : at + step] for at in range(0, len(data), step)), Limits(megapixels=1))
    except BadPicture as refused:
        assert str(refused).startswith("it ")
        return str(refused)
    assert found.image.width * found.image.height > 0
    assert found.size == len(data)
    return found


def shown_text(data: bytes) -> None:
    """A text that is shown, told or written as JSON."""
    said = data.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()
    assert json.loads(text.dumps(said)) == said
    assert "\n" not in text.escape_line(said)
    assert len(text.summarize_vendor_message(said)) <= 500
    assert "X-Amz-Signature=0" not in text.summarize_vendor_message(
        said.replace("X-Amz-Signature=", "X-Amz-Signature=0")
    )


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (key, name, request_file, metadata, link, result_link, answer, reset, picture, shown_text)
}
