"""A slot of the rate limiter: the moment at which one request may go."""

from dataclasses import dataclass

from kontext.connections import Connections

LATEST_SECONDS = 5.0
"""So late after its slot a request may still go: later than that it could meet a 429."""


@dataclass(frozen=True)
class Slot:
    """The slot at the time `at`."""

    deps: Connections
    at: float

    def reach(self) -> bool:
        """Wait for it. False if meanwhile somebody has found that nobody may go."""
        wait = self.at - self.deps.clock.now()
        self.deps.clock.sleep(wait)
        return wait <= 0 or self.deps.throttle.read().stopped is None

    def has_passed(self) -> bool:
        """Whether it is over, because something stood still meanwhile: a request now would meet the next ones."""
        return self.deps.clock.now() - self.at > LATEST_SECONDS
