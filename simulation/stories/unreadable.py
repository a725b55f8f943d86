"""Objects that are there and that the stack may not read: the dropper is told at once, and nobody else waits."""

from __future__ import annotations

from dataclasses import replace

from simulation.actions import Drop, image, request
from simulation.schedule import Action
from simulation.stories.story import Story, named, pair, story

_CLOSED = {
    "encrypted with a key of another account": ("SSEKMSKeyId", "arn:aws:kms:us-east-1:999999999999:key/theirs"),
    "archived": ("StorageClass", "DEEP_ARCHIVE"),
}


def closed(drop: Drop, how: str) -> Drop:
    """The same drop, so that the stack may not read it."""
    return replace(drop, more=(_CLOSED[how],))


def one_of_two(how: str) -> list[tuple[float, Action]]:
    """A pair of which one image cannot be read."""
    return [(0.0, closed(image("taj/1.png"), how)), *pair()[1:]]


UNREADABLE: tuple[Story, ...] = (
    *(story(f"a photograph is {how}", *one_of_two(how), end="FAILED invalid_image") for how in _CLOSED),
    *(
        story(
            f"a photograph is {how}, and is dropped again as it should be",
            *one_of_two(how),
            (100.0, image("taj/1.png", "once more")),
        )
        for how in _CLOSED
    ),
    *(
        story(
            f"a photograph that two pairs name is {how}, and replaced; a third pair does not wait for it",
            (0.0, closed(image("shared/a.png"), how)),
            *named(at=1.0),
            (2.0, image("fort/2.png")),
            (2.1, request("fort/", prompt="both in the fort", input_image_1="/shared/a.png")),
            *pair("lake/", at=3.0, prompt="both at the lake"),
            (100.0, image("shared/a.png", "once more")),
        )
        for how in _CLOSED
    ),
)
