"""What Submit makes of a drop, a hint and a permit: who goes, who waits in line, and who goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import submit
from kontext.clock import day
from kontext.drops import messages
from kontext.drops.messages import Record
from kontext.drops.pairs import pair_key
from kontext.due import LINE, TELL_SECONDS, TIMER
from kontext.dynamodb import Table
from kontext.model import Render
from kontext.pipeline.intake import Intake
from kontext.pipeline.post import TIME_FOR_A_SUBMIT
from kontext.pipeline.requeue import ASIDE_SECONDS, MOST_FAILURES
from kontext.renders.ledger import ledger_key
from kontext.renders.record import render_key
from kontext.renders.store import LEASE_SECONDS
from kontext.throttle.admission import State
from kontext.throttle.shared_state import state_in
from kontext.throttle.throttle import Throttle
from tests.unit.pipeline import BEGINNING, PREFIX, REQUEST_ID, Call, Context, Nobody, Strike, World

Play = Callable[..., World]
Json = dict[str, Any]
OTHER = "other/1/"
PERMIT = {"permit": 1}
RESET_SECONDS = 60.0


@pytest.fixture
def world(encoded: Callable[..., bytes]) -> Play:
    """A pair that is dropped, and nobody has been told; on a network where nothing goes wrong but what is struck."""
    return lambda *strikes, **network: World(encoded(), network, strikes)


def told(world: World, *bodies: Json, receives: int = 1) -> Json:
    """What Submit answers to messages."""
    attributes = {"ApproximateReceiveCount": str(receives)}
    records = [
        {"messageId": f"told-{number}", "body": json.dumps(body), "attributes": attributes}
        for number, body in enumerate(bodies)
    ]
    answer: Json = world.invoke("Submit", {"Records": records})
    return answer


def due(render: Render) -> Json:
    """A hint that a render is due."""
    return {"due": render_key(render["prefix"], render["render_id"])}


def table(world: World) -> Table:
    return world.table


def state(world: World) -> State:
    return state_in(table(world))


def seen(world: World) -> tuple[Any, ...]:
    """Everything that a message could have changed, but the throttle."""
    items = {place: item for place, item in world.dynamodb.items.items() if place != ("stack", "throttle")}
    return items, list(world.network.posts), list(world.told), world.files, len(world.states.executions)


def in_line(world: Play, *refusals: int, **network: Any) -> World:
    """A pair that waits in line, as Segmind has refused it."""
    waiting = world(refusals=refusals or (429,), **network).receive()
    assert waiting.render["due_lane"] == LINE
    return waiting


def later(world: World, seconds: float) -> World:
    world.clock.time += seconds
    return world


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


def test_a_render_that_met_a_429_waits_in_line_and_goes_on_after_the_reset(world: Play) -> None:
    waiting = in_line(world)
    parked = waiting.render["history"][-1]

    early = told(waiting, PERMIT)
    still = waiting.render["status"]
    later(waiting, RESET_SECONDS)
    told(waiting, PERMIT)

    assert (parked["what"], parked["reason"], parked["status"]) == ("parked", "rate_limited", 429)
    assert (early, still) == ({"batchItemFailures": []}, "CLAIMED")
    assert (waiting.render["status"], len(waiting.network.posts)) == ("QUEUED", 1)
    assert waiting.network.posts[0] >= BEGINNING + RESET_SECONDS


def test_a_permit_too_many_sends_nothing(world: Play) -> None:
    waiting = later(in_line(world), RESET_SECONDS)

    answer = told(waiting, PERMIT, PERMIT, PERMIT)

    assert answer == {"batchItemFailures": []}
    assert len(waiting.network.posts) == 1


def test_a_permit_that_fails_never_comes_back_and_the_head_of_the_line_still_waits(world: Play) -> None:
    waiting = later(in_line(world), RESET_SECONDS)
    waiting.watch.strikes = (Strike(Call("Submit", "line.heads", 1)),)

    answer = told(waiting, PERMIT)

    assert answer == {"batchItemFailures": []}
    assert waiting.render["due_lane"] == LINE
    assert waiting.play().render["status"] == "DELIVERED"


def test_a_render_keeps_its_place_in_line_however_often_it_is_refused(world: Play) -> None:
    waiting = in_line(world, 429, 429, 429)
    places = [waiting.render["line_at"]]

    for _ in range(2):
        told(later(waiting, RESET_SECONDS), PERMIT)
        places.append(waiting.render["line_at"])

    assert places == [BEGINNING] * 3
    assert waiting.render["due_at"] == BEGINNING


@pytest.mark.parametrize("swept", [False, True], ids=["before a sweep", "after a sweep, whose permits are late"])
def test_a_drop_does_not_overtake_those_who_wait_and_lets_the_first_of_them_go(world: Play, swept: bool) -> None:
    waiting = in_line(world)
    if swept:
        waiting.invoke("Sweep", {})
        waiting.queue.messages.clear()
    later(waiting, RESET_SECONDS + 30)

    waiting.drop(OTHER)
    waiting.receive()

    assert waiting.render["status"] == "QUEUED"
    assert waiting.render_of(OTHER)["due_lane"] == LINE
    waiting.play()
    assert [waiting.render["status"], waiting.render_of(OTHER)["status"]] == ["DELIVERED", "DELIVERED"]


@pytest.mark.parametrize(
    ("newer", "value"),
    [
        pytest.param("SET #current = :value", "a newer render", id="by another render"),
        pytest.param("SET #rejected_count = :value", 99, id="by a drop that was rejected"),
    ],
)
def test_what_a_newer_drop_has_replaced_ends_unpaid_and_the_next_in_line_goes(
    world: Play, newer: str, value: Any
) -> None:
    waiting = in_line(world, 503)
    waiting.drop(OTHER)
    waiting.receive()
    table(waiting).update(pair_key(PREFIX), newer, value=value)  # a 503 may hide a job that is charged

    waiting.play()

    ended = waiting.render
    assert (ended["status"], ended["error"]["code"], ended["error"]["charged"]) == ("FAILED", "superseded", "unknown")
    assert waiting.render_of(OTHER)["status"] == "DELIVERED"
    assert len(waiting.network.posts) == 1


def test_one_that_cannot_be_sent_holds_up_nobody_and_keeps_its_place(world: Play) -> None:
    waiting = later(in_line(world), 1)
    waiting.drop(OTHER)
    later(waiting.receive(), RESET_SECONDS)
    waiting.watch.strikes = (Strike(Call("Submit", "inputs.presign", 1)),)

    told(waiting, PERMIT)

    assert (waiting.render["due_lane"], waiting.render["due_at"]) == (LINE, BEGINNING)
    assert waiting.render_of(OTHER)["status"] == "QUEUED"


def test_while_the_days_spend_limit_is_reached_all_wait_and_nothing_is_sent(world: Play) -> None:
    waiting = later(in_line(world), RESET_SECONDS)
    ledger = ledger_key(day(waiting.clock.now()))
    table(waiting).update(ledger, "SET #reserved = :all", all=1e6)

    told(waiting, PERMIT)
    reached = state(waiting).stopped
    told(later(waiting, 61), {"due": Throttle.KEY})
    still = state(waiting).stopped
    table(waiting).update(ledger, "SET #reserved = :none", none=0)

    assert reached is not None
    assert still is not None
    assert (reached.reason, still.reason, waiting.network.posts) == ("spend_limit", "spend_limit", [])
    assert (waiting.render["due_lane"], waiting.render["due_at"]) == (LINE, BEGINNING)
    assert waiting.play().render["status"] == "DELIVERED"


def test_while_the_account_is_empty_it_is_asked_for_nothing_and_a_trial_goes_as_soon_as_it_is_not(world: Play) -> None:
    empty = in_line(world, 402, credits=0.0)
    for name in ("other/1/", "other/2/"):
        empty.drop(name)
    empty.receive()
    for _ in range(5):
        empty.invoke("Sweep", {})
        later(empty.receive(), 60)
    asked = [call for call in empty.watch.calls if call.name == "segmind.credits"]
    waiting = [empty.render_of(name)["status"] for name in (PREFIX, "other/1/", "other/2/")]
    posts = len(empty.network.posts)

    empty.network.credits = 10.0
    empty.play()

    assert (len(asked), posts, waiting) == (5, 0, ["CLAIMED"] * 3)
    assert [empty.render_of(name)["status"] for name in (PREFIX, "other/1/", "other/2/")] == ["DELIVERED"] * 3
    assert min(empty.network.posts) < BEGINNING + 5 * 60 + 121
    assert state(empty).stopped is None
    assert [event["type"] for event in empty.topic.events if event["subject"] == "stack"] == [
        "kontext.parked",
        "kontext.resumed",
    ]


@pytest.mark.parametrize("answer", [200, 429, 400], ids=["it is taken", "it is too early", "it is a bad request"])
def test_a_trial_that_segmind_looks_at_closes_the_breaker_and_the_others_are_let_go(world: Play, answer: int) -> None:
    refused = later(in_line(world, *[403] if answer == 200 else [403, answer]), 1)
    for name in ("other/1/", "other/2/"):
        refused.drop(name)
    refused.receive()

    told(later(refused, 61), {"due": Throttle.KEY})

    assert state(refused).stopped is None
    permits = [message for message in refused.queue.messages if json.loads(message.body) == PERMIT]
    assert len(permits) == (3 if answer == 429 else 2)
    assert refused.render["status"] == {200: "QUEUED", 429: "CLAIMED", 400: "FAILED"}[answer]


def test_a_trial_in_vain_puts_the_head_back_at_its_place_and_gives_its_price_back(world: Play) -> None:
    refused = in_line(world, 403, 403)
    since = refused.render["waiting_since"]

    told(later(refused, 61), {"due": Throttle.KEY})

    (ledger,) = (item for item in table(refused).query("stack") if item["sk"].startswith("ledger#"))
    render = refused.render
    assert (render["status"], render["due_lane"], render["line_at"]) == ("CLAIMED", LINE, BEGINNING)
    assert render["waiting_since"] == since
    assert (ledger["submitted"], ledger["not_charged"], ledger["reserved"]) == (2, 2, 0)
    assert state(refused).breaker.trials == 1


def test_when_nobody_waits_a_good_answer_alone_closes_the_breaker(world: Play) -> None:
    quiet = world().play()
    Throttle(table(quiet), quiet.seams["Submit"].rate).open_breaker("bad_key", quiet.clock.now())

    told(later(quiet, 1), {"due": Throttle.KEY})

    assert state(quiet).stopped is None
    assert len(quiet.network.posts) == 1


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_error_that_names_a_job_which_segmind_knows_is_no_error(world: Play, status: int) -> None:
    named = world(taken_with=status).play()

    assert (named.render["status"], len(named.network.posts)) == ("DELIVERED", 1)
    assert state(named).breaker == State().breaker


def test_a_server_error_that_names_what_segmind_does_not_know_is_one(world: Play) -> None:
    traced = world(refusals=(502,), trace={"request_id": "00000000-0000-4000-8000-000000000000"}).play()

    assert (traced.render["status"], len(traced.network.posts)) == ("DELIVERED", 1)
    assert state(traced).breaker.ended == "outage"


def test_an_answer_that_names_the_job_of_another_pair_is_lost_and_no_picture_is_delivered_twice(world: Play) -> None:
    cached = world()
    table(cached).update({"pk": f"job#{REQUEST_ID}", "sk": "job"}, "SET #render_id = :other", other="another")

    cached.play()

    assert (cached.render["status"], cached.render["error"]["charged"]) == ("UNCERTAIN", "unknown")
    assert cached.render["error"]["message"] == f"Segmind's answer names the job of another pair, {REQUEST_ID}"
    assert not cached.states.executions


def test_a_job_is_as_old_as_its_request_however_late_the_answer_comes(world: Play) -> None:
    slow = world(slow=20.0).play()

    (execution,) = slow.states.executions.values()
    (sent,) = slow.network.posts
    assert (slow.render["submitted_at"], execution.given["submitted_at"]) == (sent, sent)
    assert execution.began == sent + 20.0


def test_a_server_error_about_one_render_holds_nobody_else_up(world: Play) -> None:
    unlucky = world(refusals=(500,)).receive()
    unlucky.drop(OTHER)
    unlucky.receive()
    render = unlucky.render

    assert (render["status"], render["due_lane"], render["due_at"]) == ("CLAIMED", TIMER, BEGINNING + 20)
    assert unlucky.render_of(OTHER)["status"] == "QUEUED"
    assert unlucky.play().render["status"] == "DELIVERED"


def test_a_request_that_segmind_fails_at_again_and_again_steps_aside_and_goes_once_an_hour(world: Play) -> None:
    unlucky = world(refusals=(500,) * (MOST_FAILURES + 2)).play()

    assert unlucky.render["status"] == "DELIVERED"
    assert unlucky.clock.now() - BEGINNING > 3 * ASIDE_SECONDS - 1
    (ledger,) = (item for item in table(unlucky).query("stack") if item["sk"].startswith("ledger#"))
    assert ledger["reserved"] == pytest.approx(0.05 * (MOST_FAILURES + 3))


def test_a_request_that_fails_again_after_segmind_took_another_one_is_given_up(world: Play) -> None:
    unlucky = world(refusals=(500,) * MOST_FAILURES).receive()
    for _ in range(MOST_FAILURES - 1):
        told(later(unlucky, 60), due(unlucky.render))
    unlucky.drop(OTHER)
    unlucky.receive()
    unlucky.network.refusals = [500]

    unlucky.play()

    error = unlucky.render["error"]
    assert (unlucky.render["status"], error["code"], error["charged"]) == ("FAILED", "server_error", "unknown")
    assert unlucky.render_of(OTHER)["status"] == "DELIVERED"
    assert [event["type"] for event in unlucky.told] == ["kontext.failed"]


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
