"""The emulator as an ASGI app. It needs `DroppingProtocol` under uvicorn to break connections for real."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from kontext_local.guard import Message, Receive, Send, headers_of
from kontext_local.segmind import admin
from kontext_local.segmind.answers import Answer, as_json
from kontext_local.segmind.service import Segmind

CLOSE = "kontext.close"


class DroppingProtocol(H11Protocol):
    """HTTP/1.1 where the app may close the connection at any point: ASGI itself has no word for that."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app: Any = self.app

        async def with_close(scope: Message, receive: Receive, send: Send) -> None:
            await app({**scope, CLOSE: transport.close}, receive, send)

        self.app = with_close


class App:
    """Serves one emulated vendor, its output files and, to those who have `key`, its `/_emulator/` side."""

    def __init__(self, service: Segmind, key: str) -> None:
        self._service, self._key = service, key.encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        answer = await self._awaited(self._answer(scope, body))
        if answer.hang:
            await _gone(receive, answer.hang)
        if not answer.drop:
            await _send(answer, send)
        if answer.drop or answer.cut_after is not None:
            scope[CLOSE]()
            await _gone(receive)

    def _answer(self, scope: Message, body: bytes) -> Answer:
        method, path, headers = scope["method"], scope["path"], headers_of(scope)
        if path.startswith(admin.PREFIX):
            if not hmac.compare_digest(headers.get("x-api-key", "").encode(), self._key):
                return as_json(403, {"error": "this takes the emulator's own key, in the header x-api-key"})
            return admin.handle(self._service, method, path, body)
        return self._service.handle(method, path, headers, body)

    async def _awaited(self, answer: Answer) -> Answer:
        while answer.later:
            await asyncio.sleep(max(0.0, answer.later.at - self._service.clock()))
            answer = answer.later.then()
        return answer


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return bytes(body)


async def _gone(receive: Receive, seconds: float | None = None) -> None:
    """Wait until the client has left, for so many seconds at most."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await _send_body(answer.chunks(), send)
    if answer.cut_after is None:
        await send({"type": "http.response.body", "body": b""})


async def _send_body(chunks: Iterable[bytes], send: Send) -> None:
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
