"""The ways to look that are compared: each plays a sample of renders in virtual time.

A look takes no time here, and Wait ends on the dot: the figures of all pollers are ideal in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from bench.costs import END_TRANSITIONS, LOOP_TRANSITIONS
from bench.workloads import Floats, Renders
from kontext.polling.durations import Durations
from kontext.polling.schedule import DEFAULT_POLL_COST, Progress, poll_times, sleeps_in_place, wait_seconds

_INVOCATION_SECONDS = 0.25  # mostly computing, with a fourteenth of a processor: see `memory.py`
_LOOK_SECONDS = 0.1
_EARLY_SECONDS = 1.5  # Wait counts whole seconds: Poll comes one to two seconds early, and sleeps
_REFRESH = 30  # renders, two seconds apart, between two readings of the durations: a warm Lambda keeps it for a minute

Plans = Callable[[Progress], tuple[float, ...]]
Looking = Callable[[int, float, float], Iterable[float]]  # renders before, queue and total seconds: the looks


@dataclass(frozen=True)
class Played:
    """Per render: looks, lag (seconds), the workflow's state transitions, Poll's invocations and its seconds."""

    looks: Floats
    lag: Floats
    transitions: Floats
    polls: Floats
    seconds: Floats


def every(interval: float, renders: Renders) -> Played:
    """The usual workflow: Wait `interval` seconds, one Poll, Choice, and again."""
    count = np.ceil(renders.total / interval)
    seconds = count * (_INVOCATION_SECONDS + _LOOK_SECONDS)
    return Played(count, count * interval - renders.total, LOOP_TRANSITIONS * count + END_TRANSITIONS, count, seconds)


def sdk(renders: Renders, interval: float = 1.0) -> Played:
    """The SDK's `wait()`: a look at once, then every second; run in a Lambda that lives as long as the render."""
    slept = np.ceil(renders.total / interval) * interval
    count, nothing = slept / interval + 1, np.zeros(len(renders))
    seconds = slept + count * _LOOK_SECONDS
    return Played(count, slept - renders.total, nothing, nothing + 1, seconds)


def at(ages: Floats, renders: Renders) -> Played:
    """Looks at fixed ages, whatever the status; the last gap goes on for ever."""
    gap = ages[-1] - ages[-2]
    endless = [*ages.tolist(), *np.arange(ages[-1] + gap, np.max(renders.total) + 2 * gap, gap).tolist()]
    return _played(renders, lambda _, __, total: _until(total, endless))


def frozen(durations: Durations, renders: Renders, poll_cost: float = DEFAULT_POLL_COST) -> Played:
    """The pipeline's schedule with what `durations` knows, learning nothing more."""
    plans = _remembered(durations, poll_cost)
    return _played(renders, lambda _, queue, total: _asked(queue, total, plans))


def learning(renders: Renders, poll_cost: float = DEFAULT_POLL_COST) -> Played:
    """The pipeline's schedule as it runs: from the prior, learning from each render before."""
    durations = Durations()
    plans = _remembered(durations, poll_cost)

    def looking(finished: int, queue: float, total: float) -> Iterator[float]:
        nonlocal durations, plans
        if finished:
            durations = learn(durations, renders, finished - 1)
        if finished and finished % _REFRESH == 0:
            plans = _remembered(durations, poll_cost)
        return _asked(queue, total, plans)

    return _played(renders, looking)


def handing_back(played: Played) -> Played:
    """The same looks, with a loop of the workflow and a Poll for each of them."""
    seconds = played.looks * (_INVOCATION_SECONDS + _LOOK_SECONDS + _EARLY_SECONDS)
    transitions = LOOP_TRANSITIONS * played.looks + END_TRANSITIONS
    return replace(played, transitions=transitions, polls=played.looks, seconds=seconds)


def learn(durations: Durations, renders: Renders, k: int) -> Durations:
    """What is known after render `k` of a sample; renders finish two seconds apart."""
    return durations.observe(f"{k}-{renders.inference[k]}", 1.7e9 + 2 * k, renders.queue[k], renders.inference[k])


def learned(renders: Renders) -> Durations:
    """What a stack knows that has seen this sample."""
    durations = Durations()
    for k in range(len(renders)):
        durations = learn(durations, renders, k)
    return durations


def path(durations: Durations, poll_cost: float = DEFAULT_POLL_COST) -> Floats:
    """The ages of the looks at a job that Segmind starts at once."""
    first = poll_times(durations, Progress(), poll_cost)[0]
    return np.array([first, *poll_times(durations, Progress().seen("PROCESSING", first), poll_cost)])


def _remembered(durations: Durations, poll_cost: float) -> Plans:
    known: dict[Progress, tuple[float, ...]] = {}

    def plan(progress: Progress) -> tuple[float, ...]:
        if progress not in known:
            known[progress] = poll_times(durations, progress, poll_cost)
        return known[progress]

    return plan


def _until(total: float, ages: Iterable[float]) -> Iterator[float]:
    for look in ages:
        yield look
        if look >= total:
            return


def _asked(queue: float, total: float, plan: Plans) -> Iterator[float]:
    """The ages of the looks at one job, planned anew when the status changes, up to the one that finds it done."""
    progress = Progress()
    ages = iter(plan(progress))
    look = 0.0
    while look < total:
        look = next(ages)
        yield look
        seen = progress.seen("PROCESSING" if look >= queue else "QUEUED", look)
        if (seen.queued_until, seen.started_by) != (progress.queued_until, progress.started_by):
            progress, ages = seen, iter(plan(seen))


def _played(renders: Renders, looking: Looking) -> Played:
    rows = np.empty((len(renders), 5))
    for k, (queue, total) in enumerate(zip(renders.queue.tolist(), renders.total.tolist(), strict=True)):
        rows[k] = _render(total, looking(k, queue, total))
    return Played(*rows.T)


def _render(total: float, ages: Iterable[float]) -> tuple[float, ...]:
    """One render under Poll's rule: sleep through short gaps, hand back to Wait for long ones."""
    count, polls, seconds, before, since = 0, 0, 0.0, 0.0, 0.0
    for look in ages:
        count += 1
        if polls and sleeps_in_place(look - before, look - since):
            seconds += look - before
        else:
            polls, since = polls + 1, look
            seconds += _INVOCATION_SECONDS + look - before - wait_seconds(look - before)
        seconds += _LOOK_SECONDS
        before = look
    return count, before - total, LOOP_TRANSITIONS * polls + END_TRANSITIONS, polls, seconds
