"""What a story is, and what most of them begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simulation.actions import Drop, image, request
from simulation.schedule import Action, Schedule, Step

TWO_SWEEPS = 130.0
"""Seconds within which a pair goes that is found changed when its turn comes: one sweep gives it that, the next lets
somebody look what it asks for now."""
TAJ = "taj/"
FAILS, REFUSED = "(this fails)", "(this is refused)"
"""What the vendor does to a prompt with these words in it."""
OTHER_KEY = "SG_fedcba9876543210"

FIRST_READ_LATE = (
    *(f"{kind} of submit get_object" for kind in ("crash before", "crash after")),
    *(f"time-out {how} effect of submit get_object" for how in ("with", "without")),
    "crash before of submit update_item",
    "late",
    "throttled",
)
"""What lets a drop be read minutes after it came; by then, something else may hold."""

BETWEEN_TRIALS = 370.0
"""Seconds, where only a request can tell whether a cause has ended: a trial goes every five minutes, after a sweep."""
AFTER_LOST_ANSWERS = 3120.0
"""Where each trial may be one more for a person to decide, or a request fails again and again that others do not."""


@dataclass(frozen=True)
class Story:
    """A schedule, and how its pairs may end where that does not follow from what was dropped last.

    UNCERTAIN is allowed as well where an answer was lost. `missing`: what the product lacks, so that the story breaks a
    promise; the day that it does not, this goes. `patience`: for how many seconds a pair may stand still for no reason
    that can be seen, if nothing goes wrong that is no part of the story, and it is another time than usual. A `large`
    one takes too long to be played with every single fault. `fragile`: faults that break a promise in it, by their
    kind, the call that they strike, or both (`stall of submit POST`), and what the product lacks; the day that none of
    them does, this goes.
    """

    name: str
    schedule: Schedule
    ends: Mapping[str, set[str]] = field(default_factory=dict)
    missing: str = ""
    patience: float | None = None
    large: bool = False
    fragile: Mapping[str, str] = field(default_factory=dict)


def pair(prefix: str = TAJ, at: float = 0.0, prompt: str = "both at the Taj") -> list[tuple[float, Drop]]:
    """Two images and a request, the request last."""
    return [
        (at, image(f"{prefix}1.png")),
        (at + 0.1, image(f"{prefix}2.png")),
        (at + 0.2, request(prefix, prompt=prompt)),
    ]


def named(name: str = "/shared/a.png", prefix: str = TAJ, at: float = 0.0) -> list[tuple[float, Action]]:
    """An image and a request that names the other one."""
    asked = request(prefix, prompt=f"both in {prefix}", input_image_1=name)
    return [(at, image(f"{prefix}2.png")), (at + 0.1, asked)]


def many(count: int, folder: str = "", *, at: float = 0.0, every: float) -> list[tuple[float, Action]]:
    """Pairs one after another, each in a first folder of its own, or all in one."""
    pairs = [pair(f"{folder}p{n}/", at + every * n, f"both of {n}") for n in range(count)]
    return [step for steps in pairs for step in steps]


MIDNIGHT = 57_600.0
"""Seconds from the beginning to the end of its UTC day."""


def story(
    name: str,
    *steps: tuple[float, Action],
    end: str | None = None,
    ends: Mapping[str, set[str]] | None = None,
    missing: str = "",
    patience: float | None = None,
    large: bool = False,
    fragile: Mapping[str, str] | None = None,
    **more: Any,
) -> Story:
    """A story; `end`: how the pair at the Taj must end, or `ends`: how pairs may, by their prefix."""
    schedule = Schedule(tuple(Step(at, action) for at, action in steps), **more)
    return Story(name, schedule, ends or ({TAJ: {end}} if end else {}), missing, patience, large, fragile or {})
