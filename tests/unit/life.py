"""One pair's render, for the tests of its life on the record."""

from __future__ import annotations

from typing import Any, Protocol, Unpack

from kontext.drops.pairs import Pair, Ready
from kontext.dynamodb import Table
from kontext.errors import problem
from kontext.model import HistoryEntry, JobMetrics, Parameters, Render, Result
from kontext.renders.claims import Claims
from kontext.renders.deliveries import Deliveries
from kontext.renders.jobs import Jobs
from kontext.renders.store import LEASE_SECONDS
from kontext.renders.submissions import Submissions


class MakePair(Protocol):
    """Makes a pair as dropped."""

    def __call__(self, prefix: str = "taj/", drop: int = 1, **more: Any) -> Pair: ...


class MakeReady(Protocol):
    """Makes what is asked of a complete pair."""

    def __call__(self, pair: Pair, **parameters: Unpack[Parameters]) -> Ready: ...


NOW = 1_767_322_800.0
LATER = NOW + LEASE_SECONDS + 1
METRICS: JobMetrics = {"cost": 0.04, "inference_time": 12.5}
RESULT: Result = {"key": "taj/result.png", "bytes": 7}
FAILED = problem("render_failed", "blocked")
SERVER_ERROR: HistoryEntry = {"status": 500, "message": "oops"}


class Life:
    """One pair's render, taken from stage to stage."""

    def __init__(self, submissions: Submissions, pair: Pair, complete: Ready) -> None:
        self.submissions, self.pair, self.complete = submissions, pair, complete
        self.renders, self.jobs = submissions.renders, Jobs(submissions.renders)

    def claimed(self) -> Render:
        render = Claims(self.renders).claim(self.pair, self.complete, NOW)
        assert render is not None
        assert render["status"] == "CLAIMED"
        return render

    def submitting(self) -> Render:
        return self.submissions.mark_submitting(self.claimed(), NOW)

    def queued(self) -> Render:
        return self.submissions.mark_accepted(self.submitting(), "r-1", NOW)

    def completed(self) -> Render:
        return self.jobs.mark_completed(self.queued(), "https://images/a.png", METRICS, NOW + 20)

    def delivered(self) -> Render:
        return Deliveries(self.renders).mark_delivered(self.completed(), RESULT, NOW + 21)

    def failed(self) -> Render:
        return self.renders.mark_failed(self.queued(), FAILED, NOW + 20)

    def uncertain(self) -> Render:
        return self.submissions.mark_uncertain(self.submitting(), "the answer was lost", NOW)

    def in_line(self) -> Render:
        return self.submissions.join_line(self.claimed(), NOW + 60, "pace", NOW)

    def tried_later(self) -> Render:
        return self.submissions.retry_later(self.submitting(), NOW + 60, "outage", NOW, SERVER_ERROR)

    def announced(self) -> Render:
        self.renders.mark_announced(failed := self.failed())
        return failed

    def at(self, stage: str) -> Render:
        render: Render = getattr(self, stage)()
        return render


class Repeating(Table):
    """Writes twice, as the SDK does when it has lost the first answer."""

    def update(self, *write: Any, **values: Any) -> Any:
        super().update(*write, **values)
        return super().update(*write, **values)
