"""How long a picture takes on a worker: distributions measured in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Any

MEAN_SECONDS = 23.32
"""The vendor's own figure for `multi-image-kontext-pro`."""


@dataclass(frozen=True)
class Lognormal:
    """Mostly near `mean`, sometimes much longer; `cv` is standard deviation over mean, 0 is constant."""

    mean: float = MEAN_SECONDS
    cv: float = 0.2

    def sample(self, rng: Random, nth: int) -> float:  # noqa: ARG002  every distribution is asked the same way
        if not (self.mean and self.cv):
            return self.mean
        variance = math.log1p(self.cv**2)
        return rng.lognormvariate(math.log(self.mean) - variance / 2, math.sqrt(variance))


@dataclass(frozen=True)
class Bimodal:
    """`fast` seconds, or `slow` ones for `slow_share` (0 to 1) of the jobs, as after a cold start."""

    fast: float
    slow: float
    slow_share: float = 0.1

    def sample(self, rng: Random, nth: int) -> float:  # noqa: ARG002
        return self.slow if rng.random() < self.slow_share else self.fast


@dataclass(frozen=True)
class Listed:
    """The given seconds in turn, from the start again when they are used up."""

    values: tuple[float, ...]

    def sample(self, rng: Random, nth: int) -> float:  # noqa: ARG002
        return self.values[nth % len(self.values)]


Inference = Lognormal | Bimodal | Listed


def parse(given: Any, cv: float = 0.2) -> Inference:
    """Read a distribution: a mean, `{"mean", "cv"}`, `{"fast", "slow", "slow_share"}` or `{"values": [...]}`.

    Raises ValueError saying what is allowed.
    """
    if isinstance(given, Lognormal | Bimodal | Listed):
        return given
    try:
        return _checked(_read(given, cv))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "inference: seconds of at least 0, or {mean, cv}, {fast, slow, slow_share}, {values: [...]}"
        ) from error


def _read(given: Any, cv: float) -> Inference:
    if not isinstance(given, dict):
        return Lognormal(float(given), cv)
    if "values" in given:
        return Listed(tuple(float(value) for value in given["values"]))
    return Bimodal(**given) if "fast" in given else Lognormal(**{"cv": cv, **given})


def _checked(inference: Inference) -> Inference:
    numbers = inference.values if isinstance(inference, Listed) else tuple(vars(inference).values())
    if not numbers or min(numbers) < 0:
        raise ValueError
    return inference
