"""The shared state of a stack, one small item of the table. It is changed by compare-and-swap, so that of all who
submit at a moment each has a slot of its own."""

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

from kontext.due import REMOVE_DUE, SENT, SET_DUE, TELL_SECONDS, TIMER
from kontext.dynamodb import ConditionFailed, Item, Key, Table
from kontext.throttle.admission import Admit, State, Wait, admit, admit_head, join, joined, see_line
from kontext.throttle.circuit_breaker import (
    PAUSED,
    PROBE_SECONDS,
    Breaker,
    Change,
    Stop,
    doubt,
    end,
    fail_probe,
    open_breaker,
    pause,
)
from kontext.throttle.rate_limiter import Rate, Slots, back_off

Answer = TypeVar("Answer")

DOUBT_SECONDS = 10.0
"""So long nobody goes after a lost answer: those that are on their way tell whether it is an outage."""


class Throttle:
    """The shared `State` of a stack. Remembers what it saw last, so that it mostly needs no read."""

    KEY: ClassVar[Key] = {"pk": "stack", "sk": "throttle"}

    def __init__(self, table: Table, rate: Rate) -> None:
        self.table = table
        self.rate = rate
        self._seen: Item = {}

    def look(self) -> State:
        """The state now, unchanged."""
        self._seen = _read(self.table)
        return self._state()

    def admit(self, now: float) -> Admit | Wait:
        """`admit`, for all submitters."""
        return self._change(lambda state: admit(state, self.rate, now))

    def join(self, now: float) -> Wait:
        """`join`, for all submitters."""
        return self._change(lambda state: join(state, self.rate, now))

    def admit_head(self, now: float, *, trial: bool = False) -> float | None:
        """`admit_head`, for all submitters."""
        return self._change(lambda state: admit_head(state, self.rate, now, trial=trial))

    def see_line(self, now: float, waiting: int) -> tuple[float, ...]:
        """`see_line`, for all: the permits to send, handed out to nobody else."""
        return self._change(lambda state: see_line(state, self.rate, now, waiting))

    def back_off(self, reset_at: float | None, now: float) -> None:
        """A 429: nobody goes before the reset, and who met it stands in line from now on. The permits until then are
        void: Sweep hands out others."""

        def later(state: State) -> State:
            slots = back_off(state.slots, reset_at, now)
            return replace(joined(state, now), slots=slots, permits_until=0.0)

        self._put(later)

    def open_breaker(self, reason: str, now: float, *, trial: bool = False, unfollowed: Key | None = None) -> State:
        """`open_breaker`, for all submitters. The permits that are out let nobody go."""

        def opened(state: State) -> State:
            breaker = open_breaker(state.breaker, reason, now, trial=trial, unfollowed=unfollowed)
            return replace(state, breaker=breaker, permits_until=0.0)

        return self._put(opened)

    def doubt(self, now: float, *, lost: bool, trial: bool = False) -> State:
        """`doubt`, for all submitters."""

        def doubted(state: State) -> State:
            breaker = doubt(state.breaker, now, lost=lost, trial=trial)
            if not lost:
                return replace(state, breaker=breaker, permits_until=0.0 if breaker.reason else state.permits_until)
            slots = back_off(state.slots, now + DOUBT_SECONDS, now)
            return replace(joined(state, now), slots=slots, breaker=breaker, permits_until=0.0)

        return self._put(doubted)

    def hear_answer(self) -> None:
        """An answer has come: the doubtful ones before it are no outage. Mostly there is nothing to write."""
        if state_of(self._seen, self.table.name).breaker.doubtful:
            self._put(lambda state: replace(state, breaker=replace(state.breaker, doubtful=0)))

    def fail_probe(self) -> None:
        """`fail_probe`, for all submitters."""
        self._put(lambda state: replace(state, breaker=fail_probe(state.breaker)))

    def close_breaker(self, now: float) -> State:
        """Segmind takes requests again."""
        return self._put(lambda state: replace(state, breaker=end(state.breaker, now)))

    def begin_probe(self, now: float) -> bool:
        """Whether the open breaker is to be probed now, by nobody else."""

        def begin(state: State) -> tuple[State, bool]:
            if not state.breaker.reason or state.breaker.probe_at > now:
                return state, False
            return replace(state, breaker=replace(state.breaker, probe_at=now + PROBE_SECONDS)), True

        return self._change(begin)

    def pause(self, now: float) -> State:
        """`pause`, for all submitters."""
        return self._put(lambda state: replace(state, paused=pause(state.paused, now), permits_until=0.0))

    def resume(self, now: float) -> State:
        """End the pause; and what the account or the vendor refuses is tried at once."""

        def ended(state: State) -> State:
            breaker = replace(state.breaker, probe_at=now, next_trial_at=now) if state.breaker.reason else state.breaker
            return replace(state, paused=end(state.paused, now), breaker=breaker)

        return self._put(ended)

    def unannounced(self) -> list[Change]:
        """The changes that subscribers have not been told of, of the state as it was last seen."""
        return self._state().unannounced

    def mark_reconciled(self) -> None:
        """A table that was restored is up to date: it is the right one from now on, and stays paused."""
        self._put(lambda state: replace(state, table=self.table.name))

    def is_restored(self) -> bool:
        """Whether the table was restored to an earlier moment, and not reconciled since; as it was last seen."""
        return is_restored(self._state(), self.table.name)

    def _state(self) -> State:
        return state_of(self._seen, self.table.name)

    def mark_announced(self, change: Change) -> None:
        """Subscribers have been told of a change."""

        def mark(state: State) -> State:
            if change.reason == PAUSED:
                return replace(state, paused=replace(state.paused, announced=change.id))
            return replace(state, breaker=replace(state.breaker, announced=change.id))

        self._put(mark)

    def _put(self, to: Callable[[State], State]) -> State:
        def change(state: State) -> tuple[State, State]:
            changed = to(state)
            return changed, changed

        return self._change(change)

    def _change(self, to: Callable[[State], tuple[State, Answer]]) -> Answer:
        if not self._seen:
            self.look()
        while True:
            state, answer = to(self._state())
            if self._swap(state):
                return answer

    def _swap(self, state: State) -> bool:
        state = state if state.table else replace(state, table=self.table.name)
        if state == self._state() and self._seen:
            return self._unchanged()
        version, written_by = self._seen.get("version", 0), uuid4().hex
        at = _due_at(state)
        try:
            self._seen = self.table.update(
                self.KEY,
                "SET #version = :next, #state = :state, #written_by = :written_by"
                + (f" REMOVE {REMOVE_DUE}" if at is None else f", {SET_DUE} REMOVE {SENT}"),
                "#version = :version" if version else "attribute_not_exists(#version)",
                next=version + 1,
                state=asdict(state),
                written_by=written_by,
                version=version,
                **({} if at is None else {"due_lane": TIMER, "due_at": at}),
            )
        except ConditionFailed as other:
            self._seen = other.found or {}
            # The SDK repeats a write whose answer was lost, and finds its own.
            return self._seen.get("written_by") == written_by
        return True

    def _unchanged(self) -> bool:
        # Nothing to write, but the answer must come from the state as it is, not as it was remembered.
        seen = self._seen.get("version")
        self.look()
        return seen == self._seen.get("version")


