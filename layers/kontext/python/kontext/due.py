"""When somebody must look at an item of the table again, unless it has moved by then.

The table is the truth: messages and executions are only the fast way. The write that moves an item also says when it
is due, and the sparse index `due` holds exactly the items that somebody has to come back to. Sweep sends a message for
each that is over; whoever gets it looks at the item, and does what its state asks for.

| state | due |
|---|---|
| CLAIMED, worked on | when its lease is over |
| CLAIMED, parked | when its message should long have come |
| SUBMITTING | when its lease is over: then the answer is lost, and never sent again |
| QUEUED, PROCESSING | when the next Poll should long have ended; each hand-back of the workflow moves it |
| COMPLETED | when the delivery should long have ended |
| ended, not told | a minute later |
| a pair that waits for a prompt | when the waiting is over |
| a gate whose change is not told | a minute later |
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kontext.table import ConditionFailed, Item, Key, Table

LANE = "timer"
LEASE_GRACE_SECONDS = 5.0
PARKED_GRACE_SECONDS = 300.0
"""Waits at a closed gate hop on without a word to the table: their messages are late long before they are lost."""
POLL_SECONDS = 240.0
"""The longest Poll (130 s), and what the workflow needs around it."""
DELIVERY_SECONDS = 900.0
"""Finalize and its waits, which end after eight and a half minutes."""
TELL_SECONDS = 60.0
_AGAIN_SECONDS = (60.0, 3600.0)


def due_at(render: Item, now: float) -> float | None:
    """When a render is due, as it has just been written; None if it is at rest."""
    match render["status"]:
        case "CLAIMED" if render["lease_until"] <= now:
            return max(now, float(render.get("parked", {}).get("until", now))) + PARKED_GRACE_SECONDS
        case "CLAIMED" | "SUBMITTING":
            return float(render["lease_until"]) + LEASE_GRACE_SECONDS
        case "QUEUED" | "PROCESSING":
            return now + POLL_SECONDS
        case "COMPLETED":
            return now + DELIVERY_SECONDS
        case _:
            return None if render.get("announced") else now + TELL_SECONDS


SET_DUE = "#due_lane = :due_lane, #due_at = :due_at"
REMOVE_DUE = "#due_lane, #due_at, #dispatched_until, #dispatches"
"""The same as parts of an update's expression."""


def marks(at: float | None) -> dict[str, Any]:
    """The attributes that put an item into the index, or take it out; what was sent for it before is forgotten."""
    lane = LANE if at is not None else None
    return {"due_lane": lane, "due_at": at, "dispatched_until": None, "dispatches": None}


@dataclass(frozen=True)
class DueItem:
    """An item that is over. `dispatches`: how many messages were sent for it since it last moved."""

    key: Key
    dispatches: int


class DueIndex:
    """The index of what somebody has to come back to."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def over(self, now: float) -> Iterator[DueItem]:
        """What is over and was not sent for a while, the oldest first. The index may be a little behind the table."""
        for item in self.table.query_due(LANE, now):
            if float(item.get("dispatched_until", 0.0)) <= now:
                yield DueItem({"pk": item["pk"], "sk": item["sk"]}, int(item.get("dispatches", 0)))

    def dispatch(self, item: DueItem, now: float) -> bool:
        """Take it on to send a message for an item; False if it has moved, or another sweep has taken it on.

        What does not move is sent for ever more seldom, at last once an hour.
        """
        least, most = _AGAIN_SECONDS
        try:
            self.table.update(
                item.key,
                "SET #dispatched_until = :until, #dispatches = :sent",
                "#due_at <= :now AND attribute_not_exists(#dispatched_until) OR "
                "#due_at <= :now AND #dispatched_until <= :now",
                until=now + min(most, least * 2.0**item.dispatches),
                sent=item.dispatches + 1,
                now=now,
            )
        except ConditionFailed:
            return False
        return True
