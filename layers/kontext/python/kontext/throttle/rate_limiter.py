"""Slots for requests, by GCRA (the generic cell rate algorithm), with the burst paid back.

However late and bunched those who wait come, their requests stay an interval apart, so that they never meet a 429.
"""

from dataclasses import dataclass, replace

from kontext.errors import RateLimited

SPARE_SECONDS = 1.0
WINDOW_SECONDS = 60.0 + SPARE_SECONDS
"""A minute, and a second for requests that arrive late: no minute at Segmind's end then sees more than its share."""
PATIENCE_SECONDS = 5.0
"""A slot this near is slept for."""
UNKNOWN_RESET_SECONDS = 60.0
_LATEST_RESET_SECONDS = 900.0
_CLOCK_SECONDS = 2.0
"""A `Date` is in whole seconds, and a little older than the moment at which it is read."""


@dataclass(frozen=True)
class Rate:
    """`per_minute` requests; the first `burst` of them at once when nothing was sent for a while."""

    per_minute: float
    burst: int = 5

    @property
    def interval(self) -> float:
        """Seconds between two requests."""
        return WINDOW_SECONDS / self.per_minute

    @property
    def at_once(self) -> int:
        """How many may go at the same moment: never more than a minute's share."""
        return max(1, min(self.burst, int(self.per_minute)))


@dataclass(frozen=True)
class Slots:
    """`next_free`: the next free slot (unix seconds); `burst`: how many of the first ones that go at once are left."""

    next_free: float = 0.0
    burst: int = 0


def take_slot(slots: Slots, rate: Rate, now: float) -> tuple[Slots, float]:
    """Take the next free slot; returns its time, which may lie ahead."""
    idle_since = slots.next_free + (rate.at_once - 1) * rate.interval
    if idle_since <= now:
        reserved = now + rate.at_once * rate.interval
        return Slots(next_free=reserved, burst=rate.at_once - 1), now
    # Each of the first ones stands for a slot of its own: once that is past, it is lost as any other is.
    first_ones = min(slots.burst, int((slots.next_free - now) / rate.interval))
    if first_ones > 0:
        return replace(slots, burst=first_ones - 1), now
    at = max(now, slots.next_free)
    return Slots(next_free=at + rate.interval, burst=0), at


def postpone(slots: Slots, seconds: float) -> Slots:
    """All slots that are left come so much later."""
    return replace(slots, next_free=slots.next_free + seconds)


def reset_by_our_clock(limited: RateLimited, now: float) -> float | None:
    """When the limit of a 429 that has just come resets. Segmind's clock may differ from ours, as the answer's `Date`
    tells; one that makes no sense of the reset is not believed."""
    reset_at, answered_at = limited.reset_at, limited.answered_at
    if reset_at is None or answered_at is None or abs(now - answered_at) <= _CLOCK_SECONDS:
        return reset_at
    left = reset_at - answered_at
    return now + left if -WINDOW_SECONDS <= left <= _LATEST_RESET_SECONDS else reset_at


def back_off(slots: Slots, reset_at: float | None, now: float) -> Slots:
    """A 429: nothing goes before the reset."""
    return Slots(next_free=max(slots.next_free, sane_reset(reset_at, now)), burst=0)


def sane_reset(reset_at: float | None, now: float) -> float:
    """When the rate limit resets; one that is missing, past or absurd counts as a minute from now."""
    if reset_at is not None and now < reset_at <= now + _LATEST_RESET_SECONDS:
        return reset_at
    return now + UNKNOWN_RESET_SECONDS
