"""The workloads of the benchmark: how long renders take, as distributions and as seeded samples."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_erf = np.vectorize(math.erf, otypes=[float])


class Distribution(Protocol):
    """Of completion times in seconds: all that an optimum needs to know."""

    def cdf(self, x: Floats) -> Floats:
        """The share completed by x."""

    def partial_mean(self, x: Floats) -> Floats:
        """E[T · (T ≤ x)]."""


@dataclass(frozen=True)
class Lognormals:
    """A mixture of lognormals, as (share, mean in seconds, coefficient of variation) each."""

    parts: tuple[tuple[float, float, float], ...]

    def cdf(self, x: Floats) -> Floats:
        return self._sum(x, shift=False)

    def partial_mean(self, x: Floats) -> Floats:
        return self._sum(x, shift=True)

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        which = rng.choice(len(self.parts), size=count, p=[share for share, _, _ in self.parts])
        means = np.array([mean for _, mean, _ in self.parts])[which]
        sigmas = np.array([_sigma(cv) for _, _, cv in self.parts])[which]
        return np.asarray(means * np.exp(sigmas * rng.standard_normal(count) - sigmas**2 / 2))

    def longest(self) -> float:
        """The age that one render in ten million outlives."""
        return max(mean * math.exp(5.2 * _sigma(cv) - _sigma(cv) ** 2 / 2) for _, mean, cv in self.parts)

    def _sum(self, x: Floats, shift: bool) -> Floats:
        logs = np.log(np.maximum(x, 1e-12))
        total = np.zeros_like(logs)
        for share, mean, cv in self.parts:
            sigma = _sigma(cv)
            z = (logs - math.log(mean) + sigma**2 / 2) / sigma - (sigma if shift else 0.0)
            total += share * (mean if shift else 1.0) * (1 + _erf(z / math.sqrt(2))) / 2
        return total


@dataclass(frozen=True)
class Empirical:
    """The distribution of a sample."""

    times: Floats

    def cdf(self, x: Floats) -> Floats:
        return np.asarray(np.searchsorted(np.sort(self.times), x, side="right") / len(self.times))

    def partial_mean(self, x: Floats) -> Floats:
        ordered = np.sort(self.times)
        sums = np.concatenate([[0.0], np.cumsum(ordered)])
        return np.asarray(sums[np.searchsorted(ordered, x, side="right")] / len(ordered))

    def longest(self) -> float:
        return float(np.max(self.times))


@dataclass(frozen=True)
class Renders:
    """A sample in order of arrival: seconds in Segmind's queue, then seconds of inference."""

    queue: Floats
    inference: Floats

    @property
    def total(self) -> Floats:
        return self.queue + self.inference

    def __len__(self) -> int:
        return len(self.queue)


STATIONARY = {
    "cv0.2": Lognormals(((1.0, 23.32, 0.2),)),
    "cv0.6": Lognormals(((1.0, 23.32, 0.6),)),
    "bimodal": Lognormals(((0.8, 20.0, 0.2), (0.2, 60.0, 0.2))),
}
BEFORE_DRIFT = Lognormals(((1.0, 20.0, 0.2),))
AFTER_DRIFT = Lognormals(((1.0, 35.0, 0.2),))
DESCRIPTIONS = {
    "cv0.2": "lognormal, mean 23.32 s, cv 0.2",
    "cv0.6": "lognormal, mean 23.32 s, cv 0.6",
    "bimodal": "80 % mean 20 s, 20 % mean 60 s, cv 0.2 each",
    "drift": "mean 20 s, jumping to 35 s half-way, cv 0.2",
    "queueing": "bursts of 5 to 40 renders onto 4 workers, inference as cv0.2",
}


def sample(name: str, count: int, seed: int) -> Renders:
    """`count` renders of the workload `name`; the same ones for the same seed."""
    rng = np.random.default_rng([seed, *name.encode()])
    if name == "queueing":
        return _bursts(rng, count, workers=4)
    if name == "drift":
        halves = (BEFORE_DRIFT.draw(rng, count // 2), AFTER_DRIFT.draw(rng, count - count // 2))
        return Renders(np.zeros(count), np.concatenate(halves))
    return Renders(np.zeros(count), STATIONARY[name].draw(rng, count))


def _bursts(rng: np.random.Generator, count: int, workers: int) -> Renders:
    inference = STATIONARY["cv0.2"].draw(rng, count)
    queue = np.empty(count)
    free, left, now = [0.0] * workers, 0, 0.0
    for k in range(count):
        if left == 0:
            left = int(rng.integers(5, 41))
            now += 300.0
        begin = max(now, heapq.heappop(free))
        queue[k] = begin - now
        heapq.heappush(free, begin + inference[k])
        left -= 1
    return Renders(queue, inference)


def _sigma(cv: float) -> float:
    return math.sqrt(math.log(1 + cv * cv))
