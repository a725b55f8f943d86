"""Schedules out of a seed: many pairs, dropped, changed and repeated in any order, while everything goes wrong.

`seed:17` meets what every call and the account can do; `wide:17` also outages, lost messages, aborted executions,
deployments, pauses; `wider:17` hours of outages, requests taken though refused, removals, and an operator's slips.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from kontext_local.segmind.settings import MODEL
from simulation.actions import (
    Abort,
    Away,
    Drop,
    LoseEverything,
    Queue,
    Remove,
    Script,
    Secret,
    WellAgain,
    account,
    deploy,
    image,
    request,
    vendor,
)
from simulation.decisions import Decide, Decided, PauseOrResume, Slip
from simulation.fault_injection import EVERYWHERE, MESSAGE_FAULTS, SPECIAL, Fault
from simulation.schedule import Action, Schedule, Step
from simulation.stories.story import FAILS, OTHER_KEY, REFUSED, Story
from simulation.vendor import CAPITAL
from simulation.world import KEY

Steps = list[tuple[float, Action]]
SHARED = "shared/logo.png"
SERVICES = ("dynamodb", "s3", "sqs", "sns", "stepfunctions", "secretsmanager", "lambda")
_MIDNIGHT = 57_600.0
_MOST_FAULTS = 4
"""Fewer than a message may be received, so that none dies of crashes alone."""


def schedule(seed: int, kind: str = "seed") -> Story:
    """What a seed of a kind gives; the same every time."""
    rng = Random(seed if kind == "seed" else f"{kind} {seed}")
    start = rng.choice([0.0, 0.0, _MIDNIGHT - rng.uniform(0, 300)])
    pairs = rng.randint(2, 7)
    steps: Steps = [(0.0, vendor(fail="blocked", prompt=FAILS, times=None))]
    steps += [(0.0, vendor(status=400, body={"error": "no"}, prompt=REFUSED, times=None))]
    for number in range(pairs):
        steps += _pair(rng, f"p{number}/", start + rng.choice([0.0, rng.uniform(0, 5), rng.uniform(0, 300)]))
    steps.append((start + rng.uniform(0, 300), image(SHARED)))
    for trouble in rng.sample(_TROUBLES, rng.choice([0, 0, 1, 1, 2])):
        steps += trouble(rng, start)
    for more in rng.sample(_MORE[kind], rng.choice([1, 1, 2, 3])) if _MORE[kind] else ():
        steps += more(rng, start)
    steps.append((start + 900.0, account(keys=(KEY, OTHER_KEY), credits=CAPITAL, models={MODEL: "available"})))
    given = Schedule(
        steps=tuple(Step(at, action) for at, action in sorted(steps, key=lambda step: step[0])),
        parameters=_parameters(rng, pairs, start),
        account={"rate_window": rng.choice(["fixed", "sliding"]), "count_gets": False},
        faults=_faults(rng, pairs),
        seed=seed,
        provokes_429=True,
    )
    return Story(f"{kind}:{seed}", given)


def without(story: Story, removed: frozenset[int]) -> Story:
    """The story without some of its steps and faults, by their numbers: steps first, then faults."""
    given = story.schedule
    steps = tuple(step for number, step in enumerate(given.steps) if number not in removed)
    faults = tuple(fault for number, fault in enumerate(given.faults, len(given.steps)) if number not in removed)
    name = f"{story.name}-{','.join(map(str, sorted(removed)))}" if removed else story.name
    return Story(name, replace(given, steps=steps, faults=faults))


def removable(story: Story) -> list[int]:
    """What can be left out; what happens to the account cannot: it would stay refused for ever."""
    given = story.schedule
    steps = [number for number, step in enumerate(given.steps) if isinstance(step.action, Drop | Script)]
    return [*steps, *range(len(given.steps), len(given.steps) + len(given.faults))]


def _pair(rng: Random, prefix: str, at: float) -> Steps:
    parts = _parts(rng, prefix)
    rng.shuffle(parts)
    apart = rng.choice([0.0, 0.1, 3.0, 30.0])
    dropped: Steps = [(at + rng.uniform(0, apart), part) for part in parts]
    return dropped + [(at + rng.uniform(0, 400), later) for later in _later(rng, prefix, parts)]


def _parts(rng: Random, prefix: str) -> list[Drop]:
    prompt = f"both in {prefix}" + rng.choice(["", "", "", FAILS, REFUSED])
    times = rng.choice([1, 1, 1, 2])
    one = replace(image(f"{prefix}1.png"), notices=times)
    two = replace(image(f"{prefix}2.png"), notices=times)
    match rng.randrange(6):
        case 0:
            return [one, two]
        case 1:
            return [one, two, Drop(f"{prefix}prompt.txt", prompt.encode())]
        case 2:
            return [two, request(prefix, prompt=prompt, input_image_1=f"/{SHARED}")]
        case 3:
            return [image(f"{prefix}1.png", prompt=prompt), two]
        case 4:
            return [one]
    return [one, two, request(prefix, prompt=prompt, output_format=rng.choice(["png", "jpg"]))]


def _later(rng: Random, prefix: str, parts: list[Drop]) -> list[Drop]:
    another = image(f"{prefix}2.png", f"version {rng.randrange(2)}")
    names = {"input_image_1": f"/{SHARED}"} if any(SHARED.encode() in part.content for part in parts) else {}
    asked = request(prefix, prompt=f"something else in {prefix}", **names)
    wrong = rng.choice([request(prefix, prompt=7), Drop(f"{prefix}2.png", b"no picture")])
    choices: list[list[Drop]] = [[], [], [], [rng.choice(parts)], [another], [asked], [another, rng.choice(parts)]]
    return rng.choice([*choices, [wrong], [wrong, *parts]])


def _parameters(rng: Random, pairs: int, start: float) -> dict[str, str]:
    limit = 0.05 * rng.randint(pairs, 2 * pairs) if start else 25.0
    return {"RequestsPerMinute": str(rng.choice([5, 20, 50])), "DailySpendLimit": f"{limit:.2f}"}


def _faults(rng: Random, pairs: int) -> tuple[Fault, ...]:
    kinds = (*EVERYWHERE, *SPECIAL)
    calls = [Fault(rng.randrange(45 * pairs), rng.choice(kinds)) for _ in range(rng.randint(0, _MOST_FAULTS))]
    messages = [Fault(rng.randrange(4 * pairs), rng.choice(MESSAGE_FAULTS)) for _ in range(rng.randint(0, 3))]
    return (*calls, *messages)


def _no_credits(rng: Random, start: float) -> Steps:
    at = start + rng.uniform(0, 200)
    return [(at, account(credits=0.01)), (at + rng.uniform(5, 400), account(credits=CAPITAL))]


def _new_key(rng: Random, start: float) -> Steps:
    at = start + rng.uniform(0, 200)
    return [(at, account(keys=(OTHER_KEY,))), (at + rng.uniform(-60, 400), Secret(OTHER_KEY))]


def _key_back(rng: Random, start: float) -> Steps:
    at = start + rng.uniform(0, 200)
    return [(at, account(keys=(OTHER_KEY,))), (at + rng.uniform(5, 400), account(keys=(KEY,)))]


def _forbidden(rng: Random, start: float) -> Steps:
    at = start + rng.uniform(0, 200)
    return [
        (at, account(models={MODEL: "forbidden"})),
        (at + rng.uniform(5, 400), account(models={MODEL: "available"})),
    ]


def _bad_answers(rng: Random, start: float) -> Steps:
    refusals: list[dict[str, Any]] = [{"status": status, "body": {"error": "oh"}} for status in (429, 500, 502, 503)]
    wrong: list[dict[str, Any]] = [{"drop": True}, {"text": "<html>", "status": 200}, {"hang": 3.0}]
    answers = {"submit": refusals + wrong, "status": refusals + wrong, "result": refusals + wrong, "output": refusals}
    return [
        (start + rng.uniform(0, 300), vendor(on=on, times=rng.randint(1, 3), **rng.choice(answers[on])))
        for on in rng.sample(sorted(answers), rng.randint(1, 3))
    ]


def _lost_answers(rng: Random, start: float) -> Steps:
    return [(start + rng.uniform(0, 100), vendor(drop=True, accept=rng.choice([True, False])))]


def _outage(rng: Random, start: float) -> Steps:
    services = tuple(rng.sample(SERVICES, rng.choice([1, 1, 2])))
    return [(start + rng.uniform(0, 300), Away(services, rng.choice([10, 70, 180]), hangs=rng.random() < 0.2))]


def _ten_minutes(rng: Random, start: float) -> Steps:
    service = rng.choice(("dynamodb", "sqs", "secretsmanager", "lambda"))
    return [(start + rng.uniform(0, 300), Away((service,), 10))]


def _purge(rng: Random, start: float) -> Steps:
    return [(start + rng.uniform(0, 300), Queue("lose hints"))]


def _abort(rng: Random, start: float) -> Steps:
    return [(start + rng.uniform(0, 300), Abort())]


def _everything_lost(rng: Random, start: float) -> Steps:
    return [(start + rng.uniform(0, 300), LoseEverything())]


def _deployment(rng: Random, start: float) -> Steps:
    name, values = rng.choice(_PARAMETERS)
    return [(start + rng.uniform(0, 300), deploy(**{name: value})) for value in rng.sample(values, len(values))]


def _removal(rng: Random, start: float) -> Steps:
    key = f"p{rng.randrange(7)}/{rng.choice(['1.png', '2.png', 'request.json'])}"
    at = start + rng.uniform(0, 300)
    return [(at, Remove(key, rng.choice(["deleted", "expired"])))]


def _pause(rng: Random, start: float) -> Steps:
    at = start + rng.uniform(0, 300)
    return [(at, PauseOrResume("pause")), (at + rng.uniform(1, 600), PauseOrResume("resume"))]


def _slip(rng: Random, start: float) -> Steps:
    prefix, at = f"p{rng.randrange(7)}/", start + rng.uniform(0, 600)
    slips: list[Slip] = ["", "a wrong digit", "another pair's"]
    slip = rng.choice(slips)
    decisions: list[Decided] = ["request-id", "redeliver", "give-up"]
    what = rng.choice(decisions)
    return [
        (at, vendor(drop=True, accept=True)),
        (at + 100, Decide(prefix, what, slip if what == "request-id" else "")),
    ]


def _gateway(rng: Random, start: float) -> Steps:
    status, accept = rng.choice([500, 502, 503, 504]), rng.choice([True, False])
    answer = vendor(status=status, body={"error": "gateway"}, accept=accept, times=rng.choice([1, 3, 10]))
    return [(start + rng.uniform(0, 300), answer)]


def _brown_out(rng: Random, start: float) -> Steps:
    at = start + rng.uniform(0, 300)
    gone = vendor(on="status", status=404, body={"error": "Request not found"}, times=None)
    return [(at, gone), (at + rng.uniform(10, 600), WellAgain())]


_MORE: dict[str, list[Callable[[Random, float], Steps]]] = {
    "seed": [],
    "wide": [_ten_minutes, _purge, _abort, _everything_lost, _deployment, _pause],
    "wider": [_outage, _removal, _slip, _gateway, _brown_out],
}
_PARAMETERS = (
    ("RequestsPerMinute", ["5", "50"]),
    ("DefaultOutputFormat", ["jpg"]),
    ("DefaultPrompt", ["another default"]),
    ("PromptWaitSeconds", ["1", "60"]),
    ("RecordRetentionDays", ["30"]),
)
_TROUBLES: list[Callable[[Random, float], Steps]] = [
    _no_credits,
    _new_key,
    _key_back,
    _forbidden,
    _bad_answers,
    _lost_answers,
]
