"""A render's life: one item of the table, moved by conditional writes only.

    CLAIMED ──► SUBMITTING ──► QUEUED ──► PROCESSING ──► COMPLETED ──► DELIVERED
       ▲  parked    │ │            │           │              │
       ├────────────┘ └─► UNCERTAIN│           ├──► FAILED ◄──┘
       └───────────────────────────┴───────────┘ a job failed for want of credits

A render is claimed with a lease before anything is sent, and `SUBMITTING` is written before the request's body
is: whoever finds `SUBMITTING` without a living lease knows that the answer is lost, and must not send again.
The day's ledger moves in the same transaction as the render, so the two always agree.
"""

from contextlib import suppress
from typing import Any

from kontext.clock import day
from kontext.due import LEASE_GRACE_SECONDS, SENT, SET_DUE, SET_LANE, SLACK_SECONDS, TIMER
from kontext.dynamodb import ConditionFailed, Item, Key, Table, Write
from kontext.errors import CODES, SERVER_ERRORS
from kontext.model import ENDED, IN_FLIGHT, HistoryEntry, JobMetrics, Render, RenderError, Status, WorkflowState
from kontext.renders import balance, jobs, ledger
from kontext.renders.ledger import OverLimit
from kontext.renders.record import OF_A_JOB, fresh_attempt, next_state, render_key, render_of, write, wrote

LEASE_SECONDS = 130.0
"""Longer than a submitter can live (its function's timeout is 120 s): an expired lease has no living owner.
A message stays out of sight for longer than both together, so one that comes back never finds its own lease alive."""


