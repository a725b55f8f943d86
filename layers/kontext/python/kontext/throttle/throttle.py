"""What all submitters of a stack share: the slots of the rate limiter, the circuit breaker, the pause and the line."""

from dataclasses import replace

from kontext.dynamodb import Key, Table
from kontext.model import Reason
from kontext.throttle.admission import Admit, State, Wait, admit, admit_head, join, joined, see_line
from kontext.throttle.circuit_breaker import (
    PAUSED,
    PROBE_SECONDS,
    Change,
    doubt,
    end,
    fail_probe,
    open_breaker,
    pause,
)
from kontext.throttle.rate_limiter import SPARE_SECONDS, Rate, back_off, postpone
from kontext.throttle.shared_state import SharedState, is_restored

DOUBT_SECONDS = 10.0
"""So long nobody goes after a lost answer: those that are on their way tell whether it is an outage."""

_SLOWER = 1.2
"""A request may take so much more than the last one and still be as fast as usual: the way may have become longer."""
_FIRST_SECONDS = 1.0
"""What a request takes, as long as none was sent: the first one, which opens a connection, may be slow itself."""
_FASTEST_SECONDS = 0.05
"""No request takes less: a clock was put back meanwhile."""


class Throttle:
    """Who goes now, for all submitters of a stack: each method changes what they share."""

    KEY = SharedState.KEY

    def __init__(self, table: Table, rate: Rate) -> None:
        self.shared = SharedState(table)
        self.rate = rate
        self.usual_seconds = _FIRST_SECONDS
        """What a request takes at least, as of late."""

    def read(self) -> State:
        """The state now, unchanged."""
        return self.shared.read()

    def admit(self, now: float) -> Admit | Wait:
        """`admit`, for all submitters."""
        return self.shared.change(lambda state: admit(state, self.rate, now))

    def join(self, now: float) -> Wait:
        """`join`, for all submitters."""
        return self.shared.change(lambda state: join(state, self.rate, now))

    def admit_head(self, now: float, *, trial: bool = False) -> float | None:
        """`admit_head`, for all submitters."""
        return self.shared.change(lambda state: admit_head(state, self.rate, now, trial=trial))

    def see_line(self, now: float, waiting: int) -> tuple[float, ...]:
        """`see_line`, for all: the permits to send, handed out to nobody else."""
        return self.shared.change(lambda state: see_line(state, self.rate, now, waiting))

    def back_off(self, reset_at: float | None, now: float) -> None:
        """A 429: nobody goes before the reset, and who met it stands in line from now on. The permits until then are
        void: Sweep hands out others."""

        def later(state: State) -> State:
            slots = back_off(state.slots, reset_at, now)
            return replace(joined(state, now), slots=slots, permits_until=0.0)

        self.shared.put(later)

    def make_up_for(self, slot: float, sent_at: float, answered_at: float) -> None:
        """A request was taken. One that reached Segmind later after its slot than others do moves the slots that are
        left by as much: else there would be one too many in the minute that begins with it. It is one, however late it
        comes, so that a slot left out makes good for it. Mostly nothing is written.
        """
        took = max(_FASTEST_SECONDS, answered_at - sent_at)
        self.usual_seconds = min(took, _SLOWER * self.usual_seconds)
        late = answered_at - self.usual_seconds - slot - SPARE_SECONDS
        if late > 0:
            later = min(late, self.rate.interval)
            self.shared.put(lambda state: replace(state, slots=postpone(state.slots, later)))

    def open_breaker(self, reason: Reason, now: float, *, trial: bool = False, unfollowed: Key | None = None) -> State:
        """`open_breaker`, for all submitters. The permits that are out let nobody go."""

        def opened(state: State) -> State:
            breaker = open_breaker(state.breaker, reason, now, trial=trial, unfollowed=unfollowed)
            return replace(state, breaker=breaker, permits_until=0.0)

        return self.shared.put(opened)

    def doubt(self, now: float, *, lost: bool, trial: bool = False) -> State:
        """`doubt`, for all submitters."""

        def doubted(state: State) -> State:
            breaker = doubt(state.breaker, now, lost=lost, trial=trial)
            if not lost:
                return replace(state, breaker=breaker, permits_until=0.0 if breaker.reason else state.permits_until)
            slots = back_off(state.slots, now + DOUBT_SECONDS, now)
            return replace(joined(state, now), slots=slots, breaker=breaker, permits_until=0.0)

        return self.shared.put(doubted)

    def hear_answer(self) -> None:
        """An answer has come: the doubtful ones before it are no outage. Mostly there is nothing to write."""
        if self.shared.seen.breaker.doubtful:
            self.shared.put(lambda state: replace(state, breaker=replace(state.breaker, doubtful=0)))

    def fail_probe(self) -> None:
        """`fail_probe`, for all submitters."""
        self.shared.put(lambda state: replace(state, breaker=fail_probe(state.breaker)))

    def close_breaker(self, now: float) -> State:
        """Segmind takes requests again."""
        return self.shared.put(lambda state: replace(state, breaker=end(state.breaker, now)))

    def begin_probe(self, now: float) -> bool:
        """Whether the open breaker is to be probed now, by nobody else."""

        def begin(state: State) -> tuple[State, bool]:
            if not state.breaker.reason or state.breaker.probe_at > now:
                return state, False
            return replace(state, breaker=replace(state.breaker, probe_at=now + PROBE_SECONDS)), True

        return self.shared.change(begin)

    def pause(self, now: float) -> State:
        """`pause`, for all submitters."""
        return self.shared.put(lambda state: replace(state, paused=pause(state.paused, now), permits_until=0.0))

    def resume(self, now: float) -> State:
        """End the pause; and what the account or the vendor refuses is tried at once."""

        def ended(state: State) -> State:
            breaker = replace(state.breaker, probe_at=now, next_trial_at=now) if state.breaker.reason else state.breaker
            return replace(state, paused=end(state.paused, now), breaker=breaker)

        return self.shared.put(ended)

    def unannounced(self) -> list[Change]:
        """The changes that subscribers have not been told of, of the state as it was last seen."""
        return self.shared.seen.unannounced

    def mark_reconciled(self) -> None:
        """A table that was restored is up to date: it is the right one from now on, and stays paused."""
        self.shared.put(lambda state: replace(state, table=self.shared.table.name))

    def is_restored(self) -> bool:
        """Whether the table was restored to an earlier moment, and not reconciled since; as it was last seen."""
        return is_restored(self.shared.seen, self.shared.table.name)

    def mark_announced(self, change: Change) -> None:
        """Subscribers have been told of a change."""

        def mark(state: State) -> State:
            if change.reason == PAUSED:
                return replace(state, paused=replace(state.paused, announced=change.id))
            return replace(state, breaker=replace(state.breaker, announced=change.id))

        self.shared.put(mark)
