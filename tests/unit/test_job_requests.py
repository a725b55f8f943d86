"""What is asked of Segmind about a job: a failure is believed once nothing contradicts it, and no sooner."""

from __future__ import annotations

from typing import cast

import pytest

from kontext.errors import RateLimited, SegmindError, Unavailable
from kontext.pipeline.job_requests import BAD_STATUSES, MOST_DOUBTS, JobRequests
from kontext.segmind.answers import JobResult, JobStatus
from kontext.segmind.client import Segmind

FAILED, RUNS, PICTURE = (
    JobStatus("FAILED", error="worker lost"),
    JobStatus("PROCESSING"),
    JobResult(("https://x/a.png",)),
)

Answer = JobStatus | JobResult | SegmindError


class Vendor:
    """Answers as prepared, again and again."""

    def __init__(self, status: Answer, result: Answer) -> None:
        self.answers = {"status": status, "result": result}
        self.asked: list[str] = []

    def status(self, *_: object) -> Answer:
        return self.answer("status")

    def result(self, *_: object) -> Answer:
        return self.answer("result")

    def answer(self, what: str) -> Answer:
        self.asked.append(what)
        answer = self.answers[what]
        if isinstance(answer, SegmindError):
            raise answer
        return answer


def requests(status: Answer, result: Answer, misses: int = 0) -> JobRequests:
    return JobRequests(cast(Segmind, Vendor(status, result)), "q", misses)


def doubts_before_the_failure(job: JobRequests) -> int:
    """How often the failure was not believed."""
    for times in range(20):
        try:
            assert job.ask(None, last=False) == FAILED
        except SegmindError:
            continue
        return times
    raise AssertionError("it is never believed")


@pytest.mark.parametrize("result", [RUNS, Unavailable("oh", 503)], ids=["contradicted", "not answered"])
@pytest.mark.parametrize("misses", [0, BAD_STATUSES, 40])
def test_polls_that_told_nothing_confirm_no_failure(result: Answer, misses: int) -> None:
    assert doubts_before_the_failure(requests(FAILED, result, misses)) == MOST_DOUBTS


def test_a_result_that_comes_at_another_time_confirms_no_failure() -> None:
    job = requests(FAILED, RateLimited("too many requests", None))

    for _ in range(3 * MOST_DOUBTS):
        with pytest.raises(RateLimited):
            job.ask(None, last=False)

    assert job.doubts == 0


def test_a_result_that_failed_at_the_last_poll_is_held_against_the_status() -> None:
    job = requests(JobStatus("COMPLETED"), FAILED)

    for _ in range(MOST_DOUBTS):
        with pytest.raises(Unavailable, match="COMPLETED by its status, and FAILED by its result"):
            job.ask(None, last=True)

    assert job.ask(None, last=True) == FAILED
    assert job.done == JobStatus("COMPLETED")


def test_a_picture_at_the_last_poll_is_asked_for_once() -> None:
    job = requests(Unavailable("oh", 503), PICTURE)

    assert job.ask(None, last=True) == PICTURE
    assert cast(Vendor, job.segmind).asked == ["result"]
