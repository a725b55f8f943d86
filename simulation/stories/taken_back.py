"""What people take away again: before its turn, for good, by a rule; what comes back, and what stands beside it."""

from __future__ import annotations

import json
from typing import Any

from simulation.actions import Drop, Remove, account, image, request
from simulation.fault_injection import EVERYTHING_LOST, Fault
from simulation.schedule import Action
from simulation.stories.drops import FILES
from simulation.stories.story import FIRST_READ_LATE, TAJ, TWO_SWEEPS, Story, pair, story

_MAY_BE_PAID = "a render that may be paid stays, for nothing is paid because of what was taken away alone"
_STANDS_AGAIN = "an older image was claimed before the newer one was recorded, and what stands again is begun again"
_POOR: dict[str, Any] = {"account": {"credits": 0.01}}
_RICH = account(credits=10.0)


def taken_back(*keys: str, at: float, how: Any = "deleted") -> list[tuple[float, Action]]:
    return [(at, Remove(key, how)) for key in keys]


_BEFORE_ITS_TURN: tuple[Story, ...] = (
    story(
        "a photograph is taken back before its pair is whole",
        (0.0, image("taj/1.png", "private")),
        *taken_back("taj/1.png", at=5.0),
        (100.0, image("taj/2.png")),
        (101.0, request(TAJ, prompt="both")),
    ),
    story(
        "another photograph takes the place of one that was taken back",
        (0.0, image("taj/1.png", "private")),
        *taken_back("taj/1.png", at=5.0),
        *pair(at=100.0),
    ),
    story(
        "a whole pair is deleted while it waits for credits",
        *pair(),
        *taken_back("taj/1.png", "taj/2.png", "taj/request.json", at=50.0),
        (140.0, _RICH),
        **_POOR,
    ),
    story(
        "a pair is deleted and restored while it waits for credits",
        *pair(),
        *taken_back("taj/1.png", "taj/2.png", at=50.0),
        *taken_back("taj/1.png", "taj/2.png", at=60.0, how="for good"),
        (100.0, _RICH),
        **_POOR,
    ),
    *(
        story(
            f"{what} is deleted while its pair waits for credits",
            *pair()[:2],
            (0.2, drop),
            *taken_back(drop.key, at=50.0),
            (140.0, _RICH),
            ends={TAJ: {"FAILED cancelled", "DELIVERED"}},  # what goes wrong may hold it up until there is no prompt
            **_POOR,
        )
        for what, drop in (("a prompt", FILES["prompt.txt"]), ("a request", request(TAJ, prompt="both")))
    ),
    story(
        "a prompt that was taken back while its pair waited is restored",
        *pair()[:2],
        (0.2, FILES["prompt.txt"]),
        *taken_back("taj/prompt.txt", at=50.0),
        (140.0, _RICH),
        *taken_back("taj/prompt.txt", at=400.0, how="for good"),
        fragile=dict.fromkeys(
            (*FIRST_READ_LATE, EVERYTHING_LOST),
            "a pair that was claimed with the default prompt keeps it when an older one reappears",
        ),
        **_POOR,
    ),
    story(
        "a pair that was taken back while it waited is restored",
        *pair(),
        *taken_back("taj/1.png", at=30.0),
        (100.0, _RICH),
        *taken_back("taj/1.png", at=400.0, how="for good"),
        **_POOR,
    ),
    story(
        "a photograph whose time was over while its pair waited is restored",
        *pair(),
        *taken_back("taj/1.png", at=30.0, how="expired"),
        (100.0, _RICH),
        *taken_back("taj/1.png", at=400.0, how="for good"),
        **_POOR,
    ),
    story(
        "the newest version of a photograph is removed while its pair waits for credits",
        (0.0, image("taj/1.png", "older")),
        *pair(at=1.0),
        *taken_back("taj/1.png", at=50.0, how="for good"),
        (140.0, _RICH),
        patience=TWO_SWEEPS,
        fragile={"submit POST": _MAY_BE_PAID, "crash": _MAY_BE_PAID},
        **_POOR,
    ),
    story(
        "a photograph is deleted before its message comes, and restored",
        (0.0, image("taj/1.png")),
        *taken_back("taj/1.png", at=0.01),
        *taken_back("taj/1.png", at=50.0, how="for good"),
        *pair(at=60.0)[1:],
        faults=(Fault(0, "late"),),
    ),
    story(
        "a photograph's time is over while its pair waits for credits",
        *pair(),
        *taken_back("taj/2.png", at=50.0, how="expired"),
        (140.0, _RICH),
        **_POOR,
    ),
    story(
        "a photograph is removed for good while its pair waits for credits",
        *pair(),
        *taken_back("taj/1.png", at=50.0, how="for good"),
        (140.0, _RICH),
        patience=TWO_SWEEPS,
        **_POOR,
    ),
    *(
        story(
            f"a pair is deleted after a function has died that had {what}",
            *pair(),
            *taken_back("taj/1.png", "taj/2.png", "taj/request.json", at=10.0),
            faults=(fault,),
        )
        for what, fault in (
            ("claimed it", Fault(0, "crash after", "submit transact_write_items")),
            ("paid for it", Fault(0, "crash after", "POST")),
        )
    ),
    story(
        "a request is taken back, and a plain pair comes",
        (0.0, request(TAJ, prompt="both", input_image_1="/shared/logo.png")),
        *taken_back("taj/request.json", at=5.0),
        (100.0, image("taj/1.png")),
        (100.5, image("taj/2.png")),
        (101.0, Drop("taj/prompt.txt", b"new")),
    ),
    story(
        "a wrong request is deleted",
        *pair()[:2],
        (0.2, request(TAJ, prompt=7)),
        *taken_back("taj/request.json", at=100.0),
    ),
    story(
        "a pair is changed to something wrong while it waits for credits",
        *pair(),
        (8.0, request(TAJ, prompt=7)),
        (100.0, _RICH),
        **_POOR,
    ),
)

