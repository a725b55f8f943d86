"""What the vendor says back: one value for every answer, and the vendor's refusals word for word."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class DeferredAnswer:
    """An answer not known before `at` (unix seconds, earliest); then call `then`, which may postpone it again."""

    at: float
    then: Callable[[], Answer]


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, or its absence.

    `stream` replaces `body` where the bytes are many. `hang` seconds pass before anything else; `drop`
    closes the connection without a word, `cut_after` after that many bytes of the body.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: Iterable[bytes] | None = None
    drop: bool = False
    hang: float = 0.0
    cut_after: int | None = None
    later: DeferredAnswer | None = None

    @property
    def spoken(self) -> bool:
        """Whether the client hears a status line at all."""
        return not (self.drop or self.later)

    @property
    def sent(self) -> str:
        """What of the body can be read; nothing of a picture."""
        return self.body[: self.cut_after].decode(errors="replace") if self.spoken else ""

    @property
    def state(self) -> str:
        """The state of a job that the body tells, "" if it tells none."""
        try:
            told = json.loads(self.sent)
        except ValueError:
            return ""
        return str(told.get("status", "")) if isinstance(told, dict) else ""

    def chunks(self) -> Iterable[bytes]:
        """The body in pieces, cut where the script says so."""
        pieces = self.stream if self.stream is not None else (self.body,)
        return pieces if self.cut_after is None else _cut(pieces, self.cut_after)


def _cut(pieces: Iterable[bytes], length: int) -> Iterable[bytes]:
    for piece in pieces:
        yield piece[:length]
        length -= len(piece)
        if length <= 0:
            return


class Refused(Exception):
    """Raised where a request goes no further; `status` and `message` are what the client reads."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.headers, self.more = status, message, headers, more

    def answer(self) -> Answer:
        return as_json(self.status, {"error": self.message, **self.more}, self.headers)


def as_json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer with a JSON body."""
    return as_text(status, json.dumps(body), "application/json", headers)


def as_text(status: int, text: str, content_type: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer with any text as its body (HTML and broken JSON included)."""
    body = text.encode()
    named = {"content-type": content_type, "content-length": str(len(body))}
    return Answer(status, {**named, **(headers or {})}, body)


def unauthorized(missing: bool) -> Refused:
    """401: no key at all, or one that the vendor does not accept (a bearer token is no key)."""
    if missing:
        return Refused(401, "Missing Authorization or x-api-key in header")
    return Refused(401, "Unauthorized", error_description="The API key is invalid or was revoked", status_code=401)


def no_such_request(request_id: str) -> Refused:
    """404: the request id is unknown, or its record has expired; the vendor does not tell which."""
    return Refused(404, f"Request {request_id} not found")


def wrong_method(method: str) -> Answer:
    """405: the one answer whose body is HTML."""
    title = "405 Method Not Allowed"
    page = f"<!doctype html>\n<html lang=en>\n<title>{title}</title>\n<p>{method} is not allowed here.</p>\n"
    return as_text(405, page, "text/html; charset=utf-8")
