"""Plays schedules: every single fault of a scenario, pairs of faults, and whatever a seed gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.outside import MESSAGE_FAULTS, Fault
from tests.chaos.promises import broken
from tests.chaos.scenarios import Scenario
from tests.chaos.world import World


@dataclass(frozen=True)
class Outcome:
    """What came of a run: the calls it made and the messages sent, and every promise it broke."""

    world: World
    violations: tuple[str, ...]


def play(scenario: Scenario, *faults: Fault) -> Outcome:
    """Play a scenario with some faults to its end, and hold it against the promises."""
    world = World(scenario.schedule.with_faults(*faults)).run()
    return Outcome(world, tuple(broken(world, scenario.ends)))


def next_faults(outcome: Outcome, after: int = -1) -> Iterator[Fault]:
    """Every fault that could strike another run of the same scenario, later than call number `after`."""
    for number, call in enumerate(outcome.world.outside.calls):
        if number > after:
            yield from (Fault(number, kind) for kind in call.kinds)
    if after < 0:
        for number in range(outcome.world.queue.sent):
            yield from (Fault(number, kind) for kind in MESSAGE_FAULTS)
