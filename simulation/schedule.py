"""What a run is played by: all that comes from outside, and what the world is set to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from simulation.fault_injection import Fault
from simulation.s3 import Version
from simulation.scheduler import BEGINNING

if TYPE_CHECKING:
    from simulation.world import World

LONGEST_RUN_SECONDS = 7 * 86_400.0


class Action(Protocol):
    """Something that happens from outside; `lasts`: also when everybody else is well again for good."""

    lasts: ClassVar[bool]

    def do(self, world: World) -> None: ...


@dataclass(frozen=True)
class Step:
    """An action, so many seconds after the beginning."""

    at: float
    action: Action

    def __str__(self) -> str:
        return f"{self.at:8.1f}  {self.action}"


class DroppedObject(NamedTuple):
    """That an object was dropped, and whether it may bring a prompt."""

    at: float
    key: str
    has_prompt: bool


class Stood(NamedTuple):
    """What stood under a key of the input bucket from then on; None: nothing."""

    since: float
    version: Version | None


@dataclass(frozen=True)
class Schedule:
    """All that comes from outside in one run; the same schedule gives the same run, call by call.

    `parameters` of the template, `account`: settings of the vendor. With a `seed`, calls and messages take their
    time by chance; without, their usual time.
    """

    steps: tuple[Step, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
    account: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    seed: int | None = None
    window: float = 0.0
    """For how many seconds messages gather before they are received, in any order; by chance with a `seed`."""
    stops_loops: bool | None = None
    """Whether Lambda stops recursive loops, as it does unless told otherwise; by default as the template says."""
    rests_within: float = LONGEST_RUN_SECONDS
    """So many seconds after the last step everything must be at rest."""
    vendor_ahead: float = 0.0
    """By so many seconds the vendor's clock is ahead of ours, in what it tells."""
    provokes_429: bool = False
    hints_lost: float = 0.0
    """The share of our own messages that never come."""
    remembers: bool = True
    """Whether the calls are kept, each with what it asked for; their number is in any case."""

    def next_sweep(self, after: float) -> float:
        """When Sweep is called next: with each minute, or with a `seed` at some second of it. Then two calls are 1 to
        119 seconds apart."""
        minute, at = int((after - BEGINNING) // 60), 0.0
        while at < after:
            second = 0.0 if self.seed is None else Random(self.seed * 1_000_003 + minute).uniform(0.5, 59.5)
            minute, at = minute + 1, BEGINNING + 60.0 * minute + second
        return at

    def with_faults(self, *faults: Fault) -> Schedule:
        return replace(self, faults=faults)
