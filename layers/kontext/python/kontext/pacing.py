"""When the next submit may go: the rate of the account, and the gate that closes while it is refused.

`Pace` is one small item of the table, shared by all submitters; the functions on it are pure and `Pacing`
writes their answer by compare-and-swap. Two schedules stand in it:

- the *line*: a render that has to wait is given its turn, one interval behind the one before it, once;
- the *slots* (GCRA, with the burst paid back): when its turn has come a render takes the next free slot.
  However late and bunched turns come back from the queue, the requests themselves stay an interval apart, so
  they never meet a 429. A slot that is free although others wait, because a burst of drops holds their messages
  up, goes to whoever is there.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal

from kontext.due import REMOVE_DUE, SET_DUE, TELL_SECONDS, TIMER
from kontext.table import ConditionFailed, Key, Table

WINDOW_SECONDS = 61.0
"""A minute, and a second for requests that arrive late: no minute at Segmind's end then sees more than its
share."""
PATIENCE_SECONDS = 5.0
"""A slot this near is slept for; a later one costs less as a delayed message."""
UNKNOWN_RESET_SECONDS = 60.0
_LATEST_RESET_SECONDS = 900.0

RECHECK_SECONDS = (5.0, 300.0)
_RECHECK_SHARE = 1 / 40
PAUSED = "paused"
_FOR_EVER_SECONDS = 1e9
_PROBE_ANSWERS_SECONDS = 3.0
_LATE_SECONDS = 60.0


@dataclass(frozen=True)
class Rate:
    """`per_minute` requests; the first `burst` of them at once when nothing was sent for a while."""

    per_minute: float
    burst: int = 5

    @property
    def interval(self) -> float:
        """Seconds between two requests."""
        return WINDOW_SECONDS / self.per_minute

    @property
    def at_once(self) -> int:
        """How many may go at the same moment: never more than a minute's share."""
        return max(1, min(self.burst, int(self.per_minute)))


@dataclass(frozen=True)
class Pace:
    """The shared state. All times in unix seconds.

    `next_free` is the next free slot, `burst` how many of the reserved first ones are left, `line_end` the next
    free turn. While `refused` holds a reason, one probe goes at `probe_at`; `asked_at` is when the last one
    went.
    """

    next_free: float = 0.0
    burst: int = 0
    line_end: float = 0.0
    refused: str | None = None
    refused_since: float = 0.0
    asked_at: float = 0.0
    probe_at: float = 0.0
    ended: str | None = None
    """The reason for which the gate was closed before it was opened at `opened_at`; it had been since `ended_since`."""
    ended_since: float = 0.0
    opened_at: float = 0.0
    told: str | None = None
    """The `id` of the change of the gate that subscribers were told last."""


@dataclass(frozen=True)
class Change:
    """The gate was closed (`parked`) or opened again (`resumed`) at `at`, because of `reason`."""

    what: Literal["parked", "resumed"]
    reason: str
    since: float
    at: float

    @property
    def id(self) -> str:
        """The same whenever this change is told."""
        return f"gate.{round(self.since * 1000)}.{self.reason}.{self.what}"


@dataclass(frozen=True)
class Go:
    """Submit at `at`. `probe`: the account was refused, and this one finds out whether it still is."""

    at: float
    probe: bool = False


@dataclass(frozen=True)
class Hold:
    """Come back at `until`; `reason` is `pace` or why the account is refused."""

    reason: str
    until: float


def admit(pace: Pace, rate: Rate, now: float, *, in_line: bool) -> tuple[Pace, Go | Hold]:
    """Let a render go or give it its turn. `in_line`: it has had one, and it has come."""
    if pace.refused:
        if now < pace.probe_at:
            return pace, Hold(pace.refused, gate_reopens(pace, now))
        slotted, at = _slot(pace, rate, now)
        if at - now > PATIENCE_SECONDS:
            return replace(pace, probe_at=at), Hold(pace.refused, at)
        return replace(slotted, asked_at=at, probe_at=at + _recheck(pace, at)), Go(at, probe=True)
    if not in_line and pace.line_end > now and pace.next_free > now:
        return _turn(pace, rate, pace.line_end)
    slotted, at = _slot(pace, rate, now)
    if at - now > PATIENCE_SECONDS:
        return _turn(pace, rate, max(at, pace.line_end))
    return slotted, Go(at)


def gate_reopens(pace: Pace, now: float) -> float:
    """When it is worth asking again at a closed gate: just after the probe, or shortly if one is on its way."""
    if now - pace.asked_at < _PROBE_ANSWERS_SECONDS:
        return now + _PROBE_ANSWERS_SECONDS
    return min(pace.probe_at, now + RECHECK_SECONDS[1])


def messages_are_lost(pace: Pace, now: float) -> bool:
    """Whether a waiting render that is due has lost its message: all come back within five minutes of the gate's
    opening, or of the next probe."""
    since = pace.probe_at if pace.refused else pace.opened_at
    return now > since + RECHECK_SECONDS[1] + _LATE_SECONDS


def refuse(pace: Pace, reason: str, now: float) -> Pace:
    """The account was refused: close the gate. The longer it lasts, the rarer a probe goes."""
    if pace.refused == PAUSED:
        return pace
    since = pace.refused_since if pace.refused else now
    closed = replace(pace, refused=reason, refused_since=since, asked_at=now - _PROBE_ANSWERS_SECONDS)
    return replace(closed, probe_at=now + _recheck(closed, now))