class Renders:
    """The renders' items in the table.

    `price`: USD reserved for each submit; `daily_limit`: USD a UTC day; `retention_days`: how long an ended
    render is remembered.
    """

    def __init__(self, table: Table, *, price: float, daily_limit: float, retention_days: float) -> None:
        self.table = table
        self.price = price
        self.daily_limit = daily_limit
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
        renders = [render_of(item) for item in self.table.query(f"pair#{prefix}") if item.get("status") in ENDED]
        return sorted((render for render in renders if not render.get("announced")), key=lambda one: one["updated_at"])

    def join_line(
        self,
        render: Render,
        line_at: float,
        reason: str,
        now: float,
        noted: HistoryEntry | None = None,
        *,
        failed: bool = False,
    ) -> Render:
        """Let a render wait in line, at its place. `reason`, why it has to wait at this moment, and what was answered
        are for the history alone. `failed`: for a reason that may be its own, and that counts."""
        since = render.get("waiting_since", now)  # it may only have been a trial
        waits = {"line_at": line_at, "waiting_since": since, "lease_until": 0.0}
        return self._back(render, now, reason, noted, failed=failed, **waits)

    def retry_later(self, render: Render, at: float, reason: str, now: float, noted: HistoryEntry) -> Render:
        """Let a render be sent again at a time of its own: the cause is its own, and holds nobody else up."""
        own = {"lease_until": at - LEASE_GRACE_SECONDS, "waiting_since": None}
        return self._back(render, now, reason, noted, failed=True, **own)

    def _back(
        self, render: Render, now: float, reason: str, noted: HistoryEntry | None, *, failed: bool, **values: Any
    ) -> Render:
        """Back from a request that was not accepted, or from a job that failed: its price is given back, unless a
        server error may hide a job. After a job it is another attempt: no execution of the one before may touch it."""
        entry: HistoryEntry = {"what": "parked", "reason": reason, **(noted or {})}
        doubtful = entry.get("status") in SERVER_ERRORS  # what was reserved for it stays so until the day ends
        had_job = render["status"] in IN_FLIGHT
        refund = [ledger.give_back(render)] if render["status"] != Status.CLAIMED and not doubtful else []
        if failed:
            values |= {"server_errors": render.get("server_errors", 0) + 1, "server_error_at": now}
        if job := entry.get("candidate_id"):
            values |= {"candidate_id": job, "submitted_with": render.get("submitted_with")}
        if had_job:
            values |= dict.fromkeys(OF_A_JOB) | {"attempt": render["attempt"] + 1}
        allowed = (Status.CLAIMED, Status.SUBMITTING, *IN_FLIGHT)
        return self.move(render, allowed, Status.CLAIMED, now, entry, *refund, **values)

    def submitting(self, render: Render, now: float) -> Render:
        """The request is about to be sent, and its price is reserved.

        Raises:
            OverLimit: the day's spend limit is reached; nothing has changed.
            ConditionFailed: the claim was lost to another delivery.
        """
        if self.price > self.daily_limit:
            raise OverLimit
        reserve = ledger.reserve(self.price, self.daily_limit, now)
        reserved = {"day": day(now), "reserved": self.price, "lease_until": now + LEASE_SECONDS}
        reserved["inputs"] = render["inputs"]
        noted: HistoryEntry = {"what": "submitting", "attempt": render["attempt"]}
        try:
            return self.move(render, (Status.CLAIMED,), Status.SUBMITTING, now, noted, reserve, **reserved)
        except ConditionFailed as refused:
            if refused.position == 1:
                raise OverLimit from refused
            raise

    def has_room(self, now: float) -> bool:
        """Whether the day's spend limit leaves room for another render."""
        today = self.table.get(ledger.ledger_key(day(now))) or {}
        return float(today.get("reserved", 0.0)) + self.price <= self.daily_limit

    def accepted(self, render: Render, request_id: str, now: float) -> Render:
        """Segmind took the request. An answer that comes after all settles an `UNCERTAIN` render of the same attempt.
        Raises JobTaken if another render has this job."""
        generation = render.get("generation", 0) + 1
        return self.move(
            render,
            (Status.SUBMITTING, Status.UNCERTAIN),
            Status.QUEUED,
            now,
            {"what": "accepted", "request_id": request_id, "generation": generation},
            jobs.own(render, request_id, now),
            request_id=request_id,
            candidate_id=None,
            submitted_at=now,
            submitted_with=render.get("submitted_with"),
            generation=generation,
            waiting_since=None,
            error=None,
            announced=None,
        )

    def processing(self, render: Render, now: float) -> Render:
        """A worker has the job."""
        return self.move(render, (Status.QUEUED,), Status.PROCESSING, now, {"what": "processing"})

    def restarted(self, render: Render, now: float) -> Render:
        """Another execution has taken the render over; one of an older generation ends by itself.

        What was sent for it is kept: a render whose executions die one after the other is restarted ever more seldom.
        """
        generation = render.get("generation", 0) + 1
        noted: HistoryEntry | None = {"what": "restarted", "generation": generation}
        if "undelivered" in render:  # that is told by each try, and counted
            noted = None
        sent = {"dispatched_until": render.get("dispatched_until"), "dispatches": render.get("dispatches")}
        allowed = (*IN_FLIGHT, Status.COMPLETED)
        return self.move(render, allowed, render["status"], now, noted, generation=generation, **sent)

    def follow(self, state: WorkflowState, now: float) -> Render | None:
        """The render of an execution. One that was started without that being recorded takes over now."""
        render = self.get(state["prefix"], state["render_id"])
        if render is None or state.get("generation", 0) <= render.get("generation", 0):
            return render
        if render["attempt"] != state["attempt"] or render["status"] not in (*IN_FLIGHT, Status.COMPLETED):
            return render
        try:
            return self.restarted(render, now)
        except ConditionFailed as moved:
            return render_of(moved.found) if moved.found else render

    def beat(self, render: Render, until: float) -> None:
        """Somebody works on a render that is at Segmind or paid, and comes back by `until`."""
        if render["status"] not in (*IN_FLIGHT, Status.COMPLETED) or until < render.get("due_at", 0.0):
            return
        self.look_again(render, until + SLACK_SECONDS)

    def look_again(self, render: Render, at: float) -> None:
        """Somebody has to come back to a render at a time, though nothing else has changed."""
        with suppress(ConditionFailed):  # it has moved, and this has said when it is due
            self.table.update(
                render_key(render["prefix"], render["render_id"]),
                f"SET {SET_DUE} REMOVE {SENT}",
                "#revision = :seen",
                due_lane=TIMER,
                due_at=at,
                seen=render["revision"],
            )

    def completed(self, render: Render, output_url: str, metrics: JobMetrics, now: float) -> Render:
        """The job is done and paid: keep where its picture is, and what it cost; the price, if that cannot be."""
        stated = metrics.get("cost")
        cost, booked = ledger.charge(render, metrics, self.price, now)
        noted: HistoryEntry = {"what": "completed", "cost": cost}
        noted |= {} if ledger.is_believable(stated, self.price) else {"stated": stated, "reason": "strange_cost"}
        paid = {"output_url": output_url, "metrics": metrics, "cost": cost, "completed_at": now, "answer": None}
        return self.move(render, IN_FLIGHT, Status.COMPLETED, now, noted, *booked, **paid)

    def unlinked(self, render: Render, answer: str, metrics: JobMetrics, now: float) -> Render:
        """The job is done, and nothing names its picture: keep what Segmind says."""
        return self.move(render, IN_FLIGHT, render["status"], now, {"what": "unlinked"}, answer=answer, metrics=metrics)

    def failed(
        self, render: Render, error: RenderError, key: str, now: float, *, may_be_charged: bool = False
    ) -> Render:
        """The render has ended without a picture; `key`: where its error.json goes. What its last request
        `may_be_charged` stays reserved, though the code says that nothing is."""
        noted: HistoryEntry = {"what": "failed", "code": error["code"], "message": error["message"]}
        extra = [wrote(render["prefix"], key)]
        paid: Item = {}
        if CODES[error["code"]].charged == "no" and render["status"] != Status.CLAIMED and not may_be_charged:
            extra.append(ledger.give_back(render))  # what an earlier request may have cost stays booked
            paid["reserved"] = 0.0
        if error["code"] == "no_result":
            paid["cost"], booked = ledger.charge(render, render.get("metrics", {}), self.price, now)
            extra += [*booked, balance.explain(paid["cost"], now)] if booked else []
        allowed = (Status.CLAIMED, Status.SUBMITTING, *IN_FLIGHT, Status.COMPLETED, Status.UNCERTAIN)
        return self.end(render, allowed, Status.FAILED, noted, now, *extra, error=error, **paid)

    def uncertain(
        self, render: Render, error: RenderError, key: str, now: float, candidate_id: str | None = None
    ) -> Render:
        """The answer to the request is lost; a person decides, unless Segmind knows the job that it names."""
        noted: HistoryEntry = {"what": "uncertain", "message": error["message"]}
        noted |= {"candidate_id": candidate_id} if candidate_id else {}
        written = wrote(render["prefix"], key)
        ended: Item = {"error": error, "announced": None, "candidate_id": candidate_id}
        ended["submitted_with"] = render.get("submitted_with")
        return self.move(render, (Status.SUBMITTING,), Status.UNCERTAIN, now, noted, written, **ended)

    def announced(self, render: Render) -> None:
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
                `extra` was refused; JobTaken, if that was its job."""
        if render["status"] not in allowed:
            raise ConditionFailed(dict(render))
        moved = next_state(render, status, now, noted, values)
        key, expression, condition, kept = write(render, "#revision = :seen", moved)
        try:
            self.table.transact((key, expression, condition, {**kept, "seen": render["revision"]}), *extra)
        except ConditionFailed as refused:
            jobs.check(refused)
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
