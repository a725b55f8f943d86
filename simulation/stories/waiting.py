"""Pairs that wait: for credits, for the operator, for an image that another drop brings; and what goes wrong then."""

from __future__ import annotations

from typing import Any

from simulation.actions import Drop, account, image, request, vendor
from simulation.decisions import PauseOrResume
from simulation.fault_injection import Fault
from simulation.schedule import Action
from simulation.stories.story import AFTER_LOST_ANSWERS, Story, many, named, pair, story

AN_HOUR = 3600.0
EMPTY: dict[str, Any] = {"credits": 0.01}
REFILLED = account(credits=10.0)
DOWN = vendor(status=503, body={"error": "down"})
WRONG = Drop("shared/a.png", b"text")


def no_credits(name: str, *more: tuple[float, Action], refilled: float = 60.0, missing: str = "", **said: Any) -> Story:
    """Three pairs wait together until the account is in credit again; their messages come together."""
    steps = [*many(3, every=0.0), *more, (refilled, REFILLED)]
    return story(name, *steps, missing=missing, account=EMPTY, window=0.3, rests_within=AN_HOUR, **said)


def names_a_part(*parts: str) -> list[tuple[float, Action]]:
    """A request names an image of a folder, whose parts come one after another."""
    asked = [(0.0, image("p/1.png")), (1.0, request("p/", prompt="both", input_image_2="/shared/x/2.png"))]
    return [*asked, *((10.0 + 10.0 * n, image(f"shared/x/{part}.png")) for n, part in enumerate(parts))]


def names_a_wrong_one(dropped: float, *, replaced: float = 100.0) -> list[tuple[float, Action]]:
    """A request names what is no picture; then a picture is put in its place, as error.json asks."""
    asked = [(1.0, image("p/1.png")), (2.0, request("p/", prompt="both", input_image_2="/shared/a.png"))]
    return [(dropped, WRONG), *asked, (replaced, image("shared/a.png"))]


def crowd(count: int) -> list[tuple[float, Action]]:
    """Requests that name one image and another that never comes; then the one, with an innocent pair beside it."""
    asked: list[tuple[float, Action]] = [
        (0.0, request(f"m/{n}/", prompt="x", input_image_1="/shared/a.png", input_image_2="/shared/never.png"))
        for n in range(count)
    ]
    return [*asked, (600.0, image("shared/a.png")), *pair(at=600.0)]


def replaced_in_line(count: int, *, times: int) -> list[tuple[float, Action]]:
    """Requests that stand in line name one image, which is replaced every twenty seconds."""
    asked = [step for n in range(count) for step in named("/shared/a.png", f"m/{n}/", 1.0 + n / 10)]
    return [*((20.0 * n, image("shared/a.png", str(n))) for n in range(times)), *asked]


