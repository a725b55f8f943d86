"""One stay of Poll: ask for a submitted job's status, when asking is worth it, until Segmind is done with it.

Errors never end a render here: a paid job is looked for until its record at Segmind ends.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from kontext import metrics
from kontext.connections import Connections
from kontext.due import POLL_SECONDS
from kontext.dynamodb import ConditionFailed
from kontext.errors import AccountRefused, RateLimited, RecordGone, SegmindError, Unavailable
from kontext.log import logger
from kontext.model import IN_FLIGHT, JobMetrics, PollState, Render, Status, WorkflowState
from kontext.polling.history import MAX_MISS_SECONDS
from kontext.polling.schedule import Progress, sleeps_in_place
from kontext.renders.balance import unexplained
from kontext.renders.overdue import is_stale
from kontext.renders.record import render_of
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
        told = event["look"]
        self.progress = Progress(**told.get("progress", {}))
        self.misses = int(told.get("misses", 0))
        self.is_gone = False
        self.held_until = 0.0
        self.done: JobStatus | None = None
        self.polls = 0

    @property
    def age(self) -> float:
        """Seconds since Segmind took the job."""
        return self.deps.clock.now() - self.submitted_at

    def run(self) -> PollState:
        """Look until there is something to tell, or waiting is cheaper elsewhere."""
        render = self.deps.renders.follow(self.event, self.deps.clock.now())
        if render is None or is_stale(render, self.event["attempt"], self.event.get("generation", 0)):
            return {"outcome": "ended"}
        if render["status"] not in IN_FLIGHT:
            render = self.recorded(render)
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
        self.deps.renders.beat(render, self.deps.clock.now() + seconds + POLL_SECONDS)
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
        return self.noted(render, seen)

    def ask(self, submitted_with: str | None) -> JobStatus | Result:
        """Where the job is, and its result once that is complete. The result as well where the status stays bad, and
        at the last poll: it may answer all the same. Raises SegmindError if nothing is known of the job."""
        segmind, request_id = self.deps.segmind, self.event["request_id"]
        if self.age >= self.deps.poll_history.deadline:  # no time is left to ask for one after the other
            with suppress(SegmindError):
                return segmind.result(request_id, submitted_with)
        try:
            seen = _known(segmind.status(request_id, submitted_with))
        except SegmindError as failure:
            if self.misses < BAD_STATUSES or isinstance(failure, RateLimited):
                raise
            answer = segmind.result(request_id, submitted_with)
            if isinstance(answer, JobStatus):  # as good as a status, and asked for every few seconds
                self.misses = BAD_STATUSES
            return answer
        if seen.status == Status.COMPLETED:
            self.done = seen
        if seen.status in (Status.COMPLETED, Status.FAILED):
            return _result_of(seen, lambda: segmind.result(request_id, submitted_with), self.misses)
        self.misses = 0
        return seen

    def noted(self, render: Render, seen: JobStatus) -> tuple[Render, PollState | None]:
        """Keep what a poll told that is not the end of a good job."""
        if seen.status == Status.FAILED:
            return render, _failed(seen, done=self.done is not None)
        if seen.status == Status.PROCESSING and render["status"] == Status.QUEUED:
            return self.deps.renders.processing(render, self.deps.clock.now()), None
        return render, None

    def missed(self, render: Render, failure: SegmindError) -> Render:
        """A poll that told nothing is soon repeated, ever more slowly. That the job is done is kept: it is paid."""
        logger.warning("a poll told nothing", error=type(failure).__name__, status=failure.status)
        if isinstance(failure, AccountRefused):
            metrics.emit(render, AccountRefused=1)
        self.progress = self.progress.seen("", self.age)
        self.misses += 1
        self.is_gone = isinstance(failure, RecordGone)
        if isinstance(failure, RateLimited):
            metrics.emit(render, RateLimited=1)
            self.held_until = self.reset_of(failure)
            self.leave_room(failure)
        if self.done is None or "answer" in render:
            return render
        said = f"the status is COMPLETED, and for the result there is none: {failure}"
        return self.deps.renders.unlinked(render, said, self.done.metrics, self.deps.clock.now())

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

    def found(self, render: Render, result: Result) -> Render:
        """The job is paid. A link to an allowed host is the picture, wherever it stands; else what the contract names
        is kept, because its host may be allowed yet. Without any, a later answer may name it."""
        link = self.deps.allowed.first([*result.links, *result.others]) or next(iter(result.links), None)
        if link:
            return self.completed(render, link, result.metrics)
        self.progress = self.progress.seen("", self.age)
        self.misses += 1
        logger.warning("the result names no picture")
        if render.get("answer") == result.answer:
            return render
        return self.deps.renders.unlinked(render, result.answer, result.metrics, self.deps.clock.now())

    def completed(self, render: Render, link: str, told: JobMetrics) -> Render:
        """Keep where the picture is before anything else, and learn how long it took."""
        now = self.deps.clock.now()
        render = self.deps.renders.completed(render, link, told, now)
        metrics.emit_job(render, now, self.unexplained(render, now))
        logger.info("completed", extra={"total_seconds": round(now - self.submitted_at, 1), **told})
        self.deps.poll_history.learn(render["render_id"], now, told)
        return render

    def unexplained(self, render: Render, now: float) -> float | None:
        """What the balance has lost beside what is booked; the picture does not wait for it."""
        try:
            return unexplained(self.deps.table, self.deps.renders.price, render, now)
        except Exception:
            logger.exception("the balance is not compared")
            return None

    def recorded(self, render: Render) -> Render:
        """Record the request_id if Submit could not."""
        if render["status"] not in (Status.SUBMITTING, Status.UNCERTAIN):
            return render
        try:
            known: Render = {**render, "submitted_with": self.event.get("submitted_with")}
            return self.deps.renders.accepted(known, self.event["request_id"], self.submitted_at)
        except ConditionFailed as moved:
            return render_of(moved.found) if moved.found else render


def _known(seen: JobStatus) -> JobStatus:
    """A word that nobody knows tells nothing: it may mean that the job is done, and then the result is there."""
    if seen.status not in (*IN_FLIGHT, Status.COMPLETED, Status.FAILED):
        raise Unavailable("Segmind's answer holds a status that is not known")
    return seen


def _result_of(ended: JobStatus, ask: Callable[[], JobStatus | Result], misses: int) -> JobStatus | Result:
    """The result of a job that has ended by its status. A job that failed is free, and one that is done is paid: where
    the two contradict each other, both are asked again, a few times. Raises SegmindError as `Poll.ask` does."""
    try:
        seen = ask()
    except SegmindError:
        if ended.status == Status.FAILED:
            return ended
        raise
    if isinstance(seen, Result):
        return seen
    failed = [one.status == Status.FAILED for one in (ended, seen)]
    if any(failed) and not all(failed) and misses < BAD_STATUSES:
        raise Unavailable(f"the job is {ended.status} by its status, and {seen.status} by its result")
    return ended if ended.status == Status.FAILED else seen


def _failed(seen: JobStatus, *, done: bool) -> PollState:
    """The outcome of a job that failed. It costs nothing by the contract, but what Segmind states is believed, and one
    that is `done` by its status may be paid."""
    message, cost = seen.error or "Segmind gave no reason", seen.metrics.get("cost")
    if done:
        return {"outcome": "failed", "message": f"{message} (by its status the job is done)", "contradicted": True}
    if not cost:
        return {"outcome": "failed", "message": message}
    return {"outcome": "failed", "message": f"{message} (Segmind states a cost of {cost:g} USD)", "cost": cost}
