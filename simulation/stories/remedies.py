"""What people are told to do is done: of each remedy that no other story follows, one that does."""

from __future__ import annotations

from kontext_local.segmind.settings import MODEL
from simulation.actions import Away, Drop, Removal, Remove, WellAgain, account, deploy, image, vendor
from simulation.decisions import Decide
from simulation.stories.story import BETWEEN_TRIALS, TAJ, Story, pair, story

_FORBIDDEN, _ALLOWED = {MODEL: "forbidden"}, {MODEL: "available"}
_LOOKED_AT_HOURLY = 3200.0
_OTHER = "multi-image-kontext-max"
_TAKEN: tuple[tuple[str, Removal], ...] = (("was taken back", "deleted"), ("has expired", "expired"))

DROPPERS: tuple[Story, ...] = (
    story(
        "a photograph under a wrong name, and under a right one",
        *pair()[1:],
        *((0.0, image("taj/a.png")),),
        (60.0, image("taj/1.png")),
    ),
    story(
        "a wrong image, and a right one under its name",
        (0.0, Drop("taj/1.png", b"text")),
        *pair()[1:],
        (60.0, image("taj/1.png")),
    ),
    story(
        "a request that Segmind refused, corrected",
        (0.0, vendor(status=400, body={"error": "no"})),
        *pair(prompt="not allowed"),
        (60.0, pair()[2][1]),
    ),
    *(
        story(
            f"a pair that {what} while it waits for credits comes again",
            *pair(),
            (50.0, Remove("taj/1.png", how)),
            (100.0, account(credits=10.0)),
            *pair(at=400.0),
            account={"credits": 0.01},
        )
        for what, how in _TAKEN
    ),
    story(
        "given up after server errors, and dropped again",
        (0.0, vendor(status=500, body={"error": "oh"}, prompt="both at the Taj", times=4)),
        *pair(),
        *pair("other/", at=600.0, prompt="both elsewhere"),
        (6000.0, pair()[1][1]),
        patience=_LOOKED_AT_HOURLY,
    ),
    story(
        "the request is lost, the render is given up, and its pair dropped again",
        (0.0, vendor(drop=True)),
        *pair(),
        (100.0, Decide(TAJ, "give-up")),
        (200.0, pair()[1][1]),
    ),
)
OPERATORS: tuple[Story, ...] = (
    story(
        "the model is not offered any more, and another one is named",
        *pair(),
        (60.0, deploy(SegmindModel=_OTHER)),
        account={"models": {_OTHER: "available"}},
        patience=BETWEEN_TRIALS,
    ),
    story(
        "the model is forbidden, and then allowed",
        *pair(),
        (300.0, account(models=_ALLOWED)),
        account={"models": _FORBIDDEN},
        patience=BETWEEN_TRIALS,
    ),
    story(
        "the team's spend limit is reached, and then raised",
        *pair(),
        (300.0, account(spend_limit=None)),
        account={"spend_limit": 0.0},
        patience=BETWEEN_TRIALS,
    ),
    story("nobody can be told for five hours", (0.0, Away(("sns",), 300.0)), *pair(), patience=_LOOKED_AT_HOURLY),
    story(
        "a picture that could not be copied is delivered again when the file host is well",
        (0.0, vendor(on="output", status=503, times=None)),
        *pair(),
        (3000.0, WellAgain()),
        (3060.0, Decide(TAJ, "redeliver")),
        patience=_LOOKED_AT_HOURLY,
    ),
)

REMEDIES = (*DROPPERS, *OPERATORS)
