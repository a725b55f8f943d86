"""The one client of Segmind's API: https://docs.segmind.com and the published `segmind` SDK 1.3.0 are its contract.

What an answer means is in `answers`, how one comes in `exchange`. Nothing is ever asked of a host that an answer names:
URLs in answers are data. Nothing but a SegmindError leaves the public methods.
"""

import json
from collections.abc import Callable
from itertools import islice
from urllib.parse import quote

import httpx

from kontext.errors import Ambiguous, Doubtful, RecordGone, Unavailable
from kontext.model import Parameters
from kontext.segmind.answers import (
    MOST_OWED,
    REQUEST_ID,
    JobResult,
    JobStatus,
    message_in,
    metrics_in,
    number,
    object_in,
    refusal_of_get,
    refusal_of_post,
    says_accepted,
)
from kontext.segmind.exchange import Exchange, door
from kontext.segmind.links import MAX_LINKS, links_in
from kontext.segmind.named_job import job_named_in
from kontext.text import summarize_vendor_message

MAX_KEPT_ANSWER = 2000
"""Characters of a result that names no picture."""


class Segmind:
    """Segmind's API for one model.

    `api_key`: gives the key; asked with True after a 401 it must give the key as it is now, so that a key can
    be replaced without a restart. `previous_key`: gives the one before it, if there is one: a job may be known to the
    key alone that submitted it. `transport`: another way to the network, for tests.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: Callable[[bool], str],
        transport: httpx.BaseTransport | None = None,
        previous_key: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.model = model
        self._exchange = Exchange(base_url, api_key, transport, previous_key)

    def close(self) -> None:
        """Close what connections are kept."""
        self._exchange.close()

    @property
    def sent_with(self) -> str:
        """The fingerprint of the key of the last request."""
        return self._exchange.sent_with

    @door(Ambiguous)
    def submit(self, parameters: Parameters) -> str:
        """Submit a job; returns its request_id. Every accepted call is a new job, and a new charge.

        Raises:
            RequestRefused, AccountRefused, RateLimited, Unavailable: not accepted.
            Ambiguous: perhaps accepted.
        """
        status, headers, body = self._exchange.call("POST", f"/v2/{self.model}", parameters)
        if not 200 <= status < 300:
            refused = refusal_of_post(status, headers, body)
            if isinstance(refused, Doubtful):
                refused.candidate_id = job_named_in(body)
            raise refused
        request_id = object_in(body).get("request_id")
        if not isinstance(request_id, str) or not REQUEST_ID.fullmatch(request_id):
            raise Ambiguous("Segmind's answer holds no usable request_id", status, job_named_in(body))
        return request_id

    @door(Unavailable)
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

    @door(Unavailable)
    def result(self, request_id: str, submitted_with: str | None = None) -> JobStatus | JobResult:
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
        return JobResult(links, metrics_in(answer), tuple(link for link in others if link not in links), said)

    @door(Unavailable)
    def credits(self) -> float:
        """What the account holds, in USD; less than nothing if jobs ended after it was empty. Costs nothing, and
        checks the key. Raises as `status` does."""
        held = number(self._get("/v1/get-user-credits").get("credits"), MOST_OWED)
        if held is None:
            raise Unavailable("Segmind's answer holds no credits")
        return held

    def _about(self, request_id: str, what: str, submitted_with: str | None) -> dict[str, object]:
        answer = self._get(f"/v2/requests/{quote(request_id, safe='')}{what}", submitted_with)
        other = answer.get("request_id")
        if isinstance(other, str) and REQUEST_ID.fullmatch(other) and other.lower() != request_id.lower():
            raise Unavailable("Segmind's answer is about another request")
        return answer

    def _get(self, path: str, submitted_with: str | None = None) -> dict[str, object]:
        status, headers, body = self._exchange.call("GET", path)
        if status in (401, 404) and submitted_with and (key := self._exchange.key_with(submitted_with)):
            status, headers, body = self._exchange.send("GET", path, None, key)
        answer = object_in(body)
        if status == 200 and answer:
            return answer
        failed = status == 422 and ("status" in answer or "error" in answer)  # says so, or only why
        if failed and not says_accepted(answer):
            return {**answer, "status": "FAILED"}
        if status == 404:
            raise RecordGone(message_in(answer) or "Segmind does not know the request", 404)
        raise refusal_of_get(status, headers, answer)
