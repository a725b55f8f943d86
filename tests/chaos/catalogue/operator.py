"""Deliberate mistakes about the operator's commands."""

from __future__ import annotations

from tests.chaos.catalogue.places import DECISIONS, OPERATE, in_layer
from tests.chaos.mutants import Mutant

OPERATOR = (
    Mutant(
        "an adopted job that nobody looks at",
        ((DECISIONS, "self.operator.workflow.start(render, wait=0)", "pass"),),
        ("the answer is lost, and the operator says: request-id",),
    ),
    Mutant(
        "an id that is taken on trust",
        ((DECISIONS, "self.operator.segmind.status(request_id)", "pass"),),
        ("an id with a wrong digit, and the right one later",),
    ),
    Mutant(
        "an id that another record has",
        (
            (
                DECISIONS,
                "self._refuse_other(render, self._jobs.get(request_id.lower())",
                "self._refuse_other(render, None",
            ),
        ),
        ("another pair's id", "the id of another job of the same pair"),
    ),
    Mutant(
        "a job that a broken answer names and nobody looks for again",
        (in_layer("renders/overdue", 'return "verify"', 'return "announce"'),),
        ("an answer with the job's id breaks off, and no job is known for two minutes",),
    ),
    Mutant(
        "a cost that is believed whatever it is",
        (in_layer("renders/ledger", "0 < cost <= BELIEVED_PRICES * price", "cost >= 0"),),
        ("a cost of 30 USD is stated once",),
    ),
    Mutant(
        "a redelivery that starts nothing",
        ((OPERATE, "self.workflow.start(render, wait=0)", "True"),),
        ("the host of the picture is allowed, and it is delivered again",),
    ),
    Mutant(
        "what was given up is not told",
        ((DECISIONS, "announce(render, operator.drops, outputs, operator.topic, operator.renders)", "pass"),),
        ("the request is lost, and the operator gives it up",),
    ),
    Mutant(
        "what an operator sends again stands in no line",
        ((DECISIONS, 'render["drop_id"], now, line_at=line_at)', 'render["drop_id"], now)'),),
        ("the answer is lost, and the operator says: resubmit",),
    ),
    Mutant(
        "a pause past which permits let renders go",
        (
            in_layer(
                "throttle/admission",
                "    if state.paused.reason or (state.breaker.reason and not trial):",
                "    if state.breaker.reason and not trial:",
            ),
        ),
        ("the operator pauses while five are in line",),
    ),
    Mutant(
        "a pause that nothing ends",
        (in_layer("throttle/throttle", "paused=end(state.paused, now), breaker=breaker", "breaker=breaker"),),
        ("goes on soon after the operator resumes",),
    ),
)