def _due_at(state: State) -> float | None:
    """When somebody must look at the state: to probe, which nobody does during a pause, or to announce."""
    times = [change.at + TELL_SECONDS for change in state.unannounced]
    if state.breaker.reason and not state.paused.reason:
        times.append(state.breaker.probe_at)
    return min(times, default=None)


def state_in(table: Table) -> State:
    """The state of the stack with this table, to read alone."""
    return state_of(_read(table), table.name)


def _read(table: Table) -> Item:
    return table.get(Throttle.KEY) or _of_first_edition(table.get({"pk": "stack", "sk": "pace"}) or {})


def state_of(item: Item, table: str) -> State:
    """The state in an item of a table, without what a later version has added. One that was written in another table
    came here as that was restored to an earlier moment: it starts paused."""
    kept = _known(State, item.get("state", {}))
    parts = {"slots": Slots, "breaker": Breaker, "paused": Stop}
    state = State(**kept | {name: part(**_known(part, kept[name])) for name, part in parts.items() if name in kept})
    if not is_restored(state, table):
        return state
    since = max(state.joined_at, state.slots.next_free)  # about when the other one stood so
    return replace(state, paused=pause(state.paused, since), permits_until=0.0)


def is_restored(state: State, table: str) -> bool:
    """Whether a state that was found in a table was written in another one, and not reconciled since."""
    return state.table not in ("", table)


def _known(kind: Any, values: Item) -> Item:
    return {one.name: values[one.name] for one in fields(kind) if one.name in values}


def _of_first_edition(item: Item) -> Item:
    """The state as the first edition kept it: what a person paused stays paused, and the rate is kept to."""
    pace = item.get("pace", {})
    state: Item = {"slots": {"next_free": pace.get("next_free", 0.0)}}
    if pace.get("refused") == PAUSED:
        state["paused"] = {"reason": PAUSED, "since": pace["refused_since"], "announced": pace.get("told")}
    return {"state": state} if pace else {}
