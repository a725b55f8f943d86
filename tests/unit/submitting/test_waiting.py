"""Who waits in line, whose turn it is, and what ends the waiting of all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kontext.clock import day
from kontext.drops.pairs import pair_key
from kontext.due import LINE
from kontext.renders.ledger import ledger_key
from kontext.throttle.throttle import Throttle
from tests.unit.pipeline import PREFIX
from tests.unit.strikes import BEGINNING, Call, Strike
from tests.unit.submitting.conftest import OTHER, PERMIT, RESET_SECONDS, Play, in_line, later, state, table, told


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
