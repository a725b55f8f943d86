"""Requests to answers: the console as a plain ASGI application."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from kontext_cli.drop.client import DropClient
from kontext_cli.errors import explain
from kontext_cli.read.records import Records
from kontext_cli.read.views import GROUPS, LADDER
from kontext_cli.target import Target
from kontext_cli.web import uploads
from kontext_cli.web.gallery import Gallery
from kontext_cli.web.headers import HEADERS
from kontext_cli.web.pictures import BUCKETS, WIDTHS, NoPicture, Pictures, Pointer
from kontext_cli.web.story import story
from kontext_local.guard import Guard, Message, Receive, Send, headers_of

STATIC = Path(__file__).parent / "static"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/console.css": ("console.css", "text/css; charset=utf-8"),
    "/console.js": ("console.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
PAGE_PAIRS = 24


class Refused(Exception):
    """A request that is not answered; `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """One request: `query` by name, `body` read whole."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """One answer. `headers` come on top of those that every answer has."""

    body: bytes
    kind: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class App:
    """The console of one stack, for a server that listens on `port`."""

    def __init__(self, target: Target, gallery: Gallery, port: int) -> None:
        self._target = target
        self._gallery = gallery
        self._guard = Guard(port, page=True)
        self._desk = DropClient(target)
        self._dropping = threading.Lock()
        self._pictures = Pictures(target)
        self._records = Records(target)
        self._routes: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", "/api/stack"): self._stack,
            ("GET", "/api/pairs"): self._pairs,
            ("GET", "/api/pair"): self._pair,
            ("GET", "/picture"): self._picture,
            ("POST", "/api/drops"): self._drop,
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        with_body = scope["method"] != "HEAD"
        try:
            request = await self._admitted(scope, receive)
            answer = await asyncio.to_thread(self._answer, request)
        except Refused as refused:
            answer = _json({"message": str(refused)}, refused.status)
        except Exception:
            # The server writes it down where the command runs.
            await _send(_json({"message": "This is a bug: its terminal says where."}, 500), send, with_body=with_body)
            raise
        await _send(answer, send, with_body=with_body)

    async def _admitted(self, scope: Message, receive: Receive) -> Request:
        headers = headers_of(scope)
        if objection := self._guard.objection(scope["method"], headers):
            raise Refused(403, objection)
        query = dict(parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True))
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        body = await _body(headers, receive) if method == "POST" else b""
        return Request(method, scope["path"], query, headers, body)

    def _answer(self, request: Request) -> Answer:
        if request.path in FILES and request.method == "GET":
            return _file(request)
        route = self._routes.get((request.method, request.path))
        if route is None:
            known = request.path in FILES or any(path == request.path for _, path in self._routes)
            raise Refused(405 if known else 404, "There is nothing here.")
        try:
            return route(request)
        except Exception as error:
            if (message := explain(error)) is None:
                raise
            raise Refused(502 if type(error).__module__.startswith("botocore") else 400, message) from error

    def _stack(self, _: Request) -> Answer:
        shown = {"groups": GROUPS, "ladder": len(LADDER)}
        return _json({"name": self._target.name, "choices": uploads.choices(), **shown})

    def _pairs(self, request: Request) -> Answer:
        limit = _number(request.query.get("limit"), PAGE_PAIRS)
        page = self._gallery.page(request.query.get("group", ""), request.query.get("prefix", ""), limit)
        now = page.pop("now")
        answer = _json(page)
        return _unless_known(request, Answer(answer.body, answer.kind, headers={"x-now": f"{now:.3f}"}))

    def _pair(self, request: Request) -> Answer:
        told = story(self._target, self._records, request.query.get("prefix", ""))
        return _json(told or {"message": "Nothing has been dropped there, or it is not known yet."})

    def _picture(self, request: Request) -> Answer:
        asked = request.query
        if asked.get("role") not in BUCKETS or not asked.get("key"):
            raise Refused(404, "There is no such picture.")
        pointer = Pointer(asked["role"], asked["key"], asked.get("version") or None)
        # A version never changes; without one the picture may be replaced at any time.
        keep = {"cache-control": "private, max-age=3600, immutable" if pointer.version else "no-store"}
        try:
            body, kind = self._drawn(pointer, asked.get("width"))
        except NoPicture as problem:
            raise Refused(404, str(problem)) from problem
        return Answer(body, f"image/{kind}", headers=keep)

    def _drawn(self, pointer: Pointer, width: str | None) -> tuple[bytes, str]:
        if width is None:
            return self._pictures.original(pointer)
        if _number(width, 0) not in WIDTHS:
            raise NoPicture(f"pictures are {' or '.join(map(str, WIDTHS))} wide")
        return self._pictures.small(pointer, int(width))

    def _drop(self, request: Request) -> Answer:
        upload = uploads.read(request.body)
        try:
            # One after the other: the second of two clicks sees what the first has uploaded.
            with self._dropping:
                pair, said = uploads.put(self._desk, upload)
        except uploads.NotDropped as refused:
            return _json(refused.answer, refused.status)
        self._gallery.expect(pair)
        return _json({"prefix": pair.prefix, "message": said}, 200 if said else 201)


async def _body(headers: dict[str, str], receive: Receive) -> bytes:
    most = uploads.MOST_BYTES + uploads.HEAD_BYTES
    parts, size, more = [], _number(headers.get("content-length"), 0), True
    if size > most:
        raise Refused(413, f"Both photographs together may have {uploads.MOST_BYTES // 2**20} MB.")
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
        if sum(map(len, parts)) > most:
            raise Refused(413, f"Both photographs together may have {uploads.MOST_BYTES // 2**20} MB.")
    return b"".join(parts)


async def _send(answer: Answer, send: Send, *, with_body: bool) -> None:
    headers = {"cache-control": "no-cache", **HEADERS, **answer.headers, "content-type": answer.kind}
    if answer.status != 304:
        headers["content-length"] = str(len(answer.body))
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    await send({"type": "http.response.body", "body": answer.body if with_body else b""})


def _file(request: Request) -> Answer:
    name, kind = FILES[request.path]
    return _unless_known(request, Answer((STATIC / name).read_bytes(), kind))


def _unless_known(request: Request, answer: Answer) -> Answer:
    """The answer, or only that nothing has changed since the browser asked last."""
    tag = f'"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
    headers = {**answer.headers, "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Answer(b"", answer.kind, 304, headers)
    return Answer(answer.body, answer.kind, answer.status, headers)


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(value).encode(), "application/json", status)


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 12 else otherwise
