"""The hard rate limit: so many requests a window, then 429 until the window resets."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate

WINDOW_SECONDS = 60.0
RESET_HEADER = "x-rate-limit-reset-at-utc"


class FixedWindow:
    """A window opens with the first request, takes `limit` of them, and resets as a whole."""

    def __init__(self) -> None:
        self._opened = -math.inf
        self._taken = 0

    def take(self, limit: int, now: float) -> float | None:
        """Count one request. None if it is let through, else when (unix seconds) the window resets."""
        if now >= self._opened + WINDOW_SECONDS:
            self._opened, self._taken = now, 0
        self._taken += 1
        return self._opened + WINDOW_SECONDS if self._taken > limit else None


class SlidingWindow:
    """At most `limit` requests in any 60 seconds; refused ones do not count."""

    def __init__(self) -> None:
        self._taken: deque[float] = deque()

    def take(self, limit: int, now: float) -> float | None:
        """Count one request. None if it is let through, else when (unix seconds) there is room again."""
        while self._taken and self._taken[0] <= now - WINDOW_SECONDS:
            self._taken.popleft()
        if len(self._taken) >= limit:
            return self._taken[0] + WINDOW_SECONDS if self._taken else now + WINDOW_SECONDS
        self._taken.append(now)
        return None


def _iso(at: float) -> str:
    return datetime.fromtimestamp(math.ceil(at), UTC).isoformat().replace("+00:00", "Z")


WINDOWS: dict[str, Callable[[], FixedWindow | SlidingWindow]] = {
    "fixed": FixedWindow,
    "sliding": SlidingWindow,
}

RESET_FORMS: dict[str, Callable[[float], str]] = {
    "iso": _iso,
    "epoch": lambda at: str(math.ceil(at)),
    "epoch_ms": lambda at: str(math.ceil(at * 1000)),
    "http_date": lambda at: formatdate(math.ceil(at), usegmt=True),
}
"""The vendor names the header and leaves its form open."""
