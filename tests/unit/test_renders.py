"""A render's life on the record: who may do what with it, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kontext.clock import day, iso
from kontext.drops import Complete, Drops, Pair, pair_key, pair_of
from kontext.due import SLACK_SECONDS, TIMER, DueIndex
from kontext.errors import Busy, problem
from kontext.renders import (
    HISTORY_KEPT,
    LEASE_SECONDS,
    OUTPUT_SECONDS,
    RECORD_SECONDS,
    Claim,
    OverLimit,
    Render,
    Renders,
    is_stale,
    ledger_key,
    rejected_id,
    render_key,
)
from kontext.table import ConditionFailed, Table
from kontext.workflow import execution_name

MakePair = Callable[..., Pair]
MakeComplete = Callable[..., Complete]

NOW = 1_767_322_800.0
LATER = NOW + LEASE_SECONDS + 1
REQUEST_ID = "3f2c8f5e-8f5e-4b7a-9d6e-0123456789ab"
METRICS = {"cost": 0.04, "inference_time": 12.5}
RESULT = {"key": "taj/result.png", "bytes": 7}
FAILED = problem("render_failed", "blocked")


class Life:
    """One pair's render, taken from stage to stage."""

    def __init__(self, renders: Renders, pair: Pair, complete: Complete) -> None:
        self.renders, self.pair, self.complete = renders, pair, complete

    def claimed(self, message_id: str = "m1", now: float = NOW) -> Render:
        claim = self.renders.claim(self.pair, self.complete, message_id, now)
        assert claim.then == "submit"
        return claim.render

    def submitting(self) -> Render:
        return self.renders.submitting(self.claimed(), NOW)

    def queued(self) -> Render:
        return self.renders.accepted(self.submitting(), "r-1", NOW)

    def completed(self) -> Render:
        return self.renders.completed(self.queued(), "https://images/a.png", METRICS, NOW + 20)

    def delivered(self) -> Render:
        return self.renders.delivered(self.completed(), RESULT, NOW + 21)

    def failed(self) -> Render:
        return self.renders.failed(self.queued(), FAILED, "taj/error.json", NOW + 20)

    def uncertain(self) -> Render:
        error = problem("uncertain", "the answer was lost")
        return self.renders.uncertain(self.submitting(), error, "taj/error.json", NOW)

    def parked(self) -> Render:
        return self.renders.park(self.claimed(), "pace", NOW + 60, NOW)

    def at(self, stage: str) -> Render:
        return getattr(self, stage)()  # type: ignore[no-any-return]


class Repeating(Table):
    """Writes twice, as the SDK does when it has lost the first answer."""

    def update(self, *write: Any, **values: Any) -> Any:
        super().update(*write, **values)
        return super().update(*write, **values)


@pytest.fixture
def life(renders: Renders, pair: MakePair, complete: MakeComplete) -> Life:
    return Life(renders, pair(), complete(pair()))


@pytest.fixture
def ledger(table: Table) -> Callable[[], dict[str, Any]]:
    """The day's money: what stands in the ledger."""

    def read() -> dict[str, Any]:
        item = table.get(ledger_key(day(NOW))) or {}
        return {name: value for name, value in item.items() if name not in ("pk", "sk")}

    return read


def test_a_complete_pair_is_claimed_and_speaks_for_its_prefix(life: Life, drops: Drops) -> None:
    render = life.claimed()

    assert life.renders.get("taj/", render["render_id"]) == render | render_key("taj/", render["render_id"])
    assert (render["status"], render["attempt"], render["lease_until"]) == ("CLAIMED", 1, NOW + LEASE_SECONDS)
    assert render["inputs"] == [{"key": f"taj/{n}.png", "version_id": f"v{n}", "etag": f"e{n}"} for n in (1, 2)]
    assert render["parameters"] == life.complete.parameters
    assert [entry["what"] for entry in render["history"]] == ["claimed"]
    assert drops.get("taj/").current == render["render_id"]  # type: ignore[union-attr]


def test_a_second_delivery_of_the_drop_leaves_the_claim_alone(life: Life) -> None:
    life.claimed("m1")

    claim = life.renders.claim(life.pair, life.complete, "m2", NOW + 1)

    assert claim.then == "nothing"


def test_the_same_message_waits_while_it_is_being_worked_on(life: Life) -> None:
    life.claimed("m1")

    with pytest.raises(Busy):
        life.renders.claim(life.pair, life.complete, "m1", NOW + 1)


def test_a_write_that_the_sdk_repeats_finds_its_own(life: Life) -> None:
    parked = life.parked()
    life.renders.table = Repeating(life.renders.table.client, life.renders.table.name)

    claim = life.renders.wake("taj/", parked["render_id"], parked["wake"], "m2", NOW + 60)

    assert claim.then == "submit"


