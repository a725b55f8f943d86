"""Whatever is raised, wherever: no paid render is left untold, and none is paid twice."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kontext.errors import CODES
from kontext.renders.job_owner import own
from tests.unit.pipeline import PREFIX, REQUEST_ID, World
from tests.unit.strikes import DAY, Call, Strike

Play = Callable[..., World]


@pytest.fixture
def play(encoded: Callable[..., bytes]) -> Play:
    """Plays a pair, on a network that may give something else: `play(network, strike, …)`."""
    picture = encoded()
    return lambda network, *strikes, **more: World(picture, network, strikes).play(**more)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Some ten thousand tracebacks tell nobody anything."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_a_pair_is_delivered_and_told_when_nothing_goes_wrong(play: Play) -> None:
    world = play({})

    assert (world.render["status"], len(world.network.posts), len(world.told)) == ("DELIVERED", 1, 1)
    assert world.files == [f"{PREFIX}result.png"]


@pytest.mark.parametrize(
    "polls", [pytest.param(True, id="by Poll"), pytest.param(False, id="by Finalize, as Poll never comes to its end")]
)
def test_a_pair_whose_job_is_another_pairs_is_uncertain_and_not_expired(
    encoded: Callable[..., bytes], *, polls: bool
) -> None:
    unrecorded = Strike(Call("Submit", "submissions.mark_accepted", 1))
    dead = () if polls else (Strike(Call("Poll", "jobs.of_execution", 1), seconds=DAY),)
    world = World(encoded(), {}, (unrecorded, *dead))
    owner: Any = {"render_id": "another"}
    world.table.transact(own(owner, REQUEST_ID, world.clock.now()))

    world.play()

    assert (world.render["status"], world.files) == ("UNCERTAIN", [f"{PREFIX}error.json"])
    assert f"names the job of another pair, {REQUEST_ID}" in world.render["error"]["message"]
    assert [event["type"] for event in world.told] == ["kontext.uncertain"]
    assert len(world.network.posts) == 1


GOOD: dict[str, Any] = {}
NO_PICTURE = {"file": b"<html>"}
FAILED_JOB = {"status": "FAILED"}
STORIES = [
    pytest.param("Submit", GOOD, id="Submit"),
    pytest.param("Poll", GOOD, id="Poll"),
    pytest.param("Finalize", GOOD, id="Finalize, a picture"),
    pytest.param("Finalize", NO_PICTURE, id="Finalize, no picture"),
    pytest.param("Finalize", {"status": "FAILED"}, id="Finalize, a failed job"),
]


@pytest.mark.parametrize(("function", "network"), STORIES)
@pytest.mark.parametrize(
    "strike",
    [
        pytest.param({"when": "before"}, id="once before"),
        pytest.param({"when": "after"}, id="once after"),
        pytest.param({"seconds": DAY}, id="for a day"),
    ],
)
def test_an_exception_that_nobody_has_thought_of_leaves_no_paid_render_untold(
    play: Play, function: str, network: dict[str, Any], strike: dict[str, Any]
) -> None:
    calls = _paid_calls(play(network), function)

    faults = {f"{one}": _wrong(play(network, one)) for one in (Strike(call, **strike) for call in calls)}

    assert {where: what for where, what in faults.items() if what} == {}


@pytest.mark.parametrize(
    ("name", "events"),
    [("jobs.of_execution", 0), ("topic.publish", 0), ("renders.mark_failed", 0), ("outputs.put_json", 1)],
)
def test_what_an_execution_can_never_tell_is_tried_for_days_and_ends_red_with_its_code(
    play: Play, name: str, events: int
) -> None:
    world = play(FAILED_JOB, Strike(Call("Finalize", name, 1), seconds=30 * DAY), sweeps=False)

    (execution,) = world.states.executions.values()
    assert (execution.status, execution.error) == ("FAILED", "delivery")
    assert "kontext redeliver" in execution.cause
    assert execution.seconds > 5 * DAY
    assert len(world.told) == events


@pytest.mark.parametrize(
    ("network", "name", "code"),
    [
        pytest.param(FAILED_JOB, "jobs.of_execution", "expired", id="a failed job, of which it cannot read"),
        pytest.param(FAILED_JOB, "renders.mark_failed", "expired", id="a failed job, of which it cannot write"),
        pytest.param(FAILED_JOB, "topic.publish", "render_failed", id="a failed job, of which it cannot tell"),
        pytest.param(NO_PICTURE, "jobs.of_execution", "delivery", id="no picture, of which it cannot read"),
        pytest.param(NO_PICTURE, "deliveries.put_off", "delivery", id="no picture, of which it cannot write"),
    ],
)
def test_what_finalize_can_never_tell_is_told_by_submit_once_a_sweep_has_found_it(
    play: Play, network: dict[str, Any], name: str, code: str
) -> None:
    world = play(network, Strike(Call("Finalize", name, 1), seconds=30 * DAY))

    assert (world.render["status"], world.render["error"]["code"]) == ("FAILED", code)
    assert world.render["announced"]
    assert _wrong(world) == []


def test_a_request_id_that_neither_the_record_nor_the_workflow_took_is_recorded_a_moment_later(play: Play) -> None:
    twice_down = Strike(Call("Submit", "submissions.mark_accepted", 1)), Strike(Call("Submit", "workflow.start", 1))

    world = play({}, *twice_down)

    assert (world.render["status"], world.render["request_id"]) == ("DELIVERED", REQUEST_ID)
    assert _wrong(world) == []


def test_a_paid_job_whose_workflow_cannot_be_started_for_three_days_is_looked_for_and_delivered_then(
    play: Play,
) -> None:
    world = play({}, Strike(Call("Submit", "workflow.start", 1), seconds=3 * DAY))

    assert world.render["status"] == "DELIVERED"
    assert _wrong(world) == []


def test_a_sweep_brings_on_a_workflow_that_can_be_started_again_within_the_hour(play: Play) -> None:
    world = play({}, Strike(Call("Submit", "workflow.start", 1), seconds=50 * 60))

    assert world.render["status"] == "DELIVERED"
    assert _wrong(world) == []


def test_a_job_that_only_the_workflow_knows_is_told_with_its_request_id(play: Play) -> None:
    unrecorded, unseen = Call("Submit", "submissions.mark_accepted", 1), Call("Poll", "submissions.mark_accepted", 1)

    world = play({}, *(Strike(call, seconds=2 * 3600) for call in (unrecorded, unseen)))

    assert (world.render["status"], world.render["error"]["code"]) == ("FAILED", "expired")
    assert [event["data"]["request_id"] for event in world.told] == [REQUEST_ID]


def test_a_picture_that_cannot_be_delivered_is_told_to_be_late_and_tried_for_as_long_as_segmind_keeps_it(
    play: Play,
) -> None:
    strike = Strike(Call("Finalize", "delivery.copy", 1), seconds=30 * DAY)

    world = play({}, strike)

    first, *later = world.states.executions.values()
    assert {(one.error, one.cause) for one in (first, *later)} == {("delivery_delayed", "an unexpected Nobody")}
    assert first.seconds < 10 * 60
    assert world.watch.struck[strike] == 9 + len(later)
    assert 30 <= len(later) <= 45
    assert [event["type"] for event in world.told] == ["kontext.delivery_delayed", "kontext.failed"]
    assert world.render["error"]["code"] == "delivery"
    assert "an unexpected Nobody" in world.render["error"]["message"]
    assert world.clock.now() - world.render["completed_at"] == pytest.approx(6.9 * DAY, abs=6 * 3600)
    assert _wrong(world) == []


@pytest.mark.parametrize("hours", [1, 24, 6 * 24])
def test_a_picture_that_can_be_delivered_again_is_delivered_by_itself(play: Play, hours: float) -> None:
    world = play({}, Strike(Call("Finalize", "delivery.copy", 1), seconds=hours * 3600))

    assert world.render["status"] == "DELIVERED"
    assert [event["type"] for event in world.told] == ["kontext.delivery_delayed", "kontext.rendered"]
    assert _wrong(world) == []


def test_that_a_picture_is_late_is_told_within_minutes_of_ten(play: Play) -> None:
    world = play({"file": b"<html>"})

    (late,) = (event for event in world.told if event["type"] == "kontext.delivery_delayed")
    told = next(at for event, at in zip(world.topic.events, world.topic.times, strict=True) if event is late)
    assert 600 <= told - world.render["completed_at"] <= 900


@pytest.mark.parametrize(
    "raised", [type("N" * 500_000, (Exception,), {})(), OSError("?" * 500_000)], ids=["name", "text"]
)
def test_an_exception_of_any_size_fits_into_the_workflow_the_record_and_the_event(
    play: Play, raised: Exception
) -> None:
    world = play({}, Strike(Call("Finalize", "delivery.copy", 1), seconds=DAY, raised=raised))

    largest = max(len(json.dumps(execution.given)) for execution in world.states.executions.values())
    assert largest + len(json.dumps([world.render, world.told])) < 20_000
    assert _wrong(world) == []


def test_the_event_goes_out_though_the_bucket_refuses_everything(play: Play) -> None:
    world = play({}, Strike(Call("Finalize", "s3.put_object", 1), seconds=30 * DAY))

    assert [event["data"]["error"]["code"] for event in world.told] == ["delivery_delayed", "delivery"]
    assert world.render["announced"]


def _paid_calls(world: World, function: str) -> list[Call]:
    """The calls of a function, each once; of Submit's those from the POST on."""
    post = next(at for at, call in enumerate(world.watch.calls) if "POST" in call.name)
    found = list(dict.fromkeys(call for call in world.watch.calls[post:] if call.function == function))
    assert found
    return found


def _wrong(world: World) -> list[str]:
    """What a user would complain about."""
    status, told = world.render["status"], {event["data"]["status"] for event in world.told}
    complaints = {
        "paid twice": len(world.network.posts) > 1,
        "not struck": not world.watch.struck,
        f"ended as {status}": status not in ("DELIVERED", "FAILED", "UNCERTAIN"),
        f"told {told} of {status}": status not in told,
        f"files {world.files}": not world.files,
        "dead letters": bool(world.queue.dead),
    }
    executions = list(world.states.executions.values())
    for execution in executions:
        complaints[f"the execution fails with {execution.error!r}"] = execution.error not in ("", *CODES)
    for execution in executions[-1:]:  # an older one may have put the picture off
        complaints[f"green for {status}"] = (execution.status == "SUCCEEDED") != (status == "DELIVERED")
    return [complaint for complaint, holds in complaints.items() if holds]
