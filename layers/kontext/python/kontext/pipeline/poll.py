"""One stay of Poll: ask for a submitted job's status, when asking is worth it, until Segmind is done with it.

Errors never end a render here: a paid job is looked for until its record at Segmind ends.
"""

import math
from contextlib import suppress
from typing import cast

from botocore.exceptions import BotoCoreError, ClientError

from kontext import metrics
from kontext.connections import Connections
from kontext.due import POLL_SECONDS
from kontext.errors import AccountRefused, RateLimited, RecordGone, SegmindError
from kontext.log import logger
from kontext.model import IN_FLIGHT, Render, Status
from kontext.pipeline.job_record import JobRecord
from kontext.pipeline.job_requests import JobRequests
from kontext.pipeline.link_renewal import renew_link
from kontext.polling.history import MAX_MISS_SECONDS
from kontext.polling.schedule import Progress, sleeps_in_place, wait_seconds
from kontext.renders.overdue import is_stale
from kontext.renders.workflow import last_poll
from kontext.segmind.answers import JobResult, JobStatus
from kontext.throttle.rate_limiter import reset_by_our_clock, sane_reset
from kontext.workflow_state import FoundPicture, PollState, WorkflowState

JUST_OVER_SECONDS = 10.0
"""A reset may be stated in whole seconds, and by another clock."""