def test_a_claim_whose_owner_died_is_taken_up(life: Life) -> None:
    life.claimed("m1")

    claim = life.renders.claim(life.pair, life.complete, "m1", LATER)

    assert claim.then == "submit"
    assert claim.render["lease_until"] == LATER + LEASE_SECONDS


@pytest.mark.parametrize(
    ("stage", "then"),
    [
        pytest.param("claimed", "submit", id="not sent"),
        pytest.param("parked", "wake", id="parked"),
        pytest.param("submitting", "lost", id="the answer is lost"),
        pytest.param("queued", "start", id="at Segmind"),
    ],
)
def test_a_message_that_comes_back_finds_what_it_had_begun(life: Life, stage: str, then: str) -> None:
    life.at(stage)

    left = life.renders.left_by("taj/", "m1", LATER)

    assert [claim.then for claim in left] == [then]
    assert life.renders.left_by("taj/", "m2", LATER) == []


def test_a_message_that_comes_back_tells_of_what_it_had_rejected(life: Life) -> None:
    life.renders.reject(life.pair, problem("invalid_image", "empty"), "taj/error.json", "m1", NOW)

    left = life.renders.left_by("taj/", "m1", LATER)

    assert [claim.then for claim in left] == ["announce"]


def test_what_is_dropped_again_meanwhile_speaks_for_its_pair_again(
    life: Life, pair: MakePair, complete: MakeComplete, drops: Drops
) -> None:
    first = life.queued()
    other = life.renders.claim(pair(drop=2), complete(life.pair, prompt="Another."), "m2", NOW + 1).render

    claim = life.renders.claim(pair(drop=3, current=other["render_id"]), life.complete, "m3", NOW + 2)

    assert (claim.then, claim.render["render_id"]) == ("start", first["render_id"])
    assert drops.get("taj/").current == first["render_id"]  # type: ignore[union-attr]


def test_of_two_deliveries_of_one_message_the_slower_does_not_end_it(life: Life) -> None:
    parked = life.parked()
    stale = life.renders.get("taj/", parked["render_id"])
    life.renders.wake("taj/", parked["render_id"], parked["wake"], "m2", NOW + 60)
    life.renders.get = lambda *_: stale  # type: ignore[method-assign]

    with pytest.raises(Busy):
        life.renders.wake("taj/", parked["render_id"], parked["wake"], "m2", NOW + 60)


@pytest.mark.parametrize(
    "meanwhile",
    [
        pytest.param({"current": "another"}, id="another render"),
        pytest.param({"current_drop": 1, "rejected_drop": 2}, id="a drop that was rejected"),
    ],
)
def test_an_uncertain_render_that_is_dropped_again_after_something_else_is_told_again(
    life: Life, pair: MakePair, meanwhile: dict[str, str]
) -> None:
    life.renders.announced(life.uncertain())

    claim = life.renders.claim(pair(drop=3, **meanwhile), life.complete, "m3", NOW + 2)

    assert claim.then == "announce"


def test_of_two_that_take_up_a_claim_one_wins(life: Life) -> None:
    stale = life.claimed("m1")
    life.renders.claim(life.pair, life.complete, "m1", LATER)

    with pytest.raises(ConditionFailed):
        life.renders.submitting(stale, LATER)


@pytest.mark.parametrize("message_id", ["m1", "m2"], ids=["the same message", "another one"])
@pytest.mark.parametrize(
    ("stage", "then"),
    [
        pytest.param("submitting", "lost", id="the answer is lost"),
        pytest.param("queued", "start", id="at Segmind"),
        pytest.param("completed", "start", id="paid"),
        pytest.param("delivered", "nothing", id="delivered"),
        pytest.param("failed", "announce", id="failed"),
        pytest.param("uncertain", "announce", id="uncertain"),
    ],
)
def test_a_delivery_after_a_crash_goes_on_where_the_record_stands(
    life: Life, stage: str, then: str, message_id: str
) -> None:
    life.at(stage)

    claim = life.renders.claim(life.pair, life.complete, message_id, LATER)

    assert claim.then == then


@pytest.mark.parametrize("stage", ["failed", "uncertain"])
def test_an_end_that_was_told_is_not_told_again(life: Life, stage: str) -> None:
    life.renders.announced(life.at(stage))

    claim = life.renders.claim(life.pair, life.complete, "m1", LATER)

    assert claim.then == "nothing"


def test_while_the_request_is_on_its_way_nobody_else_touches_it(life: Life) -> None:
    life.submitting()

    claim = life.renders.claim(life.pair, life.complete, "m2", NOW + 1)

    assert claim.then == "nothing"


def test_an_older_drop_that_comes_late_claims_nothing(renders: Renders, pair: MakePair, complete: MakeComplete) -> None:
    newer, older = pair(drop=2), pair(drop=1)
    renders.claim(newer, complete(newer, prompt="new"), "m2", NOW)

    claim = renders.claim(older, complete(older, prompt="old"), "m1", NOW)

    assert claim.then == "nothing"
    assert renders.get("taj/", claim.render["render_id"]) is None