_SPELT_TWICE: tuple[Story, ...] = (
    story(
        "an image comes under another extension, and that one is taken away",
        (0.0, image("taj/1.png")),
        (1.0, image("taj/1.jpg", "another")),
        *taken_back("taj/1.jpg", at=5.0),
        *pair(at=50.0)[1:],
    ),
    story(
        "an image comes under another extension and is taken away while its pair waits for credits",
        (0.0, image("taj/1.jpg", "older")),
        *pair(at=1.0),
        *taken_back("taj/1.png", at=30.0),
        (140.0, _RICH),
        patience=TWO_SWEEPS,
        fragile={"submit POST": _MAY_BE_PAID, "crash": _MAY_BE_PAID, "error of submit update_item": _STANDS_AGAIN},
        **_POOR,
    ),
    story(
        "a prompt is taken away, and an older one is there in capitals",
        (0.0, Drop("taj/Prompt.TXT", b"the older one")),
        (1.0, Drop("taj/prompt.txt", b"the newer one")),
        *taken_back("taj/prompt.txt", at=5.0),
        *pair(at=50.0)[:2],
    ),
    story(
        "an image is renamed to another extension after its pair was rendered",
        *pair(),
        (100.0, image("taj/1.jpg", "another")),
        *taken_back("taj/1.png", at=100.1),
    ),
)

_NOBODYS: tuple[Story, ...] = (
    story(
        "an object that fits no rule is deleted",
        (0.0, Drop("taj/notes.txt", b"notes")),
        *taken_back("taj/notes.txt", at=10.0),
    ),
    story(
        "an object that fits no rule is deleted, and restored",
        (0.0, Drop("taj/notes.txt", b"notes")),
        *taken_back("taj/notes.txt", at=10.0),
        *taken_back("taj/notes.txt", at=20.0, how="for good"),
    ),
    story(
        "the newest version of an object that fits no rule is removed",
        (0.0, Drop("taj/notes.txt", b"notes")),
        (1.0, Drop("taj/notes.txt", b"other notes")),
        *taken_back("taj/notes.txt", at=10.0, how="for good"),
    ),
)


def in_the_way(name: str, key: str, *then: tuple[float, Action], **said: Any) -> Story:
    """What was probably meant as its prompt lies beside a pair, and that is told."""
    there = Drop(key, json.dumps({"prompt": "both"}).encode())
    return story(name, (0.0, there), *pair(at=1.0)[:2], *then, **said)


_COPY, _ONE_SLASH_MORE = "taj/prompt (1).txt", "taj//request.json"

_IN_THE_WAY: tuple[Story, ...] = (
    in_the_way("a prompt that is named like a copy is deleted", _COPY, *taken_back(_COPY, at=100.0)),
    in_the_way("a request with a slash too many is deleted", _ONE_SLASH_MORE, *taken_back(_ONE_SLASH_MORE, at=100.0)),
    in_the_way(
        "a request with a slash too many gets an image of its own",
        _ONE_SLASH_MORE,
        (100.0, image("taj//1.png")),
        ends={TAJ: {"DELIVERED"}},
    ),
    in_the_way(
        "a prompt that is named like a copy is deleted, and dropped under the right name",
        _COPY,
        *taken_back(_COPY, at=100.0),
        (110.0, FILES["prompt.txt"]),
    ),
    in_the_way(
        "the time of a prompt that is named like a copy is over",
        _COPY,
        *taken_back(_COPY, at=3000.0, how="expired"),
        end="FAILED near_miss",
    ),
    story(
        "of two prompts under wrong names one is deleted, and the other one later",
        (0.0, Drop("taj/prompt (1).txt", b"both")),
        (0.0, Drop("taj/prompt (2).txt", b"both")),
        *pair(at=1.0)[:2],
        *taken_back("taj/prompt (1).txt", at=100.0),
        *taken_back("taj/prompt (2).txt", at=200.0),
    ),
    story(
        "an image that is no picture is deleted, and a good one is there under another extension",
        *pair()[:2],
        (1.0, Drop("taj/1.jpg", b"no picture")),
        (1.1, request(TAJ, prompt="both")),
        *taken_back("taj/1.jpg", at=100.0),
    ),
    story(
        "a named image that is no picture is deleted with the request that names it",
        (0.0, Drop("shared/a.png", b"no picture")),
        *pair(at=1.0)[:2],
        (2.0, request(TAJ, prompt="both", input_image_1="/shared/a.png")),
        *taken_back("shared/a.png", "taj/request.json", at=100.0),
    ),
)

TAKEN_BACK: tuple[Story, ...] = (*_BEFORE_ITS_TURN, *_SPELT_TWICE, *_NOBODYS, *_IN_THE_WAY)
