"""Deliberate mistakes about who may go, and when."""

from __future__ import annotations

from tests.chaos.catalogue.places import BREAKER, POST, in_layer
from tests.chaos.mutants import Mutant

THROTTLE = (
    Mutant(
        "a burst that is not paid back",
        (
            in_layer("throttle/rate_limiter", "reserved = now + rate.at_once *", "reserved = now + 1 *"),
            in_layer(
                "throttle/rate_limiter",
                "min(slots.burst, int((slots.next_free - now) / rate.interval))",
                "slots.burst",
            ),
        ),
        ("in line",),
    ),
    Mutant(
        "slots that are too near to one another",
        (in_layer("throttle/rate_limiter", "WINDOW_SECONDS = 60.0 + SPARE", "WINDOW_SECONDS = 49.0 + SPARE"),),
        ("in line",),
    ),
    Mutant(
        "a 429 after which the next one goes at once",
        (
            in_layer(
                "throttle/rate_limiter",
                "next_free=max(slots.next_free, sane_reset(reset_at, now))",
                "next_free=slots.next_free",
            ),
        ),
        ("429",),
    ),
    Mutant(
        "a reset that is read by our own clock",
        (in_layer("throttle/rate_limiter", "return now + left if", "return reset_at if"),),
        ("the vendor's clock is two minutes ahead", "the vendor's clock is two minutes behind"),
    ),
    Mutant(
        "a pause that lets fresh drops go",
        (
            in_layer(
                "throttle/admission", "    if state.stopped:\n        return join", "    if False:\n        return join"
            ),
        ),
        ("goes on soon after the operator resumes",),
    ),
    Mutant(
        "a refusal that opens no circuit breaker",
        (
            (
                BREAKER,
                "self.deps.throttle.open_breaker(reason, self.deps.clock.now(), trial=trial, unfollowed=unfollowed)",
                "self.deps.throttle.read()",
            ),
        ),
        ("five pairs come while there are no credits",),
    ),
    Mutant(
        "a circuit breaker that stays open after a good answer",
        ((POST, "        if trial:\n            self.close_breaker()", "        if trial:\n            pass"),),
        ("thirty pairs wait forty minutes for credits",),
    ),
    Mutant(
        "trials that are put off for ever",
        (
            in_layer(
                "throttle/circuit_breaker", "_TRIAL_SECONDS = (60.0, 120.0, 300.0)", "_TRIAL_SECONDS = (60.0, 9e5, 9e5)"
            ),
        ),
        ("the model is unknown for ten minutes",),
    ),
    Mutant(
        "whoever comes goes before those in line",
        (in_layer("throttle/admission", "if not state.joined_at and at - now", "if at - now"),),
        ("newcomers while others are in line",),
    ),
)
