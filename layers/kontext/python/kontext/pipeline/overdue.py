"""An item of the table is due: what should have gone on with it has not."""

from collections.abc import Callable

from kontext.connections import Connections
from kontext.drops import pairs
from kontext.drops.waiters import object_of
from kontext.due import TIMER
from kontext.dynamodb import Key
from kontext.log import logger
from kontext.model import Render, Status
from kontext.pipeline.candidate import verify_candidate
from kontext.pipeline.ends import Ends
from kontext.pipeline.intake import Intake
from kontext.pipeline.probe import Probe
from kontext.pipeline.watch import Watch
from kontext.renders.overdue import is_late, overdue_action, unseen
from kontext.renders.record import render_id_of


class Overdue:
    """Looks at what is due."""

    def __init__(self, deps: Connections, seconds_left: Callable[[], float]) -> None:
        self.deps = deps
        self.seconds_left = seconds_left
        self.intake = Intake(deps, seconds_left)
        self.advancer, self.waker = self.intake.advancer, self.intake.waker
        self.submitter = self.advancer.submitter
        self.ends = Ends(deps)
        self.watch = Watch(deps)

    def on_hint(self, key: Key) -> None:
        """An item of the table is due. The message never comes back: the item does, for as long as it is due."""
        try:
            self.on_due(key)
        except Exception:
            logger.exception("the item stays due, and is looked at again")

    def on_due(self, key: Key) -> None:
        """What should have gone on with an item of the table has not: look what it asks for."""
        if key == self.deps.throttle.KEY:
            Probe(self.submitter.head).run()
            return
        if name := object_of(key):
            self.waker.wake_all(name)
            return
        prefix, render_id = pairs.prefix_of(key), render_id_of(key)
        pair = None if prefix is None else self.deps.drops.get(prefix)
        if pair is None:
            return
        now = self.deps.clock.now()
        if render_id is None:
            if pair.due_at is not None:
                self.advancer.try_to_advance(pair)  # a claim takes it out of the index before all is done
                self.deps.drops.rest(pair, now)
            return
        render = self.deps.renders.get(pair.prefix, render_id)
        if render is None or render.get("due_lane") != TIMER or render["due_at"] > now:
            return  # it has moved: this was said to an older state
        logger.append_keys(pair=pair.prefix, render_id=render["render_id"], request_id=render.get("request_id"))
        action = overdue_action(render, now)
        logger.info("overdue", action=action, status=render["status"])
        match action:
            case "submit":
                self.submitter.resume(render, pair)
            case "restart":
                self.tell_delay(render, now)
                self.watch.restart(render)
            case "expire":
                self.expire(render)
            case "lost":
                why = "the submitter stopped before Segmind's answer was recorded"
                self.ends.announce(self.ends.record_uncertain(render, why))
            case "verify":
                verify_candidate(self.deps, self.watch, render)
            case "announce":
                for ended in self.deps.renders.unannounced(pair.prefix):  # in the order in which they ended
                    self.ends.announce(ended)

    def tell_delay(self, render: Render, now: float) -> None:
        """Tell once that a paid picture is late. That it cannot be told keeps nobody from delivering it."""
        try:
            if is_late(render, now):
                self.ends.announce_delay(render)
        except Exception:
            logger.exception("that a picture is late is told with its next try")

    def expire(self, render: Render) -> None:
        """End a render that no execution has ended, when another one could do nothing for it."""
        if render["status"] == Status.COMPLETED:
            why = render["undelivered"]["last"] if "undelivered" in render else "the delivery never came to its end"
            if render.get("stays_delivered"):
                self.ends.announce(self.deps.deliveries.keep_delivered(render, why, self.deps.clock.now()))
                return
            self.ends.fail(render, "delivery", f"not delivered for as long as Segmind keeps a picture: {why}")
        else:
            self.ends.fail(render, *unseen(render))

    def on_wait_of_first_edition(self, prefix: str, render_id: str) -> None:
        """The message in which the first edition let a render wait; what the table keeps itself needs it no more."""
        pair = self.deps.drops.get(prefix)
        if pair and not render_id:
            self.advancer.advance(pair)
        render = self.deps.renders.get(prefix, render_id) if render_id else None
        if pair and render and render["status"] == Status.CLAIMED and "due_lane" not in render:
            self.submitter.resume(render, pair)
