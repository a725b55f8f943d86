"""AWS services that are away for minutes or hours, alone and two at once: what is in flight, and what comes then."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

from simulation.actions import Away, deploy, image, request
from simulation.fault_injection import Fault
from simulation.schedule import Action
from simulation.stories.story import TAJ, Story, pair, story

SERVICES = ("dynamodb", "s3", "sqs", "sns", "stepfunctions", "secretsmanager", "lambda")
MINUTES = (10.0, 70.0, 180.0)
BEGINS = 30.0
"""Then the first pair is at the vendor, and another has just been dropped."""
_AN_HOUR = 60.0
"""Segmind forgets a job then: whatever else goes wrong in so long an outage may cost one."""
_KEY_UNKNOWN = "a function that does not know the key cannot look at a paid job"
_NOT_KEPT = "what Poll finds is not kept where it cannot be recorded"
_NOT_BEGUN = "an execution that did not begin before the table went away cannot begin until it is back"
_NOT_TRIED_AGAIN = "an execution that meets a fault is not tried again while Step Functions is away"
_BY_THE_QUEUE = "whoever is to look at a paid job is told through the queue alone"
_NOBODY_COULD_LOOK = {"DELIVERED", "FAILED expired"}


def away(services: tuple[str, ...], minutes: float, *, hangs: bool = False, cold: bool = False) -> Story:
    """One pair is at the vendor and another on its way there as services go away; two more are dropped meanwhile."""
    steps: list[tuple[float, Action]] = [
        *pair("flying/", 10.0, "on its way"),
        *pair("dropped/", BEGINS - 0.5, "just dropped"),
        (BEGINS, Away(services, minutes, hangs)),
        *([(BEGINS + 1.0, deploy(LogRetentionDays="14"))] if cold else []),
        *pair("early/", BEGINS + 60.0, "early"),
        *pair("late/", BEGINS + 30.0 * minutes, "late"),
    ]
    known = services == ("secretsmanager",) and not cold
    return story(
        f"{' and '.join(services)} away for {minutes:g} minutes{' (hanging)' * hangs}{', and new functions' * cold}",
        *steps,
        ends=dict.fromkeys(("flying/", "dropped/"), _NOBODY_COULD_LOOK) if "lambda" in services or cold else None,
        patience=130.0 if known else _patience(services, minutes),
        fragile={} if cold else _fragile(services, minutes),
        missing=_missing(services) if minutes > _AN_HOUR else "",
    )


def _patience(services: tuple[str, ...], minutes: float) -> float | None:
    """What waits for the bucket is tried again after as long as it has waited, at last; what is to be told, hourly."""
    waits = {"s3": minutes * 60.0, "sns": 3600.0}
    return max((waits[name] for name in services if name in waits), default=None) if minutes > _AN_HOUR else None


def _missing(services: tuple[str, ...]) -> str:
    lacks = {("sqs", "stepfunctions"): _BY_THE_QUEUE, ("dynamodb", "secretsmanager"): _KEY_UNKNOWN}
    return next((lack for away, lack in lacks.items() if away == services), "")


def _fragile(services: tuple[str, ...], minutes: float) -> dict[str, str]:
    """What one more fault brings about, where nothing is missing without it."""
    if minutes < _AN_HOUR:
        return {}
    if "lambda" in services:
        if "dynamodb" in services:
            return {"poll GET": _NOT_KEPT}
        return dict.fromkeys(
            ("poll transact_write_items", "crash after of poll GET", "crash before of poll GET"), _NOT_KEPT
        )
    if services == ("dynamodb", "stepfunctions"):
        return dict.fromkeys(("submit", "poll"), _NOT_TRIED_AGAIN)
    if "dynamodb" in services:
        not_begun = dict.fromkeys(
            ("submit start_execution", "submit get_item", "submit transact_write_items"), _NOT_BEGUN
        )
        return {**not_begun, "everything lost": _NOT_KEPT}
    if services == ("stepfunctions", "secretsmanager"):
        return {"submit": _KEY_UNKNOWN}
    if "secretsmanager" in services:
        forgotten = ("pause",) if services == ("secretsmanager",) else ()
        return dict.fromkeys(("submit", "poll", "late", "throttled", *forgotten), _KEY_UNKNOWN)
    return {"submit": _BY_THE_QUEUE} if "sqs" in services else {}


def overtaken() -> Story:
    """What a slow function says of a lost answer comes after the picture, which the workflow has brought meanwhile."""
    plain = away(("dynamodb",), 10.0)
    return replace(
        plain,
        name="told that an answer was lost after the picture was delivered, as the table comes back",
        schedule=plain.schedule.with_faults(Fault(0, "stall", "submit put_object")),
        missing="",
    )


OUTAGES: tuple[Story, ...] = (
    *(away((service,), minutes) for service in SERVICES for minutes in MINUTES),
    *(away((service,), 70.0, hangs=True) for service in SERVICES if service != "lambda"),
    *(away(("secretsmanager",), minutes, cold=True) for minutes in MINUTES),
    *(away(services, 70.0) for services in combinations(SERVICES, 2)),
    overtaken(),
    story(
        "S3 is away for 40 minutes while a pair waits for a prompt",
        (0.0, image(f"{TAJ}1.png")),
        (0.1, image(f"{TAJ}2.png")),
        (10.0, Away(("s3",), 40.0)),
    ),
    story(
        "changed while SNS is away for 70 minutes",
        *pair(),
        (10.0, Away(("sns",), 70.0)),
        (90.0, request(TAJ, prompt="another")),
        missing="the workflow tells an end again without a look at earlier ones of the pair that are not told yet",
    ),
)
