"""The one client of Segmind's API: https://docs.segmind.com and the published `segmind` SDK 1.3.0 are its contract.

A GET may always be repeated and reuses its connection. A POST may cost money: it gets a connection of its own,
because one that the other side has closed in the meantime (a Lambda function sleeps between two calls) cannot
be told from a lost answer. Nothing is ever asked of a host that an answer names: URLs in answers are data.

Nothing but a SegmindError leaves the public methods. What else is raised means what its place says: before a request
can have left, that it was not accepted; later, that a GET told nothing, and that a POST may have been accepted.
"""

import email.utils
import hashlib
import json
import logging
import math
import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, cast
from urllib.parse import quote

import httpx

from kontext.errors import (
    SERVER_ERRORS,
    AccountRefused,
    Ambiguous,
    RateLimited,
    RecordGone,
    RequestRefused,
    SegmindError,
    ServerError,
    Unavailable,
)
from kontext.model import JobMetrics, Parameters
from kontext.net.transport import BoundedTransport, answered, request
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
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ESCAPE = re.compile(rb"\\\\|\\u00([2-7][0-9A-Fa-f])")
_ABOUT_THE_REQUEST = re.compile(
    r"content type|invalid|allowed|must be|one of|prompt|aspect_ratio|output_format|safety_tolerance|seed|input_image",
    re.IGNORECASE,
)
"""A 406 in other words may be about the account: the vendor gives no code that tells the two apart."""
_ACCEPTED = ("QUEUED", "PROCESSING", "COMPLETED")
_MOST_OWED = -1e9
_METRICS = {"inference_time": 0.0, "queue_time": 0.0, "total_time": 0.0, "cost": 0.0, "remaining_credits": _MOST_OWED}
"""What is kept of a job's metrics, and the least that each can be: a job is charged when it completes, so several that
run as the account runs out leave it below zero."""


@dataclass(frozen=True)
class Look:
    """What the status endpoint said: `status` is Segmind's own word, upper case; `error` why a job FAILED."""

    status: str
    error: str | None = None
    metrics: JobMetrics = field(default_factory=JobMetrics)


@dataclass(frozen=True)
class Result:
    """A completed job: `links` to its picture, `others` that stand elsewhere in the answer (on any host: check them),
    `metrics` in seconds and USD; `answer`: what it said, without what could be a secret."""

    links: tuple[str, ...]
    metrics: JobMetrics = field(default_factory=JobMetrics)
    others: tuple[str, ...] = ()
    answer: str = ""


@dataclass(frozen=True)
class Picture:
    """What the synchronous endpoint gave: the bytes of an image and its `x-…` headers."""

    body: bytes
    headers: dict[str, str]


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
            refused = _refusal_of_post(status, headers, body)
            if isinstance(refused, Ambiguous):
                refused.candidate_id = job_named_in(body)
            raise refused
        request_id = _object(body).get("request_id")
        if not isinstance(request_id, str) or not _REQUEST_ID.fullmatch(request_id):
            raise Ambiguous("Segmind's answer holds no usable request_id", status, job_named_in(body))
        return request_id

    @_door(Unavailable)
    def look(self, request_id: str, submitted_with: str | None = None) -> Look:
        """Where a job is. `submitted_with`: the fingerprint of its key, in case no other knows it.

        Raises:
            RecordGone, AccountRefused, RateLimited, Unavailable: nothing is known of the job; ask again.
        """
        answer = self._about(request_id, "/status", submitted_with)
        status = answer.get("status")
        if not isinstance(status, str):
            raise Unavailable("Segmind's answer holds no status")
        return Look(status.upper(), _message(answer), _metrics(answer))

    @_door(Unavailable)
    def result(self, request_id: str, submitted_with: str | None = None) -> Look | Result:
        """The result of a completed job; a `Look` if Segmind has none to give. `submitted_with` as for `look`.

        Raises:
            RecordGone, AccountRefused, RateLimited, Unavailable: ask again.
        """
        answer = self._about(request_id, "", submitted_with)
        status = str(answer.get("status", "")).upper()
        if status != "COMPLETED":
            return Look(status, _message(answer), _metrics(answer))
        # The job is paid, wherever its picture is said to be: whether it may be fetched is for others to say.
        links, others = (
            tuple(dict.fromkeys(islice(links_in(part), MAX_LINKS)))
            for part in ([answer.get("images"), answer.get("output")], answer)
        )
        said = summarize_vendor_message(json.dumps(answer), MAX_KEPT_ANSWER)
        return Result(links, _metrics(answer), tuple(link for link in others if link not in links), said)

    @_door(Unavailable)
    def credits(self) -> float:
        """What the account holds, in USD; less than nothing if jobs ended after it was empty. Costs nothing, and
        checks the key. Raises as `look` does."""
        held = _number(self._get("/v1/get-user-credits").get("credits"), _MOST_OWED)
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
            raise _refusal_of_post(status, headers, body)
        return Picture(body, {name: value for name, value in headers.items() if name.startswith("x-")})

    def _about(self, request_id: str, what: str, submitted_with: str | None) -> dict[str, Any]:
        answer = self._get(f"/v2/requests/{quote(request_id, safe='')}{what}", submitted_with)
        other = answer.get("request_id")
        if isinstance(other, str) and _REQUEST_ID.fullmatch(other) and other.lower() != request_id.lower():
            raise Unavailable("Segmind's answer is about another request")
        return answer

    def _get(self, path: str, submitted_with: str | None = None) -> dict[str, Any]:
        status, headers, body = self._call("GET", path)
        if status in (401, 404) and submitted_with and (key := self._key_with(submitted_with)):
            status, headers, body = self._exchange("GET", path, None, key, MAX_ANSWER_BYTES, ANSWER_SECONDS)
        answer = _object(body)
        if status == 200 and answer:
            return answer
        if status == 422 and ("status" in answer or "error" in answer):  # the job failed; says so, or only why
            return {**answer, "status": "FAILED"}
        if status == 404:
            raise RecordGone(_message(answer) or "Segmind does not know the request", 404)
        raise _refusal_of_get(status, headers, answer)

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
        if answer[0] == 401 and not _job_in(_object(answer[2])) and (fresh := self._key(fresh=True)) != key:
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
        timeout = httpx.Timeout(20.0, connect=5.0, read=seconds) if seconds > ANSWER_SECONDS else _TIMEOUT
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


