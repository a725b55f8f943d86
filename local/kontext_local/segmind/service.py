"""The vendor as a state machine: no network, no threads, and no time but the clock that it is given.

Source of every endpoint, status and message: the vendor's model page, its docs and the `segmind` SDK 1.3.0.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from kontext_local.segmind import parameters, shapes
from kontext_local.segmind.answers import (
    Answer,
    DeferredAnswer,
    Refused,
    as_json,
    no_such_request,
    unauthorized,
    wrong_method,
)
from kontext_local.segmind.jobs import Draw, Job, JobOverride, Picture, Workers
from kontext_local.segmind.ledger import Ledger, Poll, Post
from kontext_local.segmind.padded_file import LEAST, padded
from kontext_local.segmind.rates import RESET_FORMS, RESET_HEADER, WINDOWS, FixedWindow, SlidingWindow
from kontext_local.segmind.script import Script
from kontext_local.segmind.settings import Settings

# The first path that matches decides, so the fixed path stands before the one with a model's name.
ROUTES = tuple(
    (call, method, re.compile(pattern))
    for call, method, pattern in (
        ("credits", "GET", r"/v1/get-user-credits"),
        ("status", "GET", r"/v[12]/requests/(?P<name>[^/]+)/status"),
        ("result", "GET", r"/v[12]/requests/(?P<name>[^/]+)"),
        ("output", "GET", r"/output/(?P<name>[^/]+)"),
        ("submit", "POST", r"/v2/(?P<name>[^/]+)"),
        ("generate", "POST", r"/v1/(?P<name>[^/]+)"),
    )
)
POSTS = ("submit", "generate")
# A synchronous call whose picture is late looks again after so many seconds.
LOOK_AGAIN_SECONDS = 0.01


@dataclass(frozen=True)
class Call:
    """A request as the vendor sees it; `name` is the model, the request id or the output file."""

    kind: str
    path: str
    name: str
    headers: Mapping[str, str]
    body: bytes
    job: Job | None
    prompt: str


def at_once(make: Callable[[], Picture]) -> Future[Picture]:
    """Make the picture in the caller's own time: for virtual clocks."""
    future: Future[Picture] = Future()
    try:
        future.set_result(make())
    except Exception as error:  # noqa: BLE001  the job fails with it
        future.set_exception(error)
    return future


