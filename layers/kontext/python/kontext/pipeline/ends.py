"""The ends that a render can have, and how they are told."""

from kontext import metrics
from kontext.connections import Connections
from kontext.log import logger
from kontext.model import Charged, ErrorCode, Render
from kontext.renders.settle import error_of
from kontext.results import cloudevents
from kontext.workflow_state import PollState


class Ends:
    """Ends renders, and tells it."""

    def __init__(self, deps: Connections) -> None:
        self.deps = deps

    def fail(self, render: Render, code: ErrorCode, message: str, charged: Charged | None = None) -> None:
        """The render ends without a picture."""
        self.announce(self.record_failure(render, code, message, charged))

    def record_failure(self, render: Render, code: ErrorCode, message: str, charged: Charged | None = None) -> Render:
        """The same, not told yet."""
        error, now = error_of(render, code, message, charged), self.deps.clock.now()
        return self.deps.renders.mark_failed(render, error, now, may_be_charged=charged == "unknown")

    def record_uncertain(self, render: Render, message: str, candidate_id: str | None = None) -> Render:
        """Perhaps accepted, perhaps not: a person decides. It is not told yet: if Segmind knows the job that the answer
        named, nobody has to."""
        if candidate_id:
            message += f"; it names the job {candidate_id}, and if Segmind knows that the render goes on by itself"
        return self.deps.submissions.mark_uncertain(render, message, self.deps.clock.now(), candidate_id)

    def announce(self, render: Render) -> None:
        """Tell how a render ended."""
        logger.warning("render ended", status=render["status"], code=render.get("error", {}).get("code"))
        metrics.emit_outcome(render)
        cloudevents.announce(render, self.deps.drops, self.deps.outputs, self.deps.topic, self.deps.renders)

    def announce_delay(self, render: Render) -> None:
        """Tell that a paid picture is late. It may be told twice, and says the same."""
        logger.warning("the picture is late")
        self.deps.topic.publish_delay(render)
        metrics.emit(render, Undelivered=1)
        self.deps.deliveries.mark_delay_announced(render)


def charged_for(failed: PollState) -> Charged | None:
    """Whether a job was charged for that failed; None if it is as the contract says."""
    return "unknown" if failed.keys() & {"cost", "contradicted"} else None
