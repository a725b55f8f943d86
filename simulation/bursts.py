"""What a pair costs in calls, and how long many pairs take: bursts of any size, on virtual time.

python -m simulation.bursts 10 100 1000
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from kontext_local.segmind import Lognormal
from simulation.actions import image, request
from simulation.evidence import Evidence
from simulation.explore import PROMISED, broken
from simulation.liveness import LIVENESS
from simulation.schedule import Schedule, Step
from simulation.world import World

SIZES = (10, 100, 1000, 10_000)
RATE = 50.0
_BATCHES = "batches"


@dataclass(frozen=True)
class Burst:
    """So many pairs dropped at once: calls by service, requests to Segmind, and what else AWS charges for.

    `seconds`: from the first POST to the last.
    """

    pairs: int
    calls: dict[str, int]
    seconds: float
    refused: int
    violations: tuple[str, ...]

    @property
    def ideal(self) -> float:
        """Seconds that the rate itself takes."""
        return self.pairs * 60 / RATE


def burst(pairs: int) -> Burst:
    """Drop the pairs all at once, at the rate of the default and before a vendor with this as its hard limit."""
    drops = [Step(0.0, drop) for n in range(pairs) for drop in _pair(f"p{n}/")]
    account = {"workers": 1000, "inference": Lognormal(cv=0.2), "credits": pairs}
    parameters = {"RequestsPerMinute": f"{RATE:.0f}", "DailySpendLimit": str(pairs)}
    world = World(Schedule(tuple(drops), parameters, account, remembers=False)).run()
    ledger, violations = world.vendor.ledger, broken((*PROMISED, *LIVENESS), Evidence(world, {}))
    seconds = ledger.posts[-1].at - ledger.posts[0].at
    return Burst(pairs, _calls(world), seconds, ledger.too_many_requests, violations)


def _pair(prefix: str) -> tuple[object, ...]:
    return image(f"{prefix}1.png"), image(f"{prefix}2.png"), request(prefix, prompt=f"both in {prefix}")


def _calls(world: World) -> dict[str, int]:
    transitions = sum(execution.transitions for execution in world.executions.all)
    return {**world.injector.count, "transitions": transitions, "invocations": world.invocations}


_COLUMNS = {
    "S3": "s3",
    "DynamoDB": "dynamodb",
    "SQS": "sqs",
    "SNS": "sns",
    "Step Functions": "stepfunctions",
    "state transitions": "transitions",
    "invocations": "invocations",
    "Segmind": "segmind",
}


def table(bursts: Sequence[Burst]) -> str:
    """Calls per pair, a line for each burst."""
    lines = ["  ".join(["   pairs", *(f"{name:>{max(8, len(name))}}" for name in _COLUMNS)])]
    for one in bursts:
        figures = [(name, one.calls.get(service, 0) / one.pairs) for name, service in _COLUMNS.items()]
        lines.append("  ".join([f"{one.pairs:8}", *(f"{value:{max(8, len(name))}.2f}" for name, value in figures)]))
    return "\n".join(lines)


def pace(one: Burst) -> str:
    """How near a burst came to what the rate allows."""
    over = (one.seconds / one.ideal - 1) * 100
    return (
        f"{one.pairs} pairs at {RATE:.0f} a minute: {one.seconds:.0f} s, ideal {one.ideal:.0f} s ({over:+.1f} %), "
        f"{one.refused} answers of 429"
    )


if __name__ == "__main__":
    measured = [burst(int(size)) for size in sys.argv[1:] or SIZES]
    print(table(measured))
    for each in measured:
        print(pace(each), *each.violations[:5])
