"""The parts of the proof: which runs there are, and how they are played on all processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.pool import Pool as Processes
from random import Random
from typing import NamedTuple

from simulation import bursts
from simulation.explore import Outcome, fragile_faults, named, next_faults, play
from simulation.fault_injection import Fault
from simulation.stories import MISSING, STORIES

PROGRESS_SECONDS = 15.0
SHORT_CALLS = 60
"""A story with no more calls than this is played with a sample of all pairs of faults."""
LONG_CALLS = 300
"""A story with more calls than this is played with fewer of its faults, a fifth at least."""
LARGE_SHARE, LARGE = 10, 1000
"""Of a large story's faults a tenth as many are played, and never more than a tenth of this."""
BURSTS = (10, 100, 1000)
CROWD, CROWD_PER_MINUTE = 1000, 1000.0
ROUGH = 1000

Again = str
"""What plays a run again."""
Work = Callable[[], "Played"]


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
    return Random(story.name).sample(story.faults, min(_most(story, at_most), len(story.faults)))


def _most(story: Surveyed, at_most: int) -> int:
    """How often a story is played at most: a long one less often, so that each takes about as long."""
    if STORIES[story.name].large:
        return max(1, min(LARGE, at_most) // LARGE_SHARE)
    return min(at_most, max(1, at_most // 5, at_most * LONG_CALLS // max(1, story.calls)))


def around_calls(stories: Iterable[Surveyed], kind: str, at_most: int) -> list[Work]:
    """Each story with something that happens around a call: around each, or a sample."""
    works: list[Work] = []
    for one in (story for story in stories if story.faults and kind not in story.fragile):
        calls = Random(f"{one.name} {kind}").sample(range(one.calls), min(_most(one, at_most), one.calls))
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


def still_fragile(pool: Processes, stories: Iterable[Surveyed]) -> list[str]:
    """Play what is known to break a story, of each kind until one fault does; returns the kinds of which none does."""
    known = [(one.name, what, faults) for one in stories for what, faults in one.fragile.items()]
    outcomes = pool.imap(work, [partial(play_until_broken, name, faults) for name, _, faults in known])
    kept = []
    print(f"kinds of faults that are known to break a story: {len(known)}")
    for (name, what, _), played in zip(known, outcomes, strict=True):
        print(f"  {what}, in {name}: {STORIES[name].fragile[what] if played.broken else 'BREAKS NOTHING NOW'}")
        kept += [] if played.broken else [f"{what}, in the story {name}"]
    return kept


def play_until_broken(story: str, faults: Sequence[Fault]) -> Played:
    """Play a story with one fault after the other, in any order, until one breaks it."""
    played = Played()
    for fault in Random(story).sample(faults, len(faults)):
        played.add(_counted(play(named(story), fault)))
        if played.broken:
            break
    return played


def drop_bursts(pool: Processes) -> Played:
    """Print what a pair costs in bursts of several sizes, and how long they take; returns what they broke."""
    crowd, bad_day = pool.apply_async(bursts.late, (CROWD, CROWD_PER_MINUTE)), pool.apply_async(bursts.rough, (ROUGH,))
    measured = sorted(pool.imap_unordered(bursts.burst, sorted(BURSTS, reverse=True)), key=lambda one: one.pairs)
    print("calls per pair, all pairs dropped at once:", bursts.table(measured), *map(bursts.pace, measured), sep="\n")
    late, rough = crowd.get(), bad_day.get()
    print("all name one photograph, which comes last:", bursts.pace(late), sep="\n")
    print("sweeps and messages are late, lost or doubled, a tenth is replaced:", bursts.pace(rough), sep="\n")
    broken = [(f"{one.pairs} pairs", "", words) for one in (*measured, late, rough) for words in one.violations]
    return Played(len(measured) + 2, broken)
