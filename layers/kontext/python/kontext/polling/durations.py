"""What the stack has learned about how long renders take, kept in one small table item.

Poll adds a completed render by one `UpdateItem` (`SET #slot = :cell`, both from `Durations.cell`). The slot is a hash
of the render's id, so this needs no read, no counter and no lock; a repeated delivery writes the same cell
again; and a new render replaces a random old one, which bounds the item to `SLOTS` cells (some 6 KB). The
readers, Submit and Poll, put the cells in order of time and keep those since the last change of pace.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

SLOTS = 256
_FEWEST = 5  # renders that can show a change of pace …
_SURPRISE = 4.0  # … by being so many standard deviations off
_RECORD_LIFE = 3600.0  # Segmind forgets a request after an hour: nothing is seen to take longer

# A lognormal of mean 23.32 s (the vendor's figure) and cv 0.35, as twelve equally likely values; they weigh
# little, because the first renders know better.
_PRIOR = [22.0 * math.exp(s * 0.34 * z) for z in (0.105, 0.319, 0.549, 0.812, 1.15, 1.732) for s in (-1, 1)]
_PRIOR_WEIGHT = 0.125


@dataclass(frozen=True)
class Observation:
    """A finished render: `at` (epoch seconds), seconds from acceptance to its start, seconds of inference."""

    at: float
    queue: float
    inference: float

    @classmethod
    def read(cls, *values: object) -> Observation | None:
        """Metrics come from outside: None for whatever cannot be an observation."""
        try:
            at, queue, inference = (float(str(value)) for value in values)
        except ValueError:
            return None
        plausible = 0 <= at < math.inf and 0 <= queue <= _RECORD_LIFE and 0.1 <= inference <= _RECORD_LIFE
        return cls(at, queue, inference) if plausible else None

    def __str__(self) -> str:
        return f"{self.at:.0f} {self.queue:.1f} {self.inference:.2f}"


@dataclass(frozen=True)
class Durations:
    """The latest renders, from slot name to cell; both are plain strings. Empty, it stands for the prior."""

    cells: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_item(cls, item: Mapping[str, Any] | None) -> Durations:
        """Picks the slots out of a table item, as boto3's resource gives it, and ignores everything else."""
        cells = {name: str(cell) for name, cell in (item or {}).items() if re.fullmatch("s[0-9a-f]{2}", name)}
        return cls(cells)

    @staticmethod
    def cell(render_id: str, at: object, queue: object, inference: object) -> tuple[str, str] | None:
        """What Poll sets: attribute name and value; None for garbage, which is not worth a write."""
        seen = Observation.read(at, queue, inference)
        return (f"s{zlib.crc32(render_id.encode()) % SLOTS:02x}", str(seen)) if seen else None

    def observe(self, render_id: str, at: object, queue: object, inference: object) -> Durations:
        """What is known after Poll's write."""
        cell = self.cell(render_id, at, queue, inference)
        return Durations({**self.cells, cell[0]: cell[1]}) if cell else self

    def weighted(self) -> Iterator[tuple[float, float, float]]:
        """(queue, inference, weight) of each render since the last change of pace, and of the prior."""
        seen = filter(None, (Observation.read(*cell.split()) for cell in self.cells.values()))
        newest_first = sorted(seen, key=lambda one: -one.at)
        steady = _steady([math.log(one.inference) for one in newest_first])
        yield from ((one.queue, one.inference, 1.0) for one in newest_first[:steady])
        yield from ((0.0, inference, _PRIOR_WEIGHT) for inference in _PRIOR)


def _steady(values: Sequence[float]) -> int:
    """How many of `values` precede the likeliest change of their mean; all, if none is likely.

    The change is where the sum of the deviations so far is the most standard deviations away from nought.
    """
    count = len(values)
    mean = sum(values) / max(count, 1)
    variance = sum((value - mean) ** 2 for value in values) / max(count, 1)
    drift = list(accumulate(value - mean for value in values))
    surprise = {
        k: abs(drift[k - 1]) / math.sqrt(variance * k * (count - k) / count + 1e-12)
        for k in range(_FEWEST, count - _FEWEST + 1)
    }
    likeliest = max(surprise, key=surprise.__getitem__, default=count)
    return likeliest if surprise.get(likeliest, 0.0) > _SURPRISE else count
