"""Deliberate mistakes about how long is waited."""

from __future__ import annotations

from tests.chaos.catalogue.places import AWS
from tests.chaos.mutants import Mutant

TIMEOUTS = (
    Mutant(
        "botocore's own time-outs and tries",
        ((AWS, "ANSWER_SECONDS = 5.0", "ANSWER_SECONDS = 60.0"), (AWS, "TRIES = 3", "TRIES = 5")),
        kinds=("time-out without effect", "time-out with effect"),
    ),
    Mutant(
        "an AWS service that is waited for as long as a function lives",
        ((AWS, "ANSWER_SECONDS = 5.0", "ANSWER_SECONDS = 50.0"),),
        kinds=("time-out without effect", "time-out with effect"),
    ),
)
