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
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from multiprocessing import Pool
from multiprocessing.pool import Pool as Processes
from multiprocessing.pool import ThreadPool
from random import Random
from typing import NamedTuple

from simulation import bursts
from simulation.explore import SEEDED, Outcome, fragile_faults, named, next_faults, play, smallest
from simulation.fault_injection import CRASHES, EVERYTHING_LOST, Fault
from simulation.stories import MISSING, STORIES
from simulation.transcript import told
from tests.chaos import mutants
from tests.chaos.catalogue import MUTANTS

PROCESSES = 2
PROGRESS_SECONDS = 15.0
SHORTEST_CALLS, SHORT_CALLS = 20, 60
"""A story with no more calls than this is played with every two faults, or with a sample of them."""
LARGE_SHARE, LARGE = 10, 1000
"""Of a large story's faults a tenth as many are played, and never more than a tenth of this."""
MOST_TOLD = 3
BURSTS = (10, 100, 1000)
PAUSED, WIDER = "the operator pauses around a call", "wider schedules"
NOT_YET = {WIDER: "what the stories about hours of outages, refused requests that are taken, removals and slips say"}
"""Parts of the proof that the product does not pass yet, and what it lacks. One that passes must be taken out here."""

Again = str
"""What plays a run again."""
Work = Callable[[], "Played"]


class Amount(NamedTuple):
    """How much is played: single faults of one story at most, sampled moments a story, pairs of faults, seeds of each
    kind, and every two faults or not."""

    singles: int
    at_random: int
    pairs: int
    seeds: int
    wide: int
    wider: int
    every_two: bool


USUAL = Amount(singles=50, at_random=12, pairs=1500, seeds=800, wide=400, wider=60, every_two=False)
LONG = Amount(singles=100_000, at_random=200, pairs=8000, seeds=4000, wide=4000, wider=400, every_two=True)


@dataclass
class Played:
    """So many runs, what is wrong and what is stuck in them (story, what plays it again, words), and their limits."""

    runs: int = 0
    wrong: list[tuple[str, Again, str]] = field(default_factory=list)
    stuck: list[tuple[str, Again, str]] = field(default_factory=list)
    longest_chain: int = 0
    largest_item: int = 0

    def add(self, other: Played) -> None:
        self.runs += other.runs
        self.wrong += other.wrong
        self.stuck += other.stuck
        self.longest_chain = max(self.longest_chain, other.longest_chain)
        self.largest_item = max(self.largest_item, other.largest_item)

    @property
    def broken(self) -> list[tuple[str, Again, str]]:
        return self.wrong + self.stuck


class Surveyed(NamedTuple):
    """A story without a fault: how many calls it makes, all that can go wrong in it, and what is known to break it."""

    name: str
    calls: int
    faults: list[Fault]
    fragile: dict[str, list[Fault]]


def survey(name: str) -> Surveyed:
    outcome = play(named(name))
    return Surveyed(name, len(outcome.world.injector.calls), list(next_faults(outcome)), fragile_faults(outcome))


def play_each(story: str, runs: Sequence[tuple[Fault, ...]]) -> Played:
    """Play a story, each time with some other faults."""
    played = Played()
    for faults in runs:
        played.add(_counted(play(named(story), *faults)))
    return played


def _counted(outcome: Outcome) -> Played:
    name, again = outcome.story.name, outcome.again
    return Played(
        1,
        [(name, again, words) for words in outcome.wrong],
        [(name, again, words) for words in outcome.stuck],
        outcome.world.queue.longest_chain,
        outcome.world.dynamodb.largest_item,
    )


def play_seconds(story: str, first: Fault, kinds: Sequence[str] = (), at_most: int | None = None) -> Played:
    """Play a story with a fault, and another one that can follow it: every one of these kinds, or a sample."""
    after = -1 if first.of_message else first.at
    found = [two for two in next_faults(play(named(story), first), after) if two.kind in kinds or not kinds]
    seconds = [two for two in found if not two.of_message or two.at > first.at]
    if at_most is not None:
        seconds = Random(f"{story} {first}").sample(seconds, min(at_most, len(seconds)))
    return play_each(story, [(first, second) for second in seconds])


def every_fault(stories: Iterable[Surveyed], at_most: int) -> list[Work]:
    """Each story without a fault, and with every single one; with a sample if they are too many."""
    runs = [(one.name, [(), *((fault,) for fault in _sample(one, at_most))]) for one in stories]
    return [partial(play_each, name, faults[n : n + 40]) for name, faults in runs for n in range(0, len(faults), 40)]


def _sample(story: Surveyed, at_most: int) -> list[Fault]:
    return Random(story.name).sample(story.faults, min(_most(story.name, at_most), len(story.faults)))


def _most(name: str, at_most: int) -> int:
    return min(LARGE, at_most) // LARGE_SHARE if STORIES[name].large else at_most


def around_calls(stories: Iterable[Surveyed], kind: str, at_most: int) -> list[Work]:
    """Each story with something that happens around a call: around each, or a sample."""
    works: list[Work] = []
    for one in (story for story in stories if story.faults and kind not in story.fragile):
        calls = Random(f"{one.name} {kind}").sample(range(one.calls), min(_most(one.name, at_most), one.calls))
        works.append(partial(play_each, one.name, [(Fault(at, kind),) for at in calls]))
    return works