class Poll:
    """One stay: some polls for one job."""

    def __init__(self, deps: Connections, event: WorkflowState) -> None:
        self.deps = deps
        self.event = event
        self.submitted_at = float(event["submitted_at"])
        self.began = deps.clock.now()
        told = last_poll(event)
        self.progress = Progress(**told.get("progress", {}))
        self.is_gone = False
        self.held_until = 0.0
        self.polls = 0
        self.job = JobRequests(
            deps.segmind, event["request_id"], int(told.get("misses", 0)), int(told.get("doubts", 0))
        )
        self.record = JobRecord(deps, event)
        self.found_before = told.get("found")
        self.result: JobResult | None = None

    @property
    def age(self) -> float:
        """Seconds since Segmind took the job."""
        return self.deps.clock.now() - self.submitted_at

    def run(self) -> PollState:
        """Look until there is something to tell, or waiting is cheaper elsewhere. Where the table does not answer, the
        workflow keeps what is found: Segmind forgets the job within the hour."""
        try:
            return self.watch_job()
        except (ClientError, BotoCoreError):
            found = None if self.found_before else self.find_unrecorded()
            if found is None:
                raise
            logger.exception("what was found could not be recorded")
            return {"outcome": "waiting", "wait": 1, "found": found}

    def watch_job(self) -> PollState:
        """The same, with the record."""
        render = self.deps.jobs.of_execution(self.event, self.deps.clock.now())
        if render and self.found_before:
            render = self.record.keep_found(render, self.found_before)
        if render is None or is_stale(render, self.event["attempt"], self.event.get("generation", 0)):
            return {"outcome": "ended"}
        render = renew_link(self.deps, self.event, self.record.keep_request_id(render))
        while render["status"] in IN_FLIGHT:
            due = self.next_poll()
            if due is None:
                why = "Segmind does not know the job" if self.is_gone else "no result was seen"
                return {"outcome": "expired", "message": f"{why}, and its record of the job has ended"}
            if not sleeps_in_place(due - self.age, due - (self.began - self.submitted_at)):
                return self.waiting(render, due - self.age)
            self.deps.clock.sleep(due - self.age)
            render, failure = self.poll_once(render)
            if failure is not None:
                return failure
        return {"outcome": "completed" if render["status"] == Status.COMPLETED else "ended"}

    def next_poll(self) -> float | None:
        """The age at which to poll next; None after the last poll."""
        if self.polls and self.age >= self.deps.poll_history.deadline:
            return None
        if not self.job.misses:
            return self.deps.poll_history.next_poll(self.progress)
        if not self.polls:  # the workflow has waited
            return self.age
        soon = self.age + min(MAX_MISS_SECONDS, 2.0 ** (self.job.misses - 1))
        return min(max(self.held_until, self.age) if self.held_until else soon, self.deps.poll_history.deadline)

    def waiting(self, render: Render, seconds: float) -> PollState:
        """Hand back to the workflow, which waits for nothing. After a miss the next Poll asks at once."""
        self.deps.jobs.beat(render, self.deps.clock.now() + seconds + POLL_SECONDS)
        wait = max(1, math.ceil(seconds) if self.job.misses else wait_seconds(seconds))
        seen = {"progress": vars(self.progress), "misses": self.job.misses, "doubts": self.job.doubts}
        return cast("PollState", {"outcome": "waiting", "wait": wait, **seen})

    def poll_once(self, render: Render) -> tuple[Render, PollState | None]:
        """One poll; returns the record as it is then and, if the job failed, the outcome."""
        self.polls += 1
        age, self.held_until = self.age, 0.0
        try:
            seen = self.job.ask(render.get("submitted_with"), last=age >= self.deps.poll_history.deadline)
        except SegmindError as failure:
            return self.missed(render, failure), None
        if isinstance(seen, JobResult):
            self.result = seen
            return self.found(render, seen), None
        self.progress = self.progress.seen(seen.status, age)
        if seen.status == Status.FAILED:
            return render, _failed(seen, done=self.job.done is not None or "answer" in render)
        return self.record.keep_status(render, seen), None

    def missed(self, render: Render, failure: SegmindError) -> Render:
        """A poll that told nothing is soon repeated, ever more slowly. That the job is done is kept: it is paid."""
        logger.warning("a poll told nothing", error=type(failure).__name__, status=failure.status)
        if isinstance(failure, AccountRefused):
            metrics.emit(render, AccountRefused=1)
        self.count_miss()
        self.is_gone = isinstance(failure, RecordGone)
        if isinstance(failure, RateLimited):
            metrics.emit(render, RateLimited=1)
            self.held_until = self.reset_of(failure)
            self.leave_room(failure)
        if self.job.done is None or "answer" in render:
            return render
        answer = f"the status is COMPLETED, and for the result there is none: {failure}"
        return self.record.keep_answer(render, answer, self.job.done.metrics)

    def found(self, render: Render, result: JobResult) -> Render:
        """The job is paid. Where nothing names its picture, a later answer may."""
        if link := self.record.link_in(result):
            return self.record.complete(render, link, result.metrics)
        self.count_miss()
        logger.warning("the result names no picture")
        return self.record.keep_answer(render, result.answer, result.metrics)

    def find_unrecorded(self) -> FoundPicture | None:
        """Where the picture is, asked for without the record if that could not be read."""
        if not self.polls:
            with suppress(SegmindError):
                seen = self.job.ask(self.event.get("submitted_with"), last=False)
                self.result = seen if isinstance(seen, JobResult) else None
        link = self.record.link_in(self.result) if self.result else None
        return {"link": link, "metrics": self.result.metrics} if self.result and link else None

    def count_miss(self) -> None:
        """The next poll comes soon, and ever later when it is one of many."""
        self.progress = self.progress.seen("", self.age)
        self.job.misses += 1

    def reset_of(self, limited: RateLimited) -> float:
        """The age at which the rate limit resets; 0 if that is just over, and the next poll is a matter of seconds."""
        now = self.deps.clock.now()
        reset_at = reset_by_our_clock(limited, now)
        if reset_at is not None and now - JUST_OVER_SECONDS < reset_at <= now:
            return 0.0
        return sane_reset(reset_at, now) - self.submitted_at

    def leave_room(self, limited: RateLimited) -> None:
        """Requests wait for a stated reset as well: one that went before it would take from the polls what is left of
        the account's rate. A reset that is only guessed holds nobody else up."""
        now = self.deps.clock.now()
        reset_at = reset_by_our_clock(limited, now)
        if reset_at is None or sane_reset(reset_at, now) != reset_at:
            return
        try:
            self.deps.throttle.back_off(reset_at, now)
        except Exception:
            logger.exception("the rate limiter did not hear of the 429")


def _failed(seen: JobStatus, *, done: bool) -> PollState:
    """The outcome of a job that failed. It costs nothing by the contract, but what Segmind states is believed, and one
    that is `done` by its status may be paid."""
    message, cost = seen.error or "Segmind gave no reason", seen.metrics.get("cost")
    if done:
        return {"outcome": "failed", "message": f"{message} (by its status the job is done)", "contradicted": True}
    if not cost:
        return {"outcome": "failed", "message": message}
    return {"outcome": "failed", "message": f"{message} (Segmind states a cost of {cost:g} USD)", "cost": cost}