def pause(pace: Pace, now: float) -> Pace:
    """A person closed the gate: nothing probes, and only `accept` opens it."""
    return replace(pace, refused=PAUSED, refused_since=now, asked_at=0.0, probe_at=now + _FOR_EVER_SECONDS)


def accept(pace: Pace, now: float) -> Pace:
    """The account works: open the gate."""
    if not pace.refused:
        return pace
    opened = replace(pace, ended=pace.refused, ended_since=pace.refused_since, opened_at=now)
    return replace(opened, refused=None, refused_since=0.0, asked_at=0.0, probe_at=0.0)


def untold(pace: Pace) -> Change | None:
    """What became of the gate, if subscribers have not been told yet."""
    change = None
    if pace.refused:
        change = Change("parked", pace.refused, pace.refused_since, pace.refused_since)
    elif pace.ended:
        change = Change("resumed", pace.ended, pace.ended_since, pace.opened_at)
    return change if change and change.id != pace.told else None


def sane_reset(reset_at: float | None, now: float) -> float:
    """When the rate limit resets; one that is missing, past or absurd counts as a minute from now."""
    if reset_at is not None and now < reset_at <= now + _LATEST_RESET_SECONDS:
        return reset_at
    return now + UNKNOWN_RESET_SECONDS


def push(pace: Pace, reset_at: float | None, now: float) -> Pace:
    """A 429: nothing goes before the reset."""
    reset = sane_reset(reset_at, now)
    return replace(pace, burst=0, next_free=max(pace.next_free, reset), line_end=max(pace.line_end, reset))


def _turn(pace: Pace, rate: Rate, at: float) -> tuple[Pace, Hold]:
    return replace(pace, line_end=at + rate.interval), Hold("pace", at)


def _slot(pace: Pace, rate: Rate, now: float) -> tuple[Pace, float]:
    idle_since = pace.next_free + (rate.at_once - 1) * rate.interval
    if idle_since <= now:
        reserved = now + rate.at_once * rate.interval
        return replace(pace, next_free=reserved, burst=rate.at_once - 1), now
    # Each of the first ones stands for a slot of its own: once that is past, it is lost as any other is.
    first_ones = min(pace.burst, int((pace.next_free - now) / rate.interval))
    if first_ones > 0:
        return replace(pace, burst=first_ones - 1), now
    at = max(now, pace.next_free)
    return replace(pace, next_free=at + rate.interval, burst=0), at


def _recheck(pace: Pace, now: float) -> float:
    least, most = RECHECK_SECONDS
    return min(most, max(least, (now - pace.refused_since) * _RECHECK_SHARE))


class Pacing:
    """The shared `Pace` of a stack. Remembers what it saw last, so that it mostly needs no read."""

    KEY: ClassVar[Key] = {"pk": "stack", "sk": "pace"}

    def __init__(self, table: Table, rate: Rate) -> None:
        self.table = table
        self.rate = rate
        self._seen: dict[str, Any] = {}

    def look(self) -> Pace:
        """The state now, unchanged."""
        self._seen = self.table.get(self.KEY) or {}
        return _pace(self._seen)

    def admit(self, now: float, *, in_line: bool) -> Go | Hold:
        """`admit`, for all submitters."""
        while True:
            pace, verdict = admit(_pace(self._seen), self.rate, now, in_line=in_line)
            if self._swap(pace):
                return verdict

    def refuse(self, reason: str, now: float) -> Pace:
        """`refuse`, for all submitters; returns the closed gate."""
        while not self._swap(pace := refuse(_pace(self._seen), reason, now)):
            pass
        return pace

    def pause(self, now: float) -> None:
        """`pause`, for all submitters."""
        while not self._swap(pause(_pace(self._seen), now)):
            pass

    def accept(self, now: float) -> None:
        """`accept`, for all submitters."""
        while not self._swap(accept(_pace(self._seen), now)):
            pass

    def untold(self) -> Change | None:
        """`untold`, of the state as it was last seen."""
        return untold(_pace(self._seen))

    def told(self, change: Change) -> None:
        """Subscribers have been told of a change."""
        while not self._swap(replace(_pace(self._seen), told=change.id)):
            pass

    def push(self, reset_at: float | None, now: float) -> Pace:
        """`push`, for all submitters; returns the schedule as pushed."""
        while not self._swap(pace := push(_pace(self._seen), reset_at, now)):
            pass
        return pace

    def _swap(self, pace: Pace) -> bool:
        if pace == _pace(self._seen) and self._seen:
            return self._unchanged()
        version = self._seen.get("version", 0)
        try:
            change = untold(pace)
            due = {"due_lane": TIMER, "due_at": change.at + TELL_SECONDS} if change else {}
            self._seen = self.table.update(
                self.KEY,
                "SET #version = :next, #pace = :pace" + (f", {SET_DUE}" if due else f" REMOVE {REMOVE_DUE}"),
                "#version = :version" if version else "attribute_not_exists(#version)",
                next=version + 1,
                pace=asdict(pace),
                version=version,
                **due,
            )
        except ConditionFailed as other:
            self._seen = other.found or {}
            return False
        return True

    def _unchanged(self) -> bool:
        # Nothing to write, but the answer must come from the state as it is, not as it was remembered.
        seen = self._seen.get("version")
        self.look()
        return seen == self._seen.get("version")


def _pace(item: dict[str, Any]) -> Pace:
    return Pace(**{name: value for name, value in item.get("pace", {}).items() if name in Pace.__dataclass_fields__})
