"""Poll where looks tell nothing: no look before a reset, ever fewer until the last one, and none is the end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

import poll
from kontext.due import POLL_SECONDS
from kontext.errors import RateLimited, RecordGone, SegmindError, Unavailable
from kontext.model import Render, Status
from kontext.pipeline.ends import charged_for
from kontext.polling.schedule import DEADLINE
from kontext.results.hosts import Allowed
from kontext.segmind.answers import JobResult, JobStatus
from kontext.workflow_state import PollState, WorkflowState

if TYPE_CHECKING:
    from kontext.connections import Connections

ACCEPTED = 1_000_000.0
CONTEXT = SimpleNamespace(function_name="p", memory_limit_in_mb=128, invoked_function_arn="arn", aws_request_id="1")
STATE: WorkflowState = {"prefix": "taj/", "render_id": "r", "attempt": 1, "request_id": "q", "submitted_at": ACCEPTED}


class World:
    """Poll's connections: a vendor that counts looks against its limit, a record, a clock that sleeps at once."""

    def __init__(self, reset_at: float | None, free_at: float) -> None:
        self.reset_at, self.free_at = reset_at, free_at
        self.time = ACCEPTED + 20
        self.looked: list[float] = []
        self.beats: list[float] = []
        self.held: list[float] = []
        self.known: Render = {}
        self.clock = self.jobs = self.renders = self.segmind = self
        self.throttle: Any = self
        self.poll_history = SimpleNamespace(next_poll=lambda _: self.time - ACCEPTED, deadline=DEADLINE)

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += max(0.0, seconds)

    def of_execution(self, state: WorkflowState, _now: float) -> Render:
        known: Render = {"render_id": state["render_id"], "attempt": 1, "status": Status.PROCESSING}
        return {"prefix": state["prefix"], **known, **self.known}

    def beat(self, render: Render, until: float) -> None:
        self.beats.append(until)

    def back_off(self, reset_at: float, now: float) -> None:
        self.held.append(reset_at - ACCEPTED)

    def status(self, *_: object) -> JobStatus:
        self.looked.append(self.time - ACCEPTED)
        if self.time < self.free_at:
            raise RateLimited("too many requests", self.reset_at)
        return JobStatus("FAILED", error="seen")

    def result(self, *_: object) -> JobStatus | JobResult:
        return JobStatus("FAILED", error="seen")


def run(world: World, look: PollState) -> PollState:
    return handled(world, {**STATE, "poll": look})


def handled(world: World, state: WorkflowState) -> PollState:
    """What Poll answers, with the world as its connections."""
    return poll.handler(state, CONTEXT, cast("Connections", world))


def test_a_reset_that_is_near_is_slept_out() -> None:
    world = World(reset_at=ACCEPTED + 50.5, free_at=ACCEPTED + 50.5)

    outcome = run(world, {"wait": 0})

    assert world.looked == [20, 50.5]
    assert outcome == {"outcome": "failed", "message": "seen"}


def test_an_execution_that_began_before_an_update_goes_on_where_it_was() -> None:
    world = World(reset_at=ACCEPTED + 3000, free_at=ACCEPTED + 3000)
    missed = run(world, {})

    before = handled(world, {**STATE, "look": missed})

    assert (missed["misses"], before["misses"]) == (1, 2)


@pytest.mark.parametrize(
    ("reset_at", "free_at"),
    [
        pytest.param(320.4, 320.4, id="far"),
        pytest.param(None, 80.0, id="missing"),
        pytest.param(-5.0, 80.0, id="past"),
        pytest.param(90_000.0, 80.0, id="absurd: a minute"),
    ],
)
def test_a_reset_that_is_far_is_waited_out_by_the_workflow(reset_at: float | None, free_at: float) -> None:
    world = World(None if reset_at is None else ACCEPTED + reset_at, ACCEPTED + free_at)

    first = run(world, {"wait": 0})
    world.sleep(first["wait"])
    second = run(world, first)

    assert world.looked == [20, pytest.approx(free_at, abs=1)]
    assert world.beats == [pytest.approx(ACCEPTED + free_at + POLL_SECONDS, abs=1)]
    assert second["outcome"] == "failed"


