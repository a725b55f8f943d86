"""The stack is deployed with other parameters at any moment: while pairs settle, wait, or are being made."""

from __future__ import annotations

from simulation.actions import Drop, account, deploy, image, request
from simulation.decisions import Decide
from simulation.fault_injection import Fault
from simulation.stories.story import MIDNIGHT, TAJ, Story, many, pair, story

_CHANGES = {
    "DefaultPrompt": "Another default.",
    "DefaultOutputFormat": "jpg",
    "DefaultAspectRatio": "16:9",
    "DefaultSafetyTolerance": "1",
}


def unprompted() -> list[tuple[float, Drop]]:
    return pair()[:2]


RATES: tuple[Story, ...] = (
    story(
        "the rate is raised while pairs are in line",
        *many(16, every=0.5),
        (60.0, deploy(RequestsPerMinute="50")),
        parameters={"RequestsPerMinute": "1"},
        account={"rate_limit": 50},
        patience=65.0,
    ),
    story(
        "the rate is raised from 5 to 50 while a hundred pairs are in line",
        *many(100, every=0.1),
        (60.0, deploy(RequestsPerMinute="50")),
        parameters={"RequestsPerMinute": "5"},
        account={"rate_limit": 50},
        patience=65.0,
    ),
    story(
        "the rate is lowered while pairs are in line",
        *many(5, every=0.5),
        (10.0, deploy(RequestsPerMinute="2")),
        (75.0, account(rate_limit=2)),
        parameters={"RequestsPerMinute": "4"},
    ),
)

MONEY: tuple[Story, ...] = (
    story(
        "the spend limit is raised while a pair waits for the next day",
        *many(2, every=1.0),
        (100.0, deploy(DailySpendLimit="1")),
        parameters={"DailySpendLimit": "0.05"},
        patience=130.0,
    ),
    story(
        "the spend limit is lowered while pairs are in line",
        *many(2, at=MIDNIGHT - 100, every=1.0),
        (MIDNIGHT - 90, deploy(DailySpendLimit="0.05")),
        parameters={"RequestsPerMinute": "1"},
        patience=65.0,
    ),
    story("the price is raised while a picture is made", *pair(), (10.0, deploy(PricePerRender="0.10"))),
    story(
        "the price is raised while a pair is in line",
        *many(3, every=0.5),
        (10.0, deploy(PricePerRender="0.10")),
        parameters={"RequestsPerMinute": "2"},
        account={"price": 0.05},
        patience=65.0,
    ),
)

DEFAULTS: tuple[Story, ...] = (
    *(
        story(
            f"{name} changes before a message comes a second time",
            *(unprompted() if name == "DefaultPrompt" else pair()),
            (50.0, deploy(**{name: value})),
            faults=(Fault(1, "again"),),
        )
        for name, value in _CHANGES.items()
    ),
    story(
        "a function dies after it has paid, and the default prompt changes before its message comes back",
        *unprompted(),
        (60.0, deploy(DefaultPrompt="Another default.")),
        faults=(Fault(14, "crash before"),),
    ),
    story(
        "the default prompt changes while a pair without one settles",
        *unprompted(),
        (10.0, deploy(DefaultPrompt="Another default.")),
    ),
    story(
        "the default prompt goes away while a pair without one settles",
        *unprompted(),
        (10.0, deploy(DefaultPrompt="")),
        (300.0, request(TAJ, prompt="both")),
    ),
    story(
        "the default prompt changes while a pair without one waits for credits",
        *unprompted(),
        (40.0, deploy(DefaultPrompt="Another default.")),
        (60.0, account(credits=10.0)),
        account={"credits": 0.01},
        faults=(Fault(2, "again"),),
    ),
    story(
        "the default format changes, and an image comes again",
        *pair(),
        (60.0, deploy(DefaultOutputFormat="jpg")),
        (100.0, image("taj/1.png")),
    ),
    story("the settling is made longer", *unprompted(), (10.0, deploy(PromptWaitSeconds="60")), patience=65.0),
    story("the settling is made shorter", *unprompted(), (10.0, deploy(PromptWaitSeconds="1"))),
)

IN_FLIGHT: tuple[Story, ...] = (
    story(
        "the picture's host is allowed later",
        *pair(),
        (300.0, deploy(ResultHosts="images.segmind.com")),
        (600.0, Decide(TAJ, "redeliver")),
        parameters={"ResultHosts": "elsewhere.example"},
        patience=400.0,
    ),
    story("the records' life changes while a picture is made", *pair(), (10.0, deploy(RecordRetentionDays="8"))),
    story("nothing changes but the functions, while a picture is made", *pair(), (10.0, deploy(PollCostSeconds="1"))),
)
DEPLOYMENTS: tuple[Story, ...] = (*RATES, *MONEY, *DEFAULTS, *IN_FLIGHT)
