"""What is to be done with a render that nobody has come back to in time."""

from typing import Literal

from kontext.model import ErrorCode, Render, Status

RECORD_SECONDS = 3600.0
"""How long Segmind keeps the record of a job."""

OUTPUT_SECONDS = 6.9 * 86_400
"""How long a paid picture can be fetched: Segmind deletes it after 7 days."""

RESTORE_SECONDS = 29 * 86_400.0
"""How long our own bucket surely keeps a picture that another one has replaced: the template says 30 days."""

RESTORING_SECONDS = 86_400.0
"""How long it is tried to put such a picture in its place again."""

DELAY_SECONDS = 600.0
"""So long after its completion a picture that is not delivered is told to be late."""

Action = Literal["submit", "lost", "restart", "expire", "announce", "verify"]


def overdue_action(render: Render, now: float) -> Action:
    """What a render asks for that nobody has come back to in time."""
    match render["status"]:
        case Status.CLAIMED:
            return "submit"
        case Status.SUBMITTING:
            return "lost"
        case Status.QUEUED | Status.PROCESSING:
            return "restart" if now - render["submitted_at"] < RECORD_SECONDS else "expire"
        case Status.COMPLETED:
            return "restart" if now < deliverable_until(render) else "expire"
        case Status.UNCERTAIN if render.get("announced"):
            return "verify"
    return "announce"


def is_kept(render: Render, now: float) -> bool:
    """Whether a paid picture can still be had: of Segmind, or of our own bucket, to which it was delivered once."""
    return now - render["completed_at"] < (RESTORE_SECONDS if "result" in render else OUTPUT_SECONDS)


def deliverable_until(render: Render) -> float:
    """Until when it is tried to deliver a paid picture."""
    restored_by = render["redelivered_at"] + RESTORING_SECONDS if "restore_from" in render else 0.0
    return max(render["completed_at"] + OUTPUT_SECONDS, restored_by)


def late_at(render: Render) -> float:
    """When a paid picture that is not delivered is told to be late."""
    return render.get("redelivered_at", render["completed_at"]) + DELAY_SECONDS


def is_late(render: Render, now: float) -> bool:
    """Whether it is to be told that a picture is late."""
    return render["status"] == Status.COMPLETED and now >= late_at(render) and not render.get("delay_announced")


def unseen(render: Render, message: str | None = None) -> tuple[ErrorCode, str]:
    """The error code and message of a job whose picture nobody has seen before Segmind's record of it ended."""
    if "answer" in render:
        return "no_result", "Segmind says that the job is complete, and where its picture is was never said"
    return "expired", message or "no result was seen before Segmind's record of the job ended"


def is_stale(render: Render, attempt: int, generation: int) -> bool:
    """Whether an execution is of an attempt or a generation that another one has taken over from."""
    return generation < render.get("generation", 0) or attempt != render["attempt"]
