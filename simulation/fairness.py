"""How those who wait are served: at the rate that is in force, in the order in which they came, and without storms."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from heapq import heappop, heappush
from itertools import groupby, pairwise
from operator import itemgetter

from kontext.clock import day
from simulation.evidence import Broken, Evidence, Promise
from simulation.scheduler import BEGINNING

_WATCHED_SECONDS = 420.0
"""A trial goes every five minutes where no GET tells that the cause has ended, and two sweeps may lie two apart."""
_SHARE = 0.8
_MINUTE = 61.0
_A_DEPLOYMENT_SECONDS = 65.0
"""So late may those in line notice that the rate has changed."""
_SWEEPS_SECONDS = 130.0
_SAME_TIME_SECONDS = 60.0
_OUT_OF_ORDER_SECONDS = 30.0
_ON_THEIR_WAY_SECONDS = 5.0
_BETWEEN_429_SECONDS = 30.0


def those_in_line_go_at_the_rate(seen: Evidence) -> Broken:
    """4. While anybody waits for pace, requests go at the rate that is in force, also when it is raised meanwhile."""
    posts = sorted(post.at for post in seen.world.vendor.ledger.posts)
    watched = _WATCHED_SECONDS * (1 + sum(fault.of_message for fault in seen.world.schedule.faults))
    for since, until, prefix in _waits(seen):
        at = max(since, seen.outside.calm_since)
        while at + watched < until and _has_room(seen, at + watched):
            rate = min(seen.deployed("RequestsPerMinute", at - _A_DEPLOYMENT_SECONDS, at + watched))
            sent = bisect_right(posts, at + watched) - bisect_left(posts, at)
            if sent < _SHARE * watched * rate / _MINUTE - 2:
                yield f"{prefix} waits from {at - BEGINNING:.0f} s on for {watched:.0f} s, in which {sent} go"
                return
            at += watched / 2


def _waits(seen: Evidence) -> list[tuple[float, float, str]]:
    """From when to when each render that was sent once waited for that."""
    first = [(render, seen.jobs_of(render)) for render in seen.renders if render["attempt"] == 1]
    return [(seen.begun(render), jobs[0].accepted_at, render["prefix"]) for render, jobs in first if len(jobs) == 1]


def _has_room(seen: Evidence, at: float) -> bool:
    """Whether the spend limit lets another one go then: it counts what may have been charged."""
    limit, price = min(seen.deployed("DailySpendLimit")), max(seen.deployed("PricePerRender"))
    return (seen.counted[day(at)] + 1) * price <= limit + 1e-6


def first_come_first_served(seen: Evidence) -> Broken:
    """4. Nobody who came later goes much earlier, where nothing went wrong on the way, or credits were short."""
    if not (seen.outside.nothing_went_wrong or seen.outside.only_credits_were_short):
        return
    latest, who, before = 0.0, "", 0
    line = sorted(_waits(seen))
    for since, until, prefix in line:
        while line[before][0] < since - _SAME_TIME_SECONDS:
            latest, who = max((latest, who), line[before][1:])
            before += 1
        if until < latest - _OUT_OF_ORDER_SECONDS:
            yield f"{prefix} came later than {who}, and went {latest - until:.0f} s earlier"
            return


def no_folder_holds_another_up(seen: Evidence) -> Broken:
    """4. A flood in one first folder delays another folder's pair by two intervals and a sweep at most."""
    if not seen.outside.nothing_went_wrong:
        return
    interval = _MINUTE / min(seen.deployed("RequestsPerMinute"))
    for since, until, folder, ahead in _behind(_waits(seen)):
        bound = _SWEEPS_SECONDS + 2 * len(ahead) * interval
        if ahead and folder not in ahead and until - since > bound and since >= seen.outside.calm_since:
            yield f"{folder}/ waits {until - since:.0f} s behind the pairs of {len(ahead)} other folders"


def _behind(waits: Iterable[tuple[float, float, str]]) -> Iterator[tuple[float, float, str, Mapping[str, int]]]:
    """Each wait, the folder of its pair, and how many of each folder wait then who came before; in order."""
    ends: list[tuple[float, str]] = []
    ahead: Counter[str] = Counter()
    for since, came in groupby(sorted(waits), key=itemgetter(0)):
        while ends and ends[0][0] <= since:
            folder = heappop(ends)[1]
            ahead[folder] -= 1
            if not ahead[folder]:
                del ahead[folder]
        at_once = [(until, prefix.partition("/")[0]) for _, until, prefix in came]
        yield from ((since, until, folder, ahead) for until, folder in at_once)
        for until, folder in at_once:
            heappush(ends, (until, folder))
            ahead[folder] += 1


def paced(seen: Evidence) -> Broken:
    """4. Pacing, not retry storms: no 429 that was not provoked, and after one that was, nothing goes for a while.

    Only a request that was held up on its way may meet the next ones.
    """
    held_up = sum(fault.kind == "stall" and call.service == "segmind" for fault, call in seen.world.injector.injected)
    if seen.world.vendor.ledger.too_many_requests > held_up and not seen.world.schedule.provokes_429:
        yield f"{seen.world.vendor.ledger.too_many_requests} answers of 429"
    refused = sorted(post.at for post in seen.world.vendor.ledger.posts if post.status == 429)
    for one, other in pairwise(refused):
        if _ON_THEIR_WAY_SECONDS < other - one < _BETWEEN_429_SECONDS:
            yield f"{other - one:.0f} s after a 429 there was another one"


FAIRNESS: tuple[Promise, ...] = (
    those_in_line_go_at_the_rate,
    first_come_first_served,
    no_folder_holds_another_up,
    paced,
)
