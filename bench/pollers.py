"""The ways to poll that are compared: each plays a sample of renders in virtual time.

A poll takes no time here, and Wait ends on the dot: the figures of all pollers are ideal in the same way.
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
_POLL_SECONDS = 0.1
_EARLY_SECONDS = 1.5  # Wait counts whole seconds: Poll comes one to two seconds early, and sleeps
_REFRESH = 30  # renders, two seconds apart, between two readings of the durations: a warm Lambda keeps it for a minute

Plans = Callable[[Progress], tuple[float, ...]]
Polling = Callable[[int, float, float], Iterable[float]]  # renders before, queue and total seconds: the polls


@dataclass(frozen=True)
class Played:
    """Per render: polls, lag (seconds), the workflow's state transitions, Poll's invocations and its seconds."""

    polls: Floats
    lag: Floats
    transitions: Floats
    invocations: Floats
    seconds: Floats


def every(interval: float, renders: Renders) -> Played:
    """The usual workflow: Wait `interval` seconds, one Poll, Choice, and again."""
    count = np.ceil(renders.total / interval)
    seconds = count * (_INVOCATION_SECONDS + _POLL_SECONDS)
    return Played(count, count * interval - renders.total, LOOP_TRANSITIONS * count + END_TRANSITIONS, count, seconds)


def sdk(renders: Renders, interval: float = 1.0) -> Played:
    """The SDK's `wait()`: a poll at once, then every second; run in a Lambda that lives as long as the render."""
    slept = np.ceil(renders.total / interval) * interval
    count, nothing = slept / interval + 1, np.zeros(len(renders))
    seconds = slept + count * _POLL_SECONDS
    return Played(count, slept - renders.total, nothing, nothing + 1, seconds)


def at(ages: Floats, renders: Renders) -> Played:
    """Polls at fixed ages, whatever the status; the last gap goes on for ever."""
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

    def polling(finished: int, queue: float, total: float) -> Iterator[float]:
        nonlocal durations, plans
        if finished:
            durations = learn(durations, renders, finished - 1)
        if finished and finished % _REFRESH == 0:
            plans = _remembered(durations, poll_cost)
        return _asked(queue, total, plans)

    return _played(renders, polling)


def handing_back(played: Played) -> Played:
    """The same polls, with a loop of the workflow and a Poll for each of them."""
    seconds = played.polls * (_INVOCATION_SECONDS + _POLL_SECONDS + _EARLY_SECONDS)
    transitions = LOOP_TRANSITIONS * played.polls + END_TRANSITIONS
    return replace(played, transitions=transitions, invocations=played.polls, seconds=seconds)


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
    """The ages of the polls at a job that Segmind starts at once."""
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
    for poll in ages:
        yield poll
        if poll >= total:
            return


def _asked(queue: float, total: float, plan: Plans) -> Iterator[float]:
    """The ages of the polls at one job, planned anew when the status changes, up to the one that finds it done."""
    progress = Progress()
    ages = iter(plan(progress))
    poll = 0.0
    while poll < total:
        poll = next(ages)
        yield poll
        seen = progress.seen("PROCESSING" if poll >= queue else "QUEUED", poll)
        if (seen.queued_until, seen.started_by) != (progress.queued_until, progress.started_by):
            progress, ages = seen, iter(plan(seen))


def _played(renders: Renders, polling: Polling) -> Played:
    rows = np.empty((len(renders), 5))
    for k, (queue, total) in enumerate(zip(renders.queue.tolist(), renders.total.tolist(), strict=True)):
        rows[k] = _render(total, polling(k, queue, total))
    return Played(*rows.T)


def _render(total: float, ages: Iterable[float]) -> tuple[float, ...]:
    """One render under Poll's rule: sleep through short gaps, hand back to Wait for long ones."""
    count, invocations, seconds, before, since = 0, 0, 0.0, 0.0, 0.0
    for poll in ages:
        count += 1
        if invocations and sleeps_in_place(poll - before, poll - since):
            seconds += poll - before
        else:
            invocations, since = invocations + 1, poll
            seconds += _INVOCATION_SECONDS + poll - before - wait_seconds(poll - before)
        seconds += _POLL_SECONDS
        before = poll
    return count, before - total, LOOP_TRANSITIONS * invocations + END_TRANSITIONS, invocations, seconds
