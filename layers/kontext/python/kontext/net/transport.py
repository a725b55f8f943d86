"""The way out to the network: a whole exchange ends in time, and a connection goes to the address that was checked.

What is raised before a connection stands is httpcore's `ConnectError` or `ConnectTimeout`, whatever it was: nothing has
been sent then. What is raised later may be anything, and is for the caller to judge.
"""

import contextlib
import logging
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpcore
import httpx

from kontext.errors import KontextError

DEADLINE = "ends_within"
"""The extension of a request that gives the seconds for all of it, from the first byte sent to the last received."""

KEPT_SECONDS = 5.0
"""How long an idle connection is kept; httpx's own default."""

Addresses = Callable[[str, int], list[str]]
"""From host name and port to the addresses to connect to, in order. A KontextError reaches the caller as it is."""

_HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "kontext-drop"}


def request(
    method: str,
    url: httpx.URL | str,
    *,
    timeout: httpx.Timeout,
    seconds: float,
    headers: dict[str, str] | None = None,
    content: bytes | None = None,
) -> httpx.Request:
    """A request of which each step may take as long as `timeout` says, and all of it `seconds`."""
    limits = {"timeout": timeout.as_dict(), DEADLINE: seconds}
    return httpx.Request(method, url, headers=_HEADERS | (headers or {}), content=content, extensions=limits)


@contextlib.contextmanager
def answered(transport: httpx.BaseTransport, asked: httpx.Request) -> Iterator[httpx.Response]:
    """The answer to a request, as it comes.

    Without httpx.Client, which reads more of an answer than anybody asks it to: it builds the next request from a
    `Location` that it is not to follow, and keeps cookies.
    """
    answer = transport.handle_request(asked)
    try:
        yield answer
    finally:
        with contextlib.suppress(Exception):  # what was wanted of it has been read
            answer.close()


class BoundedTransport(httpx.HTTPTransport):
    """HTTP whose requests end when their `DEADLINE` is over, however slowly the other side drips.

    httpx's own timeouts start anew with each byte. For one request at a time. `addresses` is asked once for each
    connection, so that a name cannot lead elsewhere after it was checked; None: the system decides.
    """

    def __init__(self, context: ssl.SSLContext, addresses: Addresses | None = None, *, keep_alive: bool = True) -> None:
        super().__init__(verify=context, trust_env=False)
        self._network = _Network(addresses)
        # httpx has no argument for httpcore's (documented) network backends.
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_keepalive_connections=1 if keep_alive else 0,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=self._network,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its time begins."""
        self._network.ends_at = time.monotonic() + request.extensions.get(DEADLINE, float("inf"))
        return super().handle_request(request)


@contextlib.contextmanager
def _connecting() -> Iterator[None]:
    try:
        yield
    except (httpcore.ConnectError, httpcore.ConnectTimeout):
        raise
    except Exception as problem:
        logging.getLogger(__name__).exception("an exception that nobody has thought of")
        raise httpcore.ConnectError(f"no connection: {type(problem).__name__}") from problem


class _Network(httpcore.NetworkBackend):
    def __init__(self, addresses: Addresses | None) -> None:
        self._addresses = addresses or (lambda host, _: [host])
        self._sockets = httpcore.SyncBackend()
        self.ends_at = float("inf")

    def left(self, timeout: float | None, late: type[Exception]) -> float | None:
        """The seconds that a step may take. Raises `late` when there are none."""
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise late("the exchange took too long")
        return timeout if left == float("inf") else min(left, timeout or left)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = self._addresses(host, port)
        except KontextError:
            raise
        except Exception as unknown:
            raise httpcore.ConnectError(f"the name {host} is not known") from unknown
        failure: Exception = httpcore.ConnectError(f"the name {host} has no address")
        for address in addresses:
            try:
                seconds = self.left(timeout, httpcore.ConnectTimeout)
                with _connecting():
                    stream = self._sockets.connect_tcp(address, port, seconds, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as unreachable:
                failure = unreachable
            else:
                return _Stream(stream, self)
        raise failure


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, network: _Network) -> None:
        self._stream = stream
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._network.left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._network.left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        seconds = self._network.left(timeout, httpcore.ConnectTimeout)
        with _connecting():
            return _Stream(self._stream.start_tls(ssl_context, server_hostname, seconds), self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
