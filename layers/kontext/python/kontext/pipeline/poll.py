"""One stay of Poll: ask for a submitted job's status, when asking is worth it, until Segmind is done with it.

Errors never end a render here: a paid job is looked for until its record at Segmind ends.
"""

import math
from contextlib import suppress
from typing import cast

from kontext import metrics
from kontext.connections import Connections
from kontext.due import POLL_SECONDS
from kontext.errors import AccountRefused, RateLimited, RecordGone, SegmindError
from kontext.log import logger
from kontext.model import IN_FLIGHT, PollState, Render, Status, WorkflowState
from kontext.pipeline.job_record import JobRecord
from kontext.polling.history import MAX_MISS_SECONDS
from kontext.polling.schedule import Progress, sleeps_in_place
from kontext.renders.overdue import is_stale
from kontext.renders.workflow import last_poll
from kontext.segmind.answers import JobStatus, Result
from kontext.throttle.rate_limiter import reset_by_our_clock, sane_reset

JUST_OVER_SECONDS = 10.0
"""A reset may be stated in whole seconds, and by another clock."""
BAD_STATUSES = 3
"""So many status requests in a row that told nothing, and the result is asked for as well: it may answer."""


class Poll:
    """One stay: some polls for one job."""

    def __init__(self, deps: Connections, event: WorkflowState) -> None:
        self.deps = deps
        self.event = event
        self.submitted_at = float(event["submitted_at"])
        self.began = deps.clock.now()
        told = last_poll(event)
        self.progress = Progress(**told.get("progress", {}))
        self.misses = int(told.get("misses", 0))
        self.is_gone = False
        self.held_until = 0.0
        self.done: JobStatus | None = None
        self.polls = 0
        self.record = JobRecord(deps, event)

    @property
    def age(self) -> float:
        """Seconds since Segmind took the job."""
        return self.deps.clock.now() - self.submitted_at

    def run(self) -> PollState:
        """Look until there is something to tell, or waiting is cheaper elsewhere."""
        render = self.deps.jobs.of_execution(self.event, self.deps.clock.now())
        if render is None or is_stale(render, self.event["attempt"], self.event.get("generation", 0)):
            return {"outcome": "ended"}
        if render["status"] not in IN_FLIGHT:
            render = self.record.keep_request_id(render)
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
        if not self.misses:
            return self.deps.poll_history.next_poll(self.progress)
        if not self.polls:  # the workflow has waited
            return self.age
        soon = self.age + min(MAX_MISS_SECONDS, 2.0 ** (self.misses - 1))
        return min(max(self.held_until, self.age) if self.held_until else soon, self.deps.poll_history.deadline)

    def waiting(self, render: Render, seconds: float) -> PollState:
        """Hand back to the workflow, which waits for nothing. After a miss the next Poll asks at once."""
        self.deps.jobs.beat(render, self.deps.clock.now() + seconds + POLL_SECONDS)
        wait = max(1, math.ceil(seconds) if self.misses else int(seconds - 1))
        seen = {"progress": vars(self.progress), "misses": self.misses}
        return cast("PollState", {"outcome": "waiting", "wait": wait, **seen})

    def poll_once(self, render: Render) -> tuple[Render, PollState | None]:
        """One poll; returns the record as it is then and, if the job failed, the outcome."""
        self.polls += 1
        age, self.held_until, self.done = self.age, 0.0, None
        try:
            seen = self.ask(render.get("submitted_with"))
        except SegmindError as failure:
            return self.missed(render, failure), None
        if isinstance(seen, Result):
            return self.found(render, seen), None
        self.progress = self.progress.seen(seen.status, age)
        if seen.status == Status.FAILED:
            return render, _failed(seen)
        return self.record.keep_status(render, seen), None

    def ask(self, submitted_with: str | None) -> JobStatus | Result:
        """Where the job is, and its result once that is complete. The result as well where the status stays bad, and
        at the last poll: it may answer all the same. Raises SegmindError if nothing is known of the job."""
        segmind, request_id = self.deps.segmind, self.event["request_id"]
        if self.age >= self.deps.poll_history.deadline:  # no time is left to ask for one after the other
            with suppress(SegmindError):
                return segmind.result(request_id, submitted_with)
        try:
            seen = segmind.status(request_id, submitted_with)
        except SegmindError as failure:
            if self.misses < BAD_STATUSES or isinstance(failure, RateLimited):
                raise
            answer = segmind.result(request_id, submitted_with)
            if isinstance(answer, JobStatus):  # as good as a status, and asked for every few seconds
                self.misses = BAD_STATUSES
            return answer
        if seen.status == Status.COMPLETED:
            self.done = seen
            return segmind.result(request_id, submitted_with)
        self.misses = 0
        return seen

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
        if self.done is None or "answer" in render:
            return render
        answer = f"the status is COMPLETED, and for the result there is none: {failure}"
        return self.record.keep_answer(render, answer, self.done.metrics)

    def found(self, render: Render, result: Result) -> Render:
        """The job is paid. Where nothing names its picture, a later answer may."""
        if link := self.record.link_in(result):
            return self.record.complete(render, link, result.metrics)
        self.count_miss()
        logger.warning("the result names no picture")
        return self.record.keep_answer(render, result.answer, result.metrics)

    def count_miss(self) -> None:
        """The next poll comes soon, and ever later when it is one of many."""
        self.progress = self.progress.seen("", self.age)
        self.misses += 1

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


def _failed(seen: JobStatus) -> PollState:
    """The outcome of a job that failed. It costs nothing by the contract, but what Segmind states is believed."""
    message, cost = seen.error or "Segmind gave no reason", seen.metrics.get("cost")
    if not cost:
        return {"outcome": "failed", "message": message}
    return {"outcome": "failed", "message": f"{message} (Segmind states a cost of {cost:g} USD)", "cost": cost}
