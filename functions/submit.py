"""Submit: an object was dropped, or the turn of a waiting render has come.

drop → pair → request → claim → POST to Segmind → workflow. Each message of the upload queue is worked on alone;
one that raises stays in the queue and comes back. Waiting is another message, so it never uses up the receives
of this one.
"""

import json
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_plus

from aws_lambda_powertools import Logger

from connections import Connections, connect, prepare
from kontext import drops, events, letters, measures, pairs, parking, words
from kontext.clock import iso
from kontext.due import SLACK_SECONDS
from kontext.errors import (
    AccountRefused,
    Ambiguous,
    BadDrop,
    Busy,
    Charged,
    RateLimited,
    RequestRefused,
    Unavailable,
    problem,
)
from kontext.pacing import Hold, gate_reopens
from kontext.parking import Wake
from kontext.renders import Claim, OverLimit, Render
from kontext.table import ConditionFailed, Key

logger = Logger(json_serializer=words.dumps)
prepare("inputs", "drops", "renders", "pacing", "defaults", "segmind", "secrets", "learning", "workflow")

TIME_FOR_A_SUBMIT = 80.0
"""Seconds that must be left before another request is sent: its answer may take half a minute, and neither of the two
AWS calls after it, which keep its request_id, may outlive the function. With less left, another invocation sends it."""
MAX_SERVER_ERRORS = 6


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any, via: Connections | None = None) -> Any:
    """The entry point: a batch of the upload queue in, the messages that must come back out."""
    batch = Batch(via or connect(), context)
    batch.count_drops(event["Records"])
    failed = batch.send_on_what_is_early(event["Records"])
    due = [record for record in event["Records"] if record["messageId"] not in batch.sent_on]
    failed += [record for record in due if not batch.work_on(record)]
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in failed]}


def came_back(record: dict[str, Any]) -> bool:
    """Whether a message was received before."""
    return int(record["attributes"]["ApproximateReceiveCount"]) > 1


