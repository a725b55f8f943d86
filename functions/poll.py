"""Poll: look at a submitted job, when looking is worth it, until Segmind is done with it.

Errors never end a render here: a paid job is looked for until its record at Segmind ends.
"""

import math
from typing import Any

from aws_lambda_powertools import Logger

from connections import Connections, connect, prepare
from kontext import measures, words
from kontext.due import POLL_SECONDS
from kontext.errors import AccountRefused, RateLimited, RecordGone, SegmindError
from kontext.learning import MAX_MISS_SECONDS
from kontext.renders import IN_FLIGHT, Render, is_stale
from kontext.schedule import Progress, stays
from kontext.segmind import Look, Result
from kontext.table import ConditionFailed
from kontext.throttle.rate_limiter import sane_reset

logger = Logger(json_serializer=words.dumps)
prepare("renders", "learning", "segmind", "secrets")

GONE_TIMES = 8
"""So often in a row (about three minutes) must Segmind say that it does not know a job before we believe it."""


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any, via: Connections | None = None) -> dict[str, Any]:
    """The entry point: the workflow's state in, what the looks told out: `outcome`, and `wait` seconds if
    `waiting`."""
    logger.append_keys(render_id=event["render_id"], pair=event["prefix"], request_id=event["request_id"])
    try:
        poll = Poll(via or connect(), event)
        outcome = poll.run()
    except Exception:
        logger.exception("crashed; the workflow tries again")
        raise
    logger.info("looked", outcome=outcome["outcome"], looks=poll.looks)
    return outcome


class Poll:
    """One stay: some looks at one job."""

    def __init__(self, via: Connections, event: dict[str, Any]) -> None:
        self.via = via
        self.event = event
        self.submitted_at = float(event["submitted_at"])
        self.began = via.clock.now()
        told = event["look"]
        self.progress = Progress(**told.get("progress", {}))
        self.misses = int(told.get("misses", 0))
        self.gone = int(told.get("gone", 0))
        self.held_until = 0.0
        self.looks = 0

    @property
    def age(self) -> float:
        """Seconds since Segmind took the job."""
        return self.via.clock.now() - self.submitted_at

    def run(self) -> dict[str, Any]:
        """Look until there is something to tell, or waiting is cheaper elsewhere."""
        render = self.via.renders.get(self.event["prefix"], self.event["render_id"])
        if render is None or is_stale(render, self.event):
            return {"outcome": "ended"}
        if render["status"] not in IN_FLIGHT:
            render = self.recorded(render)
        while render["status"] in IN_FLIGHT:
            due = self.next_look()
            if due is None or self.gone >= GONE_TIMES:
                return {"outcome": "expired", "gone": self.gone}
            if not stays(due - self.age, due - (self.began - self.submitted_at)):
                return self.waiting(render, due - self.age)
            self.via.clock.sleep(due - self.age)
            render, failure = self.look(render)
            if failure is not None:
                return {"outcome": "failed", "message": failure}
        return {"outcome": "completed" if render["status"] == "COMPLETED" else "ended"}

    def next_look(self) -> float | None:
        """The age at which to look next; None after the last look."""
        if self.looks and self.age >= self.via.learning.deadline:
            return None
        if not self.misses:
            return self.via.learning.next_look(self.progress)
        if not self.looks:  # the workflow has waited
            return self.age
        soon = self.age + min(MAX_MISS_SECONDS, 2.0 ** (self.misses - 1))
        return min(max(soon, self.held_until), self.via.learning.deadline)

    def waiting(self, render: Render, seconds: float) -> dict[str, Any]:
        """Hand back to the workflow, which waits for nothing. After a miss the next Poll looks at once."""
        self.via.renders.beat(render, self.via.clock.now() + seconds + POLL_SECONDS)
        state = {"progress": vars(self.progress), "misses": self.misses, "gone": self.gone}
        wait = math.ceil(seconds) if self.misses else int(seconds - 1)
        return {"outcome": "waiting", "wait": max(1, wait), **state}

    def look(self, render: Render) -> tuple[Render, str | None]:
        """One look; returns the record as it is then and, if the job failed, why."""
        self.looks += 1
        age = self.age
        try:
            seen = self.via.segmind.look(self.event["request_id"])
            if seen.status == "COMPLETED":
                found = self.via.segmind.result(self.event["request_id"])
                if isinstance(found, Result):
                    return self.completed(render, found), None
                seen = found
        except SegmindError as failure:
            self.missed(render, failure)
            return render, None
        self.misses = self.misses + 1 if seen.status == "COMPLETED" else 0
        self.gone = 0
        self.progress = self.progress.seen(seen.status, age)
        return self.noted(render, seen)

    def noted(self, render: Render, seen: Look) -> tuple[Render, str | None]:
        """Keep what a look told that is not the end of a good job."""
        if seen.status == "FAILED":
            return render, seen.error or "Segmind gave no reason"
        if seen.status == "PROCESSING" and render["status"] == "QUEUED":
            return self.via.renders.processing(render, self.via.clock.now()), None
        return render, None

    def missed(self, render: Render, failure: SegmindError) -> None:
        """A look that told nothing is soon repeated, ever more slowly."""
        logger.warning("a look told nothing", error=type(failure).__name__, status=failure.status)
        if isinstance(failure, AccountRefused):
            measures.tell(render, AccountRefused=1)
        self.progress = self.progress.seen("", self.age)
        self.misses += 1
        self.gone = self.gone + 1 if isinstance(failure, RecordGone) else 0
        if isinstance(failure, RateLimited):
            measures.tell(render, RateLimited=1)
            self.misses = max(self.misses, 5)
            self.held_until = sane_reset(failure.reset_at, self.via.clock.now()) - self.submitted_at

    def completed(self, render: Render, result: Result) -> Render:
        """The job is paid: keep where its picture is before anything else, and learn how long it took."""
        now = self.via.clock.now()
        render = self.via.renders.completed(render, result.url, result.metrics, now)
        measures.tell_job(render, now)
        logger.info("completed", extra={"total_seconds": round(now - self.submitted_at, 1), **result.metrics})
        self.via.learning.learn(render["render_id"], now, result.metrics)
        return render

    def recorded(self, render: Render) -> Render:
        """Record the request_id if Submit could not."""
        if render["status"] not in ("SUBMITTING", "UNCERTAIN"):
            return render
        try:
            return self.via.renders.accepted(render, self.event["request_id"], self.submitted_at)
        except ConditionFailed as moved:
            return moved.found or render
