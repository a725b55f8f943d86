"""The border between the code and the world: every call that leaves the code is counted here, and may go wrong."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from simulation.scheduler import Crash, Scheduler

CRASHES = ("crash before", "crash after")
EVERYWHERE = (*CRASHES, "error", "time-out without effect", "time-out with effect", "stall")
TIME_OUT_SECONDS = 10.0
STALL_SECONDS = 40.0
"""Longer than anything that goes well, shorter than a function lives."""


@dataclass(frozen=True, order=True)
class Fault:
    """What goes wrong: at the call (or, for kinds that are about messages, the delivery) number `at` of a run.

    `crash before` and `crash after` the call takes effect; an `error` answer; a `time-out with effect` or `without`;
    a call `repeated` by the SDK because its first answer was lost; a `stall` of the process before the call; what
    else a service is known for (`conflict`, `gateway time-out`). A message delivered `twice`, `again`
    although it was worked on, or `late`.
    """

    at: int
    kind: str

    @property
    def of_message(self) -> bool:
        return self.kind in MESSAGE_FAULTS

    def __str__(self) -> str:
        return f"{self.at}={self.kind.replace(' ', '-')}"

    @classmethod
    def read(cls, text: str) -> Fault:
        at, _, kind = text.partition("=")
        known = {kind.replace(" ", "-"): kind for kind in (*EVERYWHERE, *SPECIAL, *MESSAGE_FAULTS)}
        return cls(int(at), known[kind])


SPECIAL = ("repeated", "conflict", "gateway time-out")
MESSAGE_FAULTS = ("twice", "again", "late")


class Call(NamedTuple):
    """A call that left the code."""

    at: float
    process: str
    service: str
    name: str
    asked: Any
    kinds: Sequence[str]


@dataclass(frozen=True)
class FailureModes:
    """How a call can go wrong, apart from crashes: the exceptions or answers by the kinds of `Fault`."""

    kinds: Sequence[str]
    fail: Callable[[str], Any]
    """Raises or returns what the caller gets for the kind."""


class FaultInjector:
    """Counts, delays and spoils the calls. `delay`: seconds that a call to a service takes."""

    def __init__(
        self, scheduler: Scheduler, faults: Sequence[Fault], delay: Callable[[str], float], *, remembers: bool = True
    ) -> None:
        self.scheduler = scheduler
        self.count: Counter[str] = Counter()
        self.calls: list[Call] = []
        self.injected: list[tuple[Fault, Call]] = []
        self._faults = {fault.at: fault for fault in faults if not fault.of_message}
        self._delay = delay
        self._remembers = remembers

    def call(self, service: str, name: str, asked: Any, effect: Callable[[], Any], modes: FailureModes) -> Any:
        """Let a call take effect, and return its answer; or not."""
        process = self.scheduler.running
        if process is None:
            return effect()
        if process.dead:
            raise Crash
        call = Call(self.scheduler.now, process.name, service, name, asked, modes.kinds)
        fault = self._faults.get(self.count.total())
        self.count[service] += 1
        if self._remembers:
            self.calls.append(call)
        self.scheduler.pause(self._delay(service))
        if fault is None or fault.kind not in modes.kinds:
            return effect()
        self.injected.append((fault, call))
        return self._spoiled(fault.kind, effect, modes)

    def _spoiled(self, kind: str, effect: Callable[[], Any], modes: FailureModes) -> Any:
        match kind:
            case "stall":
                self.scheduler.pause(STALL_SECONDS)
                return effect()
            case "crash before":
                raise self._crash()
            case "crash after":
                _regardless(effect)
                raise self._crash()
            case "repeated":
                _regardless(effect)
                return effect()
            case "time-out with effect" | "gateway time-out":
                _regardless(effect)
        if kind.startswith("time-out"):
            self.scheduler.pause(TIME_OUT_SECONDS)
        return modes.fail(kind)

    def _crash(self) -> Crash:
        if self.scheduler.running:
            self.scheduler.running.dead = True
        return Crash()


def _regardless(effect: Callable[[], Any]) -> None:
    with contextlib.suppress(Exception):  # nobody hears what it answers
        effect()
