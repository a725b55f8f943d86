"""Poll: ask for a submitted job's status, when asking is worth it, until Segmind is done with it."""

from typing import Any

from kontext.connections import Connections, connect, prepare
from kontext.log import logger
from kontext.pipeline.poll import Poll
from kontext.workflow_state import PollState, WorkflowState

prepare("renders", "poll_history", "segmind", "secrets", "allowed")


@logger.inject_lambda_context
def handler(event: WorkflowState, context: Any, deps: Connections | None = None) -> PollState:
    """The entry point: the workflow's state in, what the polls told out: `outcome`, and `wait` seconds if
    `waiting`."""
    logger.append_keys(render_id=event["render_id"], pair=event["prefix"], request_id=event["request_id"])
    try:
        poll = Poll(deps or connect(), event)
        outcome = poll.run()
    except Exception:
        logger.exception("crashed; the workflow tries again")
        raise
    logger.info("polled", outcome=outcome["outcome"], polls=poll.polls)
    return outcome