def test_a_reset_that_is_just_over_is_a_matter_of_seconds() -> None:
    world = World(reset_at=ACCEPTED + 20, free_at=ACCEPTED + 20.5)

    run(world, {"wait": 0})

    assert world.looked == [20, 21]


@pytest.mark.parametrize(
    ("reset_at", "held"),
    [
        pytest.param(50.5, [50.5], id="stated"),
        pytest.param(None, [], id="missing"),
        pytest.param(20.0, [], id="just over"),
        pytest.param(90_000.0, [], id="absurd"),
    ],
)
def test_new_requests_wait_for_the_reset_that_a_status_request_was_told(
    reset_at: float | None, held: list[float]
) -> None:
    world = World(None if reset_at is None else ACCEPTED + reset_at, ACCEPTED + 30)

    run(world, {"wait": 0})

    assert world.held == held


def test_a_rate_limiter_that_cannot_be_told_of_a_429_does_not_end_the_wait_for_a_paid_job() -> None:
    world = World(reset_at=ACCEPTED + 50.5, free_at=ACCEPTED + 50.5)
    world.throttle = SimpleNamespace()

    outcome = run(world, {"wait": 0})

    assert outcome == {"outcome": "failed", "message": "seen"}


class Job(World):
    """A job whose status and result are answered as prepared, again and again."""

    def __init__(self, status: JobStatus | SegmindError, result: JobStatus | JobResult | SegmindError) -> None:
        super().__init__(None, 0.0)
        self.of_status, self.of_result = status, result
        self.asked_for_result: list[float] = []
        self.kept: list[str] = []
        self.links: list[str] = []
        self.allowed = Allowed(("images.segmind.com",))

    def status(self, *_: object) -> JobStatus:
        self.looked.append(self.time - ACCEPTED)
        if isinstance(self.of_status, SegmindError):
            raise self.of_status
        return self.of_status

    def result(self, *_: object) -> JobStatus | JobResult:
        self.asked_for_result.append(self.time - ACCEPTED)
        if isinstance(self.of_result, SegmindError):
            raise self.of_result
        return self.of_result

    def mark_completed(self, render: Render, link: str, *_: Any) -> Render:
        self.links.append(link)
        paid: Render = {"submitted_at": ACCEPTED, "metrics": {}, "cost": 0.05, "history": [{"what": "completed"}]}
        return {**render, "status": Status.COMPLETED, **paid}

    def mark_unlinked(self, render: Render, answer: str, *_: Any) -> Render:
        self.kept.append(answer)
        return render

    def learn(self, *_: Any) -> None:
        """Nothing is learned here."""

    def play(self) -> PollState:
        """The stays of Poll, and the waits of the workflow between them, until it is done."""
        self.poll_history.learn = self.learn
        outcome: PollState = {"wait": 0}
        while (outcome := run(self, outcome))["outcome"] == "waiting":
            self.sleep(outcome["wait"])
        return outcome


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(RecordGone("not found", 404), "does not know the job", id="404"),
        pytest.param(Unavailable("oh", 500), "no result was seen", id="500"),
    ],
)
def test_a_job_is_looked_for_once_a_minute_until_shortly_before_its_record_ends(
    answer: SegmindError, says: str
) -> None:
    job = Job(answer, answer)

    outcome = job.play()

    assert outcome["outcome"] == "expired"
    assert says in outcome["message"]
    assert 60 <= len(job.looked) <= 75
    assert job.looked[-1] == pytest.approx(DEADLINE, abs=2)
    assert job.asked_for_result[-1] == job.looked[-1]


def test_the_result_is_asked_for_where_the_status_stays_bad() -> None:
    job = Job(Unavailable("oh", 500), JobResult(("https://images.segmind.com/a.png",)))

    assert job.play() == {"outcome": "completed"}
    assert job.time - ACCEPTED < 30


