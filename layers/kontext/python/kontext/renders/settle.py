"""A person, or a look at Segmind, settles what became of a request that may have been paid.

What is settled is an `UNCERTAIN` render, or one that was ended though it may have been charged: given up, or expired;
or one that waits to be sent again after a server error that named a job; or one whose job is done and whose picture is
not to be had where Segmind said. No way pays: the price that was reserved for the request stays what is booked.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from kontext.due import SENT, SET_LANE
from kontext.dynamodb import ConditionFailed
from kontext.errors import SERVER_ERRORS, problem
from kontext.model import Charged, ErrorCode, HistoryEntry, JobMetrics, Render, RenderError, Status
from kontext.renders import balance, job_owner, ledger
from kontext.renders.record import render_key
from kontext.renders.store import Renders


def may_be_paid(render: Render) -> bool:
    """Whether nobody knows if the render's request was accepted, and charged."""
    failed = render["status"] == Status.FAILED and render["error"]["charged"] == "unknown"
    return render["status"] == Status.UNCERTAIN or failed


def lacks_picture(render: Render) -> bool:
    """Whether a job of the render may have a picture, and it is not delivered: a person may know where it is."""
    if render["status"] == Status.FAILED and render["error"]["charged"] == "no":
        return "request_id" in render
    return render["status"] in (Status.UNCERTAIN, Status.FAILED, Status.COMPLETED)


def has_given_link(render: Render) -> bool:
    """Whether the link to the picture came in when the render was settled: Segmind's own may be what did not do."""
    completed = [entry for entry in render["history"] if entry["what"] == "completed"]
    return bool(completed) and "generation" in completed[-1] and "request_id" not in completed[-1]


def sent_at(render: Render) -> float:
    """When the render's last request was sent, in unix seconds."""
    sent = [entry.get("last_at", entry["at"]) for entry in render["history"] if entry["what"] == "submitting"]
    return datetime.fromisoformat(sent[-1] if sent else render["created_at"]).timestamp()


def jobs_of(render: Render) -> Iterator[str]:
    """Every job of Segmind's that the record names, in lower case: of this attempt, of earlier ones, a candidate."""
    for known in (render, *render["history"]):
        for name in (known.get("request_id"), known.get("candidate_id")):
            if name:
                yield str(name).lower()


def may_be_charged_before(render: Render) -> bool:
    """Whether a request of the render, an earlier one than its last, may have been charged, and nobody has found out:
    its answer was lost, or a server error, or its job was never seen to end."""
    is_open = False
    for entry in render["history"]:
        match entry["what"]:
            case "parked" if entry.get("status") in SERVER_ERRORS:
                return True
            case "again" if is_open:
                return True  # it was sent again, and nobody has found out about the one before
            case "uncertain":
                is_open = True
            case "failed":
                is_open = is_open or entry.get("code") == "expired"
            case "accepted" | "completed":
                is_open = False
    return False


def is_an_earlier_requests(render: Render) -> bool:
    """Whether a job that is found can only be of an earlier request than the last, which was surely free: an open one's
    that was sent on the same day, whose price was never given back, and is not reserved once more."""
    sent_on, is_open = "", False
    for entry in render["history"]:
        if entry["what"] == "submitting":
            sent_on = entry["at"][:10]
        elif entry["what"] == "uncertain" or entry.get("status") in SERVER_ERRORS or entry.get("code") == "expired":
            is_open = sent_on == render.get("day")
        elif entry["what"] == "accepted" or entry["what"] == "completed":
            is_open = False
    return is_open and render.get("reserved") == 0 and "request_id" not in render


def error_of(render: Render, code: ErrorCode, message: str, charged: Charged | None = None) -> RenderError:
    """Why a render ends without a picture, and whether anything was charged for it: for all of its requests."""
    error = problem(code, message, charged)
    if error["charged"] == "no" and may_be_charged_before(render):
        error["charged"] = "unknown"
    return error


def leave_to_a_person(renders: Renders, render: Render) -> None:
    """Nobody looks for the job any more that an answer named: what it was stays on the record."""
    with suppress(ConditionFailed):  # it has moved
        key = render_key(render["prefix"], render["render_id"])
        renders.table.update(
            key,
            f"SET {SET_LANE} REMOVE {SENT}",
            "#revision = :seen",
            due_lane=render["status"],
            seen=render["revision"],
        )


def with_job(renders: Renders, render: Render, request_id: str, now: float) -> Render:
    """The job is the render's: it is looked for from now on. Raises ConditionFailed if the render has moved on,
    JobTaken if another one has the job."""
    found: dict[str, Any] = {"request_id": request_id, "submitted_at": sent_at(render)}
    if is_an_earlier_requests(render):
        found["reserved"] = renders.price
    noted: HistoryEntry = {"what": "accepted", "request_id": request_id}
    # An execution of the next generation may have begun and ended where it could not be recorded: its name is taken.
    after = render.get("generation", 0) + 1
    owned = job_owner.own(render, request_id, now)
    return _settled(renders, {**render, "generation": after}, Status.QUEUED, now, noted, owned, **found)


def with_picture(
    renders: Renders,
    render: Render,
    output_url: str,
    now: float,
    *,
    metrics: JobMetrics | None = None,
    request_id: str | None = None,
) -> Render:
    """The picture is the render's, and paid: only its delivery is left. Raises ConditionFailed if it has moved on,
    JobTaken if another one has the job `request_id`."""
    told: JobMetrics = metrics or {}
    if is_an_earlier_requests(render):
        render = {**render, "reserved": renders.price}
    cost, booked = ledger.charge(render, told, renders.price, now)
    booked = [*booked, balance.explain(cost, now)] if booked else []
    owned = [job_owner.own(render, request_id, now)] if request_id else []
    paid = {
        "output_url": output_url,
        "metrics": told,
        "cost": cost,
        "completed_at": now,
        "submitted_at": sent_at(render),
    }
    paid["undelivered"] = None
    noted: HistoryEntry = {"what": "completed", "cost": cost}
    noted |= {"request_id": request_id} if request_id else {}  # whose link it is: a person's names no job
    return _settled(renders, render, Status.COMPLETED, now, noted, *owned, *booked, **paid)


def _settled(
    renders: Renders, render: Render, status: Status, now: float, noted: HistoryEntry, *extra: Any, **values: Any
) -> Render:
    """What was told as failed is begun anew, as another attempt: what is told of it later is another event."""
    generation = render.get("generation", 0) + 1
    noted = {**noted, "generation": generation}
    if render["status"] == Status.FAILED:
        values["attempt"] = noted["attempt"] = render["attempt"] + 1
        noted["reason"] = "reopened"
    forgotten = dict.fromkeys(("error", "announced", "expires_at", "waiting_since", "candidate_id"))
    allowed = (Status.CLAIMED, Status.UNCERTAIN, Status.FAILED, Status.COMPLETED)
    return renders.move(render, allowed, status, now, noted, *extra, **forgotten, generation=generation, **values)
