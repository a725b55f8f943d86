"""The border between the code and the world: every call that leaves the code is counted here, and may go wrong."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from simulation.scheduler import Crash, Scheduler

CRASHES = ("crash before", "crash after")
EVERYWHERE = (*CRASHES, "error", "time-out without effect", "time-out with effect", "stall")
STALL_SECONDS = 40.0
"""Longer than anything that goes well, shorter than a function lives."""
_QUICKLY_SECONDS = 1.0


@dataclass(frozen=True, order=True)
class Fault:
    """What goes wrong: at the call (or, for kinds that are about messages, the delivery) number `at` of a run.

    `crash before` and `crash after` the call takes effect; an `error` answer; a `time-out with effect` or `without`,
    as long as the client waits; a call `repeated` by the SDK because its first answer was lost; a `stall` of the
    process before the call; what else a service is known for (`conflict`, `gateway time-out`).

    Around a call: the operator's `pause`, for a while; `everything lost`: all processes, all messages of our own and
    all executions end there, and everybody else is well again.

    A message delivered `twice`, `again` although it was worked on, `late`, or `throttled` when it is first received.

    With `of`, only calls are counted whose name begins so, `POST` or `submit update_item` say: the process may stand
    before it.
    """

    at: int
    kind: str
    of: str = ""

    @property
    def of_message(self) -> bool:
        return self.kind in MESSAGE_FAULTS

    def __str__(self) -> str:
        return f"{self.of and self.of + ' '}{self.at}={self.kind.replace(' ', '-')}"

    @classmethod
    def read(cls, text: str) -> Fault:
        at, _, kind = text.partition("=")
        known = {kind.replace(" ", "-"): kind for kind in (*EVERYWHERE, *SPECIAL, *AROUND, *MESSAGE_FAULTS)}
        return cls(int(at), known[kind])


SPECIAL = ("repeated", "conflict", "gateway time-out")
MESSAGE_FAULTS = ("twice", "again", "late", "throttled")
EVERYTHING_LOST = "everything lost"
AROUND = ("pause", EVERYTHING_LOST)
"""What happens around a call, and not to it: the world itself does it."""


class Call(NamedTuple):
    """A call that left the code."""

    at: float
    process: str
    service: str
    name: str
    asked: Any
    kinds: Sequence[str]

    @property
    def full_name(self) -> str:
        """Whose call it is, and what: `submit transact_write_items`."""
        return f"{self.process.partition(' ')[0]} {self.name}"


@dataclass(frozen=True)
class FailureModes:
    """How a call can go wrong, apart from crashes: the exceptions or answers by the kinds of `Fault`.

    `fail` raises or returns what the caller gets for the kind. The client gives up after `tries` of `patience` seconds.
    """

    kinds: Sequence[str]
    fail: Callable[[str], Any]
    patience: float = 10.0
    tries: int = 1


class FaultInjector:
    """Counts, delays and spoils the calls. `delay`: seconds that a call to a service takes; `around`: does what happens
    around a call; `deadly`: objects that take more memory than a function has, so many times."""

    def __init__(
        self,
        scheduler: Scheduler,
        faults: Sequence[Fault],
        delay: Callable[[str], float],
        around: Callable[[str], None],
        *,
        remembers: bool = True,
    ) -> None:
        self.scheduler = scheduler
        self.count: Counter[str] = Counter()
        self.calls: list[Call] = []
        self.injected: list[tuple[Fault, Call]] = []
        self.deadly: defaultdict[str, float] = defaultdict(float)
        self._faults = {fault.at: fault for fault in faults if not fault.of_message and not fault.of}
        self._named = [fault for fault in faults if fault.of]
        self._met: Counter[Fault] = Counter()
        self._away: dict[str, tuple[float, str, str]] = {}
        self._delay, self._around = delay, around
        self._remembers = remembers

    def go_away(self, service: str, seconds: float, how: str = "error", only: str = "") -> None:
        """Let every call to a service fail for so long, or `only` those of one operation: with an `error`, or a
        `time-out without effect`."""
        self._away[service] = (self.scheduler.now + seconds, how, only)

    def come_back(self) -> None:
        """End all outages."""
        self._away.clear()

    def call(self, service: str, name: str, asked: Any, effect: Callable[[], Any], modes: FailureModes) -> Any:
        """Let a call take effect, and return its answer; or not."""
        process = self.scheduler.running
        if process is None:
            return effect()
        if process.dead:
            raise Crash
        call = Call(self.scheduler.now, process.name, service, name, asked, modes.kinds)
        fault = self._faults.get(self.count.total()) or self._of_its_name(call)
        self.count[service] += 1
        if self._remembers:
            self.calls.append(call)
        self.scheduler.pause(self._delay(service))
        if asked and service == "s3" and self.deadly[asked.get("Key", "")] > 0:
            self.deadly[asked["Key"]] -= 1
            raise self._crash()
        until, how, only = self._away.get(service, (0.0, "", ""))
        if self.scheduler.now < until and only in ("", name):
            return self._refused(how, modes)
        if fault is None or fault.kind not in (*modes.kinds, *AROUND):
            return effect()
        self.injected.append((fault, call))
        if fault.kind in AROUND:
            return self._surrounded(fault.kind, effect)
        return self._spoiled(fault.kind, effect, modes)

    def _of_its_name(self, call: Call) -> Fault | None:
        names = (call.name, call.full_name)
        struck = None
        for fault in self._named:
            if any(name.startswith(fault.of) for name in names):
                struck = fault if self._met[fault] == fault.at else struck
                self._met[fault] += 1
        return struck

    def _refused(self, how: str, modes: FailureModes) -> Any:
        self.scheduler.pause(_QUICKLY_SECONDS if how == "error" else modes.patience * modes.tries)
        return modes.fail(how)

    def _surrounded(self, kind: str, effect: Callable[[], Any]) -> Any:
        if kind == EVERYTHING_LOST:
            _regardless(effect)
            self._around(kind)
            raise self._crash()
        self._around(kind)
        return effect()

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
            case "gateway time-out":
                _regardless(effect)
        if kind.startswith("time-out"):
            for _ in range(modes.tries):
                if kind == "time-out with effect":
                    _regardless(effect)
                self.scheduler.pause(modes.patience)
        return modes.fail(kind)

    def _crash(self) -> Crash:
        if self.scheduler.running:
            self.scheduler.running.dead = True
        return Crash()


def _regardless(effect: Callable[[], Any]) -> None:
    with contextlib.suppress(Exception):  # nobody hears what it answers
        effect()
