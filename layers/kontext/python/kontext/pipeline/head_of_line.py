"""The head of the line: whoever waits longest goes first, at a slot that a permit or a trial has got."""

from collections.abc import Iterator
from itertools import chain, islice

from kontext.connections import Connections
from kontext.dynamodb import ConditionFailed, Key
from kontext.log import logger
from kontext.model import Parameters, Render
from kontext.pipeline.last_look import LastLook
from kontext.pipeline.post import Post
from kontext.pipeline.slot import Slot
from kontext.renders.ledger import OverLimit
from kontext.throttle.line import is_in_line

HEADS_FOR_A_TRIAL = 100
"""So many of those who wait are looked at for one that has not failed."""


class HeadOfLine:
    """Sends those who wait in line, one at a time."""

    def __init__(self, deps: Connections, post: Post) -> None:
        self.deps = deps
        self.post = post
        self.last_look = LastLook(deps)

    def on_permit(self) -> None:
        """The head of the line may go, if a slot is near. The message never comes back: Sweep sends others."""
        try:
            at = self.deps.throttle.admit_head(self.deps.clock.now()) if self.post.has_time() else None
            if at is not None:
                self.send(Slot(self.deps, at))
        except Exception:
            logger.exception("the permit is void; Sweep hands out others")

    def send(self, slot: Slot, *, trial: bool = False) -> bool:
        """Send the first in line at a slot; False if nobody waits. One that cannot be sent holds up no other."""
        if not slot.reach() and not trial:
            return True
        for key in self.heads(trial=trial):
            if not self.post.has_time():
                break
            try:
                taken = self.take(key)
            except OverLimit:
                self.post.breaker.open("spend_limit", trial=trial)
                break
            except ConditionFailed:
                continue  # another permit was faster
            except Exception:
                logger.exception("the next in line goes", item=key)
                continue
            if taken:
                self.post.send(*taken, slot, trial=trial)
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
        return bool(render and render.get("failures"))

    def take(self, key: Key) -> tuple[Render, Parameters] | None:
        """Take a render out of the line, and what to send for it; None if it waits no more."""
        render = self.deps.renders.find(key)
        pair = self.deps.drops.get(render["prefix"]) if render else None
        if render is None or pair is None or not is_in_line(render):
            return None  # the index is behind
        logger.append_keys(pair=pair.prefix, render_id=render["render_id"], request_id=None)
        if asked := self.last_look.confirm(render, pair):
            body = self.post.body_of(asked)
            return self.deps.submissions.mark_submitting(asked, self.deps.clock.now()), body
        return None
