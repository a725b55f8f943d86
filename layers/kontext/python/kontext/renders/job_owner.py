"""Whose a job of Segmind's is: an answer that comes twice, out of a cache say, names one job to two renders."""

from kontext.dynamodb import ConditionFailed, Write
from kontext.model import Render

_KEPT_SECONDS = 2 * 3600.0
"""For longer than Segmind knows a job: whoever is given its id later finds out by a 404."""


class JobTaken(ConditionFailed):
    """Another render has the job."""

    def __init__(self, request_id: str) -> None:
        super().__init__(None)
        self.args = (f"Segmind's answer names the job of another pair, {request_id}",)


def own(render: Render, request_id: str, now: float) -> Write:
    """Only while no other render has this job: both would get the same picture, and one of them a stranger's."""
    values = {"render_id": render["render_id"], "expires_at": int(now + _KEPT_SECONDS)}
    expression = "SET #render_id = :render_id, #expires_at = :expires_at"
    condition = "attribute_not_exists(#render_id) OR #render_id = :render_id"
    return {"pk": f"job#{request_id.lower()}", "sk": "job"}, expression, condition, values


def check(refused: ConditionFailed) -> None:
    """Raises JobTaken if that is what a write was refused for."""
    if refused.found and refused.found["sk"] == "job":
        raise JobTaken(refused.found["pk"].removeprefix("job#")) from refused
