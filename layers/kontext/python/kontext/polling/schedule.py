"""When to poll: the best moments to ask Segmind for a render's status.

Polling is the only completion signal: a poll costs a request, and a late poll costs the user's time. The ages
that minimise E[lag] + poll_cost · E[polls] for a known distribution are the classical *optimum checking
procedure* (Barlow, Hunter and Proschan, J. SIAM 11, 1963). `poll_times` computes them for the distribution that a
`Durations` has learned, given what the polls for this job have told so far.

    ages = poll_times(durations, Progress())           # (18.2, 20.6, 22.4, …, 3585.0) from acceptance
    wait = wait_seconds(ages[0] - 0)                   # the workflow waits 17 s; then one Poll makes the polls until …
    progress = progress.seen("PROCESSING", age=18.2)   # … the status changes: new progress, new ages

Pure, standard library only, about a millisecond a schedule.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, cycle, pairwise

from kontext.polling.durations import Durations

DEFAULT_POLL_COST = 0.2
DEADLINE = 3585.0
"""The age of a job, in seconds, at which it is looked at for the last time: Segmind forgets it after an hour."""

# Three state transitions at USD 25 per million buy as much sleep of an arm64 Lambda of 128 MB.
BREAK_EVEN_SECONDS = 3 * 25e-6 / (0.125 * 0.0000133334)
LONGEST_STAY_SECONDS = 60.0
_HANDOVER = 1.0  # from the end of Wait to a running Poll, which sleeps for what is left

_SHORTEST_GAP = 0.2
_DOUBT = 0.05  # weight of a start unlike those of all past renders
_OUTLIVING = 0.002  # share of jobs that take longer than all past renders; as many never complete

_BETWEEN = (0.125, 0.375, 0.625, 0.875)
_AHEAD = tuple(p / (1 - p) for p in _BETWEEN)

_RATIO = 1.015
_EDGES = [0.5 * _RATIO**k for k in range(math.ceil(math.log(3600.0 / 0.5, _RATIO)) + 1)]
_MOMENTS = sorted({round(round(edge / _SHORTEST_GAP) * _SHORTEST_GAP, 1) for edge in _EDGES})


@dataclass(frozen=True)
class Progress:
    """What the polls have told about one job: its inference began between `queued_until` and `started_by`."""

    age: float = 0.0
    queued_until: float = 0.0
    started_by: float | None = None

    def seen(self, status: str, age: float) -> Progress:
        """After a poll at `age` that answered `status`; an unknown status tells the time only."""
        if status == "QUEUED":
            return Progress(age, queued_until=age)
        if status == "PROCESSING" and self.started_by is None:
            return replace(self, age=age, started_by=age)
        return replace(self, age=age)


def wait_seconds(until_poll: float) -> int:
    """The whole seconds that the workflow waits where the next poll is `until_poll` seconds away."""
    return max(0, int(until_poll - _HANDOVER))


def sleeps_in_place(gap: float, stayed: float) -> bool:
    """Whether Poll sleeps through `gap` rather than handing back, having `stayed` so long by its end."""
    return gap <= BREAK_EVEN_SECONDS and stayed <= LONGEST_STAY_SECONDS


def poll_times(
    durations: Durations,
    progress: Progress,
    poll_cost: float = DEFAULT_POLL_COST,
    deadline: float = DEADLINE,
) -> tuple[float, ...]:
    """The ages at which to poll while the status stays as it is; the last one is the deadline, after it ().

    `poll_cost` is the trade-off: the seconds of waiting that one is ready to accept to save one poll.
    """
    origin = progress.queued_until
    now, end = progress.age - origin, deadline - origin
    if end <= now:
        return ()
    ages, weights = _outlook(list(_completions(durations, progress)), now, end)
    return (*(origin + age for age in _best_poll_times(ages, weights, poll_cost)), deadline)


def _completions(durations: Durations, progress: Progress) -> Iterator[tuple[float, float]]:
    """(seconds from `queued_until` to completion, weight): the past renders that fit what is known of it.

    When none fits, as in a queue longer than any before, the start is taken to lie anywhere between the polls
    that enclose it or, with no end of the queue in sight, about as far ahead as the queue has lasted by now.
    """
    since, until = progress.queued_until, progress.started_by
    starts = [since * part for part in _AHEAD] if until is None else [(until - since) * p for p in _BETWEEN]
    for start, (queue, inference, weight) in zip(cycle(starts), durations.weighted(), strict=False):
        if since <= queue <= (math.inf if until is None else until):
            yield queue - since + inference, weight
        yield start + inference, weight * _DOUBT


def _outlook(times: Sequence[tuple[float, float]], now: float, end: float) -> tuple[list[float], list[float]]:
    """The moments to choose from, `now` and `end` included, and the weight of completions between each two.

    What outlives every observation has a heavy tail, and half of it never completes: hence ever rarer polls.
    """
    below = [0.0, *accumulate(_smoothed(times))]
    first = max(now + _SHORTEST_GAP, _EDGES[bisect_right(below, 0.0) - 1])
    ages = [now, *(moment for moment in _MOMENTS if first <= moment <= end - _SHORTEST_GAP), end]
    done = [_interpolated(below, age) - _OUTLIVING * first / max(age, first) for age in ages]
    weights = [b - a for a, b in pairwise(done)]
    weights[-1] += below[-1] - done[-1] + _OUTLIVING
    return ages, weights


def _smoothed(times: Sequence[tuple[float, float]]) -> list[float]:
    """The share of completions in each bin of `_EDGES`, after a normal kernel in log time."""
    bins, kernel = [0.0] * len(_EDGES), _kernel(times)
    reach = len(kernel) // 2
    for centre, weight in _binned(times).items():
        low = min(max(centre - reach, 0), len(bins) - len(kernel))
        for k, share in enumerate(kernel, low):
            bins[k] += weight * share
    return bins


def _binned(times: Iterable[tuple[float, float]]) -> dict[int, float]:
    bins: dict[int, float] = {}
    for time, weight in times:
        k = bisect_right(_EDGES, time) - 1
        bins[k] = bins.get(k, 0.0) + weight
    total = sum(bins.values())
    return {k: weight / total for k, weight in bins.items()}


def _kernel(times: Sequence[tuple[float, float]]) -> list[float]:
    """A little narrower than Silverman's rule, which is made for a single mode."""
    total = sum(weight for _, weight in times)
    logs = [(math.log(time, _RATIO), weight / total) for time, weight in times]
    mean = sum(log * weight for log, weight in logs)
    variance = sum((log - mean) ** 2 * weight for log, weight in logs)
    count = 1 / sum(weight**2 for _, weight in logs)
    width = min(max(0.8 * math.sqrt(variance) * count**-0.2, 1.0), len(_EDGES) / 6)
    shares = [math.exp(-((k / width) ** 2) / 2) for k in range(-int(2.5 * width), int(2.5 * width) + 1)]
    return [share / sum(shares) for share in shares]


