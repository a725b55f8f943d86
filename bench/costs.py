"""What a render costs on AWS, by the price list in prices.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

PRICES: dict[str, float] = {
    name: price["usd"]
    for name, price in json.loads(Path(__file__).with_name("prices.json").read_text())["prices"].items()
}
POLL_GB = 0.125
LOOP_TRANSITIONS = 3  # WaitToLook, Poll, IsFinished?
END_TRANSITIONS = 3  # Finalize, IsDelivered?, Delivered

# Everything around the looking, for a pair of two photographs and a prompt: from the design, until it is measured.
AROUND: dict[str, float] = {
    "lambda_request": 3,  # Submit per image, Finalize
    "lambda_gb_second": 0.8,
    "s3_put": 6,  # two drops, two listings, the result in one part or three calls
    "s3_get": 8,
    "sqs_request": 6,
    "dynamodb_write": 14,
    "dynamodb_read": 6,
    "sns_publish": 1,
    "secret_call": 0.1,
    "log_gb": 10e-6,
}


def usd(calls: Mapping[str, float]) -> float:
    """The price of `calls`, by the names in prices.json; an unknown name is an error."""
    return sum(PRICES[name] * count for name, count in calls.items())


def looking(transitions: float, polls: float, seconds: float) -> dict[str, float]:
    """The calls of the looking itself: its transitions, and its Lambda invocations lasting `seconds` in all."""
    return {"state_transition": transitions, "lambda_request": polls, "lambda_gb_second": seconds * POLL_GB}
