"""The least lag that any sequence of polls can have, for a known distribution of completion times.

Independent of the pipeline's `schedule.py`: exact distribution functions on an even grid, and at every grid point
a search through all later ones (no convexity, no histogram, no learning).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.workloads import Distribution, Floats

_GRID = 4000


def best_poll_times(times: Distribution, longest: float, poll_cost: float) -> Floats:
    """The ages of the polls that minimise E[lag] + poll_cost · E[polls], up to the age `longest`."""
    ages = np.linspace(0.0, longest, _GRID)
    done, moment = times.cdf(ages), times.partial_mean(ages)
    done[-1] = 1.0
    cost, best = np.zeros(_GRID), np.zeros(_GRID, dtype=int)
    height = ages * done - moment
    for k in reversed(range(_GRID - 1)):
        expected = height[k + 1 :] - ages[k + 1 :] * done[k]
        best[k] = k + 1 + expected.argmin()
        cost[k] = poll_cost * (1 - done[k]) + moment[k] + expected[best[k] - k - 1]
        height[k] += cost[k]
    path, k = [], 0
    while k < _GRID - 1:
        k = int(best[k])
        path.append(ages[k])
    return np.array(path)


def evaluate(times: Distribution, polls: Floats) -> tuple[float, float]:
    """(expected number of polls, expected lag in seconds) of polling at the ages `polls`."""
    ages = np.concatenate([[0.0], polls])
    done = times.cdf(ages)
    done[-1] = 1.0
    lag = np.sum(ages[1:] * np.diff(done) - np.diff(times.partial_mean(ages)))
    return float(np.sum(1 - done[:-1])), float(lag)


@dataclass(frozen=True)
class Frontier:
    """The optimum's expected lag (seconds) for each expected number of polls, in rising order of polls."""

    polls: Floats
    lag: Floats

    def lag_at(self, polls: float) -> float:
        """The least possible lag with this many polls; an error outside of what has been computed."""
        if not self.polls[0] <= polls <= self.polls[-1]:
            raise ValueError(f"{polls:.2f} polls is outside the frontier's {self.polls[0]:.2f}–{self.polls[-1]:.2f}")
        return float(np.exp(np.interp(np.log(polls), np.log(self.polls), np.log(self.lag))))


def frontier(times: Distribution, longest: float) -> Frontier:
    """The trade-off between polls and lag, from about one poll to about thirty."""
    points = [evaluate(times, best_poll_times(times, longest, cost)) for cost in np.geomspace(0.004, 12, 32)]
    polls, lag = np.array(sorted(set(points))).T
    return Frontier(polls, lag)
