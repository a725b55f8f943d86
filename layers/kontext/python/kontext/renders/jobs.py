"""A job at Segmind, as it stands on its render's record, and the execution of the workflow that looks after it."""

from kontext.due import SLACK_SECONDS
from kontext.dynamodb import ConditionFailed
from kontext.model import IN_FLIGHT, HistoryEntry, JobMetrics, Render, Status
from kontext.renders import ledger
from kontext.renders.record import as_found
from kontext.renders.store import Renders
from kontext.workflow_state import WorkflowState


class Jobs:
    """What becomes of the jobs of accepted renders."""

    def __init__(self, renders: Renders) -> None:
        self.renders = renders

    def mark_processing(self, render: Render, now: float) -> Render:
        """A worker has the job."""
        return self.renders.move(render, (Status.QUEUED,), Status.PROCESSING, now, {"what": "processing"})

    def mark_completed(self, render: Render, output_url: str, metrics: JobMetrics, now: float) -> Render:
        """The job is done and paid: keep where its picture is, and what it cost; the price, if that cannot be."""
        stated, price = metrics.get("cost"), self.renders.price
        cost, booked = ledger.charge(render, metrics, price, now)
        noted: HistoryEntry = {"what": "completed", "cost": cost}
        noted |= {} if ledger.is_believable(stated, price) else {"stated": stated, "reason": "strange_cost"}
        paid = {"output_url": output_url, "metrics": metrics, "cost": cost, "completed_at": now, "answer": None}
        return self.renders.move(render, IN_FLIGHT, Status.COMPLETED, now, noted, *booked, **paid)

    def mark_unlinked(self, render: Render, answer: str, metrics: JobMetrics, now: float) -> Render:
        """The job is done, and nothing names its picture: keep what Segmind says."""
        said = {"answer": answer, "metrics": metrics}
        return self.renders.move(render, IN_FLIGHT, render["status"], now, {"what": "unlinked"}, **said)

    def mark_relinked(self, render: Render, output_url: str, now: float) -> Render:
        """The picture could not be fetched, and Segmind names another link to it."""
        done, noted = Status.COMPLETED, HistoryEntry(what="relinked")
        return self.renders.move(render, (done,), done, now, noted, output_url=output_url)

    def of_execution(self, state: WorkflowState, now: float) -> Render | None:
        """The render of an execution. One that was started without that being recorded takes over now."""
        render = self.renders.get(state["prefix"], state["render_id"])
        if render is None or state.get("generation", 0) <= render.get("generation", 0):
            return render
        if render["attempt"] != state["attempt"] or render["status"] not in (*IN_FLIGHT, Status.COMPLETED):
            return render
        try:
            return self.mark_restarted(render, now)
        except ConditionFailed as moved:
            return as_found(moved, render)

    def mark_restarted(self, render: Render, now: float) -> Render:
        """Another execution has taken the render over; one of an older generation ends by itself.

        What was sent for it is kept: a render whose executions die one after the other is restarted ever more seldom.
        """
        generation = render.get("generation", 0) + 1
        noted: HistoryEntry | None = {"what": "restarted", "generation": generation}
        if "undelivered" in render:  # that is told by each try, and counted
            noted = None
        sent = {"dispatched_until": render.get("dispatched_until"), "dispatches": render.get("dispatches")}
        allowed = (*IN_FLIGHT, Status.COMPLETED)
        return self.renders.move(render, allowed, render["status"], now, noted, generation=generation, **sent)

    def beat(self, render: Render, until: float) -> None:
        """Somebody works on a render that is at Segmind or paid, and comes back by `until`."""
        if render["status"] not in (*IN_FLIGHT, Status.COMPLETED) or until < render.get("due_at", 0.0):
            return
        self.renders.look_again(render, until + SLACK_SECONDS)
