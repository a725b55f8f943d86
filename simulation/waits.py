"""When a pair waited for no reason that can be seen."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from heapq import merge
from itertools import pairwise

from kontext.clock import day
from kontext.model import Render
from simulation.evidence import Evidence, unix
from simulation.oracle import dropped
from simulation.outside import Period

_DAY = 86_400.0
_AT_REST = ("delivered", "failed", "uncertain", "rejected", "told")
_NO_PROGRESS = ("parked", "submitting")
"""What a render may say of itself over and over, and get no further."""
_IN_LINE = ("asked", "claimed", "again")
_SAME_TIME_SECONDS = 60.0


class Waits:
    """When renders that were to go on got no further for longer than `patience`, and nothing outside says why."""

    def __init__(self, seen: Evidence) -> None:
        self.seen = seen

    def of(self, render: Render) -> Iterator[Period]:
        """When a render waited so."""
        life = sorted(self._life(render))
        for (earlier, was), (later, then) in pairwise(life):
            if was in _AT_REST and then not in ("told", "again"):
                continue
            start = earlier if then != "again" else self._asked_before(render, later)
            if later - start > self.seen.patience:
                yield from self._without_a_reason(render, was, start, later)

    def _life(self, render: Render) -> Iterator[tuple[float, str]]:
        whats = [(unix(entry["at"]), entry["what"]) for entry in render["history"]]
        yield from ((at, what) for at, what in whats if what not in _NO_PROGRESS)
        yield self._asked_before(render, whats[0][0]), "asked"
        # What was told before or after is of another record of the same content: one of them has expired.
        begun, over = whats[0][0], render.get("expires_at", math.inf)
        yield from ((at, "told") for at in self.seen.told_of[render["render_id"]] if begun <= at <= over)

    def _asked_before(self, render: Render, before: float) -> float:
        """When the last thing that a render is made of was dropped, or taken away, or a person asked for it."""
        world = self.seen.world
        rejected = () if "inputs" in render else dropped(world, render["prefix"], before).keys
        keys = (*rejected, *(given.get("key") for given in render.get("inputs", ())))
        drops = world.bucket.changes(render["prefix"], keys)
        decided = [at for at, _ in self.seen.outside.decisions]
        return max((at for at in (*drops, *decided) if at <= before), default=before)

    def _without_a_reason(self, render: Render, was: str, start: float, end: float) -> Iterator[Period]:
        """What is left of a wait: it is no worse than others before it, or something was the matter."""
        for gap in _gaps(start, end, merge(self._troubles, sorted(self._at_work[render["render_id"]]))):
            yield from self._while_none_went(*gap, self.seen.begun(render)) if was in _IN_LINE else (gap,)

    def _while_none_went(self, start: float, end: float, came: float) -> Iterator[Period]:
        """The parts of a time, longer than the patience, in which none went who had come before, or at the same time.

        It looks from one who went to the last whom the patience reaches, so it sees few of a large crowd.
        """
        patience, latest, went = self.seen.patience, came + _SAME_TIME_SECONDS, self._went
        while end - start > patience:
            reached = bisect_right(went, (start + patience, math.inf))
            back = (went[number] for number in range(reached - 1, -1, -1))
            last = next((at for at, begun in back if begun <= latest or at <= start), start)
            if last <= start:
                on = (went[number] for number in range(reached, len(went)))
                last = min(end, next((at for at, begun in on if begun <= latest or at >= end), end))
                yield start, last
            start = last

    @cached_property
    def _went(self) -> list[tuple[float, float]]:
        """When each job went, in order, and when its render had come."""
        jobs = self.seen.running_jobs()
        return sorted((job.accepted_at, self.seen.begun(render) if render else 0.0) for render, job in jobs)

    @cached_property
    def _troubles(self) -> list[Period]:
        """What explains that anybody waits, in order."""
        outside, world = self.seen.outside, self.seen.world
        moments = [at for at, _ in outside.troubles]
        moments += [call.at for _, call in world.injector.injected]
        moments += [post.at for post in world.vendor.ledger.posts if post.outcome != "accepted"]
        return sorted((*((at, at) for at in moments), *outside.held_up, *_days_spent(self.seen)))

    @cached_property
    def _at_work(self) -> dict[str, list[Period]]:
        """When the jobs of each render were at work."""
        at_work, now = defaultdict(list), self.seen.world.scheduler.now
        for render, job in self.seen.running_jobs():
            at_work[render.get("render_id", "")].append((job.accepted_at, job.ended_at or now))
        return at_work


def _days_spent(seen: Evidence) -> Iterator[Period]:
    """The days on which the spend limit left room for nothing more, from then on."""
    parameters = seen.world.template.parameters
    room = float(parameters["DailySpendLimit"]) / float(parameters["PricePerRender"]) - 1e-6
    days = defaultdict(list)
    for post in seen.world.vendor.ledger.posts:
        if post.outcome != "refused":
            days[day(post.at)].append(post.at)
    for sent in days.values():
        if len(sent) + 1 > room:
            yield max(sent), (max(sent) // _DAY + 1) * _DAY


def _gaps(start: float, end: float, periods: Iterable[Period]) -> Iterator[Period]:
    """What is left of a time without the periods, which are in order."""
    for first, last in periods:
        if first >= end:
            break
        if first > start:
            yield start, first
        start = max(start, last)
    if start < end:
        yield start, end
