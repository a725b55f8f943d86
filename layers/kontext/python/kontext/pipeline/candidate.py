"""A broken answer to a POST, or a server error, named a job: whether there is one, Segmind says for nothing."""

from kontext.connections import Connections
from kontext.dynamodb import ConditionFailed
from kontext.errors import RecordGone, SegmindError
from kontext.log import logger
from kontext.model import Render
from kontext.pipeline.requeue import CANDIDATE_SECONDS
from kontext.pipeline.watch import Watch
from kontext.renders import settle
from kontext.renders.job_owner import JobTaken
from kontext.renders.overdue import RECORD_SECONDS


def is_known(deps: Connections, request_id: str, submitted_with: str | None = None) -> bool | None:
    """Whether Segmind knows a job; None if it does not tell."""
    try:
        deps.segmind.status(request_id, submitted_with)
    except SegmindError as failure:
        logger.warning("the job that an answer named is not found", candidate_id=request_id, reason=str(failure))
        return False if isinstance(failure, RecordGone) else None
    return True


def verify_candidate(deps: Connections, watch: Watch, render: Render) -> bool:
    """Ask for the job once; whether that has settled the render. Sweep calls for it again, ever more seldom, until
    Segmind would have forgotten it."""
    candidate_id, now = render["candidate_id"], deps.clock.now()
    if is_known(deps, candidate_id, render.get("submitted_with")):
        if adopt(deps, watch, render, candidate_id):
            return True
    elif now - settle.sent_at(render) <= RECORD_SECONDS:
        return False
    settle.leave_to_a_person(deps.renders, render)
    return False


def adopt(deps: Connections, watch: Watch, render: Render, request_id: str) -> bool:
    """Have a job that Segmind knows looked after as the render's. False if it is another render's."""
    try:
        watch.start(settle.with_job(deps.renders, render, request_id, deps.clock.now()))
    except JobTaken:
        return False
    except ConditionFailed:
        pass  # a person was faster
    return True


def may_have_job(deps: Connections, watch: Watch, render: Render) -> bool:
    """Whether a server error named a job for a render that is to be sent again, and that it may be its own: one that
    Segmind knows is, and while it does not tell, another request could be paid as well."""
    job = render.get("candidate_id")
    known = is_known(deps, job, render.get("submitted_with")) if job else False
    if job and known:
        return adopt(deps, watch, render, job)
    if known is None:
        deps.renders.look_again(render, deps.clock.now() + CANDIDATE_SECONDS)
    return known is not False
