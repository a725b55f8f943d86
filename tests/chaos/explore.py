"""Plays schedules: every single fault of a scenario, pairs of faults, and whatever a seed gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.chaos import seeds
from tests.chaos.outside import MESSAGE_FAULTS, Fault
from tests.chaos.promises import broken
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.chaos.world import World


@dataclass(frozen=True)
class Outcome:
    """What came of a run: the world as it was left, and every promise that is broken in it."""

    scenario: Scenario
    faults: tuple[Fault, ...]
    world: World
    violations: tuple[str, ...]

    @property
    def replay(self) -> str:
        """What plays it again."""
        named = " ".join([f'"{self.scenario.name}"', *(str(fault) for fault in self.faults)])
        return f"python -m tests.chaos replay {named}"


def play(scenario: Scenario, *faults: Fault) -> Outcome:
    """Play a scenario with some more faults to its end, and hold it against the promises."""
    given = scenario.schedule
    world = World(given.with_faults(*given.faults, *faults)).run()
    return Outcome(scenario, faults, world, tuple(broken(world, scenario.ends)))


def next_faults(outcome: Outcome, after: int = -1) -> Iterator[Fault]:
    """Every fault that could strike another run of the same scenario, later than call number `after`."""
    for number, call in enumerate(outcome.world.outside.calls):
        if number > after:
            yield from (Fault(number, kind) for kind in call.kinds)
    if after < 0:
        for number in range(outcome.world.queue.sent):
            yield from (Fault(number, kind) for kind in MESSAGE_FAULTS)


def singles(name: str, part: int = 0, parts: int = 1) -> Iterator[Outcome]:
    """A scenario with every single fault, or one of so many equal parts of that."""
    scenario = SCENARIOS[name]
    faults = list(next_faults(play(scenario)))
    yield from (play(scenario, fault) for fault in faults[part::parts])


def pairs(name: str, runs: int, part: int = 0, parts: int = 1) -> Iterator[Outcome]:
    """A sample of the scenario's pairs of faults: a first one in turn, and by chance one that can follow it."""
    scenario, rng = SCENARIOS[name], Random(f"{name} {part}")
    firsts = [fault for fault in next_faults(play(scenario)) if not fault.of_message][part::parts]
    rng.shuffle(firsts)
    for number in range(runs):
        first = firsts[number % len(firsts)]
        seconds = list(next_faults(play(scenario, first), after=first.at))
        if seconds:
            yield play(scenario, first, rng.choice(seconds))


def seeded(seed: int) -> Outcome:
    """The run that a seed gives."""
    return play(seeds.schedule(seed))


def smallest(outcome: Outcome) -> Outcome:
    """As little as possible of a seed's schedule that still breaks the same promises."""
    removed = frozenset[int]()
    for number in reversed(seeds.removable(outcome.scenario)):
        tried = play(seeds.without(outcome.scenario, removed | {number}))
        if _promises(tried) & _promises(outcome):
            smaller, removed = tried, removed | {number}
    return smaller if removed else outcome


def _promises(outcome: Outcome) -> set[str]:
    return {violation.partition(":")[0] for violation in outcome.violations}


def named(name: str) -> Scenario:
    """A scenario by its name, or what a seed gives: `seed:7`, or `seed:7-3,5` without its elements 3 and 5."""
    if not name.startswith("seed:"):
        return SCENARIOS[name]
    seed, _, removed = name.removeprefix("seed:").partition("-")
    return seeds.without(seeds.schedule(int(seed)), frozenset(int(number) for number in removed.split(",") if number))
