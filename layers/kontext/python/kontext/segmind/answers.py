"""What Segmind's answers mean: where a job is, what came of it, and whom a refusal is about."""

import email.utils
import json
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import httpx

from kontext.errors import (
    SERVER_ERRORS,
    AccountRefused,
    Ambiguous,
    RateLimited,
    RequestRefused,
    SegmindError,
    ServerError,
    Unavailable,
)
from kontext.model import TUNABLE, AccountReason, JobMetrics
from kontext.text import summarize_vendor_message

REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:=+@-]{0,127}")
"""An id that can be asked for: by the contract a UUID, but nothing hangs on that. It is quoted in a path."""
_ABOUT_THE_REQUEST = re.compile(
    "|".join(("content type", "invalid", "allowed", "must be", "one of", *TUNABLE, "input_image")), re.IGNORECASE
)
"""A 406 in other words may be about the account: the vendor gives no code that tells the two apart."""
_WHY_A_JOB_FAILED: dict[AccountReason, str] = {
    "no_credits": r"\b(insufficient|not enough|out of|low on|lack of)( \w+)? (credits?|balance|funds)\b"
    r"|\bno( more| remaining)? credits\b"
    r"|\b(credits?|balance|funds) (is |are |was |were |have |has )?(too low|insufficient|exhausted|used up|run out)"
    r"|payment required",
    "spend_limit": r"spend(ing)?[ _-]?limit",
    "forbidden": r"\baccount (is |was |has been )?(suspended|disabled|deactivated|blocked|locked|closed)",
}
"""What is the account's fault, in the words that a failed job tells: free text, which may also be about a picture (a
credit card in it, an insufficient resolution). Of the key it says nothing: with that its request was accepted."""
_ACCEPTED = ("QUEUED", "PROCESSING", "COMPLETED")
MOST_OWED = -1e9
_METRICS = {"inference_time": 0.0, "queue_time": 0.0, "total_time": 0.0, "cost": 0.0, "remaining_credits": MOST_OWED}
"""What is kept of a job's metrics, and the least that each can be: a job is charged when it completes, so several that
run as the account runs out leave it below zero."""


@dataclass(frozen=True)
class JobStatus:
    """What the status endpoint said: `status` is Segmind's own word, upper case; `error` why a job FAILED."""

    status: str
    error: str | None = None
    metrics: JobMetrics = field(default_factory=JobMetrics)


@dataclass(frozen=True)
class JobResult:
    """A completed job: `links` to its picture, `others` that stand elsewhere in the answer (on any host: check them),
    `metrics` in seconds and USD; `answer`: what it said, without what could be a secret."""

    links: tuple[str, ...]
    metrics: JobMetrics = field(default_factory=JobMetrics)
    others: tuple[str, ...] = ()
    answer: str = ""


def refusal_of_post(status: int, headers: httpx.Headers, body: bytes) -> SegmindError:
    answer = object_in(body)
    message = message_in(answer) or f"HTTP {status}"
    if job := accepted_job_in(answer):
        return Ambiguous(f"Segmind refused the request and named a job for it at once, {job}: {message}", status)
    if status in (404, 410):
        return AccountRefused(message, status, "configuration")
    if status in (408, 425):
        return Unavailable(message, status)
    if status in SERVER_ERRORS:
        return ServerError(message, status)
    if status >= 500 or status < 400 or status == 499:  # a redirect may well come after the job was taken
        return Ambiguous(message, status)
    refused = _account(status, headers, message)
    if refused is None and status == 406 and not _ABOUT_THE_REQUEST.search(message):
        return AccountRefused(message, status, "unknown_refusal")
    return refused or RequestRefused(message, status)


def accepted_job_in(answer: dict[str, object]) -> str | None:
    """The job that an answer names as accepted, whatever its HTTP status says."""
    job = answer.get("request_id")
    if not isinstance(job, str) or not says_accepted(answer):
        return None
    return job if REQUEST_ID.fullmatch(job) else "by no usable request_id"


def says_accepted(answer: dict[str, object]) -> bool:
    """Whether the job is in a state that only an accepted one that has not failed can be in."""
    return str(answer.get("status")).upper() in _ACCEPTED


def refusal_of_get(status: int, headers: httpx.Headers, answer: dict[str, object]) -> SegmindError:
    message = message_in(answer) or f"HTTP {status}"
    return _account(status, headers, message) or Unavailable(message, status)


def refusal_of_job(message: str) -> AccountRefused | None:
    """Why a job failed, if that is the account's fault; None if it is the request's, as it mostly is.

    >>> refusal_of_job("Insufficient credits: your balance is 0.01").reason
    'no_credits'
    >>> refusal_of_job("The picture shows a credit card") is None
    True
    """
    found = (reason for reason, words in _WHY_A_JOB_FAILED.items() if re.search(words, message, re.IGNORECASE))
    reason = next(found, None)
    return AccountRefused(message, 422, reason) if reason else None


def _account(status: int, headers: httpx.Headers, message: str) -> SegmindError | None:
    if status == 429:
        reset_at = parse_time(headers.get("x-rate-limit-reset-at-utc"))
        return RateLimited(message, reset_at, parse_time(headers.get("date")))
    if status == 401:
        return AccountRefused(message, status, "bad_key")
    if status == 403:
        return AccountRefused(message, status, "forbidden")
    if status == 402 or (status == 406 and re.search(r"insufficient|credit", message, re.IGNORECASE)):
        return AccountRefused(message, status, "no_credits")
    if status == 406 and re.search(r"spend(ing)?[ _-]?limit", message, re.IGNORECASE):
        return AccountRefused(message, status, "spend_limit")
    return None


def parse_time(value: str | None) -> float | None:
    """The time in a header, in unix seconds; None if it is missing or says nothing that can be read.

    The vendor documents no form for the reset of the rate limit: ISO 8601 (UTC if it names no zone), HTTP dates and
    unix times in s or ms are read.
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


def object_in(body: bytes) -> dict[str, object]:
    try:
        answer = json.loads(body, parse_int=_whole)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _whole(digits: str) -> int | float:
    # Python reads no number of thousands of digits, and one such metric must not hide the picture beside it.
    return int(digits) if len(digits) <= 300 else math.inf


def message_in(answer: dict[str, object]) -> str | None:
    said = answer.get("error_description") or answer.get("error")
    if said is None or said == "":
        return None
    try:
        return summarize_vendor_message(said if isinstance(said, str) else json.dumps(said))
    except RecursionError:
        return "an error that is nested too deeply to be shown"


def metrics_in(answer: dict[str, object]) -> JobMetrics:
    given = answer.get("metrics")
    if not isinstance(given, dict):
        return {}
    numbers = {name: number(given.get(name), least) for name, least in _METRICS.items()}
    return cast("JobMetrics", {name: value for name, value in numbers.items() if value is not None})


def number(value: Any, least: float) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and least <= value < 1e9
    return round(float(value), 6) if good else None  # DynamoDB knows no number as small as a float can be