def test_the_same_content_dropped_again_is_not_paid_again(life: Life, pair: MakePair, complete: MakeComplete) -> None:
    done = life.delivered()
    again = pair(drop=2, current=done["render_id"])

    claim = life.renders.claim(again, complete(again), "m2", LATER)

    assert claim.then == "nothing"


def test_a_render_from_before_drops_were_counted_ends_and_is_dropped_again(
    life: Life, pair: MakePair, complete: MakeComplete, table: Table
) -> None:
    done = life.delivered()
    life.renders.table.update(render_key(done["prefix"], done["render_id"]), "SET #drop_id = :text", text="0055AED6")
    table.update(pair_key(done["prefix"]), "SET #current_drop = :text REMOVE #current_count", text="0055AED6")
    again = pair(drop=1, current=done["render_id"])

    claim = life.renders.claim(again, complete(again), "m2", LATER)
    known = pair_of(table.get(pair_key(done["prefix"])) or {})

    assert claim.then == "nothing"
    assert known.rejected_drop <= known.current_drop


def test_content_that_was_overtaken_and_comes_back_is_delivered_again_without_paying(
    life: Life, pair: MakePair, complete: MakeComplete, ledger: Callable[[], dict[str, Any]]
) -> None:
    life.delivered()
    paid = ledger()
    back = pair(drop=3, current="another render")

    claim = life.renders.claim(back, complete(back), "m3", LATER)

    assert claim.then == "start"
    assert (claim.render["status"], claim.render["attempt"]) == ("COMPLETED", 2)
    assert claim.render["output_url"] == "https://images/a.png"
    assert ledger() == paid


def test_a_drop_is_one_render_though_a_default_or_a_named_image_has_changed_when_its_message_comes_again(
    life: Life, pair: MakePair, complete: MakeComplete
) -> None:
    first = life.claimed()
    dropped = pair(drop=1)
    other = complete(dropped, prompt="another default")

    claim = life.renders.claim(dropped, other, "m1", LATER)

    assert claim.then == "nothing"
    assert life.renders.get("taj/", other.render_id("taj/")) is None
    assert life.renders.get("taj/", first["render_id"]) is not None


def test_a_drop_that_is_a_render_is_not_rejected_when_its_message_comes_again(
    life: Life, pair: MakePair, drops: Drops
) -> None:
    claimed = life.claimed()
    dropped = replace(pair(drop=1), current=claimed["render_id"], current_drop=1)

    claim = life.renders.reject(dropped, problem("invalid_image", "no picture"), "taj/error.json", "m1", LATER)

    assert claim.then == "nothing"
    assert drops.get("taj/").rejected_drop == 0  # type: ignore[union-attr]


def test_a_failed_render_dropped_again_is_tried_again(life: Life, pair: MakePair, complete: MakeComplete) -> None:
    failed = life.failed()
    life.renders.announced(failed)
    again = pair(drop=2)

    claim = life.renders.claim(again, complete(again), "m2", LATER)

    assert claim.then == "submit"
    assert (claim.render["status"], claim.render["attempt"]) == ("CLAIMED", 2)
    assert {"error", "request_id", "announced", "expires_at", "submitted_at"}.isdisjoint(claim.render)


def test_a_failed_render_is_tried_again_once_for_a_drop(life: Life, pair: MakePair, complete: MakeComplete) -> None:
    life.failed()
    again = pair(drop=2)
    life.renders.claim(again, complete(again), "m2", LATER)

    twice = life.renders.claim(again, complete(again), "m3", LATER)

    assert twice.then == "nothing"


def test_a_paid_picture_that_could_not_be_delivered_is_not_paid_again(
    life: Life, pair: MakePair, complete: MakeComplete
) -> None:
    life.renders.failed(life.completed(), problem("delivery", "no access"), "taj/error.json", NOW)
    again = pair(drop=2)

    claim = life.renders.claim(again, complete(again), "m2", LATER)

    assert (claim.then, claim.render["status"], claim.render["attempt"]) == ("start", "COMPLETED", 2)


def test_an_uncertain_render_dropped_again_stays_uncertain(life: Life, pair: MakePair, complete: MakeComplete) -> None:
    life.renders.announced(life.uncertain())
    again = pair(drop=2)

    claim = life.renders.claim(again, complete(again), "m2", LATER)

    assert claim.then == "nothing"


