"""When a pair waited for no reason that can be seen."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
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


def waits(seen: Evidence, render: Render) -> Iterator[Period]:
    """When a render that was to go on got no further for long, and nothing outside says why."""
    life = sorted(_life(seen, render))
    for (earlier, was), (later, then) in pairwise(life):
        if was in _AT_REST and then not in ("told", "again"):
            continue
        start = earlier if then != "again" else _asked_before(seen, render, later)
        if later - start > seen.patience:
            yield from _gaps(start, later, sorted(_reasons(seen, render, was)))


def _life(seen: Evidence, render: Render) -> Iterator[tuple[float, str]]:
    whats = [(unix(entry["at"]), entry["what"]) for entry in render["history"]]
    yield from ((at, what) for at, what in whats if what not in _NO_PROGRESS)
    yield _asked_before(seen, render, whats[0][0]), "asked"
    # What was told before or after is of another record of the same content: one of them has expired.
    begun, over = whats[0][0], render.get("expires_at", math.inf)
    yield from ((at, "told") for at in seen.told_of[render["render_id"]] if begun <= at <= over)


def _asked_before(seen: Evidence, render: Render, before: float) -> float:
    """When the last thing that a render is made of was dropped, or taken away, or a person asked for it."""
    rejected = () if "inputs" in render else dropped(seen.world, render["prefix"], before).keys
    keys = {*rejected, *(given.get("key") for given in render.get("inputs", ()))}
    stood = seen.world.bucket.stood.items()
    drops = [one.since for key, all_ in stood if key in keys or key.startswith(render["prefix"]) for one in all_]
    return max((at for at in [*drops, *(at for at, _ in seen.outside.decisions)] if at <= before), default=before)


def _reasons(seen: Evidence, render: Render, was: str) -> Iterator[Period]:
    """What explains that a render waits: it is no worse than others before it, or something was the matter."""
    yield from ((at, at) for at, _ in seen.outside.troubles)
    yield from seen.outside.held_up
    yield from _days_spent(seen)
    yield from ((call.at, call.at) for _, call in seen.world.injector.injected)
    yield from ((post.at, post.at) for post in seen.world.vendor.ledger.posts if post.outcome != "accepted")
    now = seen.world.scheduler.now
    for one, job in seen.running_jobs():
        if one is render or one.get("render_id") == render["render_id"]:
            yield job.accepted_at, job.ended_at or now
        elif was in _IN_LINE and _before(seen, one, render):
            yield job.accepted_at, job.accepted_at


def _before(seen: Evidence, one: Render, render: Render) -> bool:
    begun = unix(render["created_at"]) + _SAME_TIME_SECONDS
    return not one.get("created_at") or unix(one["created_at"]) <= begun


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


def _gaps(start: float, end: float, periods: list[Period]) -> Iterator[Period]:
    """What is left of a time without the periods, which are in order."""
    for first, last in periods:
        if first >= end:
            break
        if first > start:
            yield start, first
        start = max(start, last)
    if start < end:
        yield start, end
