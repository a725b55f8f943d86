"""One request to Segmind, and what its answer means. Here, and nowhere else, money is spent."""

from collections.abc import Callable

from kontext import metrics
from kontext.connections import Connections
from kontext.errors import (
    AccountRefused,
    Ambiguous,
    RateLimited,
    RequestRefused,
    ServerError,
    Unavailable,
)
from kontext.log import logger
from kontext.model import Parameters, Render
from kontext.pipeline.candidate import is_known, verify_candidate
from kontext.pipeline.circuit_breaker import CircuitBreaker
from kontext.pipeline.ends import Ends
from kontext.pipeline.requeue import Requeue
from kontext.pipeline.slot import Slot
from kontext.pipeline.watch import Watch
from kontext.renders.job_owner import JobTaken
from kontext.throttle.line import hand_out_permits
from kontext.throttle.rate_limiter import reset_by_our_clock

TIME_FOR_A_SUBMIT = 80.0
"""Seconds that must be left before another request is sent: its answer may take half a minute, and neither of the two
AWS calls after it, which keep its request_id, may outlive the function. With less left, another invocation sends it."""
TIME_FOR_A_STATUS = 60.0
"""The same, for a status request and what is written after it. With less left, Sweep calls for it."""


class Post:
    """Sends a render's request. `seconds_left`: how long this invocation may still take."""

    def __init__(self, deps: Connections, seconds_left: Callable[[], float]) -> None:
        self.deps = deps
        self.seconds_left = seconds_left
        self.breaker = CircuitBreaker(deps)
        self.ends = Ends(deps)
        self.requeue = Requeue(deps)
        self.watch = Watch(deps)

    def has_time(self) -> bool:
        """Whether another request may be sent in this invocation."""
        return self.seconds_left() >= TIME_FOR_A_SUBMIT

    def body_of(self, render: Render) -> Parameters:
        """What is sent to Segmind for a render."""
        links = [image.get("url") or self.deps.inputs.presign(image) for image in render["inputs"]]
        return {**render["parameters"], "input_image_1": links[0], "input_image_2": links[1]}

    def send(self, render: Render, body: Parameters, slot: Slot, *, trial: bool) -> None:
        """Send it, once. The answer's class decides what may happen next."""
        if slot.has_passed():
            self.requeue.join_line(render, "pace")
            return
        sent_at = self.deps.clock.now()
        try:
            request_id = self.request(body)
        except AccountRefused as refused:
            self.requeue.wait(render, refused.reason, refused, trial=trial)
            self.breaker.open(refused.reason, render, refused.status, trial=trial)
            return
        except Unavailable as failure:
            self.requeue.wait(render, "outage", failure)
            self.breaker.open("outage", render, failure.status, trial=trial)
            return
        except ServerError as failure:
            self.requeue.wait(self.signed(render), "outage", failure)
            if failure.status != 500 or trial:
                self.breaker.open("outage", render, failure.status, trial=trial)
            elif not render.get("failures"):  # often it is about one request alone, and it does not count twice
                self.breaker.doubt(render, lost=False, trial=trial)
            return
        except Ambiguous as lost:
            self.record_lost_answer(render, lost, trial=trial)
            return
        except RateLimited as limited:
            metrics.emit(render, RateLimited=1)
            self.requeue.join_line(render, "rate_limited", {"status": 429})
            now = self.deps.clock.now()
            self.deps.throttle.back_off(reset_by_our_clock(limited, now), now)
        except RequestRefused as refused:
            self.ends.fail(render, refused.code, str(refused))
        else:
            answered_at = self.deps.clock.now()
            if not self.record_job(self.signed(render), request_id, sent_at, trial=trial):
                return
            self.hear_answer(trial=trial)
            self.deps.throttle.make_up_for(slot.at, sent_at, answered_at)
            return
        self.hear_answer(trial=trial)

    def request(self, body: Parameters) -> str:
        """Send a request; returns its request_id. Where a server error names a job that Segmind knows, that is it; one
        that it does not know only traces the request, and where nobody can tell, it is asked for later."""
        try:
            return self.deps.segmind.submit(body)
        except ServerError as failure:
            job, has_time = failure.candidate_id, self.seconds_left() >= TIME_FOR_A_STATUS
            known = is_known(self.deps, job) if job and has_time else None
            if job and known:
                return job
            if known is False:
                raise ServerError(str(failure), failure.status) from failure
            raise

    def signed(self, render: Render) -> Render:
        """The render with the fingerprint of the key that its request was sent with: no other may know its job."""
        return {**render, "submitted_with": self.deps.segmind.sent_with}

    def record_job(self, render: Render, request_id: str, sent_at: float, *, trial: bool) -> bool:
        """Segmind has the job: two places remember its request_id, the record and the workflow. False if no workflow
        could be started, or it is another pair's. It is as old as its request: the answer may take half a minute."""
        logger.append_keys(request_id=request_id)
        generation = render.get("generation", 0) + 1
        accepted: Render = {**render, "request_id": request_id, "submitted_at": sent_at, "generation": generation}
        recorded = True
        try:
            accepted = self.deps.submissions.mark_accepted(render, request_id, sent_at)
        except JobTaken as taken:
            self.record_lost_answer(render, Ambiguous(str(taken)), trial=trial)
            return False
        except Exception:
            logger.exception("request_id not recorded; the workflow will do it")
            recorded = False
        metrics.emit(accepted, Submitted=1)
        logger.info("submitted")
        started = self.watch.start(accepted)
        if not started and not recorded:
            self.deps.submissions.mark_accepted(render, request_id, sent_at)  # once more: else nobody knows it
        if not started:
            self.watch.stop_paying(accepted, trial=trial)
        return started

    def record_lost_answer(self, render: Render, lost: Ambiguous, *, trial: bool) -> None:
        """The answer is lost, or broken. Where it names a job that Segmind knows, nobody has to be told."""
        render = self.ends.record_uncertain(self.signed(render), str(lost), lost.candidate_id)
        self.breaker.doubt(render, lost=True, trial=trial)
        asks = lost.candidate_id and self.seconds_left() >= TIME_FOR_A_STATUS
        if not (asks and verify_candidate(self.deps, self.watch, render)):
            self.ends.announce(render)

    def hear_answer(self, *, trial: bool) -> None:
        """Segmind has answered a request of ours."""
        if trial:
            self.close_breaker()
        else:
            self.deps.throttle.hear_answer()

    def close_breaker(self) -> None:
        """Requests are taken again: those who wait go on at once, at the full rate."""
        now = self.deps.clock.now()
        self.deps.throttle.close_breaker(now)
        self.breaker.publish_changes()
        hand_out_permits(self.deps.line, self.deps.throttle, self.deps.hints, now)
