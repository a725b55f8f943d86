"""A call at which something is raised that nobody has thought of, and who watches all calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kontext.clock import Clock

DAY = 86_400.0
BEGINNING = 1_800_000_000.0


class Nobody(Exception):
    """A class that no code knows."""


@dataclass(frozen=True)
class Call:
    """The call number `nth` of this name in an invocation of a function."""

    function: str
    name: str
    nth: int

    def __str__(self) -> str:
        return f"{self.function}: {self.name} ({self.nth})"


@dataclass(frozen=True)
class Strike:
    """An exception at a call: the first time `before` or `after` it takes effect; or, for so many seconds, each time
    and at the later ones of its name as well."""

    call: Call
    when: str = "before"
    seconds: float = 0.0
    raised: Exception = field(default_factory=Nobody, compare=False)

    def meets(self, call: Call, now: float, *, struck: bool) -> bool:
        """Whether it is this call that goes wrong."""
        if not self.seconds:
            return call == self.call and not struck
        same = (call.function, call.name) == (self.call.function, self.call.name)
        return same and call.nth >= self.call.nth and now < BEGINNING + self.seconds

    def __str__(self) -> str:
        return f"{self.call} {self.when}" + (f", for {self.seconds / DAY:g} days" if self.seconds else "")


class Watch:
    """Sees every call that leaves the functions' own code, at each of its layers."""

    def __init__(self, clock: StandingClock, strikes: tuple[Strike, ...]) -> None:
        self.clock, self.strikes = clock, strikes
        self.calls: list[Call] = []
        self.struck: Counter[Strike] = Counter()
        self._function, self._seen = "", Counter[str]()

    def invoked(self, function: str) -> None:
        self._function, self._seen = function, Counter()

    def call(self, name: str, work: Callable[[], Any]) -> Any:
        self._seen[name] += 1
        call = Call(self._function, name, self._seen[name])
        self.calls.append(call)
        now = self.clock.now()
        due = [strike for strike in self.strikes if strike.meets(call, now, struck=self.struck[strike] > 0)]
        self.struck.update(due)
        answer = work() if all(strike.when == "after" for strike in due) else None
        for strike in due:
            raise strike.raised
        return answer


class Watched:
    """Something whose methods are calls."""

    def __init__(self, name: str, inner: Any, watch: Watch) -> None:
        self._name, self._inner, self._watch = name, inner, watch

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name.startswith("_") or not callable(value) or name == "exceptions":
            return value
        return lambda *given, **more: self._watch.call(f"{self._name}.{name}", lambda: value(*given, **more))


class StandingClock(Clock):
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.time = BEGINNING

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += max(0.0, seconds)
