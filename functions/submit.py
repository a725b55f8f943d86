"""Submit: an object was dropped, an item of the table is due, or the head of the line may go.

drop → pair → request → claim → POST to Segmind → workflow. Each message of the upload queue is worked on alone. A
drop's message stays in the queue until the drop is recorded; a hint of our own never comes back. What is to be done
after that, the table knows.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from aws_lambda_powertools import Logger

from connections import Connections, connect, prepare
from kontext import drops, events, hints, measures, messages, pairs, words
from kontext.clock import iso
from kontext.due import SLACK_SECONDS, TIMER
from kontext.errors import (
    AccountRefused,
    Ambiguous,
    BadDrop,
    Charged,
    RateLimited,
    RequestRefused,
    SegmindError,
    Unavailable,
    problem,
)
from kontext.redelivery import TIME_FOR_A_MESSAGE
from kontext.renders import OverLimit, Render, overdue_action
from kontext.table import ConditionFailed, Key
from kontext.throttle.admission import Wait
from kontext.throttle.line import hand_out_permits, is_in_line
from kontext.waiters import PAGE, TooMany, Waiter, object_key, object_of

logger = Logger(json_serializer=words.dumps)
prepare(
    "inputs", "drops", "renders", "throttle", "line", "hints", "defaults", "segmind", "secrets", "learning", "workflow"
)

TIME_FOR_A_SUBMIT = 80.0
"""Seconds that must be left before another request is sent: its answer may take half a minute, and neither of the two
AWS calls after it, which keep its request_id, may outlive the function. With less left, another invocation sends it."""
LATEST_SECONDS = 5.0
"""So late after its slot a request may still go: later than that it could meet a 429."""
MAX_SERVER_ERRORS = 6


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any, via: Connections | None = None) -> Any:
    """The entry point: a batch of the upload queue in, the messages that must come back out."""
    batch = Batch(via or connect(), context)
    batch.count_drops(event["Records"])
    failed = batch.via.redelivery.work_through(event["Records"], batch.work_on, batch.seconds_left)
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in failed]}


class Batch:
    """One invocation's messages."""

    def __init__(self, via: Connections, context: Any) -> None:
        self.via = via
        self.context = context

    def count_drops(self, records: list[dict[str, Any]]) -> None:
        """Measure what has come in, once: not when a message comes back."""
        new = [_body(record) for record in records if int(record["attributes"]["ApproximateReceiveCount"]) == 1]
        dropped = [body["Records"] for body in new if isinstance(body, dict) and isinstance(body.get("Records"), list)]
        if dropped:
            measures.tell(Dropped=sum(len(records) for records in dropped))

    def seconds_left(self) -> float:
        """How long this invocation may still take."""
        return float(self.context.get_remaining_time_in_millis()) / 1000

    def work_on(self, record: dict[str, Any]) -> None:
        """Work on one message. Raises Unreadable if no try can, and anything else if it must come back."""
        logger.append_keys(message_id=record["messageId"], pair=None, render_id=None, request_id=None)
        try:
            self.read(record)
        except messages.Unreadable:
            raise
        except Exception:
            logger.exception("the message failed; it comes back")
            measures.tell(Retried=1)
            raise

    def read(self, record: dict[str, Any]) -> None:
        """A message tells of drops, or it is a hint: an item of the table is due, those who wait for an object are to
        be woken, or the head of the line may go."""
        body = messages.parse(record["body"])
        if "due" in body:
            self.on_hint(messages.due_key(body))
        if "waiters" in body:
            self.on_page(*messages.page(body))
        if "permit" in body:
            self.on_permit()
        for prefix, render_id in hints.waits_of_first_edition(body):
            self.on_wait_of_first_edition(prefix, render_id)
        for event in messages.object_events(body):
            self.on_drop(event)

    def on_drop(self, event: messages.ObjectEvent) -> None:
        """An object has been dropped. Its message is needed until it is recorded: then the table knows of it."""
        key = event.key
        if event.bucket != self.via.inputs.bucket:
            raise messages.Unreadable(f"the message tells of another bucket, {words.shown(event.bucket)}")
        if pairs.is_error_file(key) or pairs.is_folder_placeholder(key, event.size):
            logger.info("nobody's drop", key=key)
            return
        part = pairs.parse(key)
        if part is None:
            self.on_loose_object(key)
            return
        logger.append_keys(pair=part.prefix)
        now = self.via.clock.now()
        sequencer = event.sequencer or self.via.drops.next_sequencer(part.prefix, part.slot)
        read = self.via.inputs.read(key, part.slot)
        if read is None:  # deleted in the meantime
            return
        at = now if event.at is None else min(event.at, now)
        pair = self.via.drops.record(part.prefix, part.slot, read, sequencer, at)
        self.try_to_advance(pair)
        if pair.wanted_by:
            self.via.drops.wake_wanted(drops.pair_key(part.prefix), pair.wanted_by, now)
        if pair.awaited:
            self.on_arrival(key)

    def try_to_advance(self, pair: drops.Pair) -> None:
        """Do what a pair that is recorded asks for. If that fails the pair is due, which needs no message any more."""
        try:
            self.advance(pair)
        except Exception:
            logger.exception("the pair is due, and is looked at again")
            self.via.drops.look_again(pair.prefix, self.via.clock.now())

    def on_loose_object(self, key: str) -> None:
        """An object whose name fits no rule: some request names it, or it is a mistake."""
        wanted = self.via.drops.wanted(key)
        if wanted:
            self.via.drops.wake_wanted(object_key(key), wanted, self.via.clock.now())
        if wanted is not None:
            # Another delivery of the drop may have said so before a request named the object.
            self.via.outputs.remove(pairs.unknown_drop_key(key))
            self.on_arrival(key)
            return
        error_key = pairs.unknown_drop_key(key)
        said = {**problem("unknown_drop", f"{words.shown(key)} fits no rule. {pairs.RULE}"), "object": key}
        self.via.outputs.put_json(error_key, words.dumps(said, indent=2).encode())
        if self.via.drops.reported(key):
            logger.info("the name fits no rule", key=key)
            measures.tell(UnknownDrops=1)
        else:
            self.via.outputs.remove(error_key)

    def on_arrival(self, key: str) -> None:
        """An object has come that others may wait for. Once it is due, no message is needed to wake them."""
        if not self.via.waiters.arrive(key, self.via.clock.now()):
            return
        try:
            self.wake_all(key)
        except Exception:
            logger.exception("the object is due, and those who wait for it are woken then")

    def wake_all(self, key: str) -> None:
        """Wake those who wait for an object: a page of them here, and each other page by a hint of its own."""
        waiting = list(self.via.waiters.to_wake(key))
        places = [waiting[n - 1].place for n in range(PAGE, len(waiting), PAGE)]
        self.via.hints.send_pages(key, places)
        self.wake(key, waiting[:PAGE])

    def wake(self, key: str, waiting: Sequence[Waiter]) -> None:
        """Go on with pairs whose requests name an object that has now come, as many as there is time for."""
        for waiter in waiting:
            if self.seconds_left() < TIME_FOR_A_MESSAGE:
                return
            if pair := self.via.drops.get(waiter.prefix):
                self.try_to_advance(pair)
            self.via.waiters.remove(key, waiter)
        self.via.waiters.rest(key)

    def advance(self, pair: drops.Pair) -> None:
        """Do what a pair, as dropped so far, asks for."""
        logger.append_keys(pair=pair.prefix, render_id=None, request_id=None)
        now = self.via.clock.now()
        decision = self.decide(pair, now)
        if isinstance(decision, drops.Complete) and decision.default_prompt:
            pair = self.with_prompt(pair)
            decision = self.decide(pair, now)
        match decision:
            case drops.Incomplete(missing, wanted):
                logger.info("the pair is not complete", missing=missing)
                self.wait_for(pair, wanted)
            case drops.Settling(until):
                logger.info("the pair waits for a prompt", until=iso(until))
                self.via.drops.settle(pair.prefix, until)
                self.via.hints.send_due(drops.pair_key(pair.prefix), until - now)
            case drops.Rejected(code, message):
                if not self.wait_for(pair, decision.wanted):
                    self.reject(pair, code, message)
            case drops.Complete() as complete:
                for key in drops.named_keys(pair):
                    if not pairs.parse(key) and self.via.drops.named(key):
                        self.via.outputs.remove(pairs.unknown_drop_key(key))
                if pair.rejected_drop > pair.current_drop:  # what was wrong is not so any more
                    self.via.outputs.remove(pairs.error_key(pair.prefix))
                if render := self.via.renders.claim(pair, complete, now):
                    self.go_on(render)
                self.wait_for(pair, {})

    def with_prompt(self, pair: drops.Pair) -> drops.Pair:
        """The pair with a prompt that was dropped, and whose message still waits: in a burst that takes longer than
        the settling, and the default would be paid first."""
        for slot, name in pairs.PROMPTS.items():
            if slot not in pair.parts and (read := self.via.inputs.read(pair.prefix + name, slot)):
                pair = self.via.drops.record(pair.prefix, slot, read, sequencer="", at=0.0)
        return pair

    def decide(self, pair: drops.Pair, now: float) -> drops.Decision:
        """What to do with a pair, with the images that its request names."""
        try:
            drops.check_links(pair, self.via.outputs.bucket)
            named = {key: self.via.inputs.read(key, "image") for key in drops.named_keys(pair)}
            return drops.decide(pair, named, self.via.defaults, now)
        except BadDrop as bad:
            return drops.Rejected(bad.code, str(bad))

    def wait_for(self, pair: drops.Pair, wanted: drops.Wanted) -> bool:
        """Let the objects that a request names, and no others, wake the pair when they come. True if they
        just came, and the pair has gone on."""
        keys, now = tuple(wanted), self.via.clock.now()
        for key in set(pair.waits_for) - set(keys):
            self.via.waiters.forget(key, pair.prefix)
        try:
            for key, etag in wanted.items():
                self.via.waiters.add(key, pair.prefix, etag, now)
        except TooMany as many:
            self.reject(pair, "invalid_request", f"request.json: {many}")
            return True
        there = {key: (self.via.inputs.read(key, "image") or {}).get("etag", "") for key in keys}
        if there != wanted and all(there.values()):
            self.advance(replace(pair, waits_for=keys))
            return True
        if keys != pair.waits_for:
            self.via.drops.wait_for(pair, keys)
        return False

    def reject(self, pair: drops.Pair, code: str, message: str) -> None:
        """End a drop that cannot become a render, and say why."""
        error, key = problem(code, message), pairs.error_key(pair.prefix)
        if render := self.via.renders.reject(pair, error, key, self.via.clock.now()):
            self.announce(render)

    def go_on(self, render: Render) -> None:
        """A claimed render is sent; one that is paid is delivered again."""
        if render["status"] == "CLAIMED":
            self.submit(render)
        else:
            self.start(render)

    def on_wait_of_first_edition(self, prefix: str, render_id: str) -> None:
        """The message in which the first edition let a render wait; what the table keeps itself needs it no more."""
        pair = self.via.drops.get(prefix)
        if pair and not render_id:
            self.advance(pair)
        render = self.via.renders.get(prefix, render_id) if render_id else None
        if pair and render and render["status"] == "CLAIMED" and "due_lane" not in render:
            self.resume(render, pair)

    def on_hint(self, key: Key) -> None:
        """An item of the table is due. The message never comes back: the item does, for as long as it is due."""
        try:
            self.on_due(key)
        except Exception:
            logger.exception("the item stays due, and is looked at again")

    def on_page(self, key: str, after: str) -> None:
        """A page of those who wait for an object is to be woken. The message never comes back: the object is due."""
        try:
            self.wake(key, self.via.waiters.page(key, after))
        except Exception:
            logger.exception("the object is due, and those who wait for it are woken then")

    def on_due(self, key: Key) -> None:
        """What should have gone on with an item of the table has not: look what it asks for."""
        if key == self.via.throttle.KEY:
            self.probe()
            return
        if name := object_of(key):
            self.wake_all(name)
            return
        pair = self.via.drops.get(key["pk"].removeprefix("pair#"))
        if pair is None:
            return
        now = self.via.clock.now()
        if key == drops.pair_key(pair.prefix):
            if pair.due_at is not None:
                self.advance(pair)
                self.via.drops.rest(pair.prefix, now)
            return
        render = self.via.renders.get(pair.prefix, key["sk"].removeprefix("render#"))
        if render is None or render.get("due_lane") != TIMER or render["due_at"] > now:
            return  # it has moved: this was said to an older state
        logger.append_keys(pair=pair.prefix, render_id=render["render_id"], request_id=render.get("request_id"))
        action = overdue_action(render, now)
        logger.info("overdue", action=action, status=render["status"])
        match action:
            case "submit":
                self.resume(render, pair)
            case "restart":
                self.restart(render)
            case "expire":
                self.expire(render)
            case "lost":
                self.uncertain(render, "the submitter stopped before Segmind's answer was recorded")
            case "announce":
                for ended in self.via.renders.untold(pair.prefix):  # in the order in which they ended
                    self.announce(ended)

    def resume(self, render: Render, pair: drops.Pair) -> None:
        """Send a claimed render that has waited, unless the pair has gone on to another one."""
        if pair.asks_for(render["render_id"]):
            self.submit(render)
        else:
            self.fail(render, "superseded", "a newer drop has replaced this one before it was sent")

    def submit(self, render: Render) -> None:
        """Send a claimed render to Segmind, or let it wait in line."""
        throttle, now = self.via.throttle, self.via.clock.now()
        verdict = throttle.admit(now) if self.has_time() else throttle.join(now)
        self.publish_changes()
        if isinstance(verdict, Wait):
            self.join_line(render, verdict.reason)
            self.via.hints.send_permits(verdict.permits, self.via.clock.now())
            if verdict.slot is not None:
                self.send_head(verdict.slot)
            return
        with suppress(ConditionFailed):  # somebody else has taken it
            self.send(render, verdict.at)

    def has_time(self) -> bool:
        """Whether another request may be sent in this invocation."""
        return bool(self.context.get_remaining_time_in_millis() >= TIME_FOR_A_SUBMIT * 1000)

    def on_permit(self) -> None:
        """The head of the line may go, if a slot is near. The message never comes back: Sweep sends others."""
        try:
            at = self.via.throttle.admit_head(self.via.clock.now()) if self.has_time() else None
            if at is not None:
                self.send_head(at)
        except Exception:
            logger.exception("the permit is void; Sweep hands out others")

    def send_head(self, at: float, *, trial: bool = False) -> bool:
        """Send the first in line at the time `at`; False if nobody waits. One that cannot be sent holds up no other."""
        self.via.clock.sleep(at - self.via.clock.now())
        for key in self.via.line.heads():
            if not self.has_time():
                break
            try:
                taken = self.take(key)
            except OverLimit:
                self.open_breaker("spend_limit", trial=trial)
                break
            except ConditionFailed:
                continue  # another permit was faster
            except Exception:
                logger.exception("the next in line goes", item=key)
                continue
            if taken and self.has_passed(at):
                self.join_line(taken[0], "pace")
                break
            if taken:
                self.post(*taken, trial=trial)
                break
        else:
            return False
        return True

    def take(self, key: Key) -> tuple[Render, dict[str, Any]] | None:
        """Take a render out of the line, and what to send for it; None if it waits no more."""
        render = self.via.table.get(key)
        pair = self.via.drops.get(render["prefix"]) if render else None
        if render is None or pair is None or not is_in_line(render):
            return None  # the index is behind
        logger.append_keys(pair=pair.prefix, render_id=render["render_id"], request_id=None)
        if not pair.asks_for(render["render_id"]):
            self.fail(render, "superseded", "a newer drop has replaced this one before it was sent")
            return None
        body = self.body_of(render)
        return self.via.renders.submitting(render, self.via.clock.now()), body

    def probe(self) -> None:
        """The circuit breaker is open, or not announced: find out, for nothing, whether the head of the line may go."""
        state = self.via.throttle.look()
        self.publish_changes()
        now = self.via.clock.now()
        if state.paused.reason or not self.has_time() or not self.via.throttle.begin_probe(now):
            return
        if not self.account_is_well(str(state.breaker.reason)) or now < state.breaker.next_trial_at:
            return
        at = self.via.throttle.admit_head(now, trial=True)
        if at is not None and not self.send_head(at, trial=True):
            self.close_breaker()  # the next drop is the trial

    def account_is_well(self, reason: str) -> bool:
        """Whether a request could be taken, as far as a GET can tell: it costs nothing."""
        if reason == "spend_limit" and not self.via.renders.has_room(self.via.clock.now()):
            self.measure_stop(reason)
            return False  # of the stack's own limit Segmind knows nothing
        try:
            well = self.via.segmind.credits() >= self.via.renders.price
        except AccountRefused as refused:
            reason, well = refused.reason, False
            self.via.throttle.open_breaker(reason, self.via.clock.now())
        except SegmindError:
            well = False
        if not well:
            self.measure_stop(reason)
        return well

    def close_breaker(self) -> None:
        """Segmind takes requests again: those who wait go on at once, at the full rate."""
        now = self.via.clock.now()
        self.via.throttle.close_breaker(now)
        self.publish_changes()
        hand_out_permits(self.via.line, self.via.throttle, self.via.hints, now)

    def send(self, render: Render, at: float) -> None:
        """Send a fresh render at the time `at`. Raises ConditionFailed if somebody else has taken it."""
        body = self.body_of(render)
        self.via.clock.sleep(at - self.via.clock.now())
        try:
            render = self.via.renders.submitting(render, self.via.clock.now())
        except OverLimit:
            self.open_breaker("spend_limit", render)
            self.join_line(render, "spend_limit", message="the stack's daily spend limit is reached")
            return
        if self.has_passed(at):
            self.join_line(render, "pace")
            return
        self.post(render, body, trial=False)

    def has_passed(self, at: float) -> bool:
        """Whether a slot is over, because something stood still meanwhile: a request now would meet the next ones."""
        return self.via.clock.now() - at > LATEST_SECONDS

    def body_of(self, render: Render) -> dict[str, Any]:
        """What is sent to Segmind for a render."""
        links = [given.get("url") or self.via.inputs.link(given) for given in render["inputs"]]
        return {**render["parameters"], "input_image_1": links[0], "input_image_2": links[1]}

    def post(self, render: Render, body: dict[str, Any], *, trial: bool) -> None:
        """The one place where money is spent. The answer's class decides what may happen next."""
        try:
            request_id = self.via.segmind.submit(body)
        except AccountRefused as refused:
            self.open_breaker(refused.reason, render, refused.status, trial=trial)
            self.join_line(render, refused.reason, status=refused.status, message=str(refused))
            return
        except Unavailable as failure:
            self.unavailable(render, failure, trial=trial)
            return
        except Ambiguous as lost:
            self.uncertain(render, str(lost))
            return
        except RateLimited as limited:
            measures.tell(render, RateLimited=1)
            self.via.throttle.back_off(limited.reset_at, self.via.clock.now())
            self.join_line(render, "rate_limited", status=429)
        except RequestRefused as refused:
            self.fail(render, refused.code, str(refused))
        else:
            self.accepted(render, request_id)
        if trial:
            self.close_breaker()

    def accepted(self, render: Render, request_id: str) -> None:
        """Segmind has the job: two places remember its request_id, the record and the workflow."""
        now = self.via.clock.now()
        logger.append_keys(request_id=request_id)
        generation = render.get("generation", 0) + 1
        accepted = {**render, "request_id": request_id, "submitted_at": now, "generation": generation}
        recorded = True
        try:
            accepted = self.via.renders.accepted(render, request_id, now)
        except Exception:
            logger.exception("request_id not recorded; the workflow will do it")
            recorded = False
        measures.tell(accepted, Submitted=1)
        logger.info("submitted")
        if not self.start(accepted) and not recorded:
            self.via.renders.accepted(render, request_id, now)  # once more: else nobody knows it

    def start(self, render: Render) -> bool:
        """Start the render's workflow; started already is as good. False if it could not be: then somebody comes back
        when the render is due."""
        waiting = render["status"] != "COMPLETED"
        wait = self.first_wait(self.via.clock.now() - render["submitted_at"]) if waiting else 0
        try:
            self.via.workflow.start(render, wait)
        except Exception:
            logger.exception("the workflow is not started yet")
            return False
        return True

    def restart(self, render: Render) -> None:
        """Let another execution take over from one that is dead. The old one stays the right one until it has begun."""
        now = self.via.clock.now()
        if not self.start({**render, "generation": render.get("generation", 0) + 1}):
            self.via.renders.beat(render, now)
            return
        with suppress(ConditionFailed):  # the old one is alive after all
            self.via.renders.restarted(render, now)

    def expire(self, render: Render) -> None:
        """End a render that no execution has ended, when another one could do nothing for it."""
        if render["status"] == "COMPLETED":
            self.fail(render, "delivery", "the picture could not be delivered while Segmind kept it")
        else:
            self.fail(render, "expired", "no result was seen before Segmind's record of the job ended")

    def first_wait(self, age: float) -> int:
        """Seconds before the workflow's first look. A look too early costs less than a job that nobody looks for."""
        try:
            return min(self.via.learning.first_wait(age), int(SLACK_SECONDS))
        except Exception:
            logger.exception("when to look is not known; the first look will find out")
            return 1

    def unavailable(self, render: Render, failure: Unavailable, *, trial: bool) -> None:
        """Surely not accepted. A 500 is often about this request alone; anything else holds for all."""
        tries = render.get("server_errors", 0) + 1
        if failure.status != 500:
            self.open_breaker("outage", render, failure.status, trial=trial)
            self.join_line(render, "outage", status=failure.status, message=str(failure))
        elif tries >= MAX_SERVER_ERRORS:
            self.fail(render, "server_error", f"Segmind answered {tries} times: {failure}")
        else:
            now = self.via.clock.now()
            noted = {"status": 500, "message": str(failure)}
            self.via.renders.retry_later(render, now + 10 * 2**tries, now, noted)
            measures.tell(render, **{measures.parked("outage"): 1})

    def open_breaker(
        self, reason: str, render: Render | None = None, status: int | None = None, *, trial: bool = False
    ) -> None:
        """Nobody's render can go now."""
        self.via.throttle.open_breaker(reason, self.via.clock.now(), trial=trial)
        logger.warning("the circuit breaker is open", reason=reason, status=status)
        self.measure_stop(reason, render)
        self.publish_changes()

    def measure_stop(self, reason: str, render: Render | None = None) -> None:
        """Measure that nobody goes, as often as it is found out: the alarms ring as long as it lasts."""
        if reason in measures.REFUSALS:
            measures.tell(render, AccountRefused=1)
        elif render is None:
            measures.tell(**{measures.parked(reason): 1})

    def publish_changes(self) -> None:
        """Tell subscribers of the circuit breaker and the pause; the renders do not wait for it, it is told later."""
        try:
            events.announce_changes(self.via.throttle, self.via.topic)
        except Exception:
            logger.exception("nobody was told of the circuit breaker yet")

    def join_line(self, render: Render, reason: str, **noted: Any) -> None:
        """Let a render wait in line. One that was in it before has its place again."""
        now = self.via.clock.now()
        line_at = render.get("line_at") or self.via.line.place(render["prefix"], now)
        self.via.renders.join_line(render, line_at, reason, now, noted)
        logger.info("waits in line", reason=reason)
        measures.tell(render, **{measures.parked(reason): 1})

    def fail(self, render: Render, code: str, message: str, charged: Charged | None = None) -> None:
        """The render ends without a picture."""
        error = problem(code, message, charged)
        self.announce(self.via.renders.failed(render, error, pairs.error_key(render["prefix"]), self.via.clock.now()))

    def uncertain(self, render: Render, message: str) -> None:
        """Perhaps accepted, perhaps not: a person decides."""
        error = problem("uncertain", message)
        key = pairs.error_key(render["prefix"])
        self.announce(self.via.renders.uncertain(render, error, key, self.via.clock.now()))

    def announce(self, render: Render) -> None:
        """Tell how a render ended."""
        logger.warning("render ended", status=render["status"], code=render.get("error", {}).get("code"))
        measures.tell_end(render)
        events.announce(render, self.via.drops, self.via.outputs, self.via.topic, self.via.renders)


def _body(record: dict[str, Any]) -> Any:
    try:
        return json.loads(record["body"])
    except (ValueError, RecursionError):
        return None
