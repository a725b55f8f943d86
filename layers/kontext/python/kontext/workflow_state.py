"""What the states of the workflow hand to each other. Times are unix seconds, money is in US dollars."""

from typing import Literal, TypedDict

from kontext.model import JobMetrics, RenderError


class FoundPicture(TypedDict):
    """Where a paid picture is, as long as that cannot be recorded."""

    link: str
    metrics: JobMetrics


class PollState(TypedDict, total=False):
    """What one stay of Poll hands to the next, or to Finalize, by way of the workflow."""

    outcome: Literal["waiting", "completed", "failed", "expired", "ended"]
    wait: int
    progress: dict[str, float]
    misses: int
    doubts: int
    """How often the job had failed, and that could not be confirmed."""
    message: str
    cost: float
    """USD that Segmind states for a job that failed: the contract says none."""
    contradicted: bool
    """Whether a job that failed by its result is done by its status."""
    found: FoundPicture


class Ending(TypedDict, total=False):
    """What Finalize hands to the workflow. `outcome`: `delivered`; `failed`, `postponed` or `parked`, with the `error`;
    or `again`, after `wait` seconds, when so many `tries` are behind it."""

    outcome: Literal["delivered", "failed", "postponed", "parked", "again"]
    error: RenderError
    wait: int
    tries: int


class WorkflowState(TypedDict, total=False):
    """The state of an execution of the workflow. `crash`, `given_up`: an error that the workflow has caught."""

    prefix: str
    render_id: str
    attempt: int
    generation: int
    request_id: str
    submitted_at: float
    submitted_with: str
    poll: PollState
    look: PollState
    """What executions that began before this version call `poll`."""
    delivery: dict[str, int]
    crash: dict[str, str]
    given_up: dict[str, str]
