"""A render's request to Segmind, as it stands on the record: waiting, sent, accepted, or its answer lost.

The day's ledger moves in the same transaction as the render, so the two always agree.
"""

from typing import Any, Literal

from kontext.clock import day
from kontext.due import LEASE_GRACE_SECONDS
from kontext.dynamodb import ConditionFailed, Item
from kontext.errors import SERVER_ERRORS, problem
from kontext.model import IN_FLIGHT, HistoryEntry, Reason, Render, Status
from kontext.renders import job_owner, ledger
from kontext.renders.ledger import OverLimit
from kontext.renders.record import OF_A_JOB, wrote_error
from kontext.renders.store import LEASE_SECONDS, Renders

CountsAs = Literal["failure", "refusal"]
"""Against a render: a request that failed for a reason that may be its own; or one that was refused though the account
seemed to be well, which counts as one failure however often."""


class Submissions:
    """What becomes of the requests of claimed renders. `daily_limit`: USD that may be reserved for them a UTC day."""

    def __init__(self, renders: Renders, daily_limit: float) -> None:
        self.renders = renders
        self.daily_limit = daily_limit

    def join_line(
        self,
        render: Render,
        line_at: float,
        reason: Reason,
        now: float,
        noted: HistoryEntry | None = None,
        counts_as: CountsAs | None = None,
    ) -> Render:
        """Let a render wait in line, at its place. `reason`, why it has to wait at this moment, and what was answered
        are for the history alone; what is its own fault `counts_as` one."""
        since = render.get("waiting_since", now)  # it may only have been a trial
        waits = {"line_at": line_at, "waiting_since": since, "lease_until": 0.0}
        if counts_as == "refusal":
            waits |= {"refused_at": now, "failures": max(1, render.get("failures", 0))}
        elif counts_as == "failure":
            waits |= _one_more_failure(render, now)
        return self._back(render, now, reason, noted, **waits)

    def retry_later(self, render: Render, at: float, reason: Reason, now: float, noted: HistoryEntry) -> Render:
        """Let a render be sent again at a time of its own: the cause is its own, and holds nobody else up."""
        own = {"lease_until": at - LEASE_GRACE_SECONDS, "waiting_since": None}
        return self._back(render, now, reason, noted, **own | _one_more_failure(render, now))

    def _back(self, render: Render, now: float, reason: Reason, noted: HistoryEntry | None, **values: Any) -> Render:
        """Back from a request that was not accepted, or from a job that failed: its price is given back, unless a
        server error may hide a job. After a job it is another attempt: no execution of the one before may touch it."""
        entry: HistoryEntry = {"what": "parked", "reason": reason, **(noted or {})}
        doubtful = entry.get("status") in SERVER_ERRORS  # what was reserved for it stays so until the day ends
        had_job = render["status"] in IN_FLIGHT
        refund = [ledger.give_back(render)] if render["status"] != Status.CLAIMED and not doubtful else []
        if job := entry.get("candidate_id"):
            values |= {"candidate_id": job, "submitted_with": render.get("submitted_with")}
        if had_job:
            values |= dict.fromkeys(OF_A_JOB) | {"attempt": render["attempt"] + 1}
        allowed = (Status.CLAIMED, Status.SUBMITTING, *IN_FLIGHT)
        return self.renders.move(render, allowed, Status.CLAIMED, now, entry, *refund, **values)

    def mark_submitting(self, render: Render, now: float) -> Render:
        """The request is about to be sent, and its price is reserved.

        Raises:
            OverLimit: the day's spend limit is reached; nothing has changed.
            ConditionFailed: the claim was lost to another delivery.
        """
        price = self.renders.price
        if price > self.daily_limit:
            raise OverLimit
        reserve = ledger.reserve(price, self.daily_limit, now)
        reserved = {"day": day(now), "reserved": price, "lease_until": now + LEASE_SECONDS}
        reserved["inputs"] = render["inputs"]
        noted: HistoryEntry = {"what": "submitting", "attempt": render["attempt"]}
        try:
            return self.renders.move(render, (Status.CLAIMED,), Status.SUBMITTING, now, noted, reserve, **reserved)
        except ConditionFailed as refused:
            if refused.position == 1:
                raise OverLimit from refused
            raise

    def has_room(self, now: float) -> bool:
        """Whether the day's spend limit leaves room for another render."""
        today = self.renders.table.get(ledger.ledger_key(day(now))) or {}
        return float(today.get("reserved", 0.0)) + self.renders.price <= self.daily_limit

    def mark_accepted(self, render: Render, request_id: str, now: float) -> Render:
        """Segmind took the request. An answer that comes after all settles an `UNCERTAIN` render of the same attempt.
        Raises JobTaken if another render has this job."""
        generation = render.get("generation", 0) + 1
        return self.renders.move(
            render,
            (Status.SUBMITTING, Status.UNCERTAIN),
            Status.QUEUED,
            now,
            {"what": "accepted", "request_id": request_id, "generation": generation},
            job_owner.own(render, request_id, now),
            request_id=request_id,
            candidate_id=None,
            submitted_at=now,
            submitted_with=render.get("submitted_with"),
            generation=generation,
            waiting_since=None,
            error=None,
            announced=None,
        )

    def mark_uncertain(self, render: Render, message: str, now: float, candidate_id: str | None = None) -> Render:
        """The answer to the request is lost; a person decides, unless Segmind knows the job that it names."""
        noted: HistoryEntry = {"what": "uncertain", "message": message}
        noted |= {"candidate_id": candidate_id} if candidate_id else {}
        written = wrote_error(render["prefix"])
        ended: Item = {"error": problem("uncertain", message), "announced": None, "candidate_id": candidate_id}
        ended["submitted_with"] = render.get("submitted_with")
        return self.renders.move(render, (Status.SUBMITTING,), Status.UNCERTAIN, now, noted, written, **ended)


def _one_more_failure(render: Render, now: float) -> Item:
    return {"failures": render.get("failures", 0) + 1, "failed_at": now}
