"""Nobody goes: the account or the vendor refuses. What opens the circuit breaker, and tells it."""

from kontext import metrics
from kontext.connections import Connections
from kontext.log import logger
from kontext.model import Reason, Render
from kontext.renders.record import render_key
from kontext.results import cloudevents
from kontext.throttle.circuit_breaker import WORKFLOW


class CircuitBreaker:
    """The stack's circuit breaker, as a function handles it."""

    def __init__(self, deps: Connections) -> None:
        self.deps = deps

    def open(
        self, reason: Reason, render: Render | None = None, status: int | None = None, *, trial: bool = False
    ) -> None:
        """Nobody's render can go now."""
        unfollowed = render_key(render["prefix"], render["render_id"]) if render and reason == WORKFLOW else None
        self.deps.throttle.open_breaker(reason, self.deps.clock.now(), trial=trial, unfollowed=unfollowed)
        logger.warning("the circuit breaker is open", reason=reason, status=status)
        self.measure_stop(reason, render)
        self.publish_changes()

    def doubt(self, render: Render, *, lost: bool, trial: bool) -> None:
        """An answer is `lost`, or does not tell whether a job was accepted. Several of them are an outage."""
        breaker = self.deps.throttle.doubt(self.deps.clock.now(), lost=lost, trial=trial).breaker
        if breaker.reason:
            logger.warning("the circuit breaker is open", reason=breaker.reason, doubtful=breaker.doubtful)
            self.measure_stop(breaker.reason, render)
            self.publish_changes()

    def measure_stop(self, reason: Reason, render: Render | None = None) -> None:
        """Measure that nobody goes, as often as it is found out: the alarms ring as long as it lasts."""
        if reason in metrics.REFUSALS:
            metrics.emit(render, AccountRefused=1)
        elif render is None:
            metrics.emit(**{metrics.parked(reason): 1})

    def publish_changes(self) -> None:
        """Tell subscribers of the circuit breaker and the pause; the renders do not wait for it, it is told later."""
        try:
            cloudevents.announce_changes(self.deps.throttle, self.deps.topic)
        except Exception:
            logger.exception("nobody was told of the circuit breaker yet")
