"""Calls per delivered pair: the real handlers, in process and on virtual time, between AWS in memory and the emulator.

A pair is two photographs, the prompt in their metadata. `steady`: a pair every 1.3 s, so that none waits for its
turn; `at once`: all are dropped in the first second, and wait in line for the plan's 50 requests a minute.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.costs import MEMORY_GB
from bench.part import Part
from kontext_local.segmind import Lognormal
from simulation.actions import image
from simulation.fault_injection import Call
from simulation.schedule import Schedule, Step
from simulation.world import FUNCTIONS, World

PAIRS = (10, 100, 1_000)
EVERY_SECONDS = {"steady": 1.3, "at once": 0.0}
MOST_AT_ONCE = 1_000
SERVICES = ("dynamodb", "s3", "sqs", "stepfunctions", "sns", "secretsmanager")
_PARAMETERS = {"DailySpendLimit": "1000000"}
_ACCOUNT = {"workers": 10_000, "inference": Lognormal(cv=0.2)}


@dataclass(frozen=True)
class Run:
    """What `pairs` delivered pairs took, each figure per pair.

    `aws`: requests by service, with those of who drops and of Lambda's reading of the queue. `lambda_ms`: by
    function, on the virtual clock: what calls and sleeps take, without the processor's time. `billed`: what is not
    part of the polling, by the names in prices.json. `pairs_a_minute`: through the handlers, on this machine.
    """

    pairs: int
    aws: Mapping[str, float]
    segmind: Mapping[str, float]
    transitions: float
    invocations: Mapping[str, float]
    lambda_ms: Mapping[str, float]
    operations: Mapping[str, float]
    billed: Mapping[str, float]
    pairs_a_minute: float


class TimedWorld(World):
    """A world that keeps how long its functions run, in seconds, and how often."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(schedule)
        self.seconds = dict.fromkeys(FUNCTIONS, 0.0)
        self.runs = dict.fromkeys(FUNCTIONS, 0)

    def invoke(self, name: str, event: Any, ended: Any, chain: int = 1) -> None:
        began = self.scheduler.now

        def over(answer: Any, problem: BaseException | None) -> None:
            self.seconds[name] += self.scheduler.now - began
            ended(answer, problem)

        self.runs[name] += 1
        super().invoke(name, event, over, chain)


def measure(pairs: Iterable[int] = PAIRS, seed: int = 1) -> Part:
    """Plays both workloads at each number of pairs."""
    found = {
        workload: {count: play(count, every, seed) for count in pairs if every or count <= MOST_AT_ONCE}
        for workload, every in EVERY_SECONDS.items()
    }
    return Part(
        summary={
            "calls_per_pair": {str(count): sum(run.aws.values()) for count, run in found["steady"].items()},
            "calls_per_pair_at_once": {str(count): sum(run.aws.values()) for count, run in found["at once"].items()},
        },
        figures={name: {str(count): asdict(run) for count, run in runs.items()} for name, runs in found.items()},
        text=_text(found),
    )


def play(count: int, every: float, seed: int) -> Run:
    """Drops so many pairs and counts until all are delivered. Raises RuntimeError if one is not."""
    steps = [step for number in range(count) for step in _drops(number, every * number)]
    world = TimedWorld(Schedule(tuple(steps), parameters=_PARAMETERS, account=_ACCOUNT, seed=seed))
    began = time.monotonic()
    world.run()
    took = time.monotonic() - began
    if Counter(one.status for one in world.executions.all) != {"SUCCEEDED": count}:
        raise RuntimeError(f"not all of {count} pairs were delivered")
    return _run(world, count, 60 * count / took)


def _drops(number: int, at: float) -> tuple[Step, Step]:
    first, second = (image(f"p{number}/{slot}.png", prompt=f"both of {number}") for slot in (1, 2))
    return Step(at, first), Step(at + 0.1, second)


def _run(world: TimedWorld, count: int, pairs_a_minute: float) -> Run:
    def per_pair(counts: Mapping[str, float]) -> dict[str, float]:
        return {name: number / count for name, number in counts.items()}

    calls = world.injector.calls
    transitions = sum(one.transitions for one in world.executions.all)
    return Run(
        pairs=count,
        aws=per_pair(_by_service(world, count)),
        segmind=per_pair(Counter(_kind(call) for call in calls if call.service == "segmind")),
        transitions=transitions / count,
        invocations=per_pair(world.runs),
        lambda_ms=per_pair({name: 1000 * seconds for name, seconds in world.seconds.items()}),
        operations=per_pair(
            dict(sorted(Counter(f"{call.process.split()[0]} {_name(call)}" for call in calls).items()))
        ),
        billed=per_pair(_billed(world, count)),
        pairs_a_minute=pairs_a_minute,
    )


def _by_service(world: TimedWorld, count: int) -> dict[str, float]:
    made = Counter(call.service for call in world.injector.calls)
    dropped = 2 * count
    # Each message is received and deleted by Lambda; each drop is put by somebody, and told to the queue by S3.
    made["sqs"] += 2 * world.runs["SubmitFunction"] + dropped
    made["s3"] += dropped
    return {service: made[service] for service in SERVICES}