def every_two(story: Surveyed, kinds: Sequence[str] = ()) -> list[Work]:
    """One story with every two faults, of these kinds or of any."""
    firsts = [fault for fault in story.faults if fault.kind in kinds or not kinds]
    return [partial(play_seconds, story.name, first, kinds) for first in firsts]


def some_pairs(stories: Sequence[Surveyed], count: int) -> list[Work]:
    """A sample of all pairs of faults, over the short stories."""
    short = [one for one in stories if one.calls <= SHORT_CALLS]
    each = max(1, count // len(short) // 10)
    works: list[Work] = []
    for one in short:
        firsts = [fault for fault in one.faults if not fault.of_message]
        sample = Random(one.name).sample(firsts, min(each, len(firsts)))
        works += [partial(play_seconds, one.name, first, at_most=10) for first in sample]
    return works


def work(given: Work) -> Played:
    return given()


def run(pool: Processes, what: str, tasks: Iterable[Work], not_yet: str = "") -> Played:
    """Play tasks on all processes, telling how far it is. `not_yet`: why it is known that promises are broken."""
    began = said = time.monotonic()
    whole = Played()
    for played in pool.imap_unordered(work, tasks):
        whole.add(played)
        for _, again, words in () if not_yet else played.broken:
            print(f"  VIOLATION {words}\n    {again}", flush=True)
        if time.monotonic() - said > PROGRESS_SECONDS:
            said = time.monotonic()
            print(f"  … {what}: {whole.runs:,} runs", flush=True)
    told = f"{len(whole.stuck)} stuck, {len(whole.wrong)} violations" + (f" (known: {not_yet})" if not_yet else "")
    print(f"{what}: {whole.runs:,} runs in {time.monotonic() - began:.0f} s, {told}", flush=True)
    return whole


def still_missing(pool: Processes) -> list[str]:
    """Play the stories that are known to break a promise; returns those that do not any more."""
    outcomes = pool.imap(partial(play_each, runs=[()]), MISSING, chunksize=1)
    kept = [name for name, played in zip(MISSING, outcomes, strict=True) if not played.broken]
    print(f"stories that are known to break a promise: {len(MISSING)}, of which {len(kept)} do not")
    for story in MISSING.values():
        print(f"  {story.name}: {'KEEPS ALL PROMISES NOW' if story.name in kept else story.missing}")
    return kept


def still_fragile(pool: Processes, stories: Iterable[Surveyed], at_most: int) -> list[str]:
    """Play the faults that are known to break their stories, or a sample; returns what none of them breaks any more."""
    known = [(one.name, what, faults) for one in stories for what, faults in one.fragile.items()]
    works = [
        partial(play_each, name, [(fault,) for fault in Random(what).sample(faults, min(at_most, len(faults)))])
        for name, what, faults in known
    ]
    kept = []
    print(f"kinds of faults that are known to break a story: {len(known)}")
    for (name, what, _), played in zip(known, pool.imap(work, works), strict=True):
        if not played.broken:
            kept.append(f"{what}, in the story {name}")
        told = f"{len(played.broken)} of {played.runs}: {STORIES[name].fragile[what]}" if played.broken else "NONE NOW"
        print(f"  {what}, in {name}: {told}")
    return kept


def hunt_mutants() -> int:
    """How many of the deliberate mistakes are found."""
    caught = 0
    with ThreadPool(PROCESSES) as pool:
        for mutant, gave_away in zip(MUTANTS, pool.imap(mutants.catch, MUTANTS), strict=True):
            print(f"  {mutant.name}: {gave_away or 'NOT CAUGHT'}"[:150], flush=True)
            caught += gave_away is not None
    return caught


def drop_bursts(pool: Processes) -> Played:
    """Print what a pair costs in bursts of several sizes, and how long they take; returns what they broke."""
    measured = sorted(pool.imap_unordered(bursts.burst, sorted(BURSTS, reverse=True)), key=lambda one: one.pairs)
    print("calls per pair, all pairs dropped at once:", bursts.table(measured), *map(bursts.pace, measured), sep="\n")
    broken = [(f"{one.pairs} pairs", "", words) for one in measured for words in one.violations]
    return Played(len(measured), broken)


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
        shortest = [one for one in stories if one.calls <= SHORTEST_CALLS] if amount.every_two else []
        whole, known = Played(), []
        for what, tasks in {
            f"single faults in {len(stories)} stories": every_fault(stories, amount.singles),
            PAUSED: around_calls(stories, "pause", amount.at_random),
            "every two crashes of a pair": every_two(survey("pair"), CRASHES),
            f"every two faults in {len(shortest)} stories": list(chain.from_iterable(map(every_two, shortest))),
            "some two faults in the short stories": some_pairs(stories, amount.pairs),
            "random schedules": [partial(play_each, f"seed:{seed}", [()]) for seed in range(amount.seeds)],
            EVERYTHING_LOST: around_calls(stories, EVERYTHING_LOST, amount.at_random // 5),
            "wide schedules": [partial(play_each, f"wide:{seed}", [()]) for seed in range(amount.wide)],
            WIDER: [partial(play_each, f"wider:{seed}", [()]) for seed in range(amount.wider)],
        }.items():
            played = run(pool, what, tasks, NOT_YET.get(what, ""))
            if what in NOT_YET:
                known.append((what, played))
                whole.runs += played.runs
            else:
                whole.add(played)
        whole.add(drop_bursts(pool))
        green = (
            still_missing(pool)
            + still_fragile(pool, stories, amount.singles)
            + [what for what, played in known if not played.broken]
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
