"""The way out to the network: a whole exchange ends in time, and a connection goes to the address that was checked."""

import ssl
import time
from collections.abc import Callable, Iterable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpcore
import httpx

DEADLINE = "ends_within"
"""The extension of a request that gives the seconds for all of it, from the first byte sent to the last received."""

KEPT_SECONDS = 5.0
"""How long an idle connection is kept; httpx's own default."""

Addresses = Callable[[str, int], list[str]]
"""From host name and port to the addresses to connect to, in order. May raise OSError, or whatever shall reach the
caller."""


def no_cookies() -> CookieJar:
    """A jar that keeps nothing: what one render's answer sets is not sent with the next one's requests."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


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
        except OSError as unknown:
            raise httpcore.ConnectError(f"the name {host} is not known") from unknown
        failure: Exception = httpcore.ConnectError(f"the name {host} has no address")
        for address in addresses:
            try:
                seconds = self.left(timeout, httpcore.ConnectTimeout)
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
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, seconds), self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
