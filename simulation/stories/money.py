"""What money does: an account that refuses, requests that are paid though they were refused, costs that cannot be."""

from __future__ import annotations

from typing import Any

from simulation.actions import account, deploy, vendor
from simulation.schedule import Action
from simulation.stories.story import AFTER_LOST_ANSWERS, BETWEEN_TRIALS, MIDNIGHT, TAJ, Story, many, pair, story
from simulation.stories.vendor import FEW, MANY, always, well

_MODEL = "multi-image-kontext-pro"


def shortly_before_midnight(seconds: float, *steps: tuple[float, Action]) -> list[tuple[float, Action]]:
    return [(MIDNIGHT - seconds + at, action) for at, action in steps]


def stated(**metrics: Any) -> tuple[float, Action]:
    """The vendor states other metrics than are true."""
    return always(on="result", patch={"metrics": metrics})


ACCOUNT: tuple[Story, ...] = (
    story(
        "406 in words that nobody knows",
        always(status=406, body={"error": "Your wallet does not cover this call"}),
        *FEW,
        well(600),
        patience=AFTER_LOST_ANSWERS,
    ),
    *(
        story(
            f"the model is {what} for ten minutes",
            (0.0, account(models=models)),
            *FEW,
            (600.0, account(models={_MODEL: "available"})),
            patience=BETWEEN_TRIALS,
        )
        for what, models in (("unknown", {}), ("retired", {_MODEL: "retired"}))
    ),
    story(
        "jobs fail for want of credits for ten minutes",
        always(fail="Insufficient credits: your balance is 0.01, this model costs 0.05"),
        *FEW,
        well(600),
        patience=AFTER_LOST_ANSWERS,
    ),
    story(
        "jobs fail as the account runs empty, and it is topped up",
        (0.0, vendor(fail="Insufficient credits", times=3)),
        *FEW,
        (10.0, account(credits=0.01)),
        (600.0, account(credits=10.0)),
        patience=BETWEEN_TRIALS,
    ),
    story(
        "a job is blocked in a message that repeats its prompt, which speaks of credits",
        (0.0, vendor(prompt="no credits", fail="blocked: 'a poster that says no credits'", times=None)),
        *pair(prompt="a poster that says no credits"),
        *many(9, every=10.0),
        ends={TAJ: {"FAILED render_failed"}, "p8/": {"DELIVERED"}},
    ),
    story(
        "a job fails for the team's spend limit",
        (0.0, vendor(fail="Team spend limit reached")),
        *FEW,
        patience=BETWEEN_TRIALS,
    ),
    story(
        "the balance falls below zero",
        *many(2, every=0.2),
        *pair("late/", at=40.0),
        (60.0, account(credits=10.0)),
        account={"credits": 0.05},
    ),
)

HIDDEN: tuple[Story, ...] = (
    *(
        story(
            f"{status} once, though the job was taken",
            (0.0, vendor(status=status, body={}, accept=True)),
            *pair(),
            patience=BETWEEN_TRIALS,
        )
        for status in (500, 502, 503)
    ),
    story(
        "a job that was taken before an outage completes within it",
        (0.0, vendor(prompt="before", inference=1500.0)),
        *pair("before/", prompt="before"),
        (600.0, vendor(status=500, body={}, times=None)),
        *pair(at=601.0),
        well(3 * 3600.0),
        patience=AFTER_LOST_ANSWERS,
    ),
    *(
        story(
            f"{status} for three hours, though every job is taken",
            always(status=status, body={}, accept=True),
            *pair(),
            well(3 * 3600.0),
            parameters={"DailySpendLimit": "0.50"},
            patience=AFTER_LOST_ANSWERS,
        )
        for status in (500, 502, 503)
    ),
    *(
        story(
            f"{status} to 30 pairs for ten minutes, though every job is taken",
            always(status=status, body={}, accept=True),
            *MANY,
            well(600),
            patience=AFTER_LOST_ANSWERS,
        )
        for status in (500, 502, 503)
    ),
    story(
        "502 to 30 pairs for an hour, though every job is taken",
        always(status=502, body={}, accept=True),
        *MANY,
        well(3600),
        patience=AFTER_LOST_ANSWERS,
    ),
    story(
        "502 across midnight, though every job is taken",
        *shortly_before_midnight(40, (0.0, vendor(status=502, body={}, accept=True, times=4)), *many(3, every=1.0)),
        parameters={"DailySpendLimit": "0.20"},
        patience=AFTER_LOST_ANSWERS,
    ),
)

LIMIT: tuple[Story, ...] = (
    story(
        "a cost of 30 USD is stated once",
        (0.0, vendor(on="result", patch={"metrics": {"cost": 30.0}})),
        *many(3, every=60.0),
    ),
    story("costs are stated in cents", stated(cost=5), *many(6, every=30.0)),
    story(
        "a cost of nothing is stated",
        *shortly_before_midnight(300, stated(cost=0), *many(4, every=60.0)),
        parameters={"DailySpendLimit": "0.10"},
    ),
    story(
        "a cost of less than the price is stated",
        *shortly_before_midnight(300, stated(cost=0.02), *many(4, every=60.0)),
        parameters={"DailySpendLimit": "0.10"},
    ),
    story(
        "the vendor charges twice, and states the price",
        stated(cost=0.05),
        *many(3, every=60.0),
        account={"price": 0.10},
        missing="what the balance loses beside the ledger is told, and not booked: others may have spent it",
    ),
    story("a cost that is no number is stated", stated(cost="0.05 USD"), *pair()),
    story(
        "the price is doubled",
        *shortly_before_midnight(42, *many(2, every=1.0), *pair("later/", at=30.0)),
        account={"price": 0.10},
        parameters={"DailySpendLimit": "0.20"},
        patience=80.0,
    ),
    story(
        "the daily limit is raised while all wait for midnight",
        *many(2, every=1.0),
        (60.0, deploy(DailySpendLimit="25")),
        parameters={"DailySpendLimit": "0.05"},
        patience=130.0,
    ),
)

MONEY = (*ACCOUNT, *HIDDEN, *LIMIT)
