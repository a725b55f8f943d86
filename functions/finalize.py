"""Finalize: bring a render to its end, and tell it. The picture is paid: copying and telling can be repeated at will.

Whatever goes wrong is tried again a few times, and then told. The workflow does so where this function cannot: it
calls a function again that crashes, and one that never comes to an end once more, to give up and tell.
"""

from typing import Any

from kontext.connections import Connections, connect, prepare
from kontext.log import logger
from kontext.model import WorkflowState
from kontext.pipeline.deliver import Finalize

prepare("renders", "drops", "outputs", "delivery", "topic")


@logger.inject_lambda_context
def handler(event: WorkflowState, context: Any, deps: Connections | None = None) -> dict[str, Any]:
    """The entry point: the workflow's state in; out `outcome` (delivered, failed, again) and, if failed,
    `error`."""
    logger.append_keys(render_id=event["render_id"], pair=event["prefix"], request_id=event["request_id"])
    try:
        outcome = Finalize(deps or connect(), event).run()
    except Exception:
        logger.exception("crashed; the workflow tries again")
        raise
    logger.info("finalized", outcome=outcome["outcome"], code=outcome.get("error", {}).get("code"))
    return outcome