def test_a_render_goes_from_claim_to_delivery(life: Life, drops: Drops, ledger: Callable[[], dict[str, Any]]) -> None:
    render = life.delivered()

    assert life.renders.get("taj/", render["render_id"]) == render | render_key("taj/", render["render_id"])
    assert [entry["what"] for entry in render["history"]] == [
        "claimed",
        "submitting",
        "accepted",
        "completed",
        "delivered",
    ]
    assert (render["status"], render["cost"], render["result"]) == ("DELIVERED", 0.04, RESULT)
    assert render["expires_at"] == int(NOW + 21 + 400 * 86_400)
    assert drops.get("taj/").written == {"taj/result.png"}  # type: ignore[union-attr]
    assert ledger() == {"submitted": 1, "completed": 1, "cost": 0.04, "reserved": 0.05}


def test_a_worker_that_takes_the_job_is_noted_once(life: Life) -> None:
    render = life.renders.processing(life.queued(), NOW + 5)

    assert render["status"] == "PROCESSING"
    with pytest.raises(ConditionFailed):
        life.renders.processing(render, NOW + 6)


@pytest.mark.parametrize("stage", ["claimed", "submitting", "delivered", "failed", "uncertain"])
def test_only_a_job_in_flight_can_complete(life: Life, stage: str) -> None:
    render = life.at(stage)

    with pytest.raises(ConditionFailed):
        life.renders.completed(render, "https://images/b.png", {}, NOW)


@pytest.mark.parametrize("stage", ["delivered", "failed"])
def test_what_has_ended_does_not_end_again(life: Life, stage: str) -> None:
    render = life.at(stage)

    with pytest.raises(ConditionFailed):
        life.renders.failed(render, FAILED, "taj/error.json", NOW)


def test_whoever_has_read_an_old_state_cannot_write(life: Life) -> None:
    queued = life.queued()
    life.renders.processing(queued, NOW)

    with pytest.raises(ConditionFailed) as refused:
        life.renders.completed(queued, "https://images/a.png", METRICS, NOW)

    assert refused.value.found["status"] == "PROCESSING"  # type: ignore[index]


def test_a_result_cannot_be_delivered_under_a_newer_drops_name(
    life: Life, pair: MakePair, complete: MakeComplete
) -> None:
    done = life.completed()
    newer = pair(drop=2)
    life.renders.claim(newer, complete(newer, prompt="new"), "m2", NOW)

    with pytest.raises(ConditionFailed) as refused:
        life.renders.delivered(done, RESULT, NOW)
    beside = life.renders.delivered(done, {"key": "taj/superseded/x.png", "superseded": True}, NOW)

    assert refused.value.position == 1
    assert beside["status"] == "DELIVERED"


def test_the_price_is_reserved_before_the_request_is_sent(life: Life, ledger: Callable[[], dict[str, Any]]) -> None:
    life.submitting()

    assert ledger() == {"submitted": 1, "reserved": 0.05}


@pytest.mark.parametrize("end", ["parked", "failed"])
def test_what_was_not_charged_is_given_back(life: Life, ledger: Callable[[], dict[str, Any]], end: str) -> None:
    if end == "parked":
        life.renders.park(life.submitting(), "rate_limited", NOW + 60, NOW)
    else:
        life.failed()

    assert ledger() == {"submitted": 1, "reserved": 0, "not_charged": 1}


@pytest.mark.parametrize("code", ["expired", "delivery"])
def test_what_may_have_been_charged_is_not_given_back(
    life: Life, ledger: Callable[[], dict[str, Any]], code: str
) -> None:
    life.renders.failed(life.queued(), problem(code, "x"), "taj/error.json", NOW)

    assert ledger() == {"submitted": 1, "reserved": 0.05}


@pytest.mark.parametrize(("stated", "counted"), [(0.0, 0.05), (0.04, 0.05), (0.05, 0.05), (0.08, 0.08)])
def test_the_days_limit_counts_the_price_or_more_if_more_is_stated(
    life: Life, ledger: Callable[[], dict[str, Any]], stated: float, counted: float
) -> None:
    life.renders.completed(life.queued(), "https://images/a.png", {"cost": stated}, NOW)

    assert ledger()["reserved"] == pytest.approx(counted)


def test_nothing_is_given_back_that_was_not_reserved(life: Life, ledger: Callable[[], dict[str, Any]]) -> None:
    life.renders.failed(life.claimed(), problem("superseded", "x"), "taj/error.json", NOW)

    assert ledger() == {}


def test_the_days_limit_holds_to_the_cent(renders: Renders, pair: MakePair, complete: MakeComplete) -> None:
    def submitting(number: int) -> Render:
        dropped = pair(f"p{number}/")
        return renders.submitting(renders.claim(dropped, complete(dropped), "m", NOW).render, NOW)

    for number in range(20):  # of 0.05 USD each: 1 USD
        submitting(number)

    with pytest.raises(OverLimit):
        submitting(20)
    assert renders.get("p20/", complete(pair("p20/")).render_id("p20/"))["status"] == "CLAIMED"  # type: ignore[index]


