"""Copying a picture: only a whole one, of the asked kind, from an allowed host."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from kontext.errors import DeliveryError
from kontext.images.image import Limits
from kontext.model import Result
from kontext.net.unpacking import PIECE_BYTES, unpacked
from kontext.results import copy as results_copy
from kontext.results.copy import MAX_PICTURE_BYTES, Delivery
from kontext.results.hosts import Allowed
from kontext.results.output_bucket import PART_BYTES, OutputBucket
from kontext_local.segmind.padded_file import padded
from tests.aws import Aws

Encoded = Callable[..., bytes]
Deliver = Callable[..., Result]

URL = "https://images.segmind.com/outputs/a.png"
MOVING = {"save_all": True, "append_images": [Image.new("RGB", (40, 30), "blue")]}
HOSTS = ("images.segmind.com", "127.0.0.1:8080")


class Host:
    """A file host that gives prepared answers, one after the other and the last one for ever."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def deliver(aws: Aws, bucket: str) -> Deliver:
    """Copies what a host gives, under a key with the extension of what it is."""

    def copy(host: Host, url: str = URL) -> Result:
        delivery = Delivery(OutputBucket(aws("s3"), bucket), Allowed(HOSTS), httpx.MockTransport(host))
        with delivery.fetch(url) as arriving:
            return delivery.copy(arriving, f"taj/result.{arriving.format}", {"render-id": "r1"}, {"IfNoneMatch": "*"})

    return copy


