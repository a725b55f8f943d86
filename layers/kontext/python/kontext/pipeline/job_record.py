"""What Segmind tells of a job is kept on its render's record, before anything else is done with it."""

from kontext import metrics
from kontext.connections import Connections
from kontext.dynamodb import ConditionFailed
from kontext.log import logger
from kontext.model import IN_FLIGHT, JobMetrics, Render, Status
from kontext.renders.balance import unexplained
from kontext.renders.job_owner import JobTaken
from kontext.renders.record import as_found
from kontext.renders.settle import may_be_paid, with_picture
from kontext.segmind.answers import JobResult, JobStatus
from kontext.workflow_state import FoundPicture, WorkflowState


class JobRecord:
    """The record of the job that an execution of the workflow looks after."""

    def __init__(self, deps: Connections, event: WorkflowState) -> None:
        self.deps = deps
        self.event = event
        self.submitted_at = float(event["submitted_at"])

    def keep_request_id(self, render: Render) -> Render:
        """Keep the request_id if Submit could not; where it is another render's job, the answer was no answer."""
        if render["status"] not in (Status.SUBMITTING, Status.UNCERTAIN):
            return render
        try:
            known: Render = {**render, "submitted_with": self.event.get("submitted_with")}
            return self.deps.submissions.mark_accepted(known, self.event["request_id"], self.submitted_at)
        except JobTaken as taken:
            return self.record_uncertain(render, str(taken))
        except ConditionFailed as moved:
            return as_found(moved, render)

    def record_uncertain(self, render: Render, why: str) -> Render:
        """What became of the render's own request nobody knows. Finalize tells it."""
        if render["status"] == Status.UNCERTAIN:
            return render
        try:
            return self.deps.submissions.mark_uncertain(render, why, self.deps.clock.now())
        except ConditionFailed as moved:
            return as_found(moved, render)

    def keep_status(self, render: Render, seen: JobStatus) -> Render:
        """Keep that a worker has the job."""
        if seen.status == Status.PROCESSING and render["status"] == Status.QUEUED:
            return self.deps.jobs.mark_processing(render, self.deps.clock.now())
        return render

    def link_in(self, result: JobResult) -> str | None:
        """The link to the picture: one to an allowed host, wherever it stands; else what the contract names, because
        its host may be allowed yet."""
        return self.deps.allowed.first([*result.links, *result.others]) or next(iter(result.links), None)

    def keep_answer(self, render: Render, answer: str, told: JobMetrics) -> Render:
        """Keep what Segmind says of a job that is paid, and whose picture nothing names."""
        if render.get("answer") == answer:
            return render
        return self.deps.jobs.mark_unlinked(render, answer, told, self.deps.clock.now())

    def complete(self, render: Render, link: str, told: JobMetrics) -> Render:
        """Keep where the picture is before anything else, and learn how long it took."""
        now = self.deps.clock.now()
        render = self.deps.jobs.mark_completed(render, link, told, now)
        metrics.emit_job(render, now, self.unexplained(render, now))
        logger.info("completed", extra={"total_seconds": round(now - self.submitted_at, 1), **told})
        self.deps.poll_history.learn(render["render_id"], now, told)
        return render

    def keep_found(self, render: Render, found: FoundPicture) -> Render:
        """Keep what was seen and could not be recorded, though the render may have been ended meanwhile: it is paid."""
        render = self.keep_request_id(render)
        if render["attempt"] != self.event["attempt"]:
            return render
        if render["status"] in IN_FLIGHT:
            return self.complete(render, found["link"], found["metrics"])
        if render["status"] != Status.FAILED or not (may_be_paid(render) or render["error"]["code"] == "no_result"):
            return render
        job, now = self.event["request_id"], self.deps.clock.now()
        try:
            return with_picture(self.deps.renders, render, found["link"], now, metrics=found["metrics"], request_id=job)
        except ConditionFailed as moved:  # or the job is another render's
            return as_found(moved, render)

    def unexplained(self, render: Render, now: float) -> float | None:
        """What the balance has lost beside what is booked; the picture does not wait for it."""
        try:
            return unexplained(self.deps.table, self.deps.renders.price, render, now)
        except Exception:
            logger.exception("the balance is not compared")
            return None
