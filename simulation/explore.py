"""Plays stories: each with every fault that can strike it, with pairs of faults, and whatever a seed gives."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from simulation import seeds
from simulation.evidence import HALF_AN_HOUR, Evidence, Promise
from simulation.fairness import FAIRNESS
from simulation.fault_injection import AROUND, MESSAGE_FAULTS, Fault
from simulation.liveness import LIVENESS
from simulation.promises import PROMISES
from simulation.promptness import PROMPTNESS
from simulation.rescue import dead_ends
from simulation.spending import SPENDING
from simulation.stories import MISSING, STORIES
from simulation.stories.story import Story
from simulation.telling import TELLING
from simulation.world import World

SEEDED = ("seed", "wide", "wider")
PROMISED = (*PROMISES, *SPENDING, *TELLING, *FAIRNESS, *PROMPTNESS)


@dataclass(frozen=True)
class Outcome:
    """What came of a run: the world as it was left, what is wrong in it, and what is stuck."""

    story: Story
    faults: tuple[Fault, ...]
    world: World
    wrong: tuple[str, ...]
    stuck: tuple[str, ...]

    @property
    def violations(self) -> tuple[str, ...]:
        """Every promise that is broken."""
        return self.wrong + self.stuck

    @property
    def again(self) -> str:
        """What plays and tells it again."""
        faults = " ".join(f"--fault {fault}" for fault in self.faults)
        return f"make chaos RUN={shlex.quote(f'--story {shlex.quote(self.story.name)} {faults}'.strip())}"


def play(story: Story, *faults: Fault) -> Outcome:
    """Play a story with some more faults to its end, and hold it against the promises."""
    given = story.schedule
    world = World(given.with_faults(*given.faults, *faults)).run()
    seen = Evidence(
        world,
        story.ends,
        max(HALF_AN_HOUR, story.patience or 0.0) if faults or given.seed is not None else story.patience,
    )
    wrong, stuck = broken(PROMISED, seen), broken(LIVENESS, seen)
    return Outcome(story, faults, world, wrong, (*stuck, *dead_ends(world)))


def broken(promises: Sequence[Promise], seen: Evidence) -> tuple[str, ...]:
    """All that breaks one of the promises, each with the promise's name."""
    return tuple(f"{promise.__name__}: {words}" for promise in promises for words in promise(seen))


def next_faults(outcome: Outcome, after: int = -1) -> Iterator[Fault]:
    """Every fault that could strike another run of the same story, later than call number `after`, but for those that
    are known to break it."""
    yield from (fault for fault in _possible(outcome, after) if not breaks(outcome, fault))


def fragile_faults(outcome: Outcome) -> dict[str, list[Fault]]:
    """The faults that are known to break a story, by what they have in common."""
    found: dict[str, list[Fault]] = {known: [] for known in outcome.story.fragile}
    calls = range(len(outcome.world.injector.calls))
    around = (Fault(number, kind) for kind in AROUND if kind in found for number in calls)
    for fault in (*_possible(outcome, -1), *around):
        for known in breaks(outcome, fault):
            found[known].append(fault)
    return found


def breaks(outcome: Outcome, fault: Fault) -> list[str]:
    """As what such a fault is known to break its story; of what is known in words without a kind, any is."""
    call = "" if fault.of_message else outcome.world.injector.calls[fault.at].full_name
    names = (fault.kind, f"{fault.kind} of {call}", call)
    return [known for known in outcome.story.fragile if any(f"{name} ".startswith(f"{known} ") for name in names)]


def _possible(outcome: Outcome, after: int) -> Iterator[Fault]:
    for number, call in enumerate(outcome.world.injector.calls):
        if number > after:
            yield from (Fault(number, kind) for kind in call.kinds)
    if after < 0:
        for number in range(outcome.world.queue.sent):
            yield from (Fault(number, kind) for kind in MESSAGE_FAULTS)


def named(name: str) -> Story:
    """A story by its name, or what a seed gives: `seed:7`, or `seed:7-3,5` without its elements 3 and 5; `wide:7`."""
    kind, _, rest = name.partition(":")
    if kind not in SEEDED:
        return STORIES.get(name) or MISSING[name]
    seed, _, removed = rest.partition("-")
    given = seeds.schedule(int(seed), kind)
    return seeds.without(given, frozenset(int(number) for number in removed.split(",") if number))


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