@pytest.fixture
def delivered(aws: Aws, bucket: str) -> Callable[[], list[bytes]]:
    """The objects in the output bucket."""

    def read() -> list[bytes]:
        listed = aws("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
        return [aws("s3").get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in listed]

    return read


@pytest.mark.parametrize(("seconds", "tries"), [(60.0, 9), (0.0, 4)], ids=["an outage", "a drip"])
def test_what_takes_all_of_its_time_is_tried_less_often(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch, seconds: float, tries: int
) -> None:
    monkeypatch.setattr(results_copy, "COPY_SECONDS", seconds)

    with pytest.raises(DeliveryError) as refused:
        deliver(Host(httpx.ReadTimeout("late")))

    assert refused.value.tries == tries


@pytest.mark.parametrize(
    ("kind", "how", "key", "content_type"),
    [
        pytest.param("PNG", {}, "taj/result.png", "image/png", id="a PNG"),
        pytest.param("JPEG", {}, "taj/result.jpg", "image/jpeg", id="a JPEG"),
        pytest.param("WEBP", {}, "taj/result.webp", "image/webp", id="a WebP"),
        pytest.param("PNG", MOVING, "taj/result.png", "image/png", id="an animated PNG"),
        pytest.param("WEBP", MOVING, "taj/result.webp", "image/webp", id="an animated WebP"),
    ],
)
def test_a_picture_arrives_byte_for_byte_and_is_described(
    deliver: Deliver,
    delivered: Callable[[], list[bytes]],
    encoded: Encoded,
    kind: str,
    how: dict[str, Any],
    key: str,
    content_type: str,
) -> None:
    picture = encoded(kind, (40, 30), **how)

    result = deliver(Host(httpx.Response(200, content=picture)))

    assert delivered() == [picture]
    assert result["version_id"]
    assert {name: value for name, value in result.items() if name not in ("version_id", "etag")} == {
        "bucket": "photographs",
        "key": key,
        "content_type": content_type,
        "bytes": len(picture),
        "sha256": hashlib.sha256(picture).hexdigest(),
        "width": 40,
        "height": 30,
    }


def test_a_large_picture_is_passed_on_in_parts(
    deliver: Deliver, delivered: Callable[[], list[bytes]], encoded: Encoded
) -> None:
    picture = b"".join(padded(encoded(), 2 * PART_BYTES + 12_345))

    result = deliver(Host(httpx.Response(200, content=iter([picture]))))

    assert [hashlib.sha256(body).hexdigest() for body in delivered()] == [result["sha256"]]
    assert result["bytes"] == len(picture)


class Streamed(httpx.SyncByteStream):
    """A body that comes in such pieces, whatever its headers say of it."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces


def _answer(pieces: Iterable[bytes], status: int = 200, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, stream=Streamed(pieces))


def _byte_by_byte(content: bytes) -> list[bytes]:
    return [content[at : at + 1] for at in range(len(content))]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(lambda picture: _answer([picture], content_encoding=""), id="as what has no name"),
        pytest.param(lambda picture: _answer([gzip.compress(picture)], content_encoding="gzip"), id="as gzip"),
        pytest.param(lambda picture: _answer([zlib.compress(picture)], content_encoding="deflate"), id="as deflate"),
        pytest.param(lambda picture: _answer([gzip.compress(picture)], content_encoding="X-GZIP"), id="as x-gzip"),
        pytest.param(
            lambda picture: _answer(_byte_by_byte(gzip.compress(picture)), content_encoding="gzip"),
            id="as gzip and byte by byte",
        ),
        pytest.param(
            lambda picture: _answer([picture], 206, content_range=f"bytes 0-{len(picture) - 1}/{len(picture)}"),
            id="as the one part that it has",
        ),
    ],
)
def test_a_whole_picture_that_a_host_gives_in_another_way_than_asked_arrives_byte_for_byte(
    deliver: Deliver,
    delivered: Callable[[], list[bytes]],
    encoded: Encoded,
    given: Callable[[bytes], httpx.Response],
) -> None:
    picture = encoded("PNG", (40, 30))

    deliver(Host(given(picture)))

    assert delivered() == [picture]


def _bomb(packed: list[int]) -> Iterator[bytes]:
    """A packed PNG whose text is a thousand times as long as what comes of it; says how much has been asked for."""
    packer, megabyte = zlib.compressobj(wbits=zlib.MAX_WBITS | 16), bytes(1_000_000)
    header = b"\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0"
    yield packer.compress(b"\x89PNG\r\n\x1a\n" + header + zlib.crc32(header[4:]).to_bytes(4, "big"))
    yield packer.compress(b"\x7f\xff\xff\xfftEXt")
    for _ in range(400):
        packed.append(len(megabyte))
        yield packer.compress(megabyte)


def test_a_packed_picture_that_grows_too_large_is_refused_as_it_grows(
    deliver: Deliver, delivered: Callable[[], list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_copy, "LIMITS", Limits(megabytes=2, megapixels=200))
    packed: list[int] = []

    with pytest.raises(DeliveryError, match="more than 2 megabytes") as refused:
        deliver(Host(_answer(_bomb(packed), content_encoding="gzip")))

    assert refused.value.final
    assert sum(packed) < 60_000_000  # zlib keeps some of what it was given
    assert delivered() == []


def test_what_is_unpacked_comes_in_small_pieces() -> None:
    answer = _answer([gzip.compress(bytes(50_000_000))], content_encoding="gzip")

    pieces = [len(piece) for piece in unpacked(answer)]

    assert max(pieces) <= PIECE_BYTES
    assert sum(pieces) == 50_000_000


def _cut(content: bytes) -> Iterator[bytes]:
    yield content[: len(content) // 2]
    raise httpx.RemoteProtocolError("peer closed connection")


@pytest.mark.parametrize(
    ("answer", "final"),
    [
        pytest.param(lambda picture: httpx.Response(404), False, id="404"),
        pytest.param(lambda picture: httpx.Response(503), False, id="503"),
        pytest.param(lambda picture: httpx.ConnectError("refused"), False, id="no connection"),
        pytest.param(lambda picture: httpx.ReadTimeout("late"), False, id="no answer"),
        pytest.param(lambda picture: httpx.Response(206, content=picture), False, id="a part of nobody knows what"),
        *(
            pytest.param(
                lambda picture, told=told: _answer([picture[5:]], 206, content_range=f"bytes {told}"), False, id=told
            )
            for told in ("5-80/81", "0-75/81", "0-80/*", "*/81", "0-80/81, 5-6/81")
        ),
        pytest.param(lambda picture: _answer([picture], content_encoding="gzip"), False, id="not packed as it says"),
        pytest.param(lambda picture: _answer([picture], content_encoding="br"), False, id="packed otherwise"),
        pytest.param(
            lambda picture: _answer([gzip.compress(picture)], content_encoding="gzip, gzip"), False, id="packed twice"
        ),
        pytest.param(
            lambda picture: _answer([gzip.compress(picture)[:-30]], content_encoding="gzip"),
            False,
            id="cut when packed",
        ),
        pytest.param(
            lambda picture: _answer([gzip.compress(b"<html>")], content_encoding="gzip"), False, id="a packed page"
        ),
        pytest.param(lambda picture: httpx.Response(200, content=_cut(picture)), False, id="cut off by the network"),
        pytest.param(lambda picture: httpx.Response(200, content=picture[:-8]), False, id="cut off unnoticed"),
        pytest.param(lambda picture: httpx.Response(200, content=b""), False, id="empty"),
        pytest.param(lambda picture: httpx.Response(200, text="<html>"), False, id="a web page"),
        pytest.param(lambda picture: httpx.Response(200, content=b"GIF89a" + bytes(99)), False, id="a GIF"),
        pytest.param(
            lambda picture: httpx.Response(200, content=picture + b"<html>"), False, id="a picture with a page behind"
        ),
        pytest.param(
            lambda picture: httpx.Response(
                200, headers={"content-length": str(MAX_PICTURE_BYTES + 1)}, content=iter([b""])
            ),
            True,
            id="too large",
        ),
    ],
)
def test_what_is_not_the_whole_picture_is_not_delivered(
    deliver: Deliver,
    delivered: Callable[[], list[bytes]],
    encoded: Encoded,
    answer: Callable[[bytes], httpx.Response],
    final: bool,
) -> None:
    with pytest.raises(DeliveryError) as refused:
        deliver(Host(answer(encoded())))

    assert refused.value.final is final
    assert delivered() == []


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(URL, id="an allowed host"),
        pytest.param("https://images.segmind.com:443/a.png", id="with the usual port"),
        pytest.param("https://IMAGES.segmind.com./a.png", id="spelled otherwise"),
        pytest.param("http://127.0.0.1:8080/a.png", id="named with its port, plain"),
        pytest.param("https://127.0.0.1:8080/a.png", id="named with its port"),
    ],
)
def test_an_allowed_host_is_asked(deliver: Deliver, encoded: Encoded, url: str) -> None:
    host = Host(httpx.Response(200, content=encoded()))

    deliver(host, url)

    assert len(host.asked) == 1


FORBIDDEN = [
    pytest.param("http://images.segmind.com/a.png", id="plain"),
    pytest.param("https://images.segmind.com:8443/a.png", id="another port"),
    pytest.param("https://evil.example/a.png", id="another host"),
    pytest.param("https://images.segmind.com.evil.example/a.png", id="a host that begins alike"),
    pytest.param("https://evil-images.segmind.com/a.png", id="a host that ends alike"),
    pytest.param("https://images.segmind.com@evil.example/a.png", id="in the user's name"),
    pytest.param("https://user:pw@images.segmind.com/a.png", id="with a password"),
    pytest.param("https://evil.example\\@images.segmind.com/a.png", id="read differently by two parsers"),
    pytest.param("http://127.0.0.1:8081/a.png", id="another port of this machine"),
    pytest.param("http://169.254.169.254/latest/meta-data", id="metadata"),
    pytest.param("file:///etc/passwd", id="a file"),
    pytest.param("ftp://images.segmind.com/a.png", id="another protocol"),
    pytest.param("https://[::1/a.png", id="broken"),
    pytest.param("https://images.segmind.com:port/a.png", id="a port in words"),
    pytest.param("", id="nothing"),
]


@pytest.mark.parametrize("url", FORBIDDEN)
def test_no_other_host_is_ever_asked(deliver: Deliver, url: str) -> None:
    host = Host(httpx.Response(200))

    with pytest.raises(DeliveryError) as refused:
        deliver(host, url)

    assert refused.value.final
    assert host.asked == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        pytest.param("http://images.segmind.com/a.png", "plain http", id="plain"),
        pytest.param("ftp://images.segmind.com/a.png", "scheme is 'ftp'", id="another scheme"),
        pytest.param("file:///etc/passwd", "scheme is 'file'", id="a file"),
        pytest.param("https://images.segmind.com:8443/a.png", "port 8443", id="another port"),
        pytest.param("http://127.0.0.1:8081/a.png", "port 8081", id="another port of a host that is named with one"),
        pytest.param("https://evil.example/a.png", "host 'evil.example' is not one of the allowed", id="another host"),
        pytest.param("https://images.segmind.com/a b.png", "blank", id="a blank"),
        pytest.param("https://user:pw@images.segmind.com/a.png", "user name or password", id="a password"),
        pytest.param("https://[::1/a.png", "cannot be read", id="broken"),
    ],
)
def test_a_refusal_names_the_true_reason(deliver: Deliver, url: str, reason: str) -> None:
    with pytest.raises(DeliveryError, match=reason):
        deliver(Host(httpx.Response(200)), url)


@pytest.mark.parametrize("url", FORBIDDEN[2:11])
def test_a_redirect_to_another_host_is_not_followed(deliver: Deliver, url: str) -> None:
    host = Host(httpx.Response(302, headers={"location": url}))

    with pytest.raises(DeliveryError) as refused:
        deliver(host)

    assert refused.value.final
    assert host.asked == [URL]


def test_a_redirect_on_an_allowed_host_is_followed(deliver: Deliver, encoded: Encoded) -> None:
    host = Host(httpx.Response(302, headers={"location": "/b.png"}), httpx.Response(200, content=encoded()))

    deliver(host)

    assert host.asked == [URL, "https://images.segmind.com/b.png"]


def test_redirects_come_to_an_end(deliver: Deliver) -> None:
    host = Host(httpx.Response(302, headers={"location": URL}))

    with pytest.raises(DeliveryError, match="too often") as refused:
        deliver(host)

    assert refused.value.final
    assert len(host.asked) == 4
