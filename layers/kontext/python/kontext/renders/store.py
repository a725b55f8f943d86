"""A render's life: one item of the table, moved by conditional writes only.

    CLAIMED ──► SUBMITTING ──► QUEUED ──► PROCESSING ──► COMPLETED ──► DELIVERED
       ▲  parked    │ │            │           │              │
       ├────────────┘ └─► UNCERTAIN│           ├──► FAILED ◄──┘
       └───────────────────────────┴───────────┘ a job failed for want of credits

A render is claimed with a lease before anything is sent, and `SUBMITTING` is written before the request's body
is: whoever finds `SUBMITTING` without a living lease knows that the answer is lost, and must not send again.
`submissions`, `jobs` and `deliveries` hold the moves of each stretch; the day's ledger moves in the same transaction.
"""

from contextlib import suppress
from typing import Any

from kontext.drops.pairs import partition
from kontext.due import SENT, SET_LANE, make_due
from kontext.dynamodb import ConditionFailed, Item, Key, Table, Write
from kontext.errors import CODES
from kontext.model import ENDED, IN_FLIGHT, HistoryEntry, Render, RenderError, Status
from kontext.renders import balance, job_owner, ledger
from kontext.renders.record import fresh_attempt, next_state, render_key, render_of, renders_among, write, wrote_error

LEASE_SECONDS = 130.0
"""Longer than a submitter can live (its function's timeout is 120 s): an expired lease has no living owner.
A message stays out of sight for longer than both together, so one that comes back mostly finds no lease of its own
alive; where Lambda had no room and began late, it leaves the render to its owner, or to the end of the lease."""


class Renders:
    """The renders' items in the table.

    `price`: USD reserved for each submit; `retention_days`: how long an ended render is remembered.
    """

    def __init__(self, table: Table, *, price: float, retention_days: float) -> None:
        self.table = table
        self.price = price
        self.retention_days = retention_days

    def get(self, prefix: str, render_id: str) -> Render | None:
        """The render's record."""
        return self.find(render_key(prefix, render_id))

    def find(self, key: Key) -> Render | None:
        """The render's record, by its place in the table."""
        item = self.table.get(key)
        return render_of(item) if item else None

    def unannounced(self, prefix: str) -> list[Render]:
        """The renders of a pair that have ended and were not told, in the order in which they ended."""
        ended = [render for render in self.of_pair(prefix) if render.get("status") in ENDED]
        return sorted((render for render in ended if not render.get("announced")), key=lambda one: one["updated_at"])

    def of_pair(self, prefix: str) -> list[Render]:
        """All renders of a pair."""
        return renders_among(self.table.query(partition(prefix)))

    def look_again(self, render: Render, at: float) -> None:
        """Somebody has to come back to a render at a time, though nothing else has changed."""
        with suppress(ConditionFailed):  # it has moved, and this has said when it is due
            key = render_key(render["prefix"], render["render_id"])
            make_due(self.table, key, at, "#revision = :seen", seen=render["revision"])

    def mark_failed(self, render: Render, error: RenderError, now: float, *, may_be_charged: bool = False) -> Render:
        """The render has ended without a picture. What its last request `may_be_charged` stays reserved, though the
        code says that nothing is."""
        noted: HistoryEntry = {"what": "failed", "code": error["code"], "message": error["message"]}
        extra = [wrote_error(render["prefix"])]
        paid: Item = {}
        if CODES[error["code"]].charged == "no" and render["status"] != Status.CLAIMED and not may_be_charged:
            extra.append(ledger.give_back(render))  # what an earlier request may have cost stays booked
            paid["reserved"] = 0.0
        if error["code"] == "no_result":
            paid["cost"], booked = ledger.charge(render, render.get("metrics", {}), self.price, now)
            extra += [*booked, balance.explain(paid["cost"], now)] if booked else []
        allowed = (Status.CLAIMED, Status.SUBMITTING, *IN_FLIGHT, Status.COMPLETED, Status.UNCERTAIN)
        return self.end(render, allowed, Status.FAILED, noted, now, *extra, error=error, **paid)

    def mark_announced(self, render: Render) -> None:
        """The end of the render was told: error file and event are out. One with a candidate stays due for a look."""
        looked_for = render["status"] == Status.UNCERTAIN and render.get("candidate_id")
        told = "SET #announced = :yes" + ("" if looked_for else f", {SET_LANE} REMOVE {SENT}")
        same, status = "#attempt = :attempt AND #status = :status", render["status"]
        key = render_key(render["prefix"], render["render_id"])
        self.table.update(key, told, same, yes=True, due_lane=status, attempt=render["attempt"], status=status)

    def new_attempt(
        self,
        render: Render,
        status: Status,
        drop_id: int,
        now: float,
        *extra: Write,
        line_at: float | None = None,
        stays_delivered: bool = False,
    ) -> Render:
        """Begin a new attempt of an ended render: `CLAIMED` pays again, at its place in line if it has one; `QUEUED`
        only looks at its job again, `COMPLETED` only delivers again, and with `stays_delivered` it stays delivered if
        that fails."""
        fresh, noted = fresh_attempt(render, status, now, line_at=line_at, stays_delivered=stays_delivered)
        if status == Status.CLAIMED:
            fresh["lease_until"] = now + LEASE_SECONDS
        return self.move(render, (render["status"],), status, now, noted, *extra, drop_id=drop_id, **fresh)

    def move(
        self,
        render: Render,
        allowed: tuple[Status, ...],
        status: Status,
        now: float,
        noted: HistoryEntry | None,
        *extra: Write,
        **values: Any,
    ) -> Render:
        """Write a render's next state, and `extra` with it, all or nothing; a value of None takes the attribute away.

        The revision stands for everything read before: whoever wrote in between makes this write fail. The SDK
        repeats a write whose answer was lost, and finds its own: `written_by` tells it from another's.

        Raises:
            ConditionFailed: the render is in none of the `allowed` states, or has moved; or, by its position, one of
                `extra` was refused; JobTaken, if that was its job.
        """
        if render["status"] not in allowed:
            raise ConditionFailed(dict(render))
        moved = next_state(render, status, now, noted, values)
        key, expression, condition, kept = write(render, "#revision = :seen", moved)
        try:
            self.table.transact((key, expression, condition, {**kept, "seen": render["revision"]}), *extra)
        except ConditionFailed as refused:
            job_owner.check(refused)
            if (refused.found or {}).get("written_by") != moved["written_by"]:
                raise
        return render_of({name: value for name, value in {**render, **moved}.items() if value is not None})

    def end(
        self,
        render: Render,
        allowed: tuple[Status, ...],
        status: Status,
        noted: HistoryEntry,
        now: float,
        *extra: Write,
        **values: Any,
    ) -> Render:
        """`move` to an end: the record is kept for as long as the stack remembers. Raises as `move` does."""
        expires_at = int(now + self.retention_days * 86_400)
        # What was told of it before, that it was uncertain, is another end.
        fresh = {"expires_at": expires_at, "waiting_since": None, "announced": None}
        return self.move(render, allowed, status, now, noted, *extra, **fresh, **values)
