"""A link that does not lead to the picture: when Segmind is asked for another one, and which it may be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Unpack, cast

import pytest

from kontext.dynamodb import ConditionFailed
from kontext.errors import RecordGone, SegmindError
from kontext.model import Render, Status
from kontext.pipeline.link_renewal import renew_link
from kontext.renders import settle
from kontext.results.hosts import Allowed
from kontext.segmind.answers import JobResult, JobStatus
from kontext.workflow_state import WorkflowState
from tests.unit.life import NOW, Life

if TYPE_CHECKING:
    from kontext.connections import Connections

ACCEPTED = 1_000_000.0
OLD, NEW = "https://images.segmind.com/old.png", "https://images.segmind.com/new.png"
FIRST_TRY: WorkflowState = {"request_id": "q", "submitted_at": ACCEPTED, "delivery": {"tries": 1}}
PUT_OFF: Render = {"undelivered": {"tries": 1, "first": "HTTP 403", "last": "HTTP 403"}}


class World:
    """Poll's connections: a vendor with one answer, and a record."""

    def __init__(self, answer: JobResult | JobStatus | SegmindError, age: float = 60.0, moved: bool = False) -> None:
        self.answer, self.moved = answer, moved
        self.allowed = Allowed(("images.segmind.com",))
        self.clock = SimpleNamespace(now=lambda: ACCEPTED + age)
        self.segmind = self.jobs = self
        self.asked: list[str] = []

    def result(self, request_id: str, _: str | None) -> JobResult | JobStatus:
        self.asked.append(request_id)
        if isinstance(self.answer, SegmindError):
            raise self.answer
        return self.answer

    def mark_relinked(self, render: Render, link: str, _: float) -> Render:
        if self.moved:
            raise ConditionFailed(None)
        return {**render, "output_url": link}

    def renew(self, request_id: str = "q", /, tries: int = 1, **more: Unpack[Render]) -> str:
        event: WorkflowState = {"request_id": request_id, "submitted_at": ACCEPTED, "delivery": {"tries": tries}}
        render: Render = {"status": Status.COMPLETED, "output_url": OLD, "history": []}
        render.update(more)
        return renew_link(cast("Connections", self), event, render)["output_url"]


def test_a_picture_that_could_not_be_fetched_is_tried_under_the_link_that_segmind_names_now() -> None:
    assert World(JobResult((NEW,))).renew() == NEW


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(JobResult((OLD,)), id="the same link"),
        pytest.param(JobResult(()), id="none"),
        pytest.param(JobResult(("https://evil.example/a.png",)), id="a host that is not allowed"),
        pytest.param(JobStatus("PROCESSING"), id="that the job runs"),
        pytest.param(RecordGone("not found", 404), id="that there is no such job"),
    ],
)
def test_the_old_link_stays_where_segmind_names(answer: Any) -> None:
    assert World(answer).renew() == OLD


def test_a_render_that_moves_as_segmind_is_asked_is_left_to_whoever_moved_it() -> None:
    assert World(JobResult((NEW,)), moved=True).renew() == OLD


def test_segmind_is_asked_once_in_three_tries() -> None:
    world = World(JobResult((OLD,)))

    per_try = []
    for tries in range(1, 10):
        before = len(world.asked)
        world.renew(tries=tries)
        per_try.append(len(world.asked) - before)

    assert per_try == [1, 0, 0, 1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("render", "asked"),
    [pytest.param({}, [], id="a first try"), pytest.param(PUT_OFF, ["q"], id="after it was put off")],
)
def test_an_execution_begins_by_asking_where_a_delivery_was_put_off(render: Render, asked: list[str]) -> None:
    world = World(JobResult((NEW,)))

    world.renew(tries=0, **render)

    assert world.asked == asked


def test_nobody_asks_for_the_link_of_what_is_delivered() -> None:
    world = World(JobResult((NEW,)))

    world.renew(status=Status.DELIVERED)

    assert world.asked == []


@pytest.mark.parametrize(
    ("age", "request_id"),
    [pytest.param(3601.0, "q", id="forgotten"), pytest.param(60.0, "", id="unknown: a person gave the link alone")],
)
def test_nobody_asks_for_a_job_that_is(age: float, request_id: str) -> None:
    world = World(JobResult((NEW,)), age)

    assert world.renew(request_id) == OLD
    assert world.asked == []


def test_a_link_that_a_person_gave_for_a_job_that_is_known_is_not_replaced_by_segminds(life: Life) -> None:
    world = World(JobResult((NEW,)))

    given = settle.with_picture(life.renders, life.completed(), OLD, NOW + 600)

    assert renew_link(cast("Connections", world), FIRST_TRY, given)["output_url"] == OLD
    assert world.asked == []
