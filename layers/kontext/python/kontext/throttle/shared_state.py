"""The shared `State` of a stack, one small item of the table. It is changed by compare-and-swap, so that of all who
submit at a moment each has a slot of its own."""

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

from kontext.due import REMOVE_DUE, SENT, SET_DUE, TELL_SECONDS, TIMER
from kontext.dynamodb import ConditionFailed, Item, Key, Table, stack_key
from kontext.throttle.admission import State
from kontext.throttle.circuit_breaker import PAUSED, Breaker, Stop, pause
from kontext.throttle.rate_limiter import Slots

Answer = TypeVar("Answer")


class SharedState:
    """The item. Remembers what it saw last, so that it mostly needs no read."""

    KEY: ClassVar[Key] = stack_key("throttle")

    def __init__(self, table: Table) -> None:
        self.table = table
        self._seen: Item = {}

    @property
    def seen(self) -> State:
        """The state as it was last seen."""
        return state_of(self._seen, self.table.name)

    def read(self) -> State:
        """The state now, unchanged."""
        self._seen = _read(self.table)
        return self.seen

    def put(self, to: Callable[[State], State]) -> State:
        """Change the state; returns it as it is then."""

        def change(state: State) -> tuple[State, State]:
            changed = to(state)
            return changed, changed

        return self.change(change)

    def change(self, to: Callable[[State], tuple[State, Answer]]) -> Answer:
        """Change the state, and answer from it; `to` may be called again, where somebody else was faster."""
        if not self._seen:
            self.read()
        while True:
            state, answer = to(self.seen)
            if self._swap(state):
                return answer

    def _swap(self, state: State) -> bool:
        state = state if state.table else replace(state, table=self.table.name)
        if state == self.seen and self._seen:
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
        self.read()
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
    return table.get(SharedState.KEY) or _of_first_edition(table.get(stack_key("pace")) or {})


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