def test_tomorrow_there_is_room_again(renders: Renders, pair: MakePair, complete: MakeComplete, table: Table) -> None:
    table.update(ledger_key(day(NOW)), "SET #reserved = :all", all=1.0)
    claimed = renders.claim(pair(), complete(pair()), "m", NOW).render

    render = renders.submitting(claimed, NOW + 86_400)

    assert render["day"] == day(NOW + 86_400)


@pytest.mark.parametrize("limit", [0.0, 0.04])
def test_a_limit_below_the_price_stops_everything(
    table: Table, pair: MakePair, complete: MakeComplete, limit: float
) -> None:
    renders = Renders(table, price=0.05, daily_limit=limit, retention_days=400)
    claimed = renders.claim(pair(), complete(pair()), "m", NOW).render

    with pytest.raises(OverLimit):
        renders.submitting(claimed, NOW)


def test_a_price_that_segmind_does_not_tell_is_the_configured_one(
    life: Life, ledger: Callable[[], dict[str, Any]]
) -> None:
    render = life.renders.completed(life.queued(), "https://images/a.png", {}, NOW)

    assert render["cost"] == 0.05
    assert ledger() == {"submitted": 1, "completed": 1, "cost": 0.05, "reserved": 0.05}


def test_a_parked_render_says_why_and_since_when_and_keeps_that_over_several_waits(life: Life) -> None:
    first = life.renders.park(life.claimed(), "no_credits", NOW + 5, NOW, {"status": 406})
    taken_up = life.renders.wake("taj/", first["render_id"], first["wake"], "m2", NOW + 5).render

    second = life.renders.park(taken_up, "no_credits", NOW + 15, NOW + 5, {"status": 406})

    assert first["parked"] == {"reason": "no_credits", "until": NOW + 5, "since": NOW}
    assert second["parked"] == {"reason": "no_credits", "until": NOW + 15, "since": NOW}
    assert second["wake"] != first["wake"]


def test_a_render_that_probes_in_vain_is_parked_since_it_first_was(life: Life) -> None:
    render = life.renders.park(life.claimed(), "no_credits", NOW + 5, NOW)

    for probed in (NOW + 5, NOW + 10):
        taken_up = life.renders.wake("taj/", render["render_id"], render["wake"], "m2", probed).render
        submitting = life.renders.submitting(taken_up, probed)
        render = life.renders.park(submitting, "no_credits", probed + 5, probed, {"status": 406})

    assert render["parked"] == {"reason": "no_credits", "until": NOW + 15, "since": NOW}


def test_a_later_attempt_does_not_inherit_how_long_an_earlier_one_was_parked(life: Life) -> None:
    parked = life.parked()
    taken_up = life.renders.wake("taj/", parked["render_id"], parked["wake"], "m2", NOW + 60).render
    submitting = life.renders.submitting(taken_up, NOW + 60)
    failed = life.renders.failed(submitting, FAILED, "taj/error.json", NOW + 61)

    again = life.renders.again(failed, "CLAIMED", "m3", "02", NOW + 900)

    assert life.renders.park(again, "pace", NOW + 960, NOW + 900)["parked"]["since"] == NOW + 900


def test_a_submitted_render_is_not_parked_any_more(life: Life) -> None:
    parked = life.parked()
    taken_up = life.renders.wake("taj/", parked["render_id"], parked["wake"], "m2", NOW + 60).render

    render = life.renders.submitting(taken_up, NOW + 60)

    assert {"parked", "wake"}.isdisjoint(render)


def test_only_the_last_message_of_a_parked_render_wakes_it(life: Life) -> None:
    parked = life.parked()

    old = life.renders.wake("taj/", parked["render_id"], "an older token", "m2", NOW + 60)
    new = life.renders.wake("taj/", parked["render_id"], parked["wake"], "m3", NOW + 60)

    assert [claim.then for claim in (old, new)] == ["nothing", "submit"]


@pytest.mark.parametrize(
    ("become", "then"),
    [
        pytest.param("claimed", "submit", id="before anything was sent"),
        pytest.param("submitting", "lost", id="while the request was on its way"),
        pytest.param("queued", "start", id="before the workflow was started"),
    ],
)
def test_a_wake_message_that_was_sent_on_under_another_id_ends_what_it_had_begun(
    life: Life, become: str, then: str
) -> None:
    parked = life.parked()
    woken = life.renders.wake("taj/", parked["render_id"], parked["wake"], "m3", NOW + 60).render
    if become != "claimed":
        woken = life.renders.submitting(woken, NOW + 61)
    if become == "queued":
        life.renders.accepted(woken, "r-1", NOW + 62)

    if become != "queued":
        with pytest.raises(Busy):
            life.renders.wake("taj/", parked["render_id"], parked["wake"], "m4", NOW + 70)
    claim = life.renders.wake("taj/", parked["render_id"], parked["wake"], "m4", NOW + 61 + LEASE_SECONDS)

    assert claim.then == then


