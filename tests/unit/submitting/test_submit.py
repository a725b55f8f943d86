"""What Submit makes of a drop, a hint and a permit: who goes, who waits in line, and who goes on."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

import submit
from kontext.drops import messages
from kontext.drops.messages import Record
from kontext.drops.pairs import pair_key
from kontext.due import LINE, TELL_SECONDS
from kontext.model import Render
from kontext.pipeline.intake import Intake
from kontext.pipeline.post import TIME_FOR_A_SUBMIT
from kontext.renders.record import render_key
from kontext.renders.store import LEASE_SECONDS
from kontext.throttle.throttle import Throttle
from tests.unit.pipeline import PREFIX, Context, World
from tests.unit.strikes import BEGINNING, Call, Nobody, Strike
from tests.unit.submitting.conftest import PERMIT, RESET_SECONDS, Json, Play, due, in_line, later, seen, table, told


def test_a_claim_whose_owner_lives_is_nobody_elses_and_one_whose_owner_died_is_sent_once(world: Play) -> None:
    crashed = world(Strike(Call("Submit", "submissions.mark_submitting", 1))).receive()
    render = crashed.render
    before = seen(crashed)

    while_it_lives = [told(crashed, due(render)), later(crashed, LEASE_SECONDS), told(crashed, due(render))]
    untouched = seen(crashed)
    crashed.clock.time = render["due_at"]
    told(crashed, due(render), due(render))

    assert render["status"] == "CLAIMED"
    assert while_it_lives[0] == while_it_lives[2] == {"batchItemFailures": []}
    assert untouched == before
    assert (crashed.render["status"], len(crashed.network.posts)) == ("QUEUED", 1)


def test_a_message_that_comes_again_pays_nothing(world: Play) -> None:
    crashed = world(Strike(Call("Submit", "submissions.mark_accepted", 1), when="after")).receive().receive()

    crashed.play()

    assert (crashed.render["status"], len(crashed.network.posts), len(crashed.told)) == ("DELIVERED", 1, 1)
    assert crashed.queue.dead == []


@pytest.mark.parametrize(
    "move",
    [
        pytest.param(lambda render: {"due_lane": LINE}, id="it waits in line"),
        pytest.param(lambda render: {"due_at": BEGINNING + 1e6}, id="somebody has come back to it"),
    ],
)
def test_a_hint_about_a_render_that_has_moved_changes_nothing(world: Play, move: Callable[[Render], Json]) -> None:
    crashed = world(Strike(Call("Submit", "submissions.mark_submitting", 1))).receive()
    render = crashed.render
    ((name, value),) = move(render).items()
    table(crashed).update(render_key(PREFIX, render["render_id"]), f"SET #{name} = :value", value=value)
    crashed.clock.time = render["due_at"]
    before = seen(crashed)

    answer = told(crashed, due(render))

    assert answer == {"batchItemFailures": []}
    assert seen(crashed) == before


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(render_key(PREFIX, "0" * 24), id="a render that is gone"),
        pytest.param(render_key("gone/", "0" * 24), id="a pair that is gone"),
        pytest.param(pair_key(PREFIX), id="a pair at rest"),
        pytest.param(Throttle.KEY, id="a breaker that is closed"),
    ],
)
def test_a_hint_about_nothing_that_is_due_changes_nothing(world: Play, key: dict[str, str]) -> None:
    played = later(world().play(), 1e5)
    before = seen(played)

    answer = told(played, {"due": key})

    assert answer == {"batchItemFailures": []}
    assert seen(played) == before


def test_what_ended_and_was_not_told_is_told_by_whoever_looks(world: Play) -> None:
    rejected = world(Strike(Call("Submit", "topic.publish", 1)), refusals=(400,)).receive()
    unrecorded = len(rejected.told)

    later(rejected, TELL_SECONDS)
    told(rejected, due(rejected.render), due(rejected.render))

    assert (unrecorded, len(rejected.told), rejected.render["announced"]) == (0, 1, True)


@pytest.mark.parametrize("body", [None, PERMIT], ids=["a drop", "a permit"])
def test_with_too_little_time_left_nobody_is_sent_and_all_wait_for_another_one(world: Play, body: Json | None) -> None:
    if body:
        hurried = later(in_line(world), RESET_SECONDS)
        told_last = json.dumps(body)
    else:
        hurried = world()
        told_last = hurried.queue.messages[1].body
        hurried._receive(hurried.queue.messages[0])
        hurried.queue.messages.clear()
    attributes = {"ApproximateReceiveCount": "1"}
    record: Record = {"messageId": "m", "receiptHandle": "handle", "body": told_last, "attributes": attributes}

    answer = submit.handler({"Records": [record]}, Hurried("Submit"), hurried.seams["Submit"])

    assert answer == {"batchItemFailures": []}
    assert (hurried.render["due_lane"], hurried.network.posts) == (LINE, [])
    assert hurried.play().render["status"] == "DELIVERED"


class Hurried(Context):
    """A context whose invocation ends before a request could be answered and its answer be kept."""

    def get_remaining_time_in_millis(self) -> int:
        return int(TIME_FOR_A_SUBMIT * 1000) - 1


@pytest.mark.parametrize("replaced", [False, True])
def test_a_message_in_which_the_first_edition_let_a_render_wait_sends_it(world: Play, replaced: bool) -> None:
    old = world(Strike(Call("Submit", "submissions.mark_submitting", 1))).receive()
    name = old.render["render_id"]
    table(old).update(render_key(PREFIX, name), "SET #wake = :token REMOVE #due_lane, #due_at", token="t")
    if replaced:
        table(old).update(pair_key(PREFIX), "SET #current = :newer", newer="a newer render")
    wake = {"wake": [{"prefix": PREFIX, "due": BEGINNING, "render_id": name, "token": "t"}]}

    told(old, wake, wake)

    assert (old.render["status"], len(old.network.posts)) == (("FAILED", 0) if replaced else ("QUEUED", 1))


def test_a_message_of_the_first_edition_leaves_alone_what_the_table_keeps(world: Play) -> None:
    waiting = in_line(world)
    before = seen(waiting)
    name = waiting.render["render_id"]

    told(waiting, {"wake": [{"prefix": PREFIX, "render_id": name}, {"prefix": "gone/", "render_id": name}]})

    assert seen(waiting) == before


@pytest.mark.parametrize("wrong", [{}, {"s3": {"bucket": {"name": "theirs"}, "object": {"key": "1.png"}}}])
def test_one_record_that_nobody_can_read_keeps_none_of_the_others_back(world: Play, wrong: Json) -> None:
    dropped = world()
    intake = Intake(dropped.seams["Submit"], lambda: 100.0)

    with pytest.raises(messages.Unreadable):
        intake.on_notification({"Records": [wrong, *records_of(dropped)]})

    assert dropped.render["status"] == "QUEUED"


def test_one_object_that_cannot_be_read_yet_keeps_none_of_the_others_back_and_the_message_comes_again(
    world: Play,
) -> None:
    dropped = world(Strike(Call("Submit", "s3.get_object", 1)))
    dropped.watch.invoked("Submit")
    one, two = records_of(dropped)
    intake = Intake(dropped.seams["Submit"], lambda: 100.0)

    with pytest.raises(Nobody):
        intake.on_notification({"Records": [{}, one, two]})
    with pytest.raises(messages.Unreadable):
        intake.on_notification({"Records": [{}, one, two]})

    assert dropped.render["status"] == "QUEUED"


def records_of(world: World) -> list[Json]:
    """What S3 has told of the pair, taken off the queue."""
    records = [record for message in world.queue.messages for record in json.loads(message.body)["Records"]]
    world.queue.messages.clear()
    return records
