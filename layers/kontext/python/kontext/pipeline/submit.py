"""A claimed render is sent at its slot, or waits in line."""

from collections.abc import Callable
from contextlib import suppress

from kontext.connections import Connections
from kontext.drops.pairs import Pair
from kontext.dynamodb import ConditionFailed
from kontext.model import Render, Status
from kontext.pipeline.candidate import may_have_job
from kontext.pipeline.head_of_line import HeadOfLine
from kontext.pipeline.post import Post
from kontext.pipeline.slot import Slot
from kontext.renders.ledger import OverLimit
from kontext.throttle.admission import Wait


class Submitter:
    """Sends renders, one at a time. `seconds_left`: how long this invocation may still take."""

    def __init__(self, deps: Connections, seconds_left: Callable[[], float]) -> None:
        self.deps = deps
        self.post = Post(deps, seconds_left)
        self.head = HeadOfLine(deps, self.post)
        self.last_look = self.head.last_look
        self.breaker, self.requeue, self.watch = self.post.breaker, self.post.requeue, self.post.watch

    def go_on(self, render: Render) -> None:
        """A claimed render is sent; one that is paid is delivered again."""
        if render["status"] == Status.CLAIMED:
            self.submit(render)
        else:
            self.watch.start(render)

    def resume(self, render: Render, pair: Pair) -> None:
        """Send a claimed render that has waited, unless it may have a job, or the pair has gone on to another one."""
        if not may_have_job(self.deps, self.watch, render) and (asked := self.last_look.confirm(render, pair)):
            self.submit(asked)

    def submit(self, render: Render) -> None:
        """Send a claimed render to Segmind, or let it wait in line."""
        throttle, now = self.deps.throttle, self.deps.clock.now()
        verdict = throttle.admit(now) if self.post.has_time() else throttle.join(now)
        self.breaker.publish_changes()
        if isinstance(verdict, Wait):
            self.requeue.join_line(render, verdict.reason)
            self.deps.hints.send_permits(verdict.permits, self.deps.clock.now())
            if verdict.slot is not None:
                self.head.send(Slot(self.deps, verdict.slot))
            return
        with suppress(ConditionFailed):  # somebody else has taken it
            self.send(render, Slot(self.deps, verdict.at))

    def send(self, render: Render, slot: Slot) -> None:
        """Send a fresh render at a slot. Raises ConditionFailed if somebody else has taken it."""
        body = self.post.body_of(render)
        if not slot.reach():
            self.requeue.join_line(render, "pace")
            return
        try:
            render = self.deps.submissions.mark_submitting(render, self.deps.clock.now())
        except OverLimit:
            self.breaker.open("spend_limit", render)
            self.requeue.join_line(render, "spend_limit", {"message": "the stack's daily spend limit is reached"})
            return
        self.post.send(render, body, slot, trial=False)