def test_a_wake_message_that_parked_its_render_and_died_sends_the_next_one(life: Life) -> None:
    parked = life.parked()
    woken = life.renders.wake("taj/", parked["render_id"], parked["wake"], "m2", NOW + 60).render
    life.renders.park(woken, "no_credits", NOW + 65, NOW + 60)

    claim = life.renders.wake("taj/", parked["render_id"], parked["wake"], "m2", NOW + 210)

    assert claim.then == "wake"


def test_a_message_for_a_render_that_is_gone_does_nothing(renders: Renders) -> None:
    assert renders.wake("taj/", "0" * 24, "token", "m", NOW).then == "nothing"


def test_a_drop_of_a_parked_render_leaves_its_place_in_the_line(life: Life) -> None:
    life.parked()

    claim = life.renders.claim(life.pair, life.complete, "m2", LATER)

    assert claim.then == "nothing"


def test_the_message_that_parked_a_render_sends_its_wake_again_after_a_crash(life: Life) -> None:
    life.parked()

    claim = life.renders.claim(life.pair, life.complete, "m1", LATER)

    assert claim.then == "wake"


def test_an_answer_that_comes_after_all_settles_an_uncertain_render(life: Life) -> None:
    render = life.renders.accepted(life.uncertain(), "r-1", NOW + 1)

    assert (render["status"], render["request_id"]) == ("QUEUED", "r-1")
    assert "error" not in render


def test_a_rejected_drop_is_on_the_record_once(life: Life, drops: Drops) -> None:
    error = problem("invalid_image", "taj/1.png: it is empty (0 bytes)")

    claim = life.renders.reject(life.pair, error, "taj/error.json", "m1", NOW)
    again = life.renders.reject(life.pair, error, "taj/error.json", "m1", NOW + 1)
    life.renders.announced(claim.render)
    told = life.renders.reject(life.pair, error, "taj/error.json", "m1", NOW + 2)

    assert [one.then for one in (claim, again, told)] == ["announce", "announce", "nothing"]
    assert claim.render["render_id"] == rejected_id(life.pair)
    assert (claim.render["status"], claim.render["error"]) == ("FAILED", error)
    assert again.render["created_at"] == claim.render["created_at"]
    pair = drops.get("taj/")
    assert pair is not None
    assert (pair.rejected_drop, pair.written) == (life.pair.drop_id, {"taj/error.json"})


def test_an_announcement_of_an_attempt_that_is_over_is_refused(
    life: Life, pair: MakePair, complete: MakeComplete
) -> None:
    failed = life.failed()
    again = pair(drop=2)
    life.renders.claim(again, complete(again), "m2", LATER)

    with pytest.raises(ConditionFailed):
        life.renders.announced(failed)


def test_a_repetition_is_counted_not_listed(life: Life) -> None:
    render = life.claimed()

    for n in range(4):
        render = life.renders.park(render, "no_credits", NOW + n, NOW + n)
        render = life.renders.wake("taj/", render["render_id"], render["wake"], "m", NOW + n).render

    parked = {"at": iso(NOW), "what": "parked", "reason": "no_credits", "times": 4, "last_at": iso(NOW + 3)}
    assert render["history"][1:] == [parked]


def test_a_long_history_keeps_its_beginning_and_its_end(life: Life) -> None:
    long = [{"at": iso(NOW), "what": "parked", "reason": str(n)} for n in range(HISTORY_KEPT)]

    render = life.renders.park(life.claimed() | {"history": long}, "pace", NOW + 60, NOW)

    assert len(render["history"]) == HISTORY_KEPT
    assert render["history"][0] == long[0]
    assert [entry["reason"] for entry in render["history"][-2:]] == [str(HISTORY_KEPT - 1), "pace"]


def test_an_image_named_by_a_url_is_kept_as_a_url(renders: Renders, pair: MakePair) -> None:
    dropped = pair()
    asked = Complete(({"url": "https://example.com/a.png"}, dropped.parts["2"]), {"prompt": "p"})

    render = renders.claim(dropped, asked, "m", NOW).render

    assert render["inputs"][0] == {"url": "https://example.com/a.png"}


def test_times_are_told_in_utc_to_the_millisecond(life: Life) -> None:
    assert life.claimed()["created_at"] == iso(NOW) == "2026-01-02T03:00:00.000Z"


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        pytest.param("summer/taj/", f"summer-taj-{REQUEST_ID}-2", id="folder"),
        pytest.param("taj_", f"taj-{REQUEST_ID}-2", id="underscore"),
        pytest.param("", f"pair-{REQUEST_ID}-2", id="root"),
        pytest.param("夏/", f"pair-{REQUEST_ID}-2", id="no letter that AWS takes"),
        pytest.param("a b+é/", f"a-b-{REQUEST_ID}-2", id="others"),
    ],
)
def test_a_generation_has_one_execution_that_can_be_found_by_eye(prefix: str, name: str) -> None:
    assert execution_name({"prefix": prefix, "request_id": REQUEST_ID, "generation": 2}) == name


