"""What a render costs on AWS, by the price list in prices.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

PRICES: dict[str, float] = {
    name: price["usd"]
    for name, price in json.loads(Path(__file__).with_name("prices.json").read_text())["prices"].items()
}
MEMORY_GB = {  # as in template.yaml
    "SubmitFunction": 0.5,
    "SweepFunction": 0.125,
    "PollFunction": 0.125,
    "FinalizeFunction": 0.5,
}
LOOP_TRANSITIONS = 3  # WaitToPoll, Poll, IsFinished?
END_TRANSITIONS = 3  # Finalize, IsDelivered?, Delivered

# Everything around the looking, for a pair of two photographs and a prompt whose picture fits one part: as counted by
# `calls.py` (steady). Lambda's time has 0.06 s of a whole processor (1769 MB) added, which virtual time does not show:
# see `memory.py`. The logs' size is an estimate.
AROUND: dict[str, float] = {
    "lambda_request": 4,  # Submit for each of the photographs, and when they have settled; Finalize
    "lambda_gb_second": 0.48 + 0.06 * 1769 / 1024,
    "s3_put": 3,  # two drops, the result
    "s3_get": 5,
    "sqs_request": 9,
    "dynamodb_write": 42,
    "dynamodb_read": 5,
    "sns_publish": 1,
    "secret_call": 0.05,
    "log_gb": 10e-6,
}


MINUTES_A_MONTH = 30 * 24 * 60

# A sweep that finds nothing: two queries of the index and a look at the circuit breaker, in less than 50 ms. Its three
# lines in the log are an estimate.
SWEEP: dict[str, float] = {
    "schedule_call": 1,
    "lambda_request": 1,
    "lambda_gb_second": 0.05 * MEMORY_GB["SweepFunction"],
    "dynamodb_read": 2 * 0.5 + 1,
    "log_gb": 0.6e-6,
}


def usd(calls: Mapping[str, float]) -> float:
    """The price of `calls`, by the names in prices.json; an unknown name is an error."""
    return sum(PRICES[name] * count for name, count in calls.items())


def sweeping() -> float:
    """The price of a month in which Sweep has nothing to do."""
    return MINUTES_A_MONTH * usd(SWEEP)


def looking(transitions: float, polls: float, seconds: float) -> dict[str, float]:
    """The calls of the looking itself: its transitions, and its Lambda invocations lasting `seconds` in all."""
    return {
        "state_transition": transitions,
        "lambda_request": polls,
        "lambda_gb_second": seconds * MEMORY_GB["PollFunction"],
    }
