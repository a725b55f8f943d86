"""`make chaos`: crash the pipeline at every call, lose and repeat every answer, and hold it against its promises.

python -m tests.chaos                    all of it
python -m tests.chaos --seed 17          one random schedule, told
python -m tests.chaos --story pair --fault 12=crash-after    one story with some faults, told
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import Pool
from multiprocessing.pool import ThreadPool
from random import Random

from tests.chaos import mutants, seeds
from tests.chaos.explore import next_faults, play
from tests.chaos.outside import Fault
from tests.chaos.scenarios import SCENARIOS

PROCESSES = 2
CHUNK = 40
SHORT_CALLS = 60
"""A story with no more calls than this is short: pairs of faults are played in it."""


@dataclass(frozen=True)
class Task:
    """Some runs: of a story with each of `faults`, or of `seeds`."""

    story: str = ""
    faults: tuple[tuple[Fault, ...], ...] = ()
    seeds: tuple[int, ...] = ()


def work(task: Task) -> tuple[int, list[str]]:
    """Play a task's runs: how many, and what they broke, each with how to play it again."""
    broken: list[str] = []
    for faults in task.faults:
        again = f"--story {task.story!r} " + " ".join(f"--fault {fault}" for fault in faults)
        broken += [f"{again}: {found}" for found in play(SCENARIOS[task.story], *faults).violations]
    for seed in task.seeds:
        broken += [f"--seed {seed}: {found}" for found in play(seeds.schedule(seed)).violations]
    return len(task.faults) + len(task.seeds), broken


def singles() -> Iterator[Task]:
    """Every story without a fault, and with each single one."""
    for story, scenario in SCENARIOS.items():
        faults = [(), *((fault,) for fault in next_faults(play(scenario)))]
        yield from (Task(story, tuple(faults[n : n + CHUNK])) for n in range(0, len(faults), CHUNK))


def pairs(count: int, rng: Random) -> Iterator[Task]:
    """A sample of pairs of faults, the second in the run that the first has made, over the short stories."""
    short = [name for name, one in SCENARIOS.items() if len(play(one).world.outside.calls) <= SHORT_CALLS]
    each = max(1, count // (len(short) * CHUNK))
    for story in short:
        for first in _sample(rng, next_faults(play(SCENARIOS[story])), each):
            seconds = _sample(rng, next_faults(play(SCENARIOS[story], first), after=first.at), CHUNK)
            yield Task(story, tuple((first, second) for second in seconds))


def _sample(rng: Random, faults: Iterable[Fault], count: int) -> list[Fault]:
    known = list(faults)
    return rng.sample(known, min(count, len(known)))


def run(tasks: Iterable[Task], what: str) -> tuple[int, list[str]]:
    """Play tasks on all processes, telling how far it is."""
    began, runs, broken = time.monotonic(), 0, []
    with Pool(PROCESSES) as pool:
        for number, (count, found) in enumerate(pool.imap_unordered(work, tasks), 1):
            runs += count
            broken += found
            for line in found:
                print(f"  VIOLATION {line}", flush=True)
            if number % 50 == 0:
                print(f"  {what}: {runs} runs, {len(broken)} violations", flush=True)
    print(f"{what}: {runs} runs in {time.monotonic() - began:.0f} s, {len(broken)} violations", flush=True)
    return runs, broken


def caught() -> int:
    """How many of the deliberate mistakes are found."""
    with ThreadPool(PROCESSES) as pool:
        found = pool.map(mutants.catch, mutants.MUTANTS, chunksize=1)
    for mutant, gave_away in zip(mutants.MUTANTS, found, strict=True):
        print(f"  {mutant.name}: {gave_away or 'NOT CAUGHT'}"[:150], flush=True)
    return sum(1 for gave_away in found if gave_away)


def tell(scenario: object, *faults: Fault) -> int:
    """Play one run and tell it, call by call."""
    outcome = play(scenario, *faults)  # type: ignore[arg-type]
    for call in outcome.world.outside.calls:
        print(f"{call.at:9.2f}  {call.process:12} {call.service}.{call.name}")
    print(*(outcome.violations or ["no violation"]), sep="\n")
    return 1 if outcome.violations else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1500, help="random schedules to play")
    parser.add_argument("--pairs", type=int, default=4000, help="pairs of faults to play")
    parser.add_argument("--seed", type=int, help="play this random schedule alone, and tell it")
    parser.add_argument("--story", choices=list(SCENARIOS), help="play this story alone, and tell it")
    parser.add_argument("--fault", type=Fault.read, action="append", default=[], help="with this fault")
    given = parser.parse_args()
    if given.seed is not None:
        return tell(seeds.schedule(given.seed))
    if given.story:
        return tell(SCENARIOS[given.story], *given.fault)
    points, broken = run(singles(), "single faults")
    two, more = run(pairs(given.pairs, Random(7)), "pairs of faults")
    chance = (Task(seeds=tuple(range(n, min(n + 10, given.seeds)))) for n in range(0, given.seeds, 10))
    random, most = run(chance, "random schedules")
    violations = [*broken, *more, *most]
    found, all_mutants = caught(), len(mutants.MUTANTS)
    print(
        f"crash points: {points - len(SCENARIOS)}, schedules: {points + two + random}, "
        f"mutations caught: {found}/{all_mutants}, violations: {len(violations)}"
    )
    return 0 if found == all_mutants and not violations else 1


if __name__ == "__main__":
    sys.exit(main())
