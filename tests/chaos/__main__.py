"""`make chaos`: crash the pipeline at every call, lose and repeat every answer, and hold it to its promises.

make chaos                                                    all of it
make chaos RUN="--story pair --fault 12=crash-after"          one story with some faults, told
make chaos RUN="--story seed:17"                              what a seed gives, told
make chaos RUN="--story pair --every-two"                     one story with every two faults (a pair: six minutes)
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from multiprocessing import Pool
from multiprocessing.pool import Pool as Processes
from multiprocessing.pool import ThreadPool
from random import Random
from typing import NamedTuple

from simulation import bursts
from simulation.explore import named, next_faults, play, smallest
from simulation.fault_injection import CRASHES, Fault
from simulation.stories import STORIES
from simulation.transcript import told
from tests.chaos import mutants

PROCESSES = 2
TOLD_SECONDS = 15.0
SHORTEST_CALLS, SHORT_CALLS = 20, 60
"""A story with no more calls than this is played with every two faults, or with a sample of them."""
MOST_TOLD = 3
BURSTS = (10, 100, 1000)

Again = str
"""What plays a run again."""
Work = Callable[[], "Played"]


class Played(NamedTuple):
    """So many runs, and of those that broke a promise: what plays them again, and what they broke."""

    runs: int
    broken: list[tuple[str, Again, str]]


class Surveyed(NamedTuple):
    """A story without a fault: how many calls it makes, and all that can go wrong in it."""

    name: str
    calls: int
    faults: list[Fault]


def look_through(name: str) -> Surveyed:
    outcome = play(named(name))
    return Surveyed(name, len(outcome.world.injector.calls), list(next_faults(outcome)))


def play_each(story: str, runs: Sequence[tuple[Fault, ...]]) -> Played:
    """Play a story, each time with some other faults."""
    outcomes = [play(named(story), *faults) for faults in runs]
    return Played(len(outcomes), [(one.story.name, one.again, said) for one in outcomes for said in one.violations])


def play_seconds(story: str, first: Fault, kinds: Sequence[str] = (), at_most: int | None = None) -> Played:
    """Play a story with a fault, and another one that can follow it: every one of these kinds, or a sample."""
    after = -1 if first.of_message else first.at
    found = [two for two in next_faults(play(named(story), first), after) if two.kind in kinds or not kinds]
    seconds = [two for two in found if not two.of_message or two.at > first.at]
    if at_most is not None:
        seconds = Random(f"{story} {first}").sample(seconds, min(at_most, len(seconds)))
    return play_each(story, [(first, second) for second in seconds])


def every_fault(stories: Iterable[Surveyed]) -> list[Work]:
    """Each story without a fault, and with every single one."""
    runs = [(one.name, [(), *((fault,) for fault in one.faults)]) for one in stories]
    return [partial(play_each, name, faults[n : n + 40]) for name, faults in runs for n in range(0, len(faults), 40)]


def every_two(story: Surveyed, kinds: Sequence[str] = ()) -> list[Work]:
    """One story with every two faults, of these kinds or of any."""
    firsts = [fault for fault in story.faults if fault.kind in kinds or not kinds]
    return [partial(play_seconds, story.name, first, kinds) for first in firsts]


def some_pairs(stories: Sequence[Surveyed], count: int) -> list[Work]:
    """A sample of all pairs of faults, over the short stories."""
    short = [one for one in stories if SHORTEST_CALLS < one.calls <= SHORT_CALLS]
    each = count // len(short) // 10
    firsts = {one.name: Random(one.name).sample([f for f in one.faults if not f.of_message], each) for one in short}
    return [partial(play_seconds, name, first, at_most=10) for name, sample in firsts.items() for first in sample]


def work(given: Work) -> Played:
    return given()


def run(pool: Processes, what: str, tasks: Iterable[Work]) -> Played:
    """Play tasks on all processes, telling how far it is."""
    began = said = time.monotonic()
    runs, broken = 0, []
    for played in pool.imap_unordered(work, tasks):
        runs += played.runs
        broken += played.broken
        for _, again, violation in played.broken:
            print(f"  VIOLATION {violation}\n    {again}", flush=True)
        if time.monotonic() - said > TOLD_SECONDS:
            said = time.monotonic()
            print(f"  … {what}: {runs:,} runs", flush=True)
    print(f"{what}: {runs:,} runs in {time.monotonic() - began:.0f} s, {len(broken)} violations", flush=True)
    return Played(runs, broken)


def hunt_mutants() -> int:
    """How many of the deliberate mistakes are found."""
    caught = 0
    with ThreadPool(PROCESSES) as pool:
        for mutant, gave_away in zip(mutants.MUTANTS, pool.imap(mutants.catch, mutants.MUTANTS), strict=True):
            print(f"  {mutant.name}: {gave_away or 'NOT CAUGHT'}"[:150], flush=True)
            caught += gave_away is not None
    return caught


def drop_bursts(pool: Processes) -> list[str]:
    """Print what a pair costs in bursts of several sizes, and how long they take; returns what they broke."""
    measured = sorted(pool.imap_unordered(bursts.burst, sorted(BURSTS, reverse=True)), key=lambda one: one.pairs)
    print("calls per pair, all pairs dropped at once:", bursts.table(measured), *map(bursts.pace, measured), sep="\n")
    return [violation for one in measured for violation in one.violations]


def play_every_two(name: str) -> int:
    """Play one story with every two faults; returns the exit code."""
    with Pool(PROCESSES) as pool:
        return 1 if run(pool, "every two faults", every_two(look_through(name))).broken else 0


def tell(story: str, *faults: Fault) -> int:
    """Play one run and tell it, call by call; of a seed that breaks a promise, the smallest story that does."""
    outcome = play(named(story), *faults)
    if outcome.violations:
        outcome = smallest(outcome)
        print(f"# {outcome.again}")
    print(*told(outcome.world), *(outcome.violations or ["no violation"]), sep="\n")
    return 1 if outcome.violations else 0


def everything(pairs: int, seeds: int) -> int:
    """All of the proof; returns the exit code."""
    with Pool(PROCESSES) as pool:
        stories = pool.map(look_through, STORIES, chunksize=1)
        shortest = [one for one in stories if one.calls <= SHORTEST_CALLS]
        played = [
            run(pool, f"every single fault in {len(stories)} stories", every_fault(stories)),
            run(pool, "every two crashes of a pair", every_two(look_through("pair"), CRASHES)),
            run(pool, f"every two faults in {len(shortest)} stories", chain.from_iterable(map(every_two, shortest))),
            run(pool, "some two faults in the other short stories", some_pairs(stories, pairs)),
            run(pool, "random schedules", [partial(play_each, f"seed:{seed}", [()]) for seed in range(seeds)]),
        ]
        too_dear = drop_bursts(pool)
    print("deliberate mistakes in our own code:")
    caught = hunt_mutants()
    broken = [found for part in played for found in part.broken]
    for story in list(dict.fromkeys(name for name, _, _ in broken if name.startswith("seed:")))[:MOST_TOLD]:
        tell(story)
    violations = len(broken) + len(too_dear)
    print(
        f"crash points: {sum(one.calls for one in stories)}, schedules: {sum(part.runs for part in played)}, "
        f"mutations caught: {caught}/{len(mutants.MUTANTS)}, violations: {violations}"
    )
    return 1 if violations or caught < len(mutants.MUTANTS) else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1500, help="so many random schedules (default: 1500)")
    parser.add_argument("--pairs", type=int, default=4000, help="about so many pairs of faults (default: 4000)")
    parser.add_argument("--story", help="play this story alone, and tell it: a name, or seed:17")
    parser.add_argument("--fault", type=Fault.read, action="append", default=[], help="with this fault: 12=crash-after")
    parser.add_argument("--every-two", action="store_true", help="play the story with every two faults")
    given = parser.parse_args()
    if given.story:
        if given.story not in STORIES and not given.story.startswith("seed:"):
            parser.error("the stories are: " + ", ".join(STORIES))
        return play_every_two(given.story) if given.every_two else tell(given.story, *given.fault)
    if given.every_two or given.fault:
        parser.error("say which --story")
    return everything(given.pairs, given.seeds)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
