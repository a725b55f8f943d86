"""Short stories, each about one thing that can happen; the explorer lets go wrong in them whatever can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.chaos.deeds import Drop, Secret, account, image, request, vendor
from tests.chaos.world import KEY, Deed, Schedule, Step

TAJ = "taj/"
OTHER_KEY = "SG_fedcba9876543210"


@dataclass(frozen=True)
class Scenario:
    """A schedule, and how each of its pairs may end; UNCERTAIN is allowed as well where an answer was lost."""

    name: str
    schedule: Schedule
    ends: dict[str, set[str]]


def pair(prefix: str = TAJ, at: float = 0.0, prompt: str = "both at the Taj") -> list[tuple[float, Deed]]:
    """Two images and a request, the request last."""
    return [
        (at, image(f"{prefix}1.png")),
        (at + 0.1, image(f"{prefix}2.png")),
        (at + 0.2, request(prefix, prompt=prompt)),
    ]


def scenario(name: str, *steps: tuple[float, Deed], end: str | dict[str, set[str]] = "DELIVERED", **more: Any) -> Scenario:
    schedule = Schedule(tuple(Step(at, deed) for at, deed in steps), **more)
    return Scenario(name, schedule, end if isinstance(end, dict) else {TAJ: {end}})


SCENARIOS: dict[str, Scenario] = {
    one.name: one
    for one in (
        scenario("pair", *pair()),
    )
}
