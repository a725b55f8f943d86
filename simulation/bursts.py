"""What a pair costs in calls, and how long many pairs take: bursts of any size and rate, on virtual time.

python -m simulation.bursts 10 100 1000                    dropped all at once, at 50 a minute
python -m simulation.bursts --per-minute 1000 10000        at another rate
python -m simulation.bursts --rough 1000                   on a bad day: see `rough`
python -m simulation.bursts --late 3000                    all name one photograph that comes last

with PYTHONPATH=.:functions
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from kontext.model import Status
from kontext.throttle.rate_limiter import Rate
from kontext_local.segmind import Lognormal
from simulation.actions import Drop, image, request
from simulation.evidence import Evidence
from simulation.explore import PROMISED, broken
from simulation.liveness import LIVENESS
from simulation.schedule import Schedule, Step
from simulation.world import World

SIZES = (10, 100, 1000, 10_000)
PER_MINUTE = 50.0
_LATE = "shared/late.png"
_LONGEST_MESSAGE = 20.0
_SHARE = 0.97


@dataclass(frozen=True)
class Burst:
    """So many pairs dropped at once: calls by service, requests to Segmind, and what else AWS charges for.

    `seconds`: from the first POST to the last; `sent`: how many of them; `delivered`: how many pairs were; `overtaken`:
    how many went before one of their folder that had come before; `longest`: for how many seconds one message was
    worked on.
    """

    pairs: int
    per_minute: float
    calls: dict[str, int]
    seconds: float
    sent: int
    delivered: int
    refused: int
    overtaken: int
    longest: float
    violations: tuple[str, ...]

    @property
    def used(self) -> float:
        """The share of the slots that were used between the first request and the last."""
        return (self.sent - 1) * Rate(self.per_minute).interval / self.seconds if self.seconds else 1.0


def burst(pairs: int, per_minute: float = PER_MINUTE) -> Burst:
    """Drop the pairs all at once, at this rate and before a vendor with it as its hard limit."""
    return _played(pairs, per_minute, at_once(pairs))


def at_once(pairs: int) -> Schedule:
    """So many pairs, each in a folder of its own."""
    return Schedule(tuple(Step(0.0, drop) for n in range(pairs) for drop in _pair(f"p{n}/")))


def rough(pairs: int, per_minute: float = PER_MINUTE, seed: int = 1) -> Burst:
    """The pairs of two folders on a bad day: sweeps are 1 to 119 seconds apart, or two at once, a fiftieth of our own
    messages is lost, and a tenth of those who wait is replaced by a wrong request."""
    names = [f"{folder}/p{n}/" for n in range(pairs // 2) for folder in "ab"]
    steps = [Step(number * 0.05, drop) for number, name in enumerate(names) for drop in _pair(name)]
    replaced = names[pairs // 3 :: 10]
    wrong = [Step(120.0, request(name, prompt="")) for name in replaced]
    ends = {name: {"DELIVERED", "FAILED invalid_request"} for name in replaced}
    played = _played(pairs, per_minute, Schedule((*steps, *wrong), seed=seed, hints_lost=0.02), ends)
    unused = () if played.used >= _SHARE else (f"{played.used:.1%} of the slots used",)
    overtaken = (f"{played.overtaken} out of order",) if played.overtaken else ()
    return replace(played, violations=(*played.violations, *unused, *overtaken))


def late(pairs: int, per_minute: float = PER_MINUTE) -> Burst:
    """The pairs of as many folders name one photograph, which comes when all of them wait for it."""
    steps = [Step(0.0, drop) for n in range(pairs) for drop in _names_one(f"p{n}/")]
    return _played(pairs, per_minute, Schedule((*steps, Step(60.0 + pairs / 10, image(_LATE)))))


def _played(pairs: int, per_minute: float, schedule: Schedule, ends: Mapping[str, set[str]] | None = None) -> Burst:
    account = {"workers": 1000, "inference": Lognormal(cv=0.2), "credits": pairs, "rate_limit": int(per_minute)}
    parameters = {"RequestsPerMinute": f"{per_minute:.0f}", "DailySpendLimit": str(pairs)}
    world = World(replace(schedule, parameters=parameters, account=account, remembers=False)).run()
    seen, posts = Evidence(world, ends or {}), world.vendor.ledger.posts
    violations = broken((*PROMISED, *LIVENESS), seen)
    if world.longest_message > _LONGEST_MESSAGE:
        violations = (*violations, f"a message was worked on for {world.longest_message:.1f} s")
    seconds, refused = posts[-1].at - posts[0].at, world.vendor.ledger.too_many_requests
    overtaken = sum(_overtaken(seen))
    delivered = sum(render["status"] == Status.DELIVERED for render in seen.renders)
    return Burst(
        pairs,
        per_minute,
        _calls(world),
        seconds,
        len(posts),
        delivered,
        refused,
        overtaken,
        world.longest_message,
        violations,
    )


def _overtaken(seen: Evidence) -> Iterator[bool]:
    """For each pair that stood in line after another of its folder, whether it went before it."""
    went = [
        (render["prefix"].partition("/")[0], render["line_at"], jobs[0].accepted_at)
        for render in seen.renders
        if (jobs := seen.jobs_of(render)) and "line_at" in render
    ]
    for one, other in pairwise(sorted(went)):
        yield one[0] == other[0] and other[2] < one[2]


def _pair(prefix: str) -> tuple[Drop, ...]:
    return image(f"{prefix}1.png"), image(f"{prefix}2.png"), request(prefix, prompt=f"both in {prefix}")


def _names_one(prefix: str) -> tuple[Drop, ...]:
    return image(f"{prefix}2.png"), request(prefix, prompt=f"both in {prefix}", input_image_1=f"/{_LATE}")


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
    return (
        f"{one.pairs} pairs at {one.per_minute:.0f} a minute: {one.sent} sent in {one.seconds:.0f} s, "
        f"{one.used:.1%} of the slots used, {one.delivered} delivered, {one.overtaken} out of order, "
        f"{one.refused} answers of 429, no message worked on for over {one.longest:.1f} s"
    )


def main() -> None:
    """Print what the bursts of the command line cost and how they went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="*", default=SIZES, help="how many pairs")
    parser.add_argument("--per-minute", type=float, default=PER_MINUTE, help="requests a minute")
    parser.add_argument("--rough", dest="how", action="store_const", const=rough, default=burst, help="on a bad day")
    parser.add_argument("--late", dest="how", action="store_const", const=late, help="all name one that comes last")
    asked = parser.parse_args()
    measured = [asked.how(size, asked.per_minute) for size in asked.sizes]
    print(table(measured))
    for each in measured:
        print(pace(each), *each.violations[:5])


if __name__ == "__main__":
    main()
