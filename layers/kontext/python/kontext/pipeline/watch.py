"""The workflow of a paid render: started, and started anew where it is dead."""

from contextlib import suppress

from kontext.connections import Connections
from kontext.due import SLACK_SECONDS
from kontext.dynamodb import ConditionFailed
from kontext.log import logger
from kontext.model import Render, Status


class Watch:
    """Starts the workflows that look after paid renders."""

    def __init__(self, deps: Connections) -> None:
        self.deps = deps

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
            self.deps.renders.beat(render, now)
            return
        with suppress(ConditionFailed):  # the old one is alive after all
            self.deps.renders.restarted(render, now)

    def first_wait(self, age: float) -> int:
        """Seconds before the workflow's first look. A look too early costs less than a job that nobody looks for."""
        try:
            return min(self.deps.learning.first_wait(age), int(SLACK_SECONDS))
        except Exception:
            logger.exception("when to look is not known; the first look will find out")
            return 1