def test_a_job_that_failed_by_its_status_and_whose_picture_is_there_is_delivered() -> None:
    job = Job(JobStatus("FAILED", error="worker lost"), JobResult(("https://images.segmind.com/a.png",)))

    assert job.play() == {"outcome": "completed"}


@pytest.mark.parametrize("status", ["QUEUED", "PROCESSING"])
def test_a_job_that_failed_by_its_status_and_still_runs_by_its_result_is_asked_for_again(status: str) -> None:
    job = Job(JobStatus("FAILED", error="worker lost"), JobStatus(status))

    assert job.play() == {"outcome": "failed", "message": "worker lost"}
    assert len(job.looked) == 4


def test_a_failure_is_not_believed_before_its_result_was_asked_for_a_few_times() -> None:
    job = Job(JobStatus("FAILED", error="seen"), Unavailable("oh", 503))

    outcome = run(job, {})

    assert outcome["outcome"] == "failed"
    assert len(job.asked_for_result) == 4


def test_a_job_that_is_done_by_its_status_and_failed_by_its_result_may_be_paid() -> None:
    job = Job(JobStatus("COMPLETED"), JobStatus("FAILED", error="worker lost"))

    outcome = job.play()

    assert outcome["message"] == "worker lost (by its status the job is done)"
    assert charged_for(outcome) == "unknown"
    assert len(job.looked) == 4


def test_a_job_that_was_done_once_and_has_failed_now_may_be_paid() -> None:
    job = Job(JobStatus("FAILED", error="worker lost"), JobStatus("FAILED", error="worker lost"))
    job.known = {"answer": "no picture"}

    outcome = job.play()

    assert charged_for(outcome) == "unknown"


def test_a_status_in_an_unknown_word_may_mean_that_the_picture_is_there() -> None:
    job = Job(JobStatus("SUCCEEDED"), JobResult(("https://images.segmind.com/a.png",)))

    assert job.play() == {"outcome": "completed"}
    assert job.time - ACCEPTED < 30


def test_a_result_that_names_no_picture_is_kept_and_asked_for_ever_more_seldom_until_the_last_look() -> None:
    job = Job(JobStatus("COMPLETED"), JobResult((), answer="no picture"))

    assert job.play()["outcome"] == "expired"
    assert set(job.kept) == {"no picture"}
    assert 60 <= len(job.looked) <= 75


def test_a_job_that_is_done_and_whose_result_never_answers_is_known_to_be_paid() -> None:
    job = Job(JobStatus("COMPLETED"), RecordGone("not found", 404))

    assert job.play()["outcome"] == "expired"
    assert "not found" in job.kept[0]
    assert 60 <= len(job.looked) <= 75


@pytest.mark.parametrize(
    ("result", "taken"),
    [
        pytest.param(
            JobResult(("https://elsewhere.example/a.png", "https://images.segmind.com/a.png")),
            "https://images.segmind.com/a.png",
            id="the allowed one",
        ),
        pytest.param(
            JobResult(("https://elsewhere.example/a.png",), others=("https://images.segmind.com/a.png",)),
            "https://images.segmind.com/a.png",
            id="the allowed one, wherever it stands",
        ),
        pytest.param(
            JobResult(("https://elsewhere.example/a.png",)),
            "https://elsewhere.example/a.png",
            id="one whose host may be allowed yet",
        ),
    ],
)
def test_of_several_links_the_allowed_one_is_taken(result: JobResult, taken: str) -> None:
    job = Job(JobStatus("COMPLETED"), result)

    assert job.play() == {"outcome": "completed"}
    assert job.links == [taken]


def test_a_link_that_is_neither_named_as_the_picture_nor_allowed_is_none() -> None:
    job = Job(JobStatus("COMPLETED"), JobResult((), others=("https://docs.elsewhere.example/",), answer="no picture"))

    assert job.play()["outcome"] == "expired"
    assert job.links == []
