"""A claimed render is sent to Segmind at its slot, or waits in line. Here, and nowhere else, money is spent."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, islice

from kontext import metrics
from kontext.connections import Connections
from kontext.drops.pairs import Pair
from kontext.dynamodb import ConditionFailed, Key
from kontext.errors import (
    AccountRefused,
    Ambiguous,
    RateLimited,
    RequestRefused,
    ServerError,
    Unavailable,
)
from kontext.log import logger
from kontext.model import Parameters, Render, Status
from kontext.pipeline.breaker import Breaker
from kontext.pipeline.candidate import job_of, may_have_job, verify_candidate
from kontext.pipeline.ends import Ends
from kontext.pipeline.last_look import LastLook
from kontext.pipeline.requeue import Requeue
from kontext.pipeline.watch import Watch
from kontext.renders.jobs import JobTaken
from kontext.renders.ledger import OverLimit
from kontext.throttle.admission import Wait
from kontext.throttle.line import hand_out_permits, is_in_line
from kontext.throttle.rate_limiter import reset_by_our_clock

TIME_FOR_A_SUBMIT = 80.0
"""Seconds that must be left before another request is sent: its answer may take half a minute, and neither of the two
AWS calls after it, which keep its request_id, may outlive the function. With less left, another invocation sends it."""
TIME_FOR_A_STATUS = 60.0
"""The same, for a status request and what is written after it. With less left, Sweep calls for it."""
LATEST_SECONDS = 5.0
"""So late after its slot a request may still go: later than that it could meet a 429."""
HEADS_FOR_A_TRIAL = 100
"""So many of those who wait are looked at for one that has not failed."""


class Submitter:
    """Sends renders, one at a time. `seconds_left`: how long this invocation may still take."""

    def __init__(self, deps: Connections, seconds_left: Callable[[], float]) -> None:
        self.deps = deps
        self.seconds_left = seconds_left
        self.breaker = Breaker(deps)
        self.ends = Ends(deps)
        self.last_look = LastLook(deps)
        self.requeue = Requeue(deps)
        self.watch = Watch(deps)

    def go_on(self, render: Render) -> None:
        """A claimed render is sent; one that is paid is delivered again."""
        if render["status"] == Status.CLAIMED:
            self.submit(render)
        else:
            self.watch.start(render)

    def resume(self, render: Render, pair: Pair) -> None:
        """Send a claimed render that has waited, unless it may have a job, or the pair has gone on to another one."""
        if not may_have_job(self.deps, self.watch, render) and (asked := self.last_look.look(render, pair)):
            self.submit(asked)

    def submit(self, render: Render) -> None:
        """Send a claimed render to Segmind, or let it wait in line."""
        throttle, now = self.deps.throttle, self.deps.clock.now()
        verdict = throttle.admit(now) if self.has_time() else throttle.join(now)
        self.breaker.publish_changes()
        if isinstance(verdict, Wait):
            self.requeue.join_line(render, verdict.reason)
            self.deps.hints.send_permits(verdict.permits, self.deps.clock.now())
            if verdict.slot is not None:
                self.send_head(verdict.slot)
            return
        with suppress(ConditionFailed):  # somebody else has taken it
            self.send(render, verdict.at)

    def has_time(self) -> bool:
        """Whether another request may be sent in this invocation."""
        return self.seconds_left() >= TIME_FOR_A_SUBMIT

    def on_permit(self) -> None:
        """The head of the line may go, if a slot is near. The message never comes back: Sweep sends others."""
        try:
            at = self.deps.throttle.admit_head(self.deps.clock.now()) if self.has_time() else None
            if at is not None:
                self.send_head(at)
        except Exception:
            logger.exception("the permit is void; Sweep hands out others")

    def send_head(self, at: float, *, trial: bool = False) -> bool:
        """Send the first in line at the time `at`; False if nobody waits. One that cannot be sent holds up no other."""
        if not self.reach(at) and not trial:
            return True
        for key in self.heads(trial=trial):
            if not self.has_time():
                break
            try:
                taken = self.take(key)
            except OverLimit:
                self.breaker.open("spend_limit", trial=trial)
                break
            except ConditionFailed:
                continue  # another permit was faster
            except Exception:
                logger.exception("the next in line goes", item=key)
                continue
            if taken and self.has_passed(at):
                self.requeue.join_line(taken[0], "pace")
                break
            if taken:
                self.post(*taken, trial=trial)
                break
        else:
            return False
        return True

    def heads(self, *, trial: bool) -> Iterator[Key]:
        """Those who wait, the first in line first. A trial is one that has not failed for a reason that may be its own:
        else renders that always fail would let nobody find out that Segmind is well."""
        heads = self.deps.line.heads()
        if not trial:
            return heads
        first = list(islice(heads, HEADS_FOR_A_TRIAL))
        untried = next((key for key in first if not self.has_failed(key)), None)
        return chain([untried] if untried else [], first)

    def has_failed(self, key: Key) -> bool:
        """Whether a request of the render failed for a reason that may be its own."""
        render = self.deps.renders.find(key)
        return bool(render and render.get("server_errors"))

    def take(self, key: Key) -> tuple[Render, Parameters] | None:
        """Take a render out of the line, and what to send for it; None if it waits no more."""
        render = self.deps.renders.find(key)
        pair = self.deps.drops.get(render["prefix"]) if render else None
        if render is None or pair is None or not is_in_line(render):
            return None  # the index is behind
        logger.append_keys(pair=pair.prefix, render_id=render["render_id"], request_id=None)
        if asked := self.last_look.look(render, pair):
            body = self.body_of(asked)
            return self.deps.renders.submitting(asked, self.deps.clock.now()), body
        return None

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

    def send(self, render: Render, at: float) -> None:
        """Send a fresh render at the time `at`. Raises ConditionFailed if somebody else has taken it."""
        body = self.body_of(render)
        if not self.reach(at):
            self.requeue.join_line(render, "pace")
            return
        try:
            render = self.deps.renders.submitting(render, self.deps.clock.now())
        except OverLimit:
            self.breaker.open("spend_limit", render)
            self.requeue.join_line(render, "spend_limit", {"message": "the stack's daily spend limit is reached"})
            return
        if self.has_passed(at):
            self.requeue.join_line(render, "pace")
            return
        self.post(render, body, trial=False)

    def reach(self, at: float) -> bool:
        """Wait for a slot. False if meanwhile somebody has found that nobody may go."""
        wait = at - self.deps.clock.now()
        self.deps.clock.sleep(wait)
        return wait <= 0 or self.deps.throttle.look().stopped is None

    def has_passed(self, at: float) -> bool:
        """Whether a slot is over, because something stood still meanwhile: a request now would meet the next ones."""
        return self.deps.clock.now() - at > LATEST_SECONDS

    def body_of(self, render: Render) -> Parameters:
        """What is sent to Segmind for a render."""
        links = [image.get("url") or self.deps.inputs.presign(image) for image in render["inputs"]]
        return {**render["parameters"], "input_image_1": links[0], "input_image_2": links[1]}

    def post(self, render: Render, body: Parameters, *, trial: bool) -> None:
        """The one place where money is spent. The answer's class decides what may happen next."""
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
            elif not render.get("server_errors"):  # often it is about one request alone, and it does not count twice
                self.breaker.doubt(render, lost=False, trial=trial)
            return
        except Ambiguous as lost:
            self.uncertain(render, lost, trial=trial)
            return
        except RateLimited as limited:
            metrics.emit(render, RateLimited=1)
            self.requeue.join_line(render, "rate_limited", {"status": 429})
            now = self.deps.clock.now()
            self.deps.throttle.back_off(reset_by_our_clock(limited, now), now)
        except RequestRefused as refused:
            self.ends.fail(render, refused.code, str(refused))
        else:
            if not self.accepted(self.signed(render), request_id, sent_at, trial=trial):
                return
        self.hear_answer(trial=trial)

    def request(self, body: Parameters) -> str:
        """Send a request; returns its request_id. Where a server error names a job that Segmind knows, that is it."""
        try:
            return self.deps.segmind.submit(body)
        except ServerError as failure:
            if job := job_of(self.deps, failure, has_time=self.seconds_left() >= TIME_FOR_A_STATUS):
                return job
            raise

    def signed(self, render: Render) -> Render:
        """The render with the fingerprint of the key that its request was sent with: no other may know its job."""
        return {**render, "submitted_with": self.deps.segmind.sent_with}

    def accepted(self, render: Render, request_id: str, sent_at: float, *, trial: bool) -> bool:
        """Segmind has the job: two places remember its request_id, the record and the workflow. False if no workflow
        could be started, or it is another pair's. It is as old as its request: the answer may take half a minute."""
        logger.append_keys(request_id=request_id)
        generation = render.get("generation", 0) + 1
        accepted: Render = {**render, "request_id": request_id, "submitted_at": sent_at, "generation": generation}
        recorded = True
        try:
            accepted = self.deps.renders.accepted(render, request_id, sent_at)
        except JobTaken as taken:
            self.uncertain(render, Ambiguous(str(taken)), trial=trial)
            return False
        except Exception:
            logger.exception("request_id not recorded; the workflow will do it")
            recorded = False
        metrics.emit(accepted, Submitted=1)
        logger.info("submitted")
        started = self.watch.start(accepted)
        if not started and not recorded:
            self.deps.renders.accepted(render, request_id, sent_at)  # once more: else nobody knows it
        if not started:
            self.watch.stop_paying(accepted, trial=trial)
        return started

    def uncertain(self, render: Render, lost: Ambiguous, *, trial: bool) -> None:
        """The answer is lost, or broken. Where it names a job that Segmind knows, nobody has to be told."""
        render = self.ends.record_uncertain(self.signed(render), str(lost), lost.candidate_id)
        self.breaker.doubt(render, lost=True, trial=trial)
        asks = lost.candidate_id and self.seconds_left() >= TIME_FOR_A_STATUS
        if not (asks and verify_candidate(self.deps, self.watch, render)):
            self.ends.announce(render)
