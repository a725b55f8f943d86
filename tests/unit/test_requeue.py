"""What becomes of a job that failed: the pair's fault ends it, the account's lets it wait and go again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kontext.pipeline.requeue import ASIDE_SECONDS, MOST_FAILURES
from kontext.segmind.answers import refusal_of_job
from tests.unit.pipeline import World
from tests.unit.strikes import Call, Strike

Play = Callable[..., World]
POOR = {"error": "Insufficient credits: your balance is 0.01, this model costs 0.05"}


@pytest.fixture
def play(encoded: Callable[..., bytes]) -> Play:
    """Plays a pair whose first jobs fail so: `play(failure, …, strikes=…)`; `credits` as of the network."""

    def play(*failures: dict[str, Any], strikes: tuple[Strike, ...] = (), **network: Any) -> World:
        return World(encoded(), {"failures": failures, **network}, strikes).play()

    return play


def money(world: World) -> dict[str, Any]:
    """What the ledger says of the day."""
    items = world.table.query("stack")
    (ledger,) = (item for item in items if item["sk"].startswith("ledger#"))
    return {name: ledger.get(name, 0) for name in ("submitted", "not_charged", "completed", "reserved")}


def test_a_pair_whose_job_failed_for_want_of_credits_is_delivered_after_all(play: Play) -> None:
    world = play(POOR)

    assert (world.render["status"], world.files) == ("DELIVERED", ["taj/result.png"])
    assert [event["type"] for event in world.told] == ["kontext.rendered"]
    assert [event["data"].get("reason") for event in world.topic.events if event not in world.told] == [
        "no_credits"
    ] * 2
    assert money(world) == {"submitted": 2, "not_charged": 1, "completed": 1, "reserved": pytest.approx(0.05)}


def test_a_failed_job_for_which_segmind_states_a_cost_is_told_as_it_is_and_not_sent_again(play: Play) -> None:
    world = play({**POOR, "metrics": {"cost": 0.05}})

    error = world.render["error"]
    assert (world.render["status"], error["code"], error["charged"]) == ("FAILED", "render_failed", "unknown")
    assert "states a cost of 0.05 USD" in error["message"]
    assert len(world.network.posts) == 1
    assert money(world) == {"submitted": 1, "not_charged": 0, "completed": 0, "reserved": pytest.approx(0.05)}


def test_a_job_that_fails_so_again_and_again_steps_aside_for_all_others(play: Play) -> None:
    world = play(*[POOR] * MOST_FAILURES)

    assert (world.render["status"], len(world.network.posts)) == ("DELIVERED", MOST_FAILURES + 1)
    assert world.network.posts[-1] - world.network.posts[-2] > ASIDE_SECONDS


def test_while_no_workflow_starts_a_job_that_failed_for_want_of_credits_waits_just_so(play: Play) -> None:
    world = play(POOR, strikes=(Strike(Call("Submit", "workflow.start", 1), seconds=900.0),))

    assert (world.render["status"], money(world)["not_charged"]) == ("DELIVERED", 1)


@pytest.mark.parametrize("call", ["throttle.open_breaker", "line.place", "submissions.join_line"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_on_the_way_back_to_the_line_neither_pays_twice_nor_fails_the_pair(
    play: Play, call: str, when: str
) -> None:
    world = play(POOR, strikes=(Strike(Call("Finalize", call, 1), when=when),))

    assert (world.render["status"], len(world.network.posts)) == ("DELIVERED", 2)
    assert money(world)["not_charged"] == 1


def test_an_execution_of_the_failed_job_touches_nothing_of_the_next_one(play: Play) -> None:
    world = play(POOR)
    first = min(world.states.executions.values(), key=lambda execution: execution.began)
    before = world.render

    seen = world.invoke("Poll", first.given), world.invoke("Finalize", first.given)

    assert [answer["outcome"] for answer in seen] == ["ended", "delivered"]
    assert world.render == before


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        pytest.param(POOR["error"], "no_credits", id="as a refused request says it"),
        pytest.param("Not enough credits", "no_credits", id="not enough"),
        pytest.param("You are out of credits.", "no_credits", id="out of"),
        pytest.param("The account has no credits left", "no_credits", id="none left"),
        pytest.param("Insufficient account balance", "no_credits", id="balance"),
        pytest.param("402 Payment Required", "no_credits", id="402"),
        pytest.param("Your credits are exhausted", "no_credits", id="exhausted"),
        pytest.param("Team spend limit reached", "spend_limit", id="spend limit"),
        pytest.param("Your account has been suspended", "forbidden", id="suspended"),
        pytest.param("The picture shows a credit card", None, id="a credit card"),
        pytest.param("Insufficient resolution of input_image_1", None, id="resolution"),
        pytest.param("White balance out of range", None, id="white balance"),
        pytest.param("Content blocked", None, id="blocked"),
        pytest.param("No photo credits may stand in a picture", None, id="photo credits"),
    ],
)
def test_why_a_job_failed_is_read_from_its_words(message: str, reason: str | None) -> None:
    refused = refusal_of_job(message)

    assert (refused and refused.reason) == reason
