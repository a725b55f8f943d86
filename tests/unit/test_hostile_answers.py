"""Whatever Segmind and the file host answer comes back as one of our errors, with the meaning that its place gives."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from random import Random
from socket import create_server, socket
from typing import TYPE_CHECKING, Any, cast

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kontext.errors import Ambiguous, DeliveryError, SegmindError, Unavailable
from kontext.images.source import Source
from kontext.net import addresses
from kontext.net.transport import BoundedTransport
from kontext.results.copy import Delivery
from kontext.results.hosts import Allowed
from kontext.results.output_bucket import OutputBucket
from kontext.segmind.answers import JobStatus
from kontext.segmind.client import Segmind

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Ask = Callable[[Segmind], Any]
HOST = "images.segmind.com"
URL = f"https://{HOST}/a.png"

LOCATIONS = (
    b"data:+",
    b"//xn--a",
    b"http:\\\\x\\y",
    b"https://[::1",
    b"https://[::1]]/",
    b"https://[v1.x]/",
    b"//xn--",
    b"//xn--99999999999/",
    b"https://xn--\xe4\xf6\xfc/",
    b"https://\xc3\xbc.example/",
    b"https://a..b/",
    b"https://.a/",
    b"https://" + b"a" * 64 + b".com/",
    b"https://" + b"a." * 200 + b"com/",
    b"https://images.segmind.com:99999/",
    b"https://images.segmind.com:-1/",
    b"https://images.segmind.com:" + b"9" * 5000 + b"/",
    b"https://images.segmind.com:port/",
    b"https://:@:/",
    b"https://%00/",
    b"https://%zz%/",
    b"https://1.2.3.4.5/",
    b"https://0x7f.1/",
    b"https://\xff\xfe/",
    b"\xe2\x80\xae//evil",
    b"https:///",
    b"https:",
    b":",
    b"://",
    b"?#?#",
    b"mailto:a@b",
    b"javascript:alert(1)",
    b"urn:x",
    b"http+unix://%2Fvar%2Frun/x",
    b"x" * 100_000,
    b"/\x01\x7f",
    b"/a\tb",
    b"/../../..",
    b"\\\\evil.example\\a",
    b"//evil.example@images.segmind.com/",
    b"https://images.segmind.com\\@evil.example/",
)
_PIECES = (
    *("http:", "https:", "data:", "ftp:", "//", "/", "\\", "?", "#", "@", ":", "[", "]", "::1", "%", "%zz", "%00", "+"),
    *(
        "xn--",
        "xn--a",
        "a",
        "..",
        ".",
        "-",
        "_",
        "~",
        "\x01",
        "\x7f",
        "ü",
        "ß",
        "\xad",
        " ",
        "99999",
        "0x7f",
        "1e9",
        "*",
    ),
    *("images.segmind.com", "evil.example", "localhost", "127.0.0.1", "{", "}", "|", "^", "`", "'", '"', "<", ";", ","),
)


def random_locations(count: int) -> Iterator[bytes]:
    """Texts put together of what parsers of URLs stumble over; always the same ones."""
    chance = Random(6000)
    for _ in range(count):
        yield "".join(chance.choices(_PIECES, k=chance.randint(1, 8))).encode("latin-1")


class Odd(Exception):
    """A class that no code knows."""


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> Segmind:
    return Segmind("https://api.segmind.com", "m", lambda fresh: "SG_0123456789abcdef", httpx.MockTransport(answer))


def redirecting(location: bytes) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(302, headers=[(b"location", location)])


def copying(transport: httpx.BaseTransport, url: str = URL, hosts: tuple[str, ...] = (HOST,)) -> None:
    outputs = OutputBucket(cast("S3Client", None), "results")  # nothing may be asked of it
    delivery = Delivery(outputs, Allowed(hosts), transport)
    with delivery.fetch(url) as arriving:
        delivery.copy(arriving, "k", {}, {})


def submits(segmind: Segmind) -> Any:
    return segmind.submit({"prompt": "x"})


GETS: list[Ask] = [lambda segmind: segmind.status("id"), lambda segmind: segmind.result("id"), Segmind.credits]
ASKED = [
    pytest.param(submits, Ambiguous, id="a submit"),
    *(
        pytest.param(ask, Unavailable, id=name)
        for ask, name in zip(GETS, ("a status", "a result", "credits"), strict=True)
    ),
]


@pytest.mark.parametrize("location", LOCATIONS, ids=repr)
def test_no_redirect_of_the_file_host_ends_otherwise_than_told(location: bytes) -> None:
    with pytest.raises(DeliveryError):
        copying(httpx.MockTransport(redirecting(location)))


def test_no_random_redirect_of_the_file_host_ends_otherwise_than_told_or_asks_another_host() -> None:
    asked: set[str] = set()

    for location in random_locations(6000):

        def answer(request: httpx.Request, location: bytes = location) -> httpx.Response:
            asked.add(f"{request.url.scheme}://{request.url.host}")
            return redirecting(location)(request)

        with pytest.raises(DeliveryError):
            copying(httpx.MockTransport(answer))

    assert asked == {f"https://{HOST}"}


@given(st.binary(max_size=60))
def test_no_bytes_in_a_redirect_end_otherwise_than_told(location: bytes) -> None:
    with pytest.raises(DeliveryError):
        copying(httpx.MockTransport(redirecting(location)))


@given(st.text(max_size=80))
def test_no_link_in_an_answer_ends_otherwise_than_told(link: str) -> None:
    with pytest.raises(DeliveryError):
        copying(httpx.MockTransport(lambda request: httpx.Response(404)), link)


@pytest.mark.parametrize(("ask", "meaning"), ASKED)
def test_a_redirect_of_segmind_means_what_its_place_says_whatever_it_leads_to(
    ask: Ask, meaning: type[SegmindError]
) -> None:
    for location in (*LOCATIONS, *random_locations(1000)):
        with pytest.raises(meaning):
            ask(answering(redirecting(location)))


@pytest.mark.parametrize(("ask", "meaning"), ASKED)
@pytest.mark.parametrize("raised", [Odd(), ValueError(), RecursionError(), UnicodeError(), MemoryError(), OSError()])
def test_an_exception_that_nobody_has_thought_of_means_what_its_place_says(
    ask: Ask, meaning: type[SegmindError], raised: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(meaning) as told:
        ask(answering(_raising(raised)))

    assert told.value.__cause__ is raised
    assert caplog.records[0].exc_info


@pytest.mark.parametrize(("ask", "meaning"), ASKED)
def test_a_body_that_breaks_off_in_an_unknown_way_means_what_its_place_says(
    ask: Ask, meaning: type[SegmindError]
) -> None:
    def body() -> Iterator[bytes]:
        yield b'{"request_id": "'
        raise Odd

    with pytest.raises(meaning):
        ask(answering(lambda request: httpx.Response(200, content=body())))


def test_what_is_raised_while_a_request_is_made_ready_was_surely_not_sent() -> None:
    asked: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200)

    segmind = answering(take)
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]

    with pytest.raises(Unavailable):
        segmind.submit({"prompt": nested})  # type: ignore[typeddict-item]
    with pytest.raises(Unavailable):
        Segmind("https://[::1", "m", lambda fresh: "SG_0123456789abcdef").submit({})

    assert asked == []


@pytest.mark.parametrize("raised", [Odd(), ValueError(), RecursionError(), UnicodeError(), MemoryError(), OSError()])
def test_a_picture_that_fails_to_come_in_an_unknown_way_is_tried_as_often_as_an_outage(
    raised: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DeliveryError) as told:
        copying(httpx.MockTransport(_raising(raised)))

    assert (told.value.tries, told.value.__cause__) == (9, raised)
    assert caplog.records[0].exc_info


def test_a_picture_that_cannot_be_read_in_an_unknown_way_is_not_delivered(
    encoded: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Source, "read", _raising(Odd()))

    with pytest.raises(DeliveryError, match="cannot be read"):
        copying(httpx.MockTransport(lambda request: httpx.Response(200, content=encoded())))


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
def test_a_name_that_dns_cannot_hold_is_an_unknown_one(host: str) -> None:
    with pytest.raises(OSError, match="looked up"):
        addresses.all_addresses(host, 443)


def test_what_is_raised_before_a_connection_stands_was_surely_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for where in ("connect_tcp", "start_tls"):
        kind = httpcore.SyncBackend if where == "connect_tcp" else type(_Half())
        with monkeypatch.context() as broken, served(b"") as port:
            broken.setattr(kind, where, _raising(Odd()))
            if where == "start_tls":
                broken.setattr(httpcore.SyncBackend, "connect_tcp", lambda *_: _Half())
            with pytest.raises(Unavailable):
                submits(Segmind(f"https://127.0.0.1:{port}", "m", lambda fresh: "SG_0123456789abcdef"))


class _Half(httpcore.NetworkStream):
    """A connection that never gets as far as TLS."""

    def close(self) -> None:
        """Nothing is open."""


PICTURE_BOMB = gzip.compress(b"\0" * 50_000_000)
ANSWERS = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"\0" * 1000, id="zeros"),
    pytest.param(b"SSH-2.0-OpenSSH\r\n", id="another protocol"),
    pytest.param(b"HTTP/9.9 200 OK\r\n\r\n", id="another version"),
    pytest.param(b"HTTP/1.1 99999 OK\r\n\r\n", id="no status"),
    pytest.param(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\nabc", id="another protocol from now on"),
    pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 50, id="only to be continued"),
    pytest.param(b"HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\nhello", id="a body where none can be"),
    pytest.param(b"HTTP/1.1 206 Part\r\ncontent-range: bytes x-y/z\r\ncontent-length: 1\r\n\r\nx", id="an odd range"),
    pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\nx", id="a length of 5,000 digits"),
    pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nx", id="a length beyond all disks"),
    pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nx", id="a length below zero"),
    pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx", id="two lengths"),
    pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nx\r\n", id="a broken chunk"),
    pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"f" * 5000, id="a chunk without end"),
    pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="an unknown transfer"),
    pytest.param(b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n", id="a control character in a header"),
    pytest.param(b"HTTP/1.1 200 OK\r\nx: \xff\xfe\r\ncontent-length: 0\r\n\r\n", id="bytes in a header"),
    pytest.param(b"HTTP/1.1 200 OK\r\n\xffx: y\r\n\r\n", id="bytes in a header's name"),
    pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000, id="a header without end"),
    pytest.param(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 50_000 + b"\r\n", id="headers without end"),
    pytest.param(b"HTTP/1.1 200 OK\r\nset-cookie: " + b"=;" * 5000 + b"\r\ncontent-length: 0\r\n\r\n", id="a cookie"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=\xff\r\ncontent-length: 2\r\n\r\n\xff\xfe",
        id="a charset",
    ),
    pytest.param(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + PICTURE_BOMB, id="a bomb"),
    pytest.param(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\nnot packed", id="not packed as it says"),
    pytest.param(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip, br, x\r\n\r\nx", id="packed in an unknown way"),
    pytest.param(b"HTTP/1.1 200 OK\r\ncontent-encoding: \xff\r\n\r\nx", id="packed in bytes"),
    pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 500_000, id="nested without end"),
    pytest.param(b'HTTP/1.1 200 OK\r\n\r\n{"status": ' + b"[" * 900 + b"]" * 900 + b"}", id="a nested status"),
    pytest.param(b'HTTP/1.1 401 No\r\n\r\n{"status": ' + b"[" * 900 + b"]" * 900 + b',"request_id":"a"}', id="401"),
    pytest.param(b'HTTP/1.1 200 OK\r\n\r\n{"credits": ' + b"9" * 5000 + b"}", id="a number of 5,000 digits"),
    pytest.param(b'HTTP/1.1 200 OK\r\n\r\n{"request_id": "\\ud800"}', id="half a character"),
    pytest.param(b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe{\0}\0", id="UTF-16"),
    pytest.param(b"HTTP/1.1 301 Moved\r\nlocation: //xn--a\r\ncontent-length: 0\r\n\r\n", id="a redirect"),
    pytest.param(
        b"HTTP/1.1 429 Slow\r\nx-rate-limit-reset-at-utc: " + b"9" * 5000 + b"\r\ncontent-length: 0\r\n\r\n",
        id="a reset of 5,000 digits",
    ),
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_whatever_comes_over_the_wire_comes_back_as_one_of_our_errors_or_as_no_result(answer: bytes) -> None:
    with served(answer) as port:
        with closing(Segmind(f"http://127.0.0.1:{port}", "m", lambda fresh: "SG_0123456789abcdef")) as segmind:
            for ask in (submits, *GETS):
                with pytest.raises(SegmindError):
                    raise _error_for(ask(segmind))
        host = f"127.0.0.1:{port}"
        allowed = Allowed((host,))
        way = BoundedTransport(httpx.create_ssl_context(), allowed.addresses)
        with way, pytest.raises(DeliveryError):
            copying(way, f"http://{host}/", (host,))


def _error_for(answer: object) -> Exception:
    """What Poll makes of a result that is none: it asks again."""
    return Unavailable("no result") if isinstance(answer, JobStatus) else AssertionError(answer)


def _raising(problem: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise problem

    return fail


@contextmanager
def served(answer: bytes) -> Iterator[int]:
    """A server on loopback that gives the same bytes to everybody; yields its port."""
    with create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, answer), daemon=True).start()
        yield listener.getsockname()[1]


def _serve(listener: socket, answer: bytes) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            try:
                connection.recv(65_536)
                connection.sendall(answer)
            except OSError:
                continue
