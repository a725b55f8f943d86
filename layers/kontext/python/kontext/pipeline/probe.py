"""The circuit breaker is open: whether its cause has ended is found out for nothing, before a trial may be paid."""

from kontext.dynamodb import Key
from kontext.errors import AccountRefused, SegmindError
from kontext.model import Reason
from kontext.pipeline.head_of_line import HeadOfLine
from kontext.pipeline.slot import Slot
from kontext.throttle.circuit_breaker import OUTAGE, WORKFLOW


class Probe:
    """One look at the cause for which nobody goes."""

    def __init__(self, head: HeadOfLine) -> None:
        self.deps = head.deps
        self.head, self.post = head, head.post
        self.breaker, self.watch = head.post.breaker, head.post.watch

    def run(self) -> None:
        """The circuit breaker is open, or not announced: find out, for nothing, whether the head of the line may go."""
        state = self.deps.throttle.read()
        self.breaker.publish_changes()
        now = self.deps.clock.now()
        if state.paused.reason or not self.post.has_time() or not self.deps.throttle.begin_probe(now):
            return
        if state.breaker.reason == WORKFLOW:
            self.find_workflow(state.breaker.unfollowed)
            return
        reason = state.breaker.reason or OUTAGE  # where it was closed meanwhile
        if not self.account_is_well(reason) or now < state.breaker.next_trial_at:
            return
        at = self.deps.throttle.admit_head(self.deps.clock.now(), trial=True)  # the probe may have taken a while
        if at is not None and not self.head.send(Slot(self.deps, at), trial=True):
            self.post.close_breaker()  # the next drop is the trial

    def find_workflow(self, unfollowed: Key | None) -> None:
        """Find out whether workflows start again, by one that is paid for already."""
        if self.watch.starts_again(unfollowed):
            self.post.close_breaker()
        else:
            self.breaker.measure_stop(WORKFLOW)

    def account_is_well(self, reason: Reason) -> bool:
        """Whether a request could be taken, as far as a GET can tell: it costs nothing."""
        if reason == "spend_limit" and not self.deps.submissions.has_room(self.deps.clock.now()):
            self.breaker.measure_stop(reason)
            return False  # of the stack's own limit Segmind knows nothing
        try:
            well = self.deps.segmind.credits() >= self.deps.renders.price
        except AccountRefused as refused:
            reason, well = refused.reason, False
            self.deps.throttle.open_breaker(reason, self.deps.clock.now())
        except SegmindError:
            well = False
        if not well:
            self.deps.throttle.fail_probe()
            self.breaker.measure_stop(reason)
        return well