PROBES = (
    no_credits(
        "the prompt of the pair that probes is changed while all wait for credits",
        (30.0, request("p0/", prompt="another")),
    ),
    no_credits(
        "the answer to the request that probes for credits is lost",
        (60.0, vendor(drop=True, accept=True)),
        patience=65.0,
    ),
    *(
        no_credits(name, refilled=10.0, faults=(fault,))
        for name, fault in (
            ("a function dies right after it has probed for credits", Fault(2, "crash after", "POST")),
            ("a function dies right before it probes for credits", Fault(2, "crash before", "POST")),
        )
    ),
)
LONG = no_credits("goes on soon after five hours without credits", refilled=18_000.0)
FORTY_MINUTES = story(
    "thirty pairs wait forty minutes for credits",
    *many(30, every=1.0),
    (2400.0, REFILLED),
    account=EMPTY,
    window=0.3,
    large=True,
)
"""A probe a minute: whoever goes on at that rate afterwards is late."""
SHORT = tuple(
    story(
        f"credits run out while a folder is in line{name}",
        *many(8, "a/", every=30.0),
        (600.0, REFILLED),
        account={"credits": 0.22},
        parameters={"RequestsPerMinute": "1"},
        faults=faults,
        patience=patience,
    )
    for name, faults, patience in (
        ("", (), 65.0),
        (", and one of it had failed before", (Fault(3, "error", "POST"),), None),
    )
)
NAMED = (
    story("a part of the pair whose image is named comes first", *names_a_part("1", "2")),
    story(
        "a function dies as it sends a pair that names an image of another, which comes then",
        *names_a_part("2", "1"),
        faults=(Fault(0, "crash before", "POST"),),
    ),
    story(
        "a named image is no picture, comes before the request, and is replaced",
        *names_a_wrong_one(0.0),
    ),
    story(
        "a named image is no picture, comes after the request, and is replaced",
        *names_a_wrong_one(50.0),
    ),
)
PAUSES = (
    story(
        "paused while a request is on its way that is refused",
        (0.0, DOWN),
        *pair(),
        faults=(Fault(0, "pause", "POST"),),
    ),
    story(
        "paused by hand while a request is on its way that is refused",
        (0.0, DOWN),
        *pair(),
        (10.0, PauseOrResume("pause")),
        (600.0, PauseOrResume("resume")),
        faults=(Fault(0, "stall", "POST"),),
    ),
    story(
        "paused while the request is on its way that finds the vendor well again",
        (0.0, DOWN),
        *pair(),
        *many(5, at=120.0, every=0.0),
        faults=(Fault(1, "pause", "POST"),),
    ),
    story("paused while a request is on its way that is taken", *pair(), faults=(Fault(0, "pause", "POST"),)),
    story(
        "paused twice, resumed once",
        *pair(at=30.0),
        (0.0, PauseOrResume("pause")),
        (10.0, PauseOrResume("pause")),
        (400.0, PauseOrResume("resume")),
    ),
    story(
        "goes on soon after the operator resumes",
        (0.0, PauseOrResume("pause")),
        *pair(at=1.0),
        (1000.0, PauseOrResume("resume")),
    ),
    story(
        "the operator pauses while five are in line",
        *many(5, every=0.1),
        (20.0, PauseOrResume("pause")),
        (1000.0, PauseOrResume("resume")),
        parameters={"RequestsPerMinute": "3"},
    ),
)
CHAINS = (
    no_credits("two minutes without credits, and Lambda stops loops", refilled=120.0, stops_loops=True),
    story(
        "paused for ten hours, and Lambda stops loops",
        (0.0, PauseOrResume("pause")),
        *pair(at=10.0),
        (36_000.0, PauseOrResume("resume")),
        stops_loops=True,
    ),
    story(
        "an image that all in line name is replaced again and again",
        *replaced_in_line(20, times=60),
        parameters={"RequestsPerMinute": "5"},
        large=True,
        patience=65.0,
    ),
)
CONFLICTS = tuple(
    story(
        f"{what} is written as another write goes on",
        *pair(),
        faults=(Fault(number, "conflict", "submit update_item"),),
        patience=60.0,
    )
    for number, what in ((0, "the first photograph"), (1, "the second photograph"), (3, "the rate limiter"))
)
FOLDERS = (
    story(
        "a pair comes behind another folder's flood",
        *many(60, "flood/", every=0.01),
        *pair("other/one/", at=60.0),
        parameters={"RequestsPerMinute": "10"},
        account={"workers": 100},
    ),
    story(
        "those who came first go first after an outage",
        (0.0, vendor(status=503, body={"error": "down"}, times=4)),
        *many(5, "one/", every=70.0),
        parameters={"RequestsPerMinute": "1"},
        patience=AFTER_LOST_ANSWERS,
    ),
)
CROWDS = (
    story(
        "a thousand requests wait for one photograph",
        *crowd(1000),
        remembers=False,
        window=0.3,
        patience=120.0,
    ),
)
WAITING: tuple[Story, ...] = (
    *PROBES,
    LONG,
    FORTY_MINUTES,
    *SHORT,
    *NAMED,
    *PAUSES,
    *CHAINS,
    *CONFLICTS,
    *FOLDERS,
    *CROWDS,
)