@pytest.mark.parametrize("request_id", [REQUEST_ID, "q" * 1000, "q/é 5" * 20], ids=["usual", "long", "odd"])
def test_an_executions_name_is_one_that_aws_takes(request_id: str) -> None:
    name = execution_name({"prefix": "x" * 1000, "request_id": request_id, "generation": 9_999})

    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name)


def test_the_same_content_rendered_anew_has_another_execution_though_the_name_of_the_old_one_is_still_taken() -> None:
    first, anew = ({"prefix": "taj/", "request_id": request_id, "generation": 1} for request_id in ("q1", "q2"))

    assert execution_name(first) != execution_name(anew)


def test_the_items_of_a_pair_stand_together(life: Life, table: Table) -> None:
    life.delivered()

    items = table.query(pair_key("taj/")["pk"])

    assert sorted(item["sk"].partition("#")[0] for item in items) == ["pair", "render"]


@pytest.mark.parametrize(
    ("days", "status"),
    [
        pytest.param(1, "COMPLETED", id="its file is still there"),
        pytest.param(8, "CLAIMED", id="its file is gone"),
    ],
)
def test_a_paid_picture_dropped_again_is_delivered_while_segmind_keeps_it_and_else_rendered(
    life: Life, pair: Any, days: float, status: str
) -> None:
    completed = life.completed()
    life.renders.failed(completed, problem("delivery", "no access"), "taj/error.json", NOW + 60)

    claim = life.renders.claim(pair(drop=9), life.complete, "m9", NOW + days * 86_400)

    assert claim.render["status"] == status


def test_an_operator_who_delivers_an_old_render_again_does_not_make_it_speak_for_its_pair(life: Life) -> None:
    old = life.renders.failed(life.completed(), problem("delivery", "no access"), "taj/error.json", NOW + 60)
    life.renders.table.update(pair_key("taj/"), "SET #current = :newer", newer="a newer render")

    life.renders.again(old, "COMPLETED", "operator", old["drop_id"], NOW + 70)

    dropped = Drops(life.renders.table).get("taj/")
    assert dropped is not None
    assert dropped.current == "a newer render"


def test_what_was_reserved_is_given_back_though_the_price_has_changed(life: Life) -> None:
    submitting = life.submitting()
    life.renders.price = 1.0

    life.renders.park(submitting, "no_credits", NOW + 60, NOW)

    assert (life.renders.table.get(ledger_key(day(NOW))) or {})["reserved"] == 0


def overdue(life: Life, render: Render, later: float = 0.0) -> Claim:
    """What a hint makes of a render, at the moment it is due and `later` by so many seconds."""
    at = float(render["due_at"]) + later
    return life.renders.look_again("taj/", render["render_id"], "hint", at)


@pytest.mark.parametrize(
    ("stage", "later", "then"),
    [
        pytest.param("claimed", 0, "submit", id="whoever worked on it is dead"),
        pytest.param("parked", 0, "submit", id="its message is lost"),
        pytest.param("submitting", 0, "lost", id="the answer is lost"),
        pytest.param("queued", 0, "restart", id="its execution is dead"),
        pytest.param("queued", RECORD_SECONDS, "expire", id="for longer than Segmind knows the job"),
        pytest.param("completed", 0, "restart", id="its delivery is dead"),
        pytest.param("completed", OUTPUT_SECONDS, "expire", id="for longer than Segmind keeps the picture"),
        pytest.param("delivered", 0, "announce", id="delivered, not told"),
        pytest.param("failed", 0, "announce", id="failed, not told"),
        pytest.param("uncertain", 0, "announce", id="uncertain, not told"),
    ],
)
def test_what_is_due_is_looked_at_by_its_state(life: Life, stage: str, later: float, then: str) -> None:
    render = life.at(stage)

    claim = overdue(life, render, later)

    assert claim.then == then
    assert then != "submit" or claim.render["lease_until"] == render["due_at"] + LEASE_SECONDS


@pytest.mark.parametrize(
    "stage", ["claimed", "parked", "submitting", "queued", "completed", "delivered", "failed", "uncertain"]
)
def test_a_hint_that_comes_before_its_time_changes_nothing(life: Life, stage: str) -> None:
    render = life.at(stage)

    claim = overdue(life, render, -0.5)

    assert claim.then == "nothing"
    assert life.renders.get("taj/", render["render_id"]) == claim.render


