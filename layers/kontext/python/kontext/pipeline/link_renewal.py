"""A paid picture could not be fetched where Segmind said that it is: while Segmind knows the job, it is asked anew.

A link may have expired, or lead to what is damaged; a GET of the result gives another one for nothing.
"""

from contextlib import suppress

from kontext.connections import Connections
from kontext.dynamodb import ConditionFailed
from kontext.errors import SegmindError
from kontext.log import logger
from kontext.model import Render, Status
from kontext.renders.overdue import RECORD_SECONDS
from kontext.renders.settle import has_given_link
from kontext.segmind.answers import JobResult
from kontext.workflow_state import WorkflowState

ONCE_IN_TRIES = 3
"""Of the tries of one execution; each later execution begins with one."""


def renew_link(deps: Connections, event: WorkflowState, render: Render) -> Render:
    """The render with the link to an allowed host that Segmind names now. Where it names none, the old one stays, and
    is tried again."""
    if (
        render["status"] != Status.COMPLETED
        or has_given_link(render)
        or not _is_worth_asking(event, render, deps.clock.now())
    ):
        return render
    link = None
    with suppress(SegmindError):
        seen = deps.segmind.result(event["request_id"], render.get("submitted_with"))
        link = deps.allowed.first([*seen.links, *seen.others]) if isinstance(seen, JobResult) else None
    if link is None or link == render["output_url"]:
        return render
    logger.info("another link is tried")
    with suppress(ConditionFailed):  # it has moved: whoever delivers reads it anew
        return deps.jobs.mark_relinked(render, link, deps.clock.now())
    return render


def _is_worth_asking(event: WorkflowState, render: Render, now: float) -> bool:
    tries = event.get("delivery", {}).get("tries", 0)
    has_failed = tries % ONCE_IN_TRIES == 1 if tries else "undelivered" in render
    return has_failed and bool(event["request_id"]) and now - float(event["submitted_at"]) < RECORD_SECONDS
