"""The one seam to the workflow: one execution for each attempt of a render, however often it is asked for."""

from typing import TYPE_CHECKING, Any

from kontext import words

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

    from kontext.renders import Render


class Workflow:
    """The state machine that sees a submitted render to its end."""

    def __init__(self, client: "SFNClient", arn: str) -> None:
        self.client = client
        self.arn = arn

    def start(self, render: "Render", wait: int) -> bool:
        """Start the render's execution, which first looks after `wait` whole seconds; False if it was started."""
        told: dict[str, Any] = {
            name: render[name] for name in ("prefix", "render_id", "attempt", "request_id", "submitted_at")
        }
        try:
            self.client.start_execution(
                stateMachineArn=self.arn,
                name=execution_name(render),
                input=words.dumps({**told, "look": {"wait": wait}}),
            )
        except self.client.exceptions.ExecutionAlreadyExists:
            return False
        return True


def execution_name(render: "Render") -> str:
    """The deterministic name of an attempt's execution, at most 80 characters; AWS keeps a name unique for 90 days."""
    letters = "".join(c if c.isascii() and c.isalnum() else "-" for c in render["prefix"].rstrip("/_-"))
    readable = letters[-40:].strip("-") or "pair"
    return f"{readable}-{render['render_id']}-{render['attempt']}"