@pytest.mark.parametrize("stage", ["delivered", "failed", "uncertain"])
def test_a_hint_about_what_was_told_changes_nothing(life: Life, stage: str) -> None:
    render = life.at(stage)
    life.renders.announced(render)

    assert overdue(life, render, 1e6).then == "nothing"


def test_what_was_not_told_of_a_pair_is_told_in_the_order_in_which_it_ended(
    renders: Renders, pair: MakePair, complete: MakeComplete
) -> None:
    first, second, third = (Life(renders, pair(drop=n), complete(pair(), prompt=f"{n}")) for n in (1, 2, 3))
    ended = [
        life.renders.failed(life.submitting(), FAILED, "taj/error.json", NOW + at)
        for life, at in ((first, 30), (second, 10), (third, 20))
    ]

    renders.announced(ended[2])

    assert [one["render_id"] for one in renders.untold("taj/")] == [ended[1]["render_id"], ended[0]["render_id"]]


def test_a_hint_about_a_render_that_is_gone_changes_nothing(life: Life) -> None:
    assert life.renders.look_again("taj/", "0" * 24, "hint", NOW).then == "nothing"


@pytest.mark.parametrize("stage", ["claimed", "parked"])
def test_two_hints_at_once_take_a_render_up_once(life: Life, stage: str) -> None:
    render = life.at(stage)
    raced = life.renders.look_again
    stale = life.renders.get
    life.renders.get = lambda *_: render  # type: ignore[method-assign]

    claims = [raced("taj/", render["render_id"], hint, render["due_at"]).then for hint in ("hint 1", "hint 2")]

    life.renders.get = stale  # type: ignore[method-assign]
    assert claims == ["submit", "nothing"]


def test_a_message_that_comes_after_a_hint_took_its_render_up_sends_nothing(life: Life) -> None:
    parked = life.parked()
    overdue(life, parked)

    with pytest.raises(Busy):  # it comes back, and finds the render where the hint has brought it
        life.renders.wake("taj/", parked["render_id"], parked["wake"], "m2", parked["due_at"] + 1)


def test_a_restart_is_another_generation_of_the_same_attempt(life: Life) -> None:
    render = life.queued()

    again = life.renders.restarted(render, NOW + 400)

    assert (render["generation"], again["generation"], again["attempt"]) == (1, 2, 1)
    assert again["history"][-1] == {"at": iso(NOW + 400), "what": "restarted", "generation": 2}
    assert is_stale(again, {"attempt": 1, "generation": 1})
    assert not is_stale(again, {"attempt": 1, "generation": 2})
    assert not is_stale(render, {"attempt": 1, "generation": 2})  # begun, and not yet on the record


def test_an_execution_from_before_generations_were_counted_goes_on(life: Life) -> None:
    record = {name: value for name, value in life.queued().items() if name != "generation"}

    assert not is_stale(record, {"attempt": 1})
    assert is_stale(life.renders.restarted(life.renders.get("taj/", record["render_id"]), NOW), {"attempt": 1})  # type: ignore[arg-type]


def test_what_was_sent_for_a_render_is_kept_when_it_is_restarted_and_forgotten_when_it_moves(
    life: Life, table: Table
) -> None:
    render = life.queued()
    index = DueIndex(table)
    (item,) = index.over(TIMER, render["due_at"])
    index.dispatch(item, render["due_at"])

    again = life.renders.restarted(life.renders.get("taj/", render["render_id"]), render["due_at"])  # type: ignore[arg-type]
    moved = life.renders.processing(again, render["due_at"])

    assert (again["dispatches"], again["due_at"] > render["due_at"]) == (1, True)
    assert "dispatches" not in moved


def test_a_heartbeat_is_written_only_when_the_render_would_be_due_before_the_next(life: Life) -> None:
    render = life.queued()
    name = render["render_id"]

    life.renders.beat(render, render["due_at"] - 1)
    usual = life.renders.get("taj/", name)
    life.renders.beat(render, render["due_at"] + 1)
    late = life.renders.get("taj/", name)

    assert usual["due_at"] == render["due_at"]  # type: ignore[index]
    assert late["due_at"] == render["due_at"] + 1 + SLACK_SECONDS  # type: ignore[index]


@pytest.mark.parametrize("stage", ["claimed", "submitting", "failed", "uncertain"])
def test_only_what_is_at_segmind_or_paid_has_a_heartbeat(life: Life, stage: str) -> None:
    render = life.at(stage)

    life.renders.beat(render, NOW + 1e6)

    assert life.renders.get("taj/", render["render_id"])["due_at"] == render["due_at"]  # type: ignore[index]


def test_a_heartbeat_of_a_render_that_has_moved_is_not_heard(life: Life) -> None:
    render = life.queued()
    moved = life.renders.processing(render, NOW + 1)

    life.renders.beat(render, NOW + 1e6)

    assert life.renders.get("taj/", render["render_id"])["due_at"] == moved["due_at"]  # type: ignore[index]
