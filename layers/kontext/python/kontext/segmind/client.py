"""The one client of Segmind's API: https://docs.segmind.com and the published `segmind` SDK 1.3.0 are its contract.

A GET may always be repeated and reuses its connection. A POST may cost money: it gets a connection of its own,
because one that the other side has closed in the meantime (a Lambda function sleeps between two calls) cannot
be told from a lost answer. Nothing is ever asked of a host that an answer names: URLs in answers are data.

Nothing but a SegmindError leaves the public methods. What else is raised means what its place says: before a request
can have left, that it was not accepted; later, that a GET told nothing, and that a POST may have been accepted.
"""

import hashlib
import json
import logging
import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any
from urllib.parse import quote

import httpx

from kontext.errors import (
    AccountRefused,
    Ambiguous,
    RecordGone,
    SegmindError,
    Unavailable,
)
from kontext.model import Parameters
from kontext.net.transport import BoundedTransport, answered, request
from kontext.segmind.answers import (
    MOST_OWED,
    REQUEST_ID,
    JobStatus,
    Picture,
    Result,
    accepted_job_in,
    message_in,
    metrics_in,
    number,
    object_in,
    refusal_of_get,
    refusal_of_post,
)
from kontext.segmind.links import MAX_LINKS, links_in
from kontext.segmind.named import job_named_in
from kontext.text import summarize_vendor_message

MAX_ANSWER_BYTES = 1_000_000
MAX_PICTURE_BYTES = 100_000_000
MAX_KEPT_ANSWER = 2000
"""Characters of a result that names no picture."""
ANSWER_SECONDS = 30.0
"""For a whole answer, however slowly it drips."""

_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_ESCAPE = re.compile(rb"\\\\|\\u00([2-7][0-9A-Fa-f])")


@contextmanager
def _door(lost: type[SegmindError]) -> Iterator[None]:
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