def _billed(world: TimedWorld, count: int) -> dict[str, float]:
    calls = world.injector.calls
    s3, dynamodb = _operations_of(calls, "s3"), _operations_of(calls, "dynamodb")
    around = ("SubmitFunction", "FinalizeFunction")
    aws = _by_service(world, count)
    return {
        "lambda_request": sum(world.runs[name] for name in around),
        "lambda_gb_second": sum(world.seconds[name] * MEMORY_GB[name] for name in around),
        "s3_put": 2 * count + s3["put_object"],
        "s3_get": s3["get_object"] + s3["head_object"],
        "sqs_request": aws["sqs"],
        "dynamodb_write": sum(_units(call, world.dynamodb.items) for call in calls if call.service == "dynamodb"),
        "dynamodb_read": dynamodb["get_item"],
        "sns_publish": aws["sns"],
        "secret_call": aws["secretsmanager"],
    }


def _operations_of(calls: Iterable[Call], service: str) -> Counter[str]:
    return Counter(call.name for call in calls if call.service == service)


def _units(call: Call, items: Mapping[tuple[str, str], Any]) -> int:
    """Write units: one for each begun KB of the item as it is at the end, two in a transaction."""
    if call.name == "transact_write_items":
        return sum(2 * _kilobytes(next(iter(one.values())), items) for one in call.asked["TransactItems"])
    return _kilobytes(call.asked, items) if call.name == "update_item" else 0


def _kilobytes(write: Mapping[str, Any], items: Mapping[tuple[str, str], Any]) -> int:
    place = (write["Key"]["pk"]["S"], write["Key"]["sk"]["S"])
    return max(1, math.ceil(_bytes({"M": items.get(place, {})}) / 1024))


def _bytes(value: Mapping[str, Any]) -> int:
    """An attribute value's size as DynamoDB counts it."""
    ((kind, content),) = value.items()
    match kind:
        case "M":
            return 3 + sum(len(name) + 1 + _bytes(inner) for name, inner in content.items())
        case "L":
            return 3 + sum(1 + _bytes(inner) for inner in content)
        case "N":
            return 2 + len(str(content)) // 2
        case "NULL" | "BOOL":
            return 1
        case "SS":
            return sum(len(one.encode()) for one in content)
    return len(content) if kind == "B" else len(content.encode())


def _name(call: Call) -> str:
    return f"segmind {_kind(call)}" if call.service == "segmind" else f"{call.service} {call.name}"


def _kind(call: Call) -> str:
    if call.name.startswith("POST"):
        return "request"
    if call.name.endswith("/status"):
        return "polls"
    return "result" if "/requests/" in call.name else "picture"


def _text(found: Mapping[str, Mapping[int, Run]]) -> str:
    tables = [f"### {name}\n\n{_table(runs)}" for name, runs in found.items()]
    return _INTRODUCTION + "\n\n".join([*tables, _operations(found["steady"])])


def _table(runs: Mapping[int, Run]) -> str:
    rows: dict[str, list[float]] = {}
    for run in runs.values():
        figures = {f"{service} requests": number for service, number in run.aws.items()}
        figures |= {"**AWS requests**": sum(run.aws.values()), "state transitions": run.transitions}
        figures |= {f"Segmind: {kind}": run.segmind[kind] for kind in ("request", "polls", "result", "picture")}
        figures |= {f"{name}: invocations": number for name, number in run.invocations.items()}
        figures |= {f"{name}: ms": number for name, number in run.lambda_ms.items()}
        figures |= {"pairs a minute through the handlers, here": run.pairs_a_minute}
        for name, number in figures.items():
            rows.setdefault(name, []).append(number)
    lines = [f"| {name} | " + " | ".join(_shown(number) for number in numbers) + " |" for name, numbers in rows.items()]
    head = "| per pair | " + " | ".join(f"{count:,} pairs" for count in runs) + " |"
    return "\n".join([head, "|---|" + "--:|" * len(runs), *lines])


def _shown(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.2f}"


def _operations(runs: Mapping[int, Run]) -> str:
    run = runs[max(runs)]
    lines = "\n".join(f"| {name} | {number:.2f} |" for name, number in run.operations.items())
    return f"### Each call, steady, {run.pairs:,} pairs\n\n| function and call | per pair |\n|---|--:|\n{lines}"


_INTRODUCTION = """## Calls per pair

The real handlers, in process and on virtual time, between AWS in memory and the emulator; renders take 23.32 s, cv 0.2.
A pair is two photographs with the prompt in their metadata. *Steady*: a pair every 1.3 s, so that none has to wait.
*At once*: all are dropped in the same instant, and stand in line for 50 requests a minute. The requests of whoever
drops, of S3 to the queue and of Lambda's reading of it are counted. Lambda's time is that of calls (0.01 s, S3 0.03 s,
Segmind 0.2 s on average) and sleeps, without the processor's.

"""
