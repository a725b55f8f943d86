"""What a pair asks for now, as far as it has been dropped: to wait, to be refused, or to be rendered."""

from collections.abc import Callable
from dataclasses import replace

from kontext.clock import iso
from kontext.connections import Connections
from kontext.drops import keys, pairs
from kontext.drops.waiters import TooMany
from kontext.errors import problem
from kontext.log import logger
from kontext.pipeline.ends import Ends
from kontext.pipeline.last_look import TAKEN_BACK
from kontext.pipeline.near_misses import NearMisses
from kontext.pipeline.reading import PairReader, bad_request
from kontext.pipeline.submit import Submitter
from kontext.results import error_file


class Advancer:
    """Takes pairs a step further."""

    def __init__(self, deps: Connections, seconds_left: Callable[[], float]) -> None:
        self.deps = deps
        self.submitter = Submitter(deps, seconds_left)
        self.ends = Ends(deps)
        self.near_misses = NearMisses(deps)
        self.reader = PairReader(deps)

    def is_open(self, pair: pairs.Pair) -> bool:
        """Whether a pair has no render that was or will be sent: none yet, what is wrong, or what was taken back."""
        if pair.current is None or not pair.asks_for(pair.current):
            return True
        render = self.deps.renders.get(pair.prefix, pair.current)
        return bool(render and render.get("error", {}).get("code") in TAKEN_BACK)

    def try_to_advance(self, pair: pairs.Pair) -> None:
        """Do what a pair that is recorded asks for. If that fails the pair is due, which needs no message any more."""
        try:
            self.advance(pair)
        except Exception:
            logger.exception("the pair is due, and is looked at again")
            self.deps.drops.try_again(pair.prefix, self.deps.clock.now())

    def advance(self, pair: pairs.Pair) -> None:
        """Do what a pair, as dropped so far, asks for."""
        logger.append_keys(pair=pair.prefix, render_id=None, request_id=None)
        now = self.deps.clock.now()
        decision = self.decide(pair, now)
        if isinstance(decision, pairs.Ready) and pair.drop_id > pair.current_drop:
            pair = self.reader.read(pair)
            decision = self.decide(pair, now)
            if isinstance(decision, pairs.Ready) and "prompt" not in decision.asked:
                decision = self.unless_another_was_meant(pair, decision)
        match decision:
            case pairs.Incomplete(missing, wanted):
                logger.info("the pair is not complete", missing=missing)
                if self.wait_for(pair, wanted):
                    return
                if meant := self.near_misses.half_beside(pair) or self.near_misses.named_beside(wanted):
                    self.reject(pair, pairs.Rejected("near_miss", meant))
            case pairs.AwaitingMore(until):
                logger.info("the pair settles", until=iso(until))
                if self.deps.drops.settle(pair.prefix, until):  # else a hint is on its way
                    self.deps.hints.send_due(pairs.pair_key(pair.prefix), until - now)
            case pairs.Rejected() as rejected:
                if not self.wait_for(pair, rejected.wanted):
                    self.reject(pair, rejected)
            case pairs.Ready() as complete:
                for key in pairs.named_keys(pair):
                    if not keys.parse(key) and self.deps.loose.mark_referenced(key):
                        self.deps.outputs.remove(keys.unknown_drop_key(key))
                if pair.rejected_drop > pair.current_drop:
                    error_file.remove(pair, self.deps.drops, self.deps.outputs)
                if render := self.deps.claims.claim(pair, complete, now):
                    self.submitter.go_on(render)
                self.wait_for(pair, {})

    def unless_another_was_meant(self, pair: pairs.Pair, complete: pairs.Ready) -> pairs.Decision:
        """The default prompt is not paid while what was meant as the prompt seems to lie beside the pair."""
        if complete.render_id(pair.prefix) == pair.current:  # it is claimed, and may be paid
            return complete
        return self.near_misses.prompt_beside(pair) or complete

    def decide(self, pair: pairs.Pair, now: float) -> pairs.Decision:
        """What to do with a pair now."""
        return self.reader.decide(pair, self.deps.defaults, now)

    def wait_for(self, pair: pairs.Pair, wanted: pairs.Wanted) -> bool:
        """Let the objects that a request names, or that are in the pair's way, and no others, wake the pair when they
        come or go. True if they just did, and the pair has gone on."""
        awaited, now = tuple(wanted), self.deps.clock.now()
        for key in set(pair.waits_for) - set(awaited):
            self.deps.waiters.forget(key, pair.prefix)
        for key, etag in wanted.items():
            is_named = key in pairs.named_keys(pair)
            try:
                self.deps.waiters.add(key, pair.prefix, etag, now, is_named=is_named)
            except TooMany as many:
                if is_named:
                    self.reject(pair, bad_request(pair, f"request.json: {many}"))
                return is_named
        there = {key: (self.deps.inputs.newest(key) or (None, ""))[1] for key in awaited}
        if there != wanted:
            self.advance(replace(pair, waits_for=awaited))
            return True
        if awaited != pair.waits_for:
            self.deps.drops.wait_for(pair, awaited)
        return False

    def reject(self, pair: pairs.Pair, rejected: pairs.Rejected) -> None:
        """End a drop that cannot become a render, and say why: once, however many parts come to what is wrong."""
        error = problem(rejected.code, rejected.message)
        if render := self.deps.claims.reject(pair, error, rejected.cause, self.deps.clock.now()):
            self.ends.announce(render)
