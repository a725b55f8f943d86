"""The one clock and the one way to wait, so that a test can put another in their place."""

import time
from datetime import UTC, datetime


class Clock:
    """The machine's clock."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait; nothing for a time that is past."""
        time.sleep(max(0.0, seconds))


def iso(seconds: float) -> str:
    """A time as people and events read it: UTC, milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day(seconds: float) -> str:
    """The UTC day of a time, for the ledger."""
    return iso(seconds)[:10]