class Batch:
    """One invocation's messages."""

    def __init__(self, via: Connections, context: Any) -> None:
        self.via = via
        self.context = context
        self.sent_on: set[str] = set()
        self.came_back = False

    def count_drops(self, records: list[dict[str, Any]]) -> None:
        """Measure what has come in, once: not when a message comes back."""
        new = [_body(record) for record in records if not came_back(record)]
        dropped = [body["Records"] for body in new if isinstance(body, dict) and isinstance(body.get("Records"), list)]
        if dropped:
            measures.tell(Dropped=sum(len(records) for records in dropped))

    def send_on_what_is_early(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send waits whose time has not come on their way, many in one message; returns the records that failed
        to go. One that comes back may have begun something, and only it can end that."""
        now = self.via.clock.now()
        begun = {record["messageId"] for record in records if came_back(record) and parking.is_due(_wakes(record), now)}
        waits = {record["messageId"]: _wakes(record) for record in records}
        waiting = {message_id: wakes for message_id, wakes in waits.items() if wakes and message_id not in begun}
        if not waiting:
            return []
        pace = self.via.pacing.look()
        _, onward = parking.sort_out(list(waiting.items()), pace, now)
        self.sent_on = {message_id for message_id, _ in onward}
        try:
            self.via.parking.send([wake for _, wakes in onward for wake in wakes], now, together=bool(pace.refused))
        except Exception:
            logger.exception("waiting renders could not be sent on; they will come back")
            return [record for record in records if record["messageId"] in self.sent_on]
        return []

    def work_on(self, record: dict[str, Any]) -> bool:
        """Work on one message; False if it must come back, and why is then kept for the dead-letter queue."""
        message_id = record["messageId"]
        logger.append_keys(message_id=message_id, pair=None, render_id=None, request_id=None)
        try:
            self.read(message_id, record)
        except Busy as early:
            logger.info("comes back", reason=type(early).__name__)
            letters.note(self.via.table, message_id, early, self.via.clock.now())
        except Exception as failure:  # the other messages of the batch are none of its business
            logger.exception("the message failed; it comes back")
            letters.note(self.via.table, message_id, failure, self.via.clock.now())
        else:
            return True
        return False

    def read(self, message_id: str, record: dict[str, Any]) -> None:
        """A message tells of drops, brings waiting renders back, or says that an item of the table is due."""
        body = json.loads(record["body"])
        self.came_back = came_back(record)
        if "due" in body:
            self.on_hint(message_id, {name: body["due"][name] for name in ("pk", "sk")})
        for wake in parking.wakes_in(body):
            self.on_wake(message_id, wake)
        for told in body.get("Records", ()):
            self.on_drop(message_id, told)

    def on_drop(self, message_id: str, told: dict[str, Any]) -> None:
        """An object has been dropped: a record of S3's notification."""
        bucket, dropped = told["s3"]["bucket"]["name"], told["s3"]["object"]
        key = unquote_plus(dropped["key"])
        if bucket != self.via.inputs.bucket or pairs.is_error_file(key):
            logger.info("nobody's drop", bucket=bucket, key=key)
            return
        if pairs.is_folder_placeholder(key, dropped.get("size", 0)):
            return
        part = pairs.parse(key)
        if part is None:
            self.on_loose_object(message_id, key)
            return
        logger.append_keys(pair=part.prefix)
        read = self.via.inputs.read(key, part.slot)
        if read is None:  # deleted in the meantime
            return
        pair = self.via.drops.record(part.prefix, part.slot, read, dropped["sequencer"], _unix(told["eventTime"]))
        self.advance(message_id, pair)
        self.advance_those_who_waited(message_id, key, pair.wanted_by)

    def on_loose_object(self, message_id: str, key: str) -> None:
        """An object whose name fits no rule: some request names it, or it is a mistake."""
        waiting = self.via.drops.wanted(key)
        if waiting is not None:
            if self.came_back:  # it may have said so before a request named the object
                self.via.outputs.remove(pairs.unknown_drop_key(key))
            self.advance_those_who_waited(message_id, key, waiting)
            return
        error_key = pairs.unknown_drop_key(key)
        said = {**problem("unknown_drop", f"{words.shown(key)} fits no rule. {pairs.RULE}"), "object": key}
        self.via.outputs.put_json(error_key, words.dumps(said, indent=2).encode())
        if self.via.drops.reported(key):
            logger.info("the name fits no rule", key=key)
            measures.tell(UnknownDrops=1)
        else:
            self.via.outputs.remove(error_key)

    def advance_those_who_waited(self, message_id: str, key: str, prefixes: frozenset[str]) -> None:
        """Go on with the pairs whose requests name an object that has now come."""
        for prefix in sorted(prefixes):
            if pair := self.via.drops.get(prefix):
                self.advance(message_id, pair)
            self.via.drops.unwant(key, prefix)

    def advance(self, message_id: str, pair: drops.Pair) -> None:
        """Do what a pair, as dropped so far, asks for."""
        logger.append_keys(pair=pair.prefix, render_id=None, request_id=None)
        now = self.via.clock.now()
        for claim in self.via.renders.left_by(pair.prefix, message_id, now) if self.came_back else ():
            self.carry_on(claim, pair)
        decision = self.decide(pair, now)
        if isinstance(decision, drops.Complete) and decision.default_prompt:
            pair = self.with_prompt(pair)
            decision = self.decide(pair, now)
        match decision:
            case drops.Incomplete(missing, wanted):
                logger.info("the pair is not complete", missing=missing)
                self.wait_for(pair, wanted, message_id)
            case drops.Settling(until):
                logger.info("the pair waits for a prompt", until=iso(until))
                self.via.drops.settle(pair.prefix, until)
                self.via.parking.send([Wake(pair.prefix, until)], now)
            case drops.Rejected(code, message):
                error = problem(code, message)
                self.follow(self.via.renders.reject(pair, error, pairs.error_key(pair.prefix), message_id, now))
            case drops.Complete() as complete:
                for key in drops.named_keys(pair):
                    if self.via.drops.named(key):
                        self.via.outputs.remove(pairs.unknown_drop_key(key))
                if pair.rejected_drop > pair.current_drop:  # what was wrong is not so any more
                    self.via.outputs.remove(pairs.error_key(pair.prefix))
                self.follow(self.via.renders.claim(pair, complete, message_id, now))

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

    def wait_for(self, pair: drops.Pair, wanted: tuple[str, ...], message_id: str) -> None:
        """Let the objects that a request names wake the pair when they come, or go on if one just came."""
        for key in wanted:
            self.via.drops.want(key, pair.prefix)
        if wanted and all(self.via.inputs.read(key, "image") for key in wanted):
            self.advance(message_id, pair)

    def on_wake(self, message_id: str, wake: Wake) -> None:
        """The turn of a waiting render has come, or the time in which a prompt could still come is over."""
        pair = self.via.drops.get(wake.prefix)
        if pair is None:
            return
        if not wake.render_id:
            self.advance(message_id, pair)
            return
        claim = self.via.renders.wake(wake.prefix, wake.render_id, wake.token, message_id, self.via.clock.now())
        self.carry_on(claim, pair, in_line=True)

    def on_hint(self, message_id: str, key: Key) -> None:
        """An item of the table is due. The message never comes back: the item does, for as long as it is due."""
        try:
            self.on_due(message_id, key)
        except Exception:
            logger.exception("the item stays due, and is looked at again")

    def on_due(self, message_id: str, key: Key) -> None:
        """What should have gone on with an item of the table has not: look what it asks for."""
        if key == self.via.pacing.KEY:
            self.via.pacing.look()
            self.tell_of_gate()
            return
        pair = self.via.drops.get(key["pk"].removeprefix("pair#"))
        if pair is None:
            return
        now = self.via.clock.now()
        if key == drops.pair_key(pair.prefix):
            self.advance(message_id, pair)
            self.via.drops.rest(pair.prefix, now)
            return
        claim = self.via.renders.look_again(pair.prefix, key["sk"].removeprefix("render#"), message_id, now)
        if claim.then == "announce":
            for render in self.via.renders.untold(pair.prefix):  # in the order in which they ended
                self.announce(render)
            return
        self.carry_on(claim, pair, in_line=True)

    def carry_on(self, claim: Claim, pair: drops.Pair, *, in_line: bool = False) -> None:
        """Do what a claim allows, unless the pair has gone on to another one."""
        replaced = pair.current != claim.render.get("render_id") or pair.rejected_drop > pair.current_drop
        if claim.then == "submit" and replaced:
            self.fail(claim.render, "superseded", "a newer drop has replaced this one before it was sent")
            return
        self.follow(claim, in_line=in_line)

    def follow(self, claim: Claim, *, in_line: bool = False) -> None:
        """Do what a claim allows."""
        render = claim.render
        known = {name: render.get(name) for name in ("render_id", "request_id")}
        logger.append_keys(pair=render.get("prefix"), **known)
        logger.info("claim", then=claim.then, status=render.get("status"))
        match claim.then:
            case "submit":
                self.submit(render, in_line=in_line)
            case "wake":
                self.send_wake(render)
            case "start":
                self.start(render)
            case "restart":
                self.restart(render)
            case "expire":
                self.expire(render)
            case "lost":
                self.uncertain(render, "the submitter stopped before Segmind's answer was recorded")
            case "announce":
                self.announce(render)

    def submit(self, render: Render, *, in_line: bool) -> None:
        """Send a claimed render to Segmind, or park it."""
        if self.context.get_remaining_time_in_millis() < TIME_FOR_A_SUBMIT * 1000:
            self.park(render, "pace", self.via.clock.now())
            return
        verdict = self.via.pacing.admit(self.via.clock.now(), in_line=in_line)
        self.tell_of_gate()
        if isinstance(verdict, Hold):
            self.park(render, verdict.reason, verdict.until)
            return
        links = [given.get("url") or self.via.inputs.link(given) for given in render["inputs"]]
        body = {**render["parameters"], "input_image_1": links[0], "input_image_2": links[1]}
        self.via.clock.sleep(verdict.at - self.via.clock.now())
        try:
            render = self.via.renders.submitting(render, self.via.clock.now())
        except OverLimit:
            self.close_gate(render, "spend_limit", "the stack's daily spend limit is reached")
            return
        self.post(render, body, probe=verdict.probe)

    def post(self, render: Render, body: dict[str, Any], *, probe: bool) -> None:
        """The one place where money is spent. The answer's class decides what may happen next."""
        try:
            request_id = self.via.segmind.submit(body)
        except AccountRefused as refused:
            self.close_gate(render, refused.reason, str(refused), refused.status)
            return
        except Unavailable as failure:
            self.unavailable(render, failure)
            return
        except Ambiguous as lost:
            self.uncertain(render, str(lost))
            return
        except RateLimited as limited:
            measures.tell(render, RateLimited=1)
            pace = self.via.pacing.push(limited.reset_at, self.via.clock.now())
            self.park(render, "rate_limited", pace.next_free, status=429)
        except RequestRefused as refused:
            self.fail(render, refused.code, str(refused))
        else:
            self.accepted(render, request_id)
        if probe:
            self.via.pacing.accept(self.via.clock.now())
            self.tell_of_gate()

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

    def unavailable(self, render: Render, failure: Unavailable) -> None:
        """Surely not accepted. A 500 is often about this request alone; anything else holds for all."""
        tries = render.get("server_errors", 0) + 1
        if failure.status != 500:
            self.close_gate(render, "outage", str(failure), failure.status)
        elif tries >= MAX_SERVER_ERRORS:
            self.fail(render, "server_error", f"Segmind answered {tries} times: {failure}")
        else:
            self.park(render, "outage", self.via.clock.now() + 5 * 2**tries, status=500, message=str(failure))

    def close_gate(self, render: Render, reason: str, message: str, status: int | None = None) -> None:
        """Nobody's render can go now: park this one, and let the others wait at the gate."""
        now = self.via.clock.now()
        pace = self.via.pacing.refuse(reason, now)
        logger.warning("the gate is closed", reason=reason, status=status)
        if reason in measures.REFUSALS:
            measures.tell(render, AccountRefused=1)
        self.park(render, reason, gate_reopens(pace, now), status=status, message=message)
        self.tell_of_gate()

    def tell_of_gate(self) -> None:
        """Tell subscribers if the gate was closed or opened; the renders do not wait for it, it is told later."""
        try:
            events.announce_change(self.via.pacing, self.via.topic)
        except Exception:
            logger.exception("nobody was told of the gate yet")

    def park(self, render: Render, reason: str, until: float, **said: Any) -> None:
        """Put a render aside; the record first, so that a crash in between only sends its message twice."""
        now = self.via.clock.now()
        parked = self.via.renders.park(render, reason, until, now, said)
        logger.info("parked", reason=reason, until=iso(until))
        measures.tell(render, **{measures.parked(reason): 1})
        self.send_wake(parked)

    def send_wake(self, render: Render) -> None:
        """Send the message that brings a parked render back."""
        until = render["parked"]["until"]
        wake = Wake(render["prefix"], until, render["render_id"], render["wake"])
        self.via.parking.send([wake], self.via.clock.now())

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


def _wakes(record: dict[str, Any]) -> list[Wake]:
    try:
        return parking.wakes_in(_body(record))
    except (TypeError, ValueError, KeyError):
        return []  # not one of ours: it fails alone when it is worked on


def _unix(event_time: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(event_time).timestamp()