class Segmind:
    """Segmind's API for one model.

    `api_key`: gives the key; asked with True after a 401 it must give the key as it is now, so that a key can
    be replaced without a restart. `previous_key`: gives the one before it, if there is one: a job may be known to the
    key alone that submitted it. `transport`: another way to the network, for tests. `sent_with`: the fingerprint of
    the key of the last request.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: Callable[[bool], str],
        transport: httpx.BaseTransport | None = None,
        previous_key: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.model = model
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

    @_door(Ambiguous)
    def submit(self, parameters: Parameters) -> str:
        """Submit a job; returns its request_id. Every accepted call is a new job, and a new charge.

        Raises:
            RequestRefused, AccountRefused, RateLimited, Unavailable: not accepted.
            Ambiguous: perhaps accepted.
        """
        status, headers, body = self._call("POST", f"/v2/{self.model}", parameters)
        if not 200 <= status < 300:
            refused = refusal_of_post(status, headers, body)
            if isinstance(refused, Ambiguous):
                refused.candidate_id = job_named_in(body)
            raise refused
        request_id = object_in(body).get("request_id")
        if not isinstance(request_id, str) or not REQUEST_ID.fullmatch(request_id):
            raise Ambiguous("Segmind's answer holds no usable request_id", status, job_named_in(body))
        return request_id

    @_door(Unavailable)
    def status(self, request_id: str, submitted_with: str | None = None) -> JobStatus:
        """Where a job is. `submitted_with`: the fingerprint of its key, in case no other knows it.

        Raises:
            RecordGone, AccountRefused, RateLimited, Unavailable: nothing is known of the job; ask again.
        """
        answer = self._about(request_id, "/status", submitted_with)
        status = answer.get("status")
        if not isinstance(status, str):
            raise Unavailable("Segmind's answer holds no status")
        return JobStatus(status.upper(), message_in(answer), metrics_in(answer))

    @_door(Unavailable)
    def result(self, request_id: str, submitted_with: str | None = None) -> JobStatus | Result:
        """The result of a completed job; a `JobStatus` if Segmind has none to give. `submitted_with` as for `status`.

        Raises:
            RecordGone, AccountRefused, RateLimited, Unavailable: ask again.
        """
        answer = self._about(request_id, "", submitted_with)
        status = str(answer.get("status", "")).upper()
        if status != "COMPLETED":
            return JobStatus(status, message_in(answer), metrics_in(answer))
        # The job is paid, wherever its picture is said to be: whether it may be fetched is for others to say.
        links, others = (
            tuple(dict.fromkeys(islice(links_in(part), MAX_LINKS)))
            for part in ([answer.get("images"), answer.get("output")], answer)
        )
        said = summarize_vendor_message(json.dumps(answer), MAX_KEPT_ANSWER)
        return Result(links, metrics_in(answer), tuple(link for link in others if link not in links), said)

    @_door(Unavailable)
    def credits(self) -> float:
        """What the account holds, in USD; less than nothing if jobs ended after it was empty. Costs nothing, and
        checks the key. Raises as `status` does."""
        held = number(self._get("/v1/get-user-credits").get("credits"), MOST_OWED)
        if held is None:
            raise Unavailable("Segmind's answer holds no credits")
        return held

    @_door(Ambiguous)
    def generate(self, parameters: Parameters) -> Picture:
        """Render in one blocking call (v1, in maintenance mode at Segmind; the pipeline does not use it).

        Raises as `submit` does.
        """
        status, headers, body = self._call(
            "POST", f"/v1/{self.model}", parameters, most=MAX_PICTURE_BYTES, seconds=600.0
        )
        if not 200 <= status < 300:
            raise refusal_of_post(status, headers, body)
        return Picture(body, {name: value for name, value in headers.items() if name.startswith("x-")})

    def _about(self, request_id: str, what: str, submitted_with: str | None) -> dict[str, Any]:
        answer = self._get(f"/v2/requests/{quote(request_id, safe='')}{what}", submitted_with)
        other = answer.get("request_id")
        if isinstance(other, str) and REQUEST_ID.fullmatch(other) and other.lower() != request_id.lower():
            raise Unavailable("Segmind's answer is about another request")
        return answer

    def _get(self, path: str, submitted_with: str | None = None) -> dict[str, Any]:
        status, headers, body = self._call("GET", path)
        if status in (401, 404) and submitted_with and (key := self._key_with(submitted_with)):
            status, headers, body = self._exchange("GET", path, None, key, MAX_ANSWER_BYTES, ANSWER_SECONDS)
        answer = object_in(body)
        if status == 200 and answer:
            return answer
        if status == 422 and ("status" in answer or "error" in answer):  # the job failed; says so, or only why
            return {**answer, "status": "FAILED"}
        if status == 404:
            raise RecordGone(message_in(answer) or "Segmind does not know the request", 404)
        raise refusal_of_get(status, headers, answer)

    def _call(
        self,
        method: str,
        path: str,
        body: Parameters | None = None,
        *,
        most: int = MAX_ANSWER_BYTES,
        seconds: float = ANSWER_SECONDS,
    ) -> tuple[int, httpx.Headers, bytes]:
        key = self._key(fresh=False)
        answer = self._exchange(method, path, body, key, most, seconds)
        if answer[0] == 401 and not accepted_job_in(object_in(answer[2])) and (fresh := self._key(fresh=True)) != key:
            answer = self._exchange(method, path, body, fresh, most, seconds)
        return answer

    def _key(self, *, fresh: bool) -> str:
        try:
            return self._api_key(fresh)
        except Exception as problem:
            raise Unavailable(f"the API key cannot be read: {type(problem).__name__}") from problem

    def _key_with(self, submitted_with: str) -> str | None:
        """The key of this fingerprint, if it is another one than was just used: the newest, or the one before it."""
        if submitted_with == self.sent_with:
            return None
        keys = (self._key(fresh=True), self._previous_key())
        return next((key for key in keys if key and fingerprint(key) == submitted_with), None)

    def _exchange(
        self, method: str, path: str, body: Any, key: str, most: int, seconds: float
    ) -> tuple[int, httpx.Headers, bytes]:
        if not re.fullmatch(r"[!-~]{1,200}", key):
            raise AccountRefused("the secret holds no API key", 401, "bad_key")
        self.sent_with = fingerprint(key)
        with _door(Unavailable):
            asked = self._request(method, path, body, key, seconds)
        with answered(self._posts if method == "POST" else self._gets, asked) as answer:
            return answer.status_code, answer.headers, _without(key, _read(answer, most, seconds))

    def _request(self, method: str, path: str, body: Any, key: str, seconds: float) -> httpx.Request:
        timeout = httpx.Timeout(20.0, connect=5.0, read=seconds) if method == "POST" else _TIMEOUT
        headers, content = {"x-api-key": key}, None
        if body is not None:
            content = json.dumps(body, ensure_ascii=True).encode()
            headers["content-type"] = "application/json"
        return request(method, self.base_url + path, timeout=timeout, seconds=seconds, headers=headers, content=content)


def fingerprint(key: str) -> str:
    """What tells a key from another one, and too little to find it."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


class _TooMuch(Exception):
    """The answer is longer, takes longer, or is packed otherwise than any answer of the contract."""


class _BrokenOff(Exception):
    """The answer did not come to its end; `part` of it came."""

    def __init__(self, part: bytes) -> None:
        super().__init__()
        self.part = part


def _read(response: httpx.Response, most: int, seconds: float) -> bytes:
    body = bytearray()
    ends = time.monotonic() + seconds
    try:
        for chunk in _unpacked(response, most):
            body += chunk
            if len(body) > most or time.monotonic() > ends:
                raise _TooMuch
    except (httpx.HTTPError, _TooMuch) as problem:
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


def _unpacked(response: httpx.Response, most: int) -> Iterator[bytes]:
    # Nobody was asked to pack, but a gateway may do so; httpx would unpack a bomb before its size can be seen.
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding == "identity":
        yield from response.iter_bytes()
        return
    if encoding not in ("gzip", "deflate"):
        raise _TooMuch
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        for chunk in response.iter_raw():
            yield unpacker.decompress(chunk, most + 1)
    except zlib.error as problem:
        raise _TooMuch from problem
