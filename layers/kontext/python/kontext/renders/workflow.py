"""The one seam to the workflow: one execution for each generation of a render, however often it is asked for."""

import re
from typing import TYPE_CHECKING

from kontext import text

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

    from kontext.model import Render
    from kontext.workflow_state import PollState, WorkflowState


_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9]+")


class Workflow:
    """The state machine that sees a submitted render to its end."""

    def __init__(self, client: "SFNClient", arn: str) -> None:
        self.client = client
        self.arn = arn

    def start(self, render: "Render", wait: int) -> bool:
        """Start the render's execution, which first polls after `wait` whole seconds; False if it was started."""
        state: WorkflowState = {**state_of(render), "poll": {"wait": wait}}
        try:
            self.client.start_execution(
                stateMachineArn=self.arn,
                name=execution_name(render),
                input=text.dumps(state),
            )
        except self.client.exceptions.ExecutionAlreadyExists:
            return False
        return True


def state_of(render: "Render") -> "WorkflowState":
    """What an execution knows of its render."""
    state: WorkflowState = {
        "prefix": render["prefix"],
        "render_id": render["render_id"],
        "attempt": render["attempt"],
        "generation": render.get("generation", 0),
        "request_id": render.get("request_id", ""),  # none where a person gave the link alone
        "submitted_at": render["submitted_at"],
    }
    if submitted_with := render.get("submitted_with"):
        state["submitted_with"] = submitted_with
    return state


def last_poll(state: "WorkflowState") -> "PollState":
    """What the last stay of Poll has handed on. An execution that began before this version calls it `look`."""
    return state.get("poll") or state.get("look") or {}


def execution_name(render: "Render") -> str:
    """The name of a generation's execution, at most 80 characters: a readable part of the prefix, Segmind's request_id
    and the generation. AWS keeps a name for 90 days, longer than a record may live: the request_id makes it another one
    when the same content is rendered anew. Of a picture that is known by its link alone the render_id stands for it."""
    readable = _NOT_IN_A_NAME.sub("-", render["prefix"].rstrip("/_-"))[-38:].strip("-") or "pair"
    job = render.get("request_id") or render["render_id"]
    return f"{readable}-{_NOT_IN_A_NAME.sub('-', job)[:36]}-{render.get('generation', 0)}"
