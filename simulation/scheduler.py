"""Virtual time, and processes that take turns in it: one runs at a time, so that every run repeats exactly."""

from __future__ import annotations

import heapq
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kontext.clock import Clock

BEGINNING = 1_800_000_000.0
"""Friday, 15 January 2027, 08:00 UTC."""


Ended = Callable[[Any, BaseException | None], None]


class Crash(BaseException):
    """The process is gone. No `except Exception` may hold it up, as none holds up a dead machine."""


class NeverRests(Exception):
    """Something goes on and on: a wait that never ends, or a loop."""


@contextmanager
def on_one_core() -> Iterator[None]:
    """Keep what takes turns on the core that it is on: to hand a turn over to another core costs more than most turns,
    on a busy machine three times as much. Where a system lets nobody choose, nothing happens."""
    where = Path("/proc/thread-self/stat")
    if not hasattr(os, "sched_setaffinity") or not where.exists():
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(where.read_text().rpartition(")")[2].split()[36])})  # "processor" in proc(5)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Due:
    """Something that happens at a time, unless it is called off."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act: Callable[[], None] | None = act

    def call_off(self) -> None:
        self.act = None


class Scheduler:
    """The time, what is due when, and who is on."""

    def __init__(self) -> None:
        self.now = BEGINNING
        self.running: Process | None = None
        self._held: Process | None = None
        self._line: list[tuple[float, int, Due]] = []
        self._order = itertools.count()
        self._alive: set[Process] = set()
        self.timed_out: list[tuple[float, str]] = []
        """When a process was killed because its time was over, and which."""

    def at(self, when: float, act: Callable[[], None]) -> Due:
        """Let something happen at `when`, after whatever else is due then already."""
        due = Due(act)
        heapq.heappush(self._line, (max(when, self.now), next(self._order), due))
        return due

    def play(self, until: float) -> None:
        """Let everything happen that is due, until nothing is. Raises NeverRests if something still is at `until`."""
        with on_one_core():
            while self._line:
                when, _, due = heapq.heappop(self._line)
                if due.act is None:
                    continue
                if when > until:
                    raise NeverRests(f"not at rest after {until - BEGINNING:.0f} s")
                self.now = when
                due.act()

    def pause(self, seconds: float) -> None:
        """Let time pass for the process that is on; others may be on meanwhile."""
        process = self.running
        if process is None:
            return
        if process.dead:
            raise Crash
        until = self.now + max(0.0, seconds)
        if self._nothing_until(until):
            self.now = until
            return
        process.wait(until)

    def process(self, name: str, work: Callable[[], Any], lifetime: float, ended: Ended, chain: int = 0) -> None:
        """Start a process that is killed after `lifetime` seconds; `ended` gets its result or what it died of.

        `chain`: the so-manieth invocation of a chain it is.
        """
        process = Process(self, name, work, ended, chain)
        self._alive.add(process)
        process.begin(lifetime)

    def aside(self, act: Callable[[], object]) -> None:
        """Let something happen at this very moment that is no part of the process that is on."""
        self._held, self.running = self.running, None
        try:
            act()
        finally:
            self.running, self._held = self._held, None

    def gone(self, process: Process) -> None:
        self._alive.discard(process)

    def close(self) -> None:
        """End what is still alive, without another effect on anything; not whoever is on, or held up for this."""
        for process in self._alive - {self.running, self._held}:
            process.kill()

    def _nothing_until(self, until: float) -> bool:
        while self._line and self._line[0][2].act is None:
            heapq.heappop(self._line)
        return not self._line or self._line[0][0] > until


class Process:
    """One invocation, in a thread that runs only while the others stand still."""

    def __init__(self, scheduler: Scheduler, name: str, work: Callable[[], Any], ended: Ended, chain: int) -> None:
        self.scheduler = scheduler
        self.name = name
        self.chain = chain
        self.dead = False
        self._work, self._ended = work, ended
        self._on, self._off = threading.Lock(), threading.Lock()
        self._on.acquire()
        self._off.acquire()
        self._outcome: tuple[Any, BaseException | None] | None = None
        self._next: Due | None = None
        self._end: Due | None = None

    def begin(self, lifetime: float) -> None:
        self._end = self.scheduler.at(self.scheduler.now + lifetime, self._time_out)
        threading.Thread(target=self._run, daemon=True).start()
        self._let_run()

    def wait(self, until: float) -> None:
        """Stand still until then. Raises Crash if killed meanwhile."""
        self._next = self.scheduler.at(until, self._let_run)
        self._off.release()
        self._on.acquire()
        if self.dead:
            raise Crash

    def _time_out(self) -> None:
        self.scheduler.timed_out.append((self.scheduler.now, self.name))
        self.kill()

    def kill(self) -> None:
        """Let it die where it stands."""
        self.dead = True
        if self._next:
            self._next.call_off()
        self._let_run()

    def _let_run(self) -> None:
        before, self.scheduler.running = self.scheduler.running, self
        self._on.release()
        self._off.acquire()
        self.scheduler.running = before
        if self._outcome is not None:
            self._end.call_off() if self._end else None
            self.scheduler.gone(self)
            self._ended(*self._outcome)

    def _run(self) -> None:
        self._on.acquire()
        try:
            self._outcome = (self._work(), None)
        except BaseException as problem:  # noqa: BLE001  a crash is one of the outcomes
            self._outcome = (None, problem)
        self._off.release()


class VirtualClock(Clock):
    """The clock that the functions are given."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler

    def now(self) -> float:
        return self.scheduler.now

    def sleep(self, seconds: float) -> None:
        self.scheduler.pause(seconds)
