"""When somebody must look at an item of the table again, unless it has moved by then.

The table is the truth: messages and executions are only the fast way. The write that moves an item also puts it into a
lane of the sparse index `due`. Lanes `timer` and `line` hold exactly the items that somebody has to come back to. Sweep
sends a message for each that is over; whoever gets it looks at the item, and does what its state asks for. What is at
rest stands in a lane that is called as its status, the newest last: views read those, and nobody is sent for them.

| state | due |
|---|---|
| CLAIMED, worked on | when its lease is over |
| CLAIMED, waits for a slot or for the account | in lane `line`, by its place: permits let the head go |
| SUBMITTING | when its lease is over: then the answer is lost, and never sent again |
| QUEUED, PROCESSING | when the next Poll should long have ended; each hand-back of the workflow moves it |
| COMPLETED | when the delivery should long have ended; each try moves it |
| COMPLETED, not delivered | 30 s · 2ⁿ after a try, up to six hours; once the delay can be told |
| ended, not told | a minute later |
| UNCERTAIN, its broken answer named a job | a minute later, until Segmind would have forgotten the job |
| a pair that settles | half a minute after that is over |
| a pair that is recorded, and what it asks for has failed | a minute later, and more seldom where it fails again |
| an object that has come or gone, and that others wait for | a minute later, until all of them are woken |
| the circuit breaker, open | when it is probed next |
| a change of the breaker or a pause, not announced | a minute later |
| DELIVERED, FAILED, UNCERTAIN, and told | at rest in a lane of that name, at about the time of its end |
| an object that fits no rule | at rest in lane `UNKNOWN`, at the time when that was told |
| a pair that waits for a drop | at rest in lane `WAITING`, at the time when it began to wait |
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kontext.dynamodb import ConditionFailed, Item, Key, Table, key_of
from kontext.model import Render, Status

TIMER = "timer"
LINE = "line"
"""The lane of what waits for a slot or for the account: nobody looks for any of them by name."""
WAITING = "WAITING"
"""The lane of the pairs that have no render, and that a drop brings on."""
UNKNOWN = "UNKNOWN"
"""The lane of the objects that fit no rule of the drop convention."""

LEASE_GRACE_SECONDS = 5.0
POLL_SECONDS = 210.0
"""The time-out of the workflow's Poll (150 s), and a minute for what lies around it."""
DELIVERY_SECONDS = 720.0
"""Two time-outs of the workflow's Finalize (330 s) with a minute between them: a crash is tried again by then."""
SLACK_SECONDS = 180.0
"""So much more is noted, so that a workflow that is on time mostly has nothing to write."""
TELL_SECONDS = 60.0
STUCK_AFTER = 10
"""So many messages were sent for an item, over an hour and a half at least, and it has not moved: call somebody."""
_AGAIN_SECONDS = 60.0
AT_LAST_SECONDS, RENDER_AT_LAST_SECONDS = 900.0, 3000.0
"""So long passes between two looks at most: what fails may be an AWS service that is away. Each look at a render may
start an execution; but no hour passes without one, the minutes until the next sweep counted."""

SET_DUE = "#due_lane = :due_lane, #due_at = :due_at"
SET_DUE_UNLESS_DUE = "#due_lane = if_not_exists(#due_lane, :due_lane), #due_at = if_not_exists(#due_at, :due_at)"
SET_LANE = "#due_lane = :due_lane"
SENT = "#dispatched_until, #dispatches"
REMOVE_DUE = f"#due_lane, #due_at, {SENT}"
"""The parts of an update's expression that put an item into the index, perhaps only if it is not there, move it to a
lane at the time that it has already, forget what was sent for it, take it out."""


@dataclass(frozen=True)
class Due:
    """In which lane, and at what time (unix seconds)."""

    lane: str
    at: float


def due(render: Render, now: float) -> Due:
    """When a render is due that is written just now, or where it rests."""
    match render["status"]:
        case Status.CLAIMED if render.get("waiting_since"):
            return Due(LINE, float(render["line_at"]))
        case Status.CLAIMED | Status.SUBMITTING:
            return Due(TIMER, float(render["lease_until"]) + LEASE_GRACE_SECONDS)
        case Status.QUEUED | Status.PROCESSING:
            return Due(TIMER, now + POLL_SECONDS + SLACK_SECONDS)
        case Status.COMPLETED:
            return Due(TIMER, now + DELIVERY_SECONDS + SLACK_SECONDS)
        case ended:
            return Due(ended, now) if render.get("announced") else Due(TIMER, now + TELL_SECONDS)


def marks(due: Due) -> Item:
    """The attributes that put an item into the index; what was sent for it before is forgotten."""
    return {"due_lane": due.lane, "due_at": due.at, "dispatched_until": None, "dispatches": None}


def make_due(table: Table, key: Key, at: float, condition: str, **values: Any) -> None:
    """Have an item looked at, at a time, whatever was sent for it before. Raises ConditionFailed if it has moved."""
    table.update(key, f"SET {SET_DUE} REMOVE {SENT}", condition, due_lane=TIMER, due_at=at, **values)


@dataclass(frozen=True)
class DueItem:
    """An item that is over. `dispatches`: how many messages were sent for it since it last moved; no other is sent
    before `dispatched_until`."""

    key: Key
    dispatches: int
    dispatched_until: float = 0.0

    @property
    def is_stuck(self) -> bool:
        """Whether looking at it again and again has changed nothing."""
        return self.dispatches >= STUCK_AFTER


class DueIndex:
    """The index of what somebody has to come back to."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def over(self, now: float, page_size: int = 1000) -> Iterator[DueItem]:
        """What is over, the oldest first. The index may be a little behind the table."""
        for item in self.table.query_due(TIMER, now, page_size):
            yield DueItem(key_of(item), int(item.get("dispatches", 0)), float(item.get("dispatched_until", 0.0)))

    def dispatch(self, item: DueItem, now: float, at_last: float = AT_LAST_SECONDS) -> bool:
        """Take it on to send a message for an item; False if it has moved, or another sweep has taken it on.

        What does not move is sent for ever more seldom, every `at_last` seconds in the end.
        """
        try:
            self.table.update(
                item.key,
                "SET #dispatched_until = :until, #dispatches = :sent",
                "#due_at <= :now AND attribute_not_exists(#dispatched_until) OR "
                "#due_at <= :now AND #dispatched_until <= :now",
                until=now + min(at_last, _AGAIN_SECONDS * 2.0**item.dispatches),
                sent=item.dispatches + 1,
                now=now,
            )
        except ConditionFailed:
            return False
        return True
