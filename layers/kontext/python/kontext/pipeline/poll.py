"""One stay of Poll: look at a submitted job, when looking is worth it, until Segmind is done with it.

Errors never end a render here: a paid job is looked for until its record at Segmind ends.
"""

import math
from typing import cast

from kontext import metrics
from kontext.connections import Connections
from kontext.due import POLL_SECONDS
from kontext.dynamodb import ConditionFailed
from kontext.errors import AccountRefused, RateLimited, RecordGone, SegmindError
from kontext.log import logger
from kontext.model import IN_FLIGHT, PollState, Render, Status, WorkflowState
from kontext.polling.history import MAX_MISS_SECONDS
from kontext.polling.schedule import Progress, stays
from kontext.renders.balance import unexplained
from kontext.renders.overdue import is_stale
from kontext.renders.store import render_of
from kontext.segmind.client import Look, Result
from kontext.throttle.rate_limiter import sane_reset

GONE_TIMES = 8
"""So often in a row (about three minutes) must Segmind say that it does not know a job before we believe it."""


class Poll:
    """One stay: some looks at one job."""

    def __init__(self, deps: Connections, event: WorkflowState) -> None:
        self.deps = deps
        self.event = event
        self.submitted_at = float(event["submitted_at"])
        self.began = deps.clock.now()
        told = event["look"]
        self.progress = Progress(**told.get("progress", {}))
        self.misses = int(told.get("misses", 0))
        self.gone = int(told.get("gone", 0))
        self.held_until = 0.0
        self.looks = 0

    @property
    def age(self) -> float:
        """Seconds since Segmind took the job."""
        return self.deps.clock.now() - self.submitted_at

    def run(self) -> PollState:
        """Look until there is something to tell, or waiting is cheaper elsewhere."""
        render = self.deps.renders.get(self.event["prefix"], self.event["render_id"])
        if render is None or is_stale(render, self.event["attempt"], self.event.get("generation", 0)):
            return {"outcome": "ended"}
        if render["status"] not in IN_FLIGHT:
            render = self.recorded(render)
        while render["status"] in IN_FLIGHT:
            due = self.next_look()
            if due is None or self.gone >= GONE_TIMES:
                return {"outcome": "expired", "gone": self.gone}
            if not stays(due - self.age, due - (self.began - self.submitted_at)):
                return self.waiting(render, due - self.age)
            self.deps.clock.sleep(due - self.age)
            render, failure = self.look(render)
            if failure is not None:
                return {"outcome": "failed", "message": failure}
        return {"outcome": "completed" if render["status"] == Status.COMPLETED else "ended"}

    def next_look(self) -> float | None:
        """The age at which to look next; None after the last look."""
        if self.looks and self.age >= self.deps.learning.deadline:
            return None
        if not self.misses:
            return self.deps.learning.next_look(self.progress)
        if not self.looks:  # the workflow has waited
            return self.age
        soon = self.age + min(MAX_MISS_SECONDS, 2.0 ** (self.misses - 1))
        return min(max(soon, self.held_until), self.deps.learning.deadline)

    def waiting(self, render: Render, seconds: float) -> PollState:
        """Hand back to the workflow, which waits for nothing. After a miss the next Poll looks at once."""
        self.deps.renders.beat(render, self.deps.clock.now() + seconds + POLL_SECONDS)
        wait = max(1, math.ceil(seconds) if self.misses else int(seconds - 1))
        seen = {"progress": vars(self.progress), "misses": self.misses, "gone": self.gone}
        return cast("PollState", {"outcome": "waiting", "wait": wait, **seen})

    def look(self, render: Render) -> tuple[Render, str | None]:
        """One look; returns the record as it is then and, if the job failed, why."""
        self.looks += 1
        age = self.age
        try:
            seen = self.deps.segmind.look(self.event["request_id"])
            if seen.status == Status.COMPLETED:
                found = self.deps.segmind.result(self.event["request_id"])
                if isinstance(found, Result):
                    return self.completed(render, found), None
                seen = found
        except SegmindError as failure:
            self.missed(render, failure)
            return render, None
        self.misses = self.misses + 1 if seen.status == Status.COMPLETED else 0
        self.gone = 0
        self.progress = self.progress.seen(seen.status, age)
        return self.noted(render, seen)

    def noted(self, render: Render, seen: Look) -> tuple[Render, str | None]:
        """Keep what a look told that is not the end of a good job."""
        if seen.status == Status.FAILED:
            return render, seen.error or "Segmind gave no reason"
        if seen.status == Status.PROCESSING and render["status"] == Status.QUEUED:
            return self.deps.renders.processing(render, self.deps.clock.now()), None
        return render, None

    def missed(self, render: Render, failure: SegmindError) -> None:
        """A look that told nothing is soon repeated, ever more slowly."""
        logger.warning("a look told nothing", error=type(failure).__name__, status=failure.status)
        if isinstance(failure, AccountRefused):
            metrics.emit(render, AccountRefused=1)
        self.progress = self.progress.seen("", self.age)
        self.misses += 1
        self.gone = self.gone + 1 if isinstance(failure, RecordGone) else 0
        if isinstance(failure, RateLimited):
            metrics.emit(render, RateLimited=1)
            self.misses = max(self.misses, 5)
            self.held_until = sane_reset(failure.reset_at, self.deps.clock.now()) - self.submitted_at

    def completed(self, render: Render, result: Result) -> Render:
        """The job is paid: keep where its picture is before anything else, and learn how long it took."""
        now = self.deps.clock.now()
        render = self.deps.renders.completed(render, result.url, result.metrics, now)
        metrics.emit_job(render, now, self.unexplained(render, now))
        logger.info("completed", extra={"total_seconds": round(now - self.submitted_at, 1), **result.metrics})
        self.deps.learning.learn(render["render_id"], now, result.metrics)
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
            return self.deps.renders.accepted(render, self.event["request_id"], self.submitted_at)
        except ConditionFailed as moved:
            return render_of(moved.found) if moved.found else render
