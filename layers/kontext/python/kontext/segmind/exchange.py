"""One request to Segmind, and its whole answer.

A GET may always be repeated and reuses its connection. A POST may cost money: it gets a connection of its own,
because one that the other side has closed in the meantime (a Lambda function sleeps between two calls) cannot
be told from a lost answer.

What is raised that is no SegmindError means what its place says: before a request can have left, that it was not
accepted; later, that a GET told nothing, and that a POST may have been accepted.
"""

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from kontext.errors import AccountRefused, Ambiguous, SegmindError, Unavailable
from kontext.model import Parameters
from kontext.net.transport import BoundedTransport, answered, request
from kontext.net.unpacking import PackedOtherwise, unpacked
from kontext.segmind.answers import accepted_job_in, object_in
from kontext.segmind.named_job import job_named_in

MAX_ANSWER_BYTES = 1_000_000
ANSWER_SECONDS = 30.0
"""For a whole answer, however slowly it drips."""

_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
_POST_TIMEOUT = httpx.Timeout(20.0, connect=5.0, read=ANSWER_SECONDS)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_ESCAPE = re.compile(rb"\\\\|\\u00([2-7][0-9A-Fa-f])")


@contextmanager
def door(lost: type[SegmindError]) -> Iterator[None]:
    """The one door: what is raised inside and is not one of ours becomes `lost`, or Unavailable if nothing was sent."""
    try:
        yield
    except SegmindError:
        raise
    except _NEVER_SENT as problem:
        raise Unavailable(f"Segmind cannot be reached: {problem}") from problem
    except _BrokenOff as broken:
        message = f"Segmind's answer did not arrive: {type(broken.__cause__).__name__}"
        raise Ambiguous(message, None, job_named_in(broken.part)) if lost is Ambiguous else lost(message) from broken
    except httpx.HTTPError as problem:
        raise lost(f"Segmind's answer did not arrive: {type(problem).__name__}") from problem
    except Exception as unknown:
        logging.getLogger(__name__).exception("an exception that nobody has thought of")
        raise lost(f"Segmind's answer could not be taken: {type(unknown).__name__}") from unknown


class Exchange:
    """Sends requests with the account's key, and reads their answers within bounds of size and time.

    `sent_with`: the fingerprint of the key of the last request. The rest as for `Segmind`.
    """

    def __init__(
        self,
        base_url: str,
        api_key: Callable[[bool], str],
        transport: httpx.BaseTransport | None,
        previous_key: Callable[[], str | None],
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._api_key, self._previous_key = api_key, previous_key
        self.sent_with = ""
        if transport:
            self._gets = self._posts = transport
        else:
            context = httpx.create_ssl_context(trust_env=False)
            self._gets = BoundedTransport(context)
            self._posts = BoundedTransport(context, keep_alive=False)

    def close(self) -> None:
        """Close what connections are kept."""
        self._gets.close()
        self._posts.close()

    def call(self, method: str, path: str, body: Parameters | None = None) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and body of an answer. After a 401 the key is read anew, and if it has changed the request is
        sent once more: nothing was accepted."""
        key = self._key(fresh=False)
        answer = self.send(method, path, body, key)
        if answer[0] == 401 and not accepted_job_in(object_in(answer[2])) and (fresh := self._key(fresh=True)) != key:
            answer = self.send(method, path, body, fresh)
        return answer

    def _key(self, *, fresh: bool) -> str:
        try:
            return self._api_key(fresh)
        except Exception as problem:
            raise Unavailable(f"the API key cannot be read: {type(problem).__name__}") from problem

    def key_with(self, submitted_with: str) -> str | None:
        """The key of this fingerprint, if it is another one than was just used: the newest, or the one before it."""
        if submitted_with == self.sent_with:
            return None
        keys = (self._key(fresh=True), self._previous_key())
        return next((key for key in keys if key and fingerprint(key) == submitted_with), None)

    def send(self, method: str, path: str, body: Parameters | None, key: str) -> tuple[int, httpx.Headers, bytes]:
        """Send a request with this key, and read what is answered."""
        if not re.fullmatch(r"[!-~]{1,200}", key):
            raise AccountRefused("the secret holds no API key", 401, "bad_key")
        self.sent_with = fingerprint(key)
        with door(Unavailable):
            asked = self._request(method, path, body, key)
        with answered(self._posts if method == "POST" else self._gets, asked) as answer:
            return answer.status_code, answer.headers, _without(key, _read(answer))

    def _request(self, method: str, path: str, body: Any, key: str) -> httpx.Request:
        timeout = _POST_TIMEOUT if method == "POST" else _TIMEOUT
        headers, content = {"x-api-key": key}, None
        if body is not None:
            content = json.dumps(body, ensure_ascii=True).encode()
            headers["content-type"] = "application/json"
        return request(
            method, self.base_url + path, timeout=timeout, seconds=ANSWER_SECONDS, headers=headers, content=content
        )


def fingerprint(key: str) -> str:
    """What tells a key from another one, and too little to find it."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


class _TooMuch(Exception):
    """The answer is longer, or takes longer, than any answer of the contract."""


class _BrokenOff(Exception):
    """The answer did not come to its end; `part` of it came."""

    def __init__(self, part: bytes) -> None:
        super().__init__()
        self.part = part


def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    ends = time.monotonic() + ANSWER_SECONDS
    try:
        for chunk in unpacked(response):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES or time.monotonic() > ends:
                raise _TooMuch
    except (httpx.HTTPError, PackedOtherwise, _TooMuch) as problem:
        raise _BrokenOff(bytes(body)) from problem
    return bytes(body)


def _without(key: str, answer: bytes) -> bytes:
    # An answer that repeats the key, also in JSON's escapes, must not carry it into the record, an event or a log.
    if answer.lstrip()[:1] in (b"{", b"["):
        answer = _ESCAPE.sub(_letter, answer)
    return answer.replace(key.encode(), b"...") if len(key) > 12 else answer


def _letter(escape: re.Match[bytes]) -> bytes:
    letter = bytes.fromhex(escape[1].decode()) if escape[1] else b"\\"
    return escape[0] if letter in (b"\\", b'"') else letter
