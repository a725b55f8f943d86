"""What the functions measure: one metric for each fact, told when it becomes one; the stack is its only dimension.

A value is written at once, in CloudWatch's embedded metric format, so that what becomes of the rest of an
invocation takes nothing back. The alarms and the dashboard (`monitoring/`) read these names.
"""

from typing import NamedTuple, get_args

from aws_lambda_powertools import Metrics

from kontext.errors import REASONS
from kontext.model import AccountReason, ErrorCode, JobMetrics, Reason, Render, Status

NAMESPACE = "kontext-drop"

REFUSALS = frozenset(get_args(AccountReason))
"""The reasons of a park that only a person can end."""


class Metric(NamedTuple):
    """A metric: its unit in CloudWatch, and what one value of it says."""

    unit: str
    meaning: str


def parked(reason: Reason) -> str:
    """The metric of a reason to park.

    >>> parked("no_credits")
    'ParkedNoCredits'
    """
    return "Parked" + "".join(word.capitalize() for word in reason.split("_"))


METRICS: dict[str, Metric] = {
    "Dropped": Metric("Count", "objects that came into the input bucket"),
    "Retried": Metric("Count", "tries to record a drop that failed: its message comes back"),
    "Dispatched": Metric("Count", "hints about what stood still, sent by Sweep"),
    "Stuck": Metric("Count", "items that ten hints did not move, counted by each sweep while there are any"),
    "InLine": Metric("Count", "renders that wait in line, counted by each sweep while there are any"),
    "LineAge": Metric("Seconds", "since the place in line fell due of the first who waits"),
    "UnknownDrops": Metric("Count", "objects whose name fits no rule of the drop convention"),
    "Rejected": Metric("Count", "drops that cannot become a render, as their `error.json` says"),
    "Submitted": Metric("Count", "requests that Segmind accepted: jobs that will be paid if they complete"),
    "Delivered": Metric("Count", "pictures in the output bucket, told to the subscribers"),
    "Failed": Metric("Count", "1 for a render that failed, 0 for one that was delivered: the average is the share"),
    "Uncertain": Metric("Count", "requests whose answer was lost: perhaps accepted, perhaps charged"),
    "Undelivered": Metric("Count", "paid pictures that are late, and again if they were never delivered"),
    "Superseded": Metric("Count", "renders that a newer drop replaced before they were sent"),
    "AccountRefused": Metric("Count", "answers or limits that stop every render until a person acts"),
    "RateLimited": Metric("Count", "answers 429: with a correct RequestsPerMinute there are none"),
    "CostUsd": Metric("None", "USD that a completed render cost"),
    "RemainingCredits": Metric("None", "USD left at Segmind after a completed render"),
    "StrangeCost": Metric("Count", "costs that Segmind stated and that cannot be: they were booked at the price"),
    "UnexplainedUsd": Metric("None", "USD that the day's balance has lost beside what is booked, beyond a tolerance"),
    "QueueSeconds": Metric("Seconds", "from acceptance until a worker of Segmind took the job"),
    "InferenceSeconds": Metric("Seconds", "a worker's time for the job"),
    "Lag": Metric("Seconds", "from the job's completion at Segmind until the workflow saw it"),
    **{parked(reason): Metric("Count", f"renders put aside: {said.meaning}") for reason, said in REASONS.items()},
}

_ENDS: dict[ErrorCode, str] = {
    "invalid_request": "Rejected",
    "invalid_image": "Rejected",
    "near_miss": "Rejected",
    "superseded": "Superseded",
    "delivery": "Undelivered",
}

_metrics = Metrics(namespace=NAMESPACE)


def emit(render: Render | None = None, /, **values: float) -> None:
    """Write measures, by their names in `METRICS`; of which render is said beside them, and is no dimension."""
    for name, value in values.items():
        _metrics.add_metric(name, METRICS[name].unit, value)
    for key, named in _names(render or {}).items():
        if named:
            _metrics.add_metadata(key, named)
    _metrics.flush_metrics()


def _names(render: Render) -> dict[str, str | None]:
    return {"pair": render.get("prefix"), "render_id": render.get("render_id"), "request_id": render.get("request_id")}


def emit_outcome(render: Render) -> None:
    """Measure how a render ended."""
    if render["status"] == Status.DELIVERED:
        emit(render, Delivered=1, Failed=0)
    elif render["status"] == Status.UNCERTAIN:
        emit(render, Uncertain=1)
    else:
        emit(render, **{_ENDS.get(render["error"]["code"], "Failed"): 1})


def emit_job(render: Render, now: float, unexplained: float | None = None) -> None:
    """Emit the metrics of a completed job, seen at `now`."""
    told = render["metrics"]
    values = {
        "CostUsd": render["cost"],
        "StrangeCost": 1 if render["history"][-1].get("reason") == "strange_cost" else None,
        "UnexplainedUsd": unexplained,
        "RemainingCredits": told.get("remaining_credits"),
        "QueueSeconds": told.get("queue_time"),
        "InferenceSeconds": told.get("inference_time"),
        "Lag": _lag(render["submitted_at"], told, now),
    }
    emit(render, **{name: value for name, value in values.items() if value is not None})


def _lag(submitted_at: float, told: JobMetrics, now: float) -> float | None:
    if "queue_time" not in told or "inference_time" not in told:
        return None
    return max(0.0, now - submitted_at - told["queue_time"] - told["inference_time"])
