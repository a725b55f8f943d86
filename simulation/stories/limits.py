"""What grows to the limits of the services: items of 400 KB, messages of 256 KB, keys of 1,024 bytes."""

from __future__ import annotations

from simulation.actions import account, image, request, vendor
from simulation.schedule import Action
from simulation.stories.story import AFTER_LOST_ANSWERS, Story, pair, story

_LONG = "\N{LATIN SMALL LETTER E WITH ACUTE}" * 500 + "/"
_ESCAPED = "\x01" * 1000 + "/"
_LONGEST_PROMPT = "\N{SNOWMAN}" * 5000
_POOR = {"credits": 0.01}


def many_name(key: str, count: int) -> list[tuple[float, Action]]:
    """Many small requests of one dropper that name an object, and another one that never comes."""
    prefixes = [f"m/{n:04d}{'x' * 1000}/" for n in range(count)]
    prefixes += [f"m/{n:02d}{'x' * length}/" for length in (50, 0) for n in range(20)]
    return [
        (n * 0.5, request(prefix, prompt="x", input_image_1=f"/{key}", input_image_2="never.png"))
        for n, prefix in enumerate(prefixes)
    ]


def unlucky() -> list[tuple[float, Action]]:
    """The vendor refuses in other words each time, for an hour."""
    words = [vendor(status=503, body={"error": f"{n} " + "sorry " * 500}, nth=1 + n) for n in range(70)]
    return [(0.0, one) for one in words]


LIMITS: tuple[Story, ...] = (
    story(
        "four hundred small requests name a pair's image before it comes",
        *many_name("taj/1.png", 408),
        *pair(at=1000.0),
    ),
    story(
        "the longest name and the longest prompt",
        *pair(_LONG, prompt=_LONGEST_PROMPT),
    ),
    story(
        "a pair with the longest name and the longest prompt waits for credits",
        *pair(_LONG, prompt=_LONGEST_PROMPT),
        (30.0, account(credits=10.0)),
        account=_POOR,
    ),
    story(
        "the vendor is away in seventy ways, each told at length",
        *unlucky(),
        *pair(),
        large=True,
        patience=AFTER_LOST_ANSWERS,
    ),
    story(
        "fifty pairs whose names are longest in JSON wait for credits",
        *[step for n in range(50) for step in pair(f"{n:02d}{_ESCAPED}", at=n * 0.1)],
        (45.0, account(credits=100.0)),
        account=_POOR,
        large=True,
    ),
    story(
        "a pair is changed a hundred times",
        *[(20.0 * n, image("taj/2.png", str(n))) for n in range(100)],
        *pair()[::2],
        large=True,
    ),
)
