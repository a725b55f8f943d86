"""The way out, over real sockets: bounded in time, and pinned to the addresses that were checked."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import create_server, socket

import httpx
import pytest

from kontext.errors import DeliveryError
from kontext.net.transport import DEADLINE, BoundedTransport
from kontext.results.hosts import Allowed

Talk = Callable[[socket], None]
CONTEXT = ssl.create_default_context()
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@contextmanager
def served(*talks: Talk) -> Iterator[int]:
    """A server on loopback that holds one talk with each connection; yields its port."""
    with create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, talks), daemon=True).start()
        yield listener.getsockname()[1]


def _serve(listener: socket, talks: tuple[Talk, ...]) -> None:
    for talk in talks:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            try:
                talk(connection)
            except OSError:
                continue


def answers(connection: socket) -> None:
    while connection.recv(65_536):
        connection.sendall(ANSWER)


def drips(connection: socket) -> None:
    connection.recv(65_536)
    for letter in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10_000:
        connection.sendall(bytes([letter]))
        threading.Event().wait(0.02)


def drips_its_body(connection: socket) -> None:
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n")
    for _ in range(10_000):
        connection.sendall(b"y")
        threading.Event().wait(0.02)


def get(transport: BoundedTransport, url: str, seconds: float = 5.0) -> httpx.Response:
    with httpx.Client(transport=transport, timeout=5.0, trust_env=False) as client:
        return client.get(url, extensions={DEADLINE: seconds})


@pytest.mark.parametrize("talk", [drips, drips_its_body])
def test_an_answer_that_drips_is_given_up_when_its_time_is_over(talk: Talk) -> None:
    began = time.monotonic()

    with served(talk) as port, pytest.raises(httpx.ReadTimeout):
        get(BoundedTransport(CONTEXT), f"http://127.0.0.1:{port}/", seconds=0.4)

    assert time.monotonic() - began < 3


def test_each_request_has_a_time_of_its_own_on_a_connection_that_is_kept() -> None:
    with served(answers) as port, httpx.Client(transport=BoundedTransport(CONTEXT), trust_env=False) as client:
        first = client.get(f"http://127.0.0.1:{port}/", extensions={DEADLINE: 1.5})
        threading.Event().wait(1.6)
        second = client.get(f"http://127.0.0.1:{port}/", extensions={DEADLINE: 30.0})

    assert (first.text, second.text) == ("ok", "ok")


def test_a_connection_goes_to_the_address_that_was_given_and_the_name_is_not_asked_for_again() -> None:
    asked = []

    def addresses(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    with served(answers) as port:
        answer = get(BoundedTransport(CONTEXT, addresses), f"http://pictures.example:{port}/")

    assert answer.text == "ok"
    assert asked == [("pictures.example", port)]


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    with served(answers) as port:
        answer = get(BoundedTransport(CONTEXT, lambda *_: ["127.0.0.2", "127.0.0.1"]), f"http://a.example:{port}/")

    assert answer.text == "ok"


@pytest.mark.parametrize("found", [[], ["127.0.0.1"]], ids=["no address", "nobody there"])
def test_a_host_that_cannot_be_reached_is_told_from_a_lost_answer(found: list[str]) -> None:
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(httpx.ConnectError):
        get(BoundedTransport(CONTEXT, lambda *_: found), f"http://a.example:{port}/")


def test_an_unknown_name_is_a_host_that_cannot_be_reached() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    with pytest.raises(httpx.ConnectError, match="not known"):
        get(BoundedTransport(CONTEXT, unknown), "http://a.example/")


def test_an_allowed_name_that_leads_to_a_private_address_is_refused_before_anything_is_sent() -> None:
    reached = threading.Event()

    def notes(connection: socket) -> None:
        reached.set()

    with served(notes) as port:
        allowed = Allowed(("localhost",))
        with pytest.raises(DeliveryError, match="not public") as refused:
            get(BoundedTransport(CONTEXT, allowed.addresses), f"http://localhost:{port}/")

    assert refused.value.final
    assert not reached.is_set()


def test_a_host_that_is_named_with_its_port_may_be_anywhere() -> None:
    with served(answers) as port:
        allowed = Allowed((f"localhost:{port}",))

        answer = get(BoundedTransport(CONTEXT, allowed.addresses), f"http://localhost:{port}/")

    assert answer.text == "ok"


def test_the_name_and_not_the_address_is_what_a_certificate_must_be_for() -> None:
    names = []

    class Recording(ssl.SSLContext):
        def wrap_socket(self, *given: object, server_hostname: object = None, **more: object) -> ssl.SSLSocket:
            names.append(server_hostname)
            raise ssl.SSLError("seen enough")

    with served(answers) as port, pytest.raises(httpx.ConnectError):
        get(
            BoundedTransport(Recording(ssl.PROTOCOL_TLS_CLIENT), lambda *_: ["127.0.0.1"]), f"https://a.example:{port}/"
        )

    assert names == ["a.example"]