def _interpolated(below: Sequence[float], age: float) -> float:
    k = min(max(bisect_right(_EDGES, age) - 1, 0), len(_EDGES) - 2)
    part = min(max((age - _EDGES[k]) / (_EDGES[k + 1] - _EDGES[k]), 0.0), 1.0)
    return below[k] + part * (below[k + 1] - below[k])


def _best_poll_times(ages: Sequence[float], weights: Sequence[float], poll_cost: float) -> Iterator[float]:
    """The polls, among `ages` and before the last of them, with the least expected lag + `poll_cost` a poll.

    With F the weight completed by an age, and M its first moment, the cost after a poll at age k is
    poll_cost·(F_end − F_k) + M_k + min over j > k of (cost_j + age_j·F_j − M_j) − age_j·F_k. The minimum is
    the lower envelope of lines in F_k, and the best line only ever moves one way: linear time for all.
    """
    done = [0.0, *accumulate(weights)]
    moment = [0.0, *accumulate(w * (a + b) / 2 for w, (a, b) in zip(weights, pairwise(ages), strict=True))]
    best = [0] * len(weights)
    cost = 0.0
    lines: deque[tuple[float, float, int]] = deque()
    for k in reversed(range(len(weights))):
        line = (ages[k + 1], cost + ages[k + 1] * done[k + 1] - moment[k + 1], k + 1)
        while len(lines) > 1 and _crossing(lines[-1], line) >= _crossing(lines[-2], lines[-1]):
            lines.pop()
        lines.append(line)
        while len(lines) > 1 and _crossing(lines[0], lines[1]) >= done[k]:
            lines.popleft()
        age, height, best[k] = lines[0]
        cost = poll_cost * (done[-1] - done[k]) + moment[k] + height - age * done[k]
    poll_time = best[0]
    while poll_time < len(weights):
        yield ages[poll_time]
        poll_time = best[poll_time]


def _crossing(later: tuple[float, float, int], sooner: tuple[float, float, int]) -> float:
    """The completed weight below which the sooner poll is the better one."""
    return (later[1] - sooner[1]) / (later[0] - sooner[0])
