"""`make chaos`: crash the pipeline at every call, lose and repeat every answer, and hold it to its promises.

make chaos                                                    the proof: a quarter of an hour on two cores
make chaos RUN="--long"                                       more of everything: at least 100,000 schedules
make chaos RUN="--story pair --fault 12=crash-after"          one story with some faults, told
make chaos RUN="--story seed:17"                              what a seed gives, told (wide:17, wider:17: with more)
make chaos RUN="--story pair --every-two"                     one story with every two faults (a pair: six minutes)
make chaos RUN="--stories"                                    the stories, and what those that fail are missing
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from multiprocessing import Pool
from multiprocessing.pool import ThreadPool
from typing import NamedTuple

from simulation.explore import SEEDED, named, play, smallest
from simulation.fault_injection import CRASHES, EVERYTHING_LOST, Fault
from simulation.stories import MISSING, STORIES
from simulation.transcript import told
from tests.chaos import mutants
from tests.chaos.catalogue import MUTANTS
from tests.chaos.parts import (
    Played,
    Work,
    around_calls,
    drop_bursts,
    every_fault,
    every_two,
    play_each,
    run,
    some_pairs,
    still_fragile,
    still_missing,
    survey,
)

PROCESSES = 2
MOST_TOLD = 3
PAUSED, WIDER = "the operator pauses around a call", "wider schedules"
NOT_YET = {WIDER: "what the stories about hours of outages, refused requests that are taken, removals and slips say"}
"""Parts of the proof that the product does not pass yet, and what it lacks. One that passes must be taken out here."""


class Amount(NamedTuple):
    """How much is played: single faults of one story at most, sampled moments a story, pairs of faults, and seeds of
    each kind."""

    singles: int
    at_random: int
    pairs: int
    seeds: int
    wide: int
    wider: int


USUAL = Amount(singles=12, at_random=6, pairs=1000, seeds=800, wide=300, wider=60)
LONG = Amount(singles=100, at_random=20, pairs=40_000, seeds=8000, wide=4000, wider=400)


def hunt_mutants() -> int:
    """How many of the deliberate mistakes are found."""
    caught = 0
    with ThreadPool(PROCESSES) as pool:
        for mutant, gave_away in zip(MUTANTS, pool.imap(mutants.catch, MUTANTS), strict=True):
            print(f"  {mutant.name}: {gave_away or 'NOT CAUGHT'}"[:150], flush=True)
            caught += gave_away is not None
    return caught


def play_every_two(name: str) -> int:
    """Play one story with every two faults; returns the exit code."""
    with Pool(PROCESSES) as pool:
        return 1 if run(pool, "every two faults", every_two(survey(name))).broken else 0


def tell(story: str, *faults: Fault) -> int:
    """Play one run and tell it, call by call; of a seed that breaks a promise, the smallest story that does."""
    outcome = play(named(story), *faults)
    if outcome.violations:
        outcome = smallest(outcome)
        print(f"# {outcome.again}")
    print(*told(outcome.world), *(outcome.violations or ["no violation"]), sep="\n")
    return 1 if outcome.violations else 0


def list_stories() -> int:
    """Print every story's name, and what is missing for those that break a promise."""
    for name in STORIES:
        print(name)
    for story in MISSING.values():
        print(f"{story.name}   (breaks a promise: {story.missing})")
    return 0


def everything(amount: Amount) -> int:
    """All of the proof; returns the exit code."""
    with Pool(PROCESSES) as pool:
        stories = pool.map(survey, STORIES, chunksize=1)
        whole, known = Played(), []
        parts: dict[str, list[Work]] = {
            f"single faults in {len(stories)} stories": every_fault(stories, amount.singles),
            PAUSED: around_calls(stories, "pause", amount.at_random),
            "every two crashes of a pair": every_two(survey("pair"), CRASHES),
            "some two faults in the short stories": some_pairs(stories, amount.pairs),
            "random schedules": [partial(play_each, f"seed:{seed}", [()]) for seed in range(amount.seeds)],
            EVERYTHING_LOST: around_calls(stories, EVERYTHING_LOST, amount.at_random // 5),
            "wide schedules": [partial(play_each, f"wide:{seed}", [()]) for seed in range(amount.wide)],
            WIDER: [partial(play_each, f"wider:{seed}", [()]) for seed in range(amount.wider)],
        }
        for what, tasks in parts.items():
            played = run(pool, what, tasks, NOT_YET.get(what, ""))
            if what in NOT_YET:
                known.append((what, played))
                whole.runs += played.runs
            else:
                whole.add(played)
        whole.add(drop_bursts(pool))
        green = (
            still_missing(pool) + still_fragile(pool, stories) + [what for what, played in known if not played.broken]
        )
    print("deliberate mistakes in our own code:")
    caught = hunt_mutants()
    for story in list(dict.fromkeys(name for name, _, _ in whole.broken if name.partition(":")[0] in SEEDED))[
        :MOST_TOLD
    ]:
        tell(story)
    for what in green:
        print(f"{what}: nothing is broken any more; take it out of what is known to be missing")
    print(f"longest chain of invocations: {whole.longest_chain}, largest item: {whole.largest_item / 1024:.1f} KB")
    print(
        f"known to be missing: {len(MISSING)} stories, {sum(len(played.broken) for _, played in known)} violations in "
        f"{sum(played.runs for _, played in known)} schedules"
    )
    print(
        f"crash points: {sum(one.calls for one in stories)}, schedules: {whole.runs}, "
        f"mutations caught: {caught}/{len(MUTANTS)}, stuck: {len(whole.stuck)}, violations: {len(whole.wrong)}"
    )
    return 1 if whole.broken or green or caught < len(MUTANTS) else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--long", action="store_true", help="play more of everything, for an hour")
    parser.add_argument("--stories", action="store_true", help="list the stories")
    parser.add_argument("--story", help="play this story alone, and tell it: a name, seed:17, wide:17 or wider:17")
    parser.add_argument("--fault", type=Fault.read, action="append", default=[], help="with this fault: 12=crash-after")
    parser.add_argument("--every-two", action="store_true", help="play the story with every two faults")
    given = parser.parse_args()
    if given.stories:
        return list_stories()
    if given.story:
        known = {*STORIES, *MISSING}
        if given.story not in known and given.story.partition(":")[0] not in SEEDED:
            parser.error(f"there is no story {given.story!r}; --stories lists them")
        return play_every_two(given.story) if given.every_two else tell(given.story, *given.fault)
    if given.every_two or given.fault:
        parser.error("say which --story")
    return everything(LONG if given.long else USUAL)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