def _refusal_of_post(status: int, headers: httpx.Headers, body: bytes) -> SegmindError:
    answer = _object(body)
    message = _message(answer) or f"HTTP {status}"
    if job := _job_in(answer):
        return Ambiguous(f"Segmind refused the request and named a job for it at once, {job}: {message}", status)
    if status in (404, 410):
        return AccountRefused(message, status, "configuration")
    if status in (408, 425):
        return Unavailable(message, status)
    if status in SERVER_ERRORS:
        return ServerError(message, status)
    if status >= 500 or status < 400:  # a redirect may well come after the job was taken
        return Ambiguous(message, status)
    refused = _account(status, headers, message)
    if refused is None and status == 406 and not _ABOUT_THE_REQUEST.search(message):
        return AccountRefused(message, status, "unknown_refusal")
    return refused or RequestRefused(message, status)


def _job_in(answer: dict[str, Any]) -> str | None:
    """The job that an answer names as accepted, whatever its HTTP status says."""
    job = answer.get("request_id")
    if not isinstance(job, str) or str(answer.get("status")).upper() not in _ACCEPTED:
        return None
    return job if _REQUEST_ID.fullmatch(job) else "by no usable request_id"


def _refusal_of_get(status: int, headers: httpx.Headers, answer: dict[str, Any]) -> SegmindError:
    message = _message(answer) or f"HTTP {status}"
    return _account(status, headers, message) or Unavailable(message, status)


def _account(status: int, headers: httpx.Headers, message: str) -> SegmindError | None:
    if status == 429:
        return RateLimited(message, parse_reset(headers.get("x-rate-limit-reset-at-utc")))
    if status == 401:
        return AccountRefused(message, status, "bad_key")
    if status == 403:
        return AccountRefused(message, status, "forbidden")
    if status == 402 or (status == 406 and re.search(r"insufficient|credit", message, re.IGNORECASE)):
        return AccountRefused(message, status, "no_credits")
    if status == 406 and re.search(r"spend(ing)?[ _-]?limit", message, re.IGNORECASE):
        return AccountRefused(message, status, "spend_limit")
    return None


def parse_reset(value: str | None) -> float | None:
    """When the rate limit resets, in unix seconds; None if the header is missing or says nothing that can be read.

    The vendor documents no form: ISO 8601 (UTC if it names no zone), HTTP dates and unix times in s or ms are read.
    """
    if not value:
        return None
    for read in (_unix, _iso8601, _http_date):
        try:
            at = read(value.strip())
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
        if math.isfinite(at):
            return at
    return None


def _unix(value: str) -> float:
    at = float(value)
    return at / 1000 if at > 1e11 else at


def _iso8601(value: str) -> float:
    at = datetime.fromisoformat(value)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _http_date(value: str) -> float:
    return email.utils.parsedate_to_datetime(value).timestamp()


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _message(answer: dict[str, Any]) -> str | None:
    said = answer.get("error_description") or answer.get("error")
    if said is None or said == "":
        return None
    try:
        return summarize_vendor_message(said if isinstance(said, str) else json.dumps(said))
    except RecursionError:
        return "an error that is nested too deeply to be shown"


def _metrics(answer: dict[str, Any]) -> JobMetrics:
    given = answer.get("metrics")
    if not isinstance(given, dict):
        return {}
    numbers = {name: _number(given.get(name), least) for name, least in _METRICS.items()}
    return cast("JobMetrics", {name: value for name, value in numbers.items() if value is not None})


def _number(value: Any, least: float) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and least <= value < 1e9
    return round(float(value), 6) if good else None  # DynamoDB knows no number as small as a float can be
