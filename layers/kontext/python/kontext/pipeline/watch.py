"""The workflow of a paid render: started, and started anew where it is dead; and what is done while none starts."""

from contextlib import suppress

from kontext.connections import Connections
from kontext.due import SLACK_SECONDS
from kontext.dynamodb import ConditionFailed, Key
from kontext.log import logger
from kontext.model import IN_FLIGHT, Render, Status
from kontext.pipeline.circuit_breaker import CircuitBreaker
from kontext.pipeline.ends import Ends, charged_for
from kontext.pipeline.poll import Poll
from kontext.pipeline.requeue import Requeue
from kontext.renders.workflow import state_of
from kontext.throttle.circuit_breaker import WORKFLOW
from kontext.workflow_state import PollState

AGAIN_SECONDS, DONE_AGAIN_SECONDS = 30.0, 300.0
"""Until a paid render is looked at again for which no workflow starts; sooner if Segmind will forget its job."""


class Watch:
    """Starts the workflows that look after paid renders."""

    def __init__(self, deps: Connections) -> None:
        self.deps = deps
        self.breaker = CircuitBreaker(deps)
        self.ends = Ends(deps)

    def start(self, render: Render) -> bool:
        """Start the render's workflow; started already is as good. False if it could not be: then somebody comes back
        when the render is due."""
        waiting = render["status"] != Status.COMPLETED
        wait = self.first_wait(self.deps.clock.now() - render["submitted_at"]) if waiting else 0
        try:
            self.deps.workflow.start(render, wait)
        except Exception:
            logger.exception("the workflow is not started yet")
            return False
        return True

    def restart(self, render: Render) -> None:
        """Let another execution take over from one that is dead. The old one stays the right one until it has begun."""
        now = self.deps.clock.now()
        if not self.start({**render, "generation": render.get("generation", 0) + 1}):
            self.look_after(render)
            return
        with suppress(ConditionFailed):  # the old one is alive after all
            self.deps.jobs.mark_restarted(render, now)

    def starts_again(self, key: Key | None) -> bool:
        """Whether a workflow starts: it is asked of the render for which none did. To start one twice does no harm, nor
        for a render that has come to its end, perhaps without one."""
        render = self.deps.renders.find(key) if key else None
        return render is None or "request_id" not in render or self.start(render)

    def look_after(self, render: Render) -> None:
        """Do what the workflow would, as far as that cannot wait: after an hour Segmind forgets the job."""
        if render["status"] in IN_FLIGHT:
            render, failure = Poll(self.deps, state_of(render)).poll_once(render)
            if failure is not None:
                self.end(render, failure)
                return
        self.stop_paying(render)

    def end(self, render: Render, failed: PollState) -> None:
        """End a render whose job failed, unless it waits in line again."""
        if not Requeue(self.deps).take_back(render, failed):
            self.ends.fail(render, "render_failed", failed["message"], charged_for(failed))

    def stop_paying(self, render: Render, *, trial: bool = False) -> None:
        """Without a workflow nothing more is paid. The render is looked at again soon."""
        try:
            self.breaker.open(WORKFLOW, render, trial=trial)
            again = AGAIN_SECONDS if render["status"] in IN_FLIGHT else DONE_AGAIN_SECONDS
            self.deps.renders.look_again(render, self.deps.clock.now() + again)
        except Exception:
            logger.exception("the render is looked at when it is due")

    def first_wait(self, age: float) -> int:
        """Seconds before the workflow's first poll. A poll too early costs less than a job that nobody looks for."""
        try:
            return min(self.deps.poll_history.first_wait(age), int(SLACK_SECONDS))
        except Exception:
            logger.exception("when to poll is not known; the first poll will find out")
            return 1
