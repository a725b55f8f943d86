"""Plays stories: each with every fault that can strike it, with pairs of faults, and whatever a seed gives."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from simulation import seeds
from simulation.fault_injection import MESSAGE_FAULTS, Fault
from simulation.promises import broken
from simulation.stories import STORIES, Story
from simulation.world import World


@dataclass(frozen=True)
class Outcome:
    """What came of a run: the world as it was left, and every promise that is broken in it."""

    story: Story
    faults: tuple[Fault, ...]
    world: World
    violations: tuple[str, ...]

    @property
    def again(self) -> str:
        """What plays and tells it again."""
        faults = " ".join(f"--fault {fault}" for fault in self.faults)
        return f"make chaos RUN={shlex.quote(f'--story {shlex.quote(self.story.name)} {faults}'.strip())}"


def play(story: Story, *faults: Fault) -> Outcome:
    """Play a story with some more faults to its end, and hold it against the promises."""
    given = story.schedule
    world = World(given.with_faults(*given.faults, *faults)).run()
    return Outcome(story, faults, world, tuple(broken(world, story.ends)))


def next_faults(outcome: Outcome, after: int = -1) -> Iterator[Fault]:
    """Every fault that could strike another run of the same story, later than call number `after`."""
    for number, call in enumerate(outcome.world.injector.calls):
        if number > after:
            yield from (Fault(number, kind) for kind in call.kinds)
    if after < 0:
        for number in range(outcome.world.queue.sent):
            yield from (Fault(number, kind) for kind in MESSAGE_FAULTS)


def named(name: str) -> Story:
    """A story by its name, or what a seed gives: `seed:7`, or `seed:7-3,5` without its elements 3 and 5."""
    if not name.startswith("seed:"):
        return STORIES[name]
    seed, _, removed = name.removeprefix("seed:").partition("-")
    return seeds.without(seeds.schedule(int(seed)), frozenset(int(number) for number in removed.split(",") if number))


def smallest(outcome: Outcome) -> Outcome:
    """As little as possible of a seed's schedule that still breaks one of the same promises."""
    seed, removed, found = named(outcome.story.name), frozenset[int](), outcome
    for number in reversed(seeds.removable(seed) if seed.schedule.seed is not None else []):
        tried = play(seeds.without(seed, removed | {number}))
        if _promises(tried) & _promises(outcome):
            found, removed = tried, removed | {number}
    return found


def _promises(outcome: Outcome) -> set[str]:
    return {violation.partition(":")[0] for violation in outcome.violations}
