"""Finalize: bring a render to its end, and tell it. The picture is paid: copying and telling can be repeated at will.

What goes wrong is tried again: a few times by the workflow, then by later executions, for as long as Segmind keeps the
picture. The workflow calls this function again when it crashes, and once more when it never comes to its end.
"""

from typing import Any

from kontext.connections import Connections, connect, prepare
from kontext.log import logger
from kontext.pipeline.deliver import Finalize
from kontext.workflow_state import Ending, WorkflowState

prepare("renders", "drops", "outputs", "delivery", "topic")


@logger.inject_lambda_context
def handler(event: WorkflowState, context: Any, deps: Connections | None = None) -> Ending:
    """The entry point: the workflow's state in; out `outcome` (delivered, failed, again, postponed) and, if failed,
    `error`."""
    logger.append_keys(render_id=event["render_id"], pair=event["prefix"], request_id=event["request_id"])
    try:
        outcome = Finalize(deps or connect(), event).run()
    except Exception:
        logger.exception("crashed; the workflow tries again")
        raise
    logger.info("finalized", outcome=outcome["outcome"], code=outcome.get("error", {}).get("code"))
    return outcome
