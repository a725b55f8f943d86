"""Who waits for a slot, for the account or for a person: the lane `line` of the index `due`, in the order of `line_at`.

`line_at` is fixed when a render joins: first come, first served within a first folder, and fair between folders: what
a folder drops at once stands an interval apart, so that another folder's next drop stands between.
"""

from collections.abc import Iterator
from typing import cast

from kontext.drops.pairs import folder_key
from kontext.due import LINE
from kontext.dynamodb import ConditionFailed, Key, Table, key_of
from kontext.hints import Hints
from kontext.model import Park, Reason, Render, Status
from kontext.throttle.admission import State
from kontext.throttle.throttle import Throttle

_HEADS = 10
_MOST_COUNTED = 10_000
_FORGOTTEN_SECONDS = 7 * 86_400


class Line:
    """The line of a stack. `interval`: seconds between two requests."""

    def __init__(self, table: Table, interval: float) -> None:
        self.table = table
        self.interval = interval

    def place(self, prefix: str, now: float) -> float:
        """The `line_at` of a render that joins now: behind all of its first folder."""
        key = folder_key(prefix)
        until = int(now + _FORGOTTEN_SECONDS)
        while True:
            try:
                behind = self.table.update(
                    key,
                    "SET #expires_at = :until ADD #line_at :interval",
                    "#line_at > :since",
                    interval=self.interval,
                    since=now - self.interval,
                    until=until,
                )
                return float(behind["line_at"])
            except ConditionFailed:
                pass
            try:
                self.table.update(
                    key,
                    "SET #line_at = :now, #expires_at = :until",
                    "attribute_not_exists(#line_at) OR #line_at <= :since",
                    now=now,
                    since=now - self.interval,
                    until=until,
                )
                return now
            except ConditionFailed:
                pass

    def heads(self) -> Iterator[Key]:
        """The renders that wait, the first in line first. The index may be a little behind the table."""
        for item in self.table.query_due(LINE, page_size=_HEADS):
            yield key_of(item)

    def length(self) -> int:
        """How many wait, counted up to about ten thousand."""
        return self.table.count_due(LINE, _MOST_COUNTED)

    def age(self, now: float) -> float:
        """Seconds since the place of the first in line; 0 if nobody waits, or a folder dropped ahead of the rate."""
        first = next(iter(self.table.query_due(LINE, now, page_size=1)), None)
        return now - float(first["due_at"]) if first else 0.0


def hand_out_permits(line: Line, throttle: Throttle, hints: Hints, now: float) -> int:
    """Send the permits that the line lacks; returns how many wait."""
    state, waiting = throttle.read(), line.length()
    if waiting or state.joined_at:
        hints.send_permits(throttle.see_line(now, waiting), now)
    return waiting


def is_in_line(render: Render) -> bool:
    """Whether a render waits in line."""
    return bool(render.get("due_lane") == LINE)


def why_parked(render: Render, state: State) -> Park | None:
    """Why a render waits (`reason`, `since`, perhaps `until`; unix seconds), None if it does not: it is derived from
    what stops the line now, and never kept."""
    if render["status"] != Status.CLAIMED:
        return None
    if not is_in_line(render):
        reason = cast("Reason", (render.get("history") or [{}])[-1].get("reason", "outage"))
        return {"reason": reason, "until": render["due_at"]} if render.get("failures") else None
    park: Park = {"reason": state.why_stopped or "pace"}
    if "waiting_since" in render:
        park["since"] = render["waiting_since"]
    if state.stopped is state.breaker:
        park["until"] = state.breaker.next_trial_at
    return park
