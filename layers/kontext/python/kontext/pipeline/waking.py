"""An object has come or gone: the pairs that wait for that go on, a page of them in each message."""

from collections.abc import Callable, Sequence

from kontext.connections import Connections
from kontext.drops import pairs
from kontext.drops.waiters import PAGE, Waiter
from kontext.log import logger
from kontext.pipeline.advance import Advancer

SECONDS_FOR_REQUESTS, SECONDS_OF_A_PAGE = 10.0, 15.0
"""For so long those of a page are sent, and for so long it is worked on."""
TIME_FOR_A_PAIR = 70.0
"""Seconds that must be left before another pair is begun: an AWS call that hangs is given up within them."""


class Waker:
    """Wakes those who wait for an object. `seconds_left`: how long this invocation may still take."""

    def __init__(self, deps: Connections, seconds_left: Callable[[], float]) -> None:
        self.deps = deps
        self.seconds_left = seconds_left
        self.advancer = Advancer(deps, self.seconds_for_requests)
        self.began = 0.0

    def on_change(self, key: str) -> None:
        """An object has come, or gone, for which others may wait. Once it is due, no message is needed to wake them."""
        if not self.deps.waiters.arrive(key, self.deps.clock.now()):
            return
        try:
            self.wake_all(key)
        except Exception:
            logger.exception("the object is due, and those who wait for it are woken then")

    def wake_all(self, key: str) -> None:
        """Wake those who wait for an object: a page of them here, and each other page by a hint of its own."""
        waiting = list(self.deps.waiters.to_wake(key))
        places = [waiting[n - 1].place for n in range(PAGE, len(waiting), PAGE)]
        self.deps.hints.send_pages(key, places)
        self.wake(key, waiting[:PAGE])

    def seconds_for_requests(self) -> float:
        """How long the requests of a page may still take."""
        return self.seconds_left() if self.seconds_of_page() <= SECONDS_FOR_REQUESTS else 0.0

    def seconds_of_page(self) -> float:
        """For how long the page has been worked on."""
        return self.deps.clock.now() - self.began

    def wake(self, key: str, waiting: Sequence[Waiter]) -> None:
        """Go on with pairs that waited for an object to come, or to be out of their way. Those for whose requests no
        time is left join the line; where there is none even for that, the next sweep wakes the rest."""
        self.began = self.deps.clock.now()
        is_gone = bool(waiting) and self.deps.inputs.newest(key) is None
        for waiter in waiting:
            if self.seconds_left() < TIME_FOR_A_PAIR or self.seconds_of_page() > SECONDS_OF_A_PAGE:
                self.deps.waiters.look_again(key, self.deps.clock.now())
                return
            if pair := self.pair_of(waiter, is_gone=is_gone):
                self.advancer.try_to_advance(pair)
            self.deps.waiters.remove(key, waiter)
        self.deps.waiters.rest(key)

    def pair_of(self, waiter: Waiter, *, is_gone: bool) -> pairs.Pair | None:
        """Who waited for an object."""
        if is_gone:
            return self.deps.drops.clear_way(waiter.prefix, self.deps.clock.now())
        return self.deps.drops.get(waiter.prefix)

    def on_page(self, key: str, after: str) -> None:
        """A page of those who wait for an object is to be woken. The message never comes back: the object is due."""
        try:
            self.wake(key, self.deps.waiters.page(key, after))
        except Exception:
            logger.exception("the object is due, and those who wait for it are woken then")