class Segmind:
    """One account at the vendor, and every job it ever had.

    `clock` gives unix seconds, `draw` makes a picture of a request, and `start` calls it (by default at
    once, when the POST is accepted). Job states, charges and expiry follow from the clock whenever it is
    asked for something.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        draw: Draw,
        start: Callable[[Callable[[], Picture]], Future[Picture]] = at_once,
        clock: Callable[[], float] = time.time,
        rng: Random | None = None,
        api_url: str = "https://api.segmind.com",
        output_url: str = "https://images.segmind.com",
    ) -> None:
        self.clock, self.api_url, self.output_url = clock, api_url, output_url
        self._draw, self._start = draw, start
        self._rng = rng or Random()  # noqa: S311  nothing here is a secret
        given = settings or Settings()
        self._settings_at_start = replace(given, keys=given.keys or (f"SG_{self._rng.getrandbits(64):016x}",))
        self.reset()

    def reset(self) -> None:
        """Back to the settings of the start, with an empty ledger and no script."""
        self.settings = self._settings_at_start
        self.balance = self.settings.credits
        self.script = Script()
        self._ledger = Ledger()
        self._workers = Workers()
        self._windows: dict[str, FixedWindow | SlidingWindow] = {}

    @property
    def api_key(self) -> str:
        """An accepted key."""
        return self.settings.keys[0]

    @property
    def ledger(self) -> Ledger:
        """Everything up to now."""
        self.advance()
        return self._ledger

    def change(self, **changes: Any) -> None:
        """Replace settings from now on; `credits` sets the balance. Raises ValueError naming the wrong one."""
        self.advance()
        self.settings = self.settings.changed(changes)
        self.balance = float(changes.get("credits", self.balance))
        if "rate_window" in changes:
            self._windows.clear()

    def advance(self) -> None:
        """Let everything happen that is due by now; charges fall due when a job completes, and only then."""
        for job in self._workers.advance(self.settings.workers, self.clock()):
            if job.state == "COMPLETED" and job.ended_at is not None:
                self._ledger.charge(job, self.settings.price, job.ended_at)
                self.balance = round(self.balance - self.settings.price, 6)

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Answer one HTTP request. Header names in any case; the path without a query."""
        self.advance()
        for kind, allowed, pattern in ROUTES:
            if match := pattern.fullmatch(path):
                call = self._call(kind, path, match.groupdict().get("name", ""), headers, body)
                return self._scripted(call) if method == allowed else wrong_method(method)
        return Refused(404, "Not found").answer()

    def _call(self, kind: str, path: str, name: str, headers: Mapping[str, str], body: bytes) -> Call:
        lowered = {header.lower(): value for header, value in headers.items()}
        job = None if kind in POSTS else self._ledger.jobs.get(name.partition(".")[0])
        prompt = job.parameters.prompt if job else parameters.prompt_of(body) if kind in POSTS else ""
        return Call(kind, path, name, lowered, body, job, prompt)

    def _scripted(self, call: Call) -> Answer:
        rule = self.script.next(call.kind, call.prompt, call.job.state if call.job else None)
        accepted_before = len(self._ledger.jobs)
        true = self._true(call, rule.override if rule else JobOverride()) if not rule or rule.takes_effect else Answer()
        answer = rule.answer(true) if rule else true
        self._note(call, answer, accepted=len(self._ledger.jobs) > accepted_before, scripted=rule is not None)
        return answer

    def _true(self, call: Call, override: JobOverride) -> Answer:
        try:
            return self._act(call, override)
        except Refused as refused:
            return refused.answer()

    def _act(self, call: Call, override: JobOverride) -> Answer:
        if call.kind == "output":
            return self._output(call)
        self._admit(call)
        match call.kind:
            case "submit":
                return as_json(200, self._submitted(self._accept(call, override)))
            case "generate":
                return self._generated(self._accept(call, override))
            case "status":
                return self._status(self._job(call))
            case "result":
                return self._result(self._job(call))
            case _:
                return as_json(200, {"credits": self.balance})

    def _note(self, call: Call, answer: Answer, *, accepted: bool, scripted: bool) -> None:
        self._ledger.too_many_requests += answer.spoken and answer.status == 429
        resets = answer.headers.get(RESET_HEADER)
        if call.kind not in POSTS:
            self._ledger.gets[call.kind] += 1
            if call.kind in ("status", "result"):
                status, told = answer.status if answer.spoken else None, answer.state
                self._ledger.polls.append(Poll(self.clock(), call.kind, call.name, status, told, scripted, resets))
            return
        heard = answer.spoken or answer.later
        outcome = ("accepted" if heard else "accepted unanswered") if accepted else "refused" if heard else "unanswered"
        request_id = next(reversed(self._ledger.jobs)) if accepted else None
        status = answer.status if answer.spoken else None
        named = bool(request_id and request_id in answer.sent)
        self._ledger.posts.append(
            Post(self.clock(), call.path, call.prompt, outcome, status, request_id, named, resets)
        )

    def _admit(self, call: Call) -> None:
        key = call.headers.get("x-api-key")
        if key is None or key not in self.settings.keys:
            raise unauthorized(missing=not (key or call.headers.get("authorization")))
        limit = self.settings.rate_limit
        if limit is None or (call.kind not in POSTS and not self.settings.count_gets):
            return
        window = self._windows.setdefault(key, WINDOWS[self.settings.rate_window]())
        if (reset := window.take(limit, self.clock())) is not None:
            form = RESET_FORMS[self.settings.reset_form]
            raise Refused(429, "Too many requests", {RESET_HEADER: form(reset)})

    def _accept(self, call: Call, override: JobOverride) -> Job:
        self._offer(call.name)
        if call.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(406, "Invalid content type")
        asked = parameters.parse(call.body)
        self._afford()
        job = self._new_job(asked, override, call.headers["x-api-key"])
        self._ledger.jobs[job.request_id] = job
        if not override.fail:
            job.draw(self._start, self._draw, self.clock)
        self._workers.add(job)
        self.advance()
        return job

    def _offer(self, model: str) -> None:
        match self.settings.models.get(model):
            case "available":
                return
            case "forbidden":
                raise Refused(403, f"Your account may not use the model {model}")
            case "retired":
                raise Refused(410, f"The model {model} has been retired")
            case _:
                raise Refused(404, f"Model {model} not found")

    def _afford(self) -> None:
        price, limit = self.settings.price, self.settings.spend_limit
        if self.balance < price:
            raise Refused(406, f"Insufficient credits: your balance is {self.balance}, this model costs {price}")
        if limit is not None and self._ledger.spent + price > limit:
            raise Refused(406, f"Team spend limit reached: {self._ledger.spent} of {limit} spent")

    def _new_job(self, asked: parameters.Parameters, override: JobOverride, key: str) -> Job:
        nth, settings = len(self._ledger.jobs), self.settings
        seconds = settings.inference.sample(self._rng, nth)
        return Job(
            request_id=str(uuid.UUID(int=self._rng.getrandbits(128), version=4)),
            parameters=replace(asked, seed=self._rng.getrandbits(31)) if asked.seed is None else asked,
            accepted_at=self.clock(),
            inference=seconds if override.inference is None else override.inference,
            output_shape=override.output_shape or settings.output_shapes[nth % len(settings.output_shapes)],
            key=key,
            override=override,
        )

    def _job(self, call: Call) -> Job:
        """The job of a GET; its record is gone an hour after its submission."""
        job = call.job
        if job is None or self.clock() >= job.accepted_at + self.settings.record_seconds:
            raise no_such_request(call.name)
        if self.settings.jobs_per_key and call.headers["x-api-key"] != job.key:
            raise no_such_request(call.name)
        return job

    def _urls(self, job: Job) -> dict[str, str]:
        url = f"{self.api_url}/v2/requests/{job.request_id}"
        return {"status_url": f"{url}/status", "response_url": url}

    def _submitted(self, job: Job) -> dict[str, Any]:
        poll_url = f"{self.api_url}/v1/requests/{job.request_id}"
        return {"request_id": job.request_id, "status": "QUEUED", "poll_url": poll_url, **self._urls(job)}

    def _status(self, job: Job) -> Answer:
        if job.state == "FAILED":
            return self._failed(job)
        if job.state != "COMPLETED":
            return as_json(200, {"status": job.state, "request_id": job.request_id, **self._urls(job), "metrics": {}})
        metrics = {"inference_time": job.times()["inference_time"]}
        return as_json(200, {"status": "COMPLETED", "request_id": job.request_id, "metrics": metrics})

    def _result(self, job: Job) -> Answer:
        if job.state != "COMPLETED":
            return self._status(job)
        body = {
            "status": "COMPLETED",
            "request_id": job.request_id,
            **self._pictures(job),
            "metrics": {
                **job.times(),
                "retry_count": 0,
                "cost": job.charged,
                "remaining_credits": self.balance,
            },
        }
        return as_json(200, body)

    def _failed(self, job: Job) -> Answer:
        body = {"status": "FAILED", "request_id": job.request_id, "error": job.error, "metrics": job.times()}
        return as_json(422, body)

    def _pictures(self, job: Job) -> dict[str, Any]:
        name = f"/output/{job.request_id}.{job.parameters.output_format}"
        host, name = (job.override.output_url, "") if job.override.output_url else (self.output_url, name)
        return shapes.picture_fields(job.output_shape, host, name, job.parameters.content_type)

    def _output(self, call: Call) -> Answer:
        job = call.job
        if job is None or job.state != "COMPLETED" or job.ended_at is None or not self._kept(job):
            raise Refused(404, "File not found")
        content = job.picture().read()
        wanted = job.override.output_bytes or 0
        size = wanted if wanted >= len(content) + LEAST else len(content)
        content_type = job.override.output_content_type or job.parameters.content_type
        headers = {"content-type": content_type, "content-length": str(size)}
        return Answer(200, headers, stream=padded(content, size))

    def _kept(self, job: Job) -> bool:
        return job.ended_at is not None and self.clock() < job.ended_at + self.settings.output_seconds

    def _generated(self, job: Job) -> Answer:
        """The synchronous call: silence until the job has ended, then the picture's own bytes."""
        self.advance()
        if job.state in ("QUEUED", "PROCESSING"):
            due = job.ends_at() or 0.0
            return Answer(
                later=DeferredAnswer(max(due, self.clock() + LOOK_AGAIN_SECONDS), lambda: self._generated(job))
            )
        if job.state == "FAILED":
            return Refused(500, job.error or "").answer()
        content = job.picture().read()
        headers = {
            "content-type": job.parameters.content_type,
            "content-length": str(len(content)),
            "x-cost": str(job.charged),
            "x-remaining-credits": str(self.balance),
            "x-request-id": job.request_id,
            "x-generation-time": str(job.times()["inference_time"]),
            "x-seed-value": str(job.parameters.seed),
        }
        return Answer(200, headers, content)
