"""Who may ask a server on the loopback.

Listening on the loopback does not keep web pages out: a page may send requests to any address, and a host name that
is made to point to 127.0.0.1 (DNS rebinding) makes it the same origin. So the `Host` must be the server's own, and
whatever comes from a page is refused, unless the server has a page and it is that one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

NAMES = ("127.0.0.1", "localhost")
OF_A_PAGE = b"access-control-"


class Guard:
    """Knows the addresses of a server that listens on `port`, and whether it has a page of its own."""

    def __init__(self, port: int, *, page: bool = False) -> None:
        ends = ("", ":80") if port == 80 else (f":{port}",)
        self._hosts = frozenset(f"{name}{end}" for name in NAMES for end in ends)
        self._origins = frozenset(f"http://{host}" for host in self._hosts) if page else frozenset()
        self._sites = ("none", "same-origin") if page else ("none",)

    def objection(self, method: str, headers: Mapping[str, str]) -> str | None:
        """Why a request is refused, None if it is welcome. `headers`: with names in lower case."""
        if headers.get("host") not in self._hosts:
            return "This server answers under its own address only."
        if not self._may_come_from(headers.get("origin"), method):
            return "Only this server's own page may do this." if self._origins else "No web page may ask this server."
        # Browsers tell it of requests that have no origin as well: images, scripts, links.
        if headers.get("sec-fetch-site", "none") not in self._sites:
            return "Another site's page may not read this."
        return None

    def _may_come_from(self, origin: str | None, method: str) -> bool:
        if origin is not None:
            return origin in self._origins
        return not self._origins or method in ("GET", "HEAD")


class Guarded:
    """An ASGI app behind a guard: what is refused gets 403 before any of it is read. Web sockets are refused, all.

    No answer has a header by which a page of another origin could be let in.
    """

    def __init__(self, app: App, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http" and (objection := self._guard.objection(scope["method"], headers_of(scope))):
            await forbid(objection, send)
        else:
            await self._app(scope, receive, _closed_to_pages(send))


def headers_of(scope: Message) -> dict[str, str]:
    """The headers of a request by name, in lower case; what is sent twice is joined, and so matches nothing."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def forbid(why: str, send: Send) -> None:
    """Answer 403 in plain words."""
    body = f"{why}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _closed_to_pages(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [header for header in message.get("headers", ()) if not header[0].lower().startswith(OF_A_PAGE)]
            message = {**message, "headers": kept}
        await send(message)

    return sending
