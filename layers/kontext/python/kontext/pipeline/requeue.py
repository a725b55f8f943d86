"""A render that is to be sent, perhaps once more, waits: in line, or until a time of its own."""

from kontext import metrics
from kontext.connections import Connections
from kontext.errors import AccountRefused, Doubtful, SegmindError, ServerError, Unavailable
from kontext.log import logger
from kontext.model import IN_FLIGHT, ErrorCode, HistoryEntry, Reason, Render
from kontext.pipeline.circuit_breaker import CircuitBreaker
from kontext.pipeline.ends import Ends, charged_for
from kontext.renders.ledger import another_was_accepted
from kontext.renders.submissions import CountsAs
from kontext.segmind.answers import refusal_of_job
from kontext.workflow_state import PollState

UNKNOWN = "unknown_refusal"
MOST_FAILURES = 3
"""So often a request may fail for a reason that may be its own, before it steps aside for all others."""
ASIDE_SECONDS = 2700.0
CANDIDATE_SECONDS = 10.0
"""Until a job is asked for once more that a server error named, and that nobody could ask for."""
MOST_FAILURES_ALONE = 100
"""So often it is sent while Segmind takes nobody's renders: for three days by its own times, for one as a trial."""


class Requeue:
    """Lets renders wait that were not accepted, or whose jobs failed for no reason of their own."""

    def __init__(self, deps: Connections) -> None:
        self.deps = deps
        self.breaker = CircuitBreaker(deps)
        self.ends = Ends(deps)

    def take_back(self, render: Render, failed: PollState) -> bool:
        """A job has failed: if the account is why, nobody goes, and the render waits in line. False if it failed for a
        reason of its own, or may have been charged: then another request may be one too many."""
        refused = refusal_of_job(failed["message"])
        is_echo = refusal_of_job(render["parameters"]["prompt"]) is not None  # the message may repeat the prompt
        if refused is None or is_echo or charged_for(failed):
            return False
        self.breaker.open(refused.reason, render, refused.status)
        self.wait(render, refused.reason, refused)
        return True

    def wait(self, render: Render, reason: Reason, failure: SegmindError, *, trial: bool = False) -> None:
        """Let a render wait whose request was not accepted, or most likely not, or whose job failed.

        What Segmind says of the account may be about one render: a trial that is refused though the account is well is
        noted, and one that has failed before and so is none, so that another one goes as the next; and when that was
        taken, the next refusals are the render's own.
        """
        of_account = isinstance(failure, AccountRefused) and reason != UNKNOWN and render["status"] not in IN_FLIGHT
        if isinstance(failure, Unavailable):
            self.join_line(render, reason, _entry(failure))
        elif of_account and not self.another_went_since(render.get("refused_at")):
            is_no_trial = bool(render.get("failures")) and "refused_at" not in render  # while others have not failed
            self.join_line(render, reason, _entry(failure), "refusal" if trial or is_no_trial else None)
        else:
            self.step_aside(render, reason, failure, at_once=of_account)

    def step_aside(self, render: Render, reason: Reason, failure: SegmindError, *, at_once: bool) -> None:
        """One that fails for a reason that may be its own holds nobody else up: after three failures, or `at_once`, it
        goes every 45 minutes, until it has failed again after Segmind took another render, or too often."""
        now, noted, failures = self.deps.clock.now(), _entry(failure), render.get("failures", 0) + 1
        if failures > MOST_FAILURES_ALONE or (
            failures > MOST_FAILURES and self.another_went_since(render.get("failed_at"))
        ):
            self.ends.fail(render, _code_of(render, failure), f"Segmind answered {failures} times: {failure}")
        elif "candidate_id" in noted:
            self.retry_later(render, now + CANDIDATE_SECONDS, reason, noted)
        elif at_once or failures >= MOST_FAILURES:
            self.retry_later(render, now + ASIDE_SECONDS, reason, noted)
        elif failure.status == 500:
            self.retry_later(render, now + 10 * 2**failures, reason, noted)
        else:
            self.join_line(render, reason, noted, "failure")

    def another_went_since(self, failed_at: float | None) -> bool:
        """Whether Segmind took another render, and made its picture, since this one has failed."""
        return failed_at is not None and another_was_accepted(self.deps.table, failed_at, self.deps.clock.now())

    def retry_later(self, render: Render, at: float, reason: Reason, noted: HistoryEntry) -> None:
        """Let a render go again at a time of its own."""
        self.deps.submissions.retry_later(render, at, reason, self.deps.clock.now(), noted)
        metrics.emit(render, **{metrics.parked(reason): 1})

    def join_line(
        self,
        render: Render,
        reason: Reason,
        noted: HistoryEntry | None = None,
        counts_as: CountsAs | None = None,
    ) -> None:
        """Let a render wait in line. One that was in it before has its place again, unless it fails again and again."""
        now = self.deps.clock.now()
        place = render.get("line_at") if render.get("failures", 0) < MOST_FAILURES else None
        line_at = place or self.deps.line.place(render["prefix"], now)
        self.deps.submissions.join_line(render, line_at, reason, now, noted, counts_as)
        logger.info("waits in line", reason=reason)
        metrics.emit(render, **{metrics.parked(reason): 1})


def _entry(failure: SegmindError) -> HistoryEntry:
    """What was answered, for the history; with the job that is named in it."""
    entry: HistoryEntry = {"status": failure.status, "message": str(failure)}
    if isinstance(failure, Doubtful) and failure.candidate_id:
        entry["candidate_id"] = failure.candidate_id
    return entry


def _code_of(render: Render, failure: SegmindError) -> ErrorCode:
    """The error code of a render that has failed too often."""
    if render["status"] in IN_FLIGHT:
        return "render_failed"
    return "server_error" if isinstance(failure, ServerError) else "refused"
