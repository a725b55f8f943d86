"""A render's life on the record: who may do what with it, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kontext.clock import day, iso
from kontext.drops.pairs import Pair, Ready, pair_key, pair_of
from kontext.drops.store import Drops
from kontext.due import LEASE_GRACE_SECONDS, LINE, SLACK_SECONDS, TELL_SECONDS, TIMER, DueIndex
from kontext.dynamodb import ConditionFailed, Table
from kontext.errors import problem
from kontext.model import Render, Status
from kontext.renders import jobs, settle
from kontext.renders.claims import Claims, rejected_id
from kontext.renders.deliveries import Deliveries
from kontext.renders.ledger import OverLimit, ledger_key
from kontext.renders.overdue import OUTPUT_SECONDS, RECORD_SECONDS, is_stale, overdue_action
from kontext.renders.record import HISTORY_KEPT, render_key
from kontext.renders.store import LEASE_SECONDS, Renders
from kontext.renders.workflow import execution_name

MakePair = Callable[..., Pair]
MakeReady = Callable[..., Ready]

NOW = 1_767_322_800.0
LATER = NOW + LEASE_SECONDS + 1
REQUEST_ID = "3f2c8f5e-8f5e-4b7a-9d6e-0123456789ab"
METRICS = {"cost": 0.04, "inference_time": 12.5}
RESULT = {"key": "taj/result.png", "bytes": 7}
FAILED = problem("render_failed", "blocked")
SERVER_ERROR = {"status": 500, "message": "oops"}
STAGES = (
    *("claimed", "in_line", "tried_later", "submitting", "queued", "completed"),
    *("delivered", "failed", "announced", "uncertain"),
)


class Life:
    """One pair's render, taken from stage to stage."""

    def __init__(self, renders: Renders, pair: Pair, complete: Ready) -> None:
        self.renders, self.pair, self.complete = renders, pair, complete

    def claimed(self) -> Render:
        render = Claims(self.renders).claim(self.pair, self.complete, NOW)
        assert render is not None
        assert render["status"] == "CLAIMED"
        return render

    def submitting(self) -> Render:
        return self.renders.submitting(self.claimed(), NOW)

    def queued(self) -> Render:
        return self.renders.accepted(self.submitting(), "r-1", NOW)

    def completed(self) -> Render:
        return self.renders.completed(self.queued(), "https://images/a.png", METRICS, NOW + 20)

    def delivered(self) -> Render:
        return Deliveries(self.renders).delivered(self.completed(), RESULT, NOW + 21)

    def failed(self) -> Render:
        return self.renders.failed(self.queued(), FAILED, "taj/error.json", NOW + 20)

    def uncertain(self) -> Render:
        error = problem("uncertain", "the answer was lost")
        return self.renders.uncertain(self.submitting(), error, "taj/error.json", NOW)

    def in_line(self) -> Render:
        return self.renders.join_line(self.claimed(), NOW + 60, "pace", NOW)

    def tried_later(self) -> Render:
        return self.renders.retry_later(self.submitting(), NOW + 60, "outage", NOW, SERVER_ERROR)

    def announced(self) -> Render:
        self.renders.announced(failed := self.failed())
        return failed

    def at(self, stage: str) -> Render:
        return getattr(self, stage)()  # type: ignore[no-any-return]


class Repeating(Table):
    """Writes twice, as the SDK does when it has lost the first answer."""

    def update(self, *write: Any, **values: Any) -> Any:
        super().update(*write, **values)
        return super().update(*write, **values)


@pytest.fixture
def life(renders: Renders, pair: MakePair, complete: MakeReady) -> Life:
    return Life(renders, pair(), complete(pair()))


@pytest.fixture
def ledger(table: Table) -> Callable[[], dict[str, Any]]:
    """The day's money: what stands in the ledger."""

    def read() -> dict[str, Any]:
        item = table.get(ledger_key(day(NOW))) or {}
        return {name: value for name, value in item.items() if name not in ("pk", "sk", "accepted_at")}

    return read


def test_a_complete_pair_is_claimed_and_speaks_for_its_prefix(life: Life, drops: Drops) -> None:
    render = life.claimed()

    assert life.renders.get("taj/", render["render_id"]) == render | render_key("taj/", render["render_id"])
    assert (render["status"], render["attempt"], render["lease_until"]) == ("CLAIMED", 1, NOW + LEASE_SECONDS)
    assert render["inputs"] == [{"key": f"taj/{n}.png", "version_id": f"v{n}", "etag": f"e{n}"} for n in (1, 2)]
    assert render["parameters"] == life.complete.parameters
    assert [entry["what"] for entry in render["history"]] == ["claimed"]
    assert drops.get("taj/").current == render["render_id"]  # type: ignore[union-attr]


@pytest.mark.parametrize("now", [NOW + 1, LATER], ids=["at once", "when the lease is over"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_message_that_comes_again_does_nothing_for_a_render_that_is_known(
    life: Life, ledger: Callable[[], dict[str, Any]], stage: str, now: float
) -> None:
    name = life.at(stage)["render_id"]
    before, paid = life.renders.get("taj/", name), ledger()

    claim = Claims(life.renders).claim(life.pair, life.complete, now)

    assert claim is None
    assert (life.renders.get("taj/", name), ledger()) == (before, paid)


def test_a_write_that_the_sdk_repeats_finds_its_own(life: Life) -> None:
    claimed = life.claimed()
    life.renders.table = Repeating(life.renders.table.client, life.renders.table.name)

    waits = life.renders.join_line(claimed, NOW, "pace", NOW)

    assert life.renders.get("taj/", claimed["render_id"]) == waits | render_key("taj/", claimed["render_id"])


def test_a_claim_whose_owner_died_is_sent_when_its_lease_is_over(life: Life) -> None:
    claimed = life.claimed()

    due_at = claimed["due_at"]

    assert (claimed["due_lane"], due_at) == (TIMER, NOW + LEASE_SECONDS + LEASE_GRACE_SECONDS)
    assert overdue_action(claimed, due_at) == "submit"
    assert life.renders.submitting(claimed, due_at)["lease_until"] == due_at + LEASE_SECONDS


def test_what_is_dropped_again_meanwhile_speaks_for_its_pair_again(
    life: Life, pair: MakePair, complete: MakeReady, drops: Drops
) -> None:
    first = life.queued()
    other = Claims(life.renders).claim(pair(drop=2), complete(life.pair, prompt="Another."), NOW + 1)
    assert other is not None

    claim = Claims(life.renders).claim(pair(drop=3, current=other["render_id"]), life.complete, NOW + 2)

    assert claim is None
    assert drops.get("taj/").current == first["render_id"]  # type: ignore[union-attr]


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
    uncertain = life.uncertain()
    life.renders.announced(uncertain)

    claim = Claims(life.renders).claim(pair(drop=3, **meanwhile), life.complete, NOW + 2)

    render = life.renders.get("taj/", uncertain["render_id"]) or {}
    assert claim is None
    assert (render["due_lane"], render["due_at"]) == (TIMER, NOW + 2 + TELL_SECONDS)
    assert overdue_action(render, render["due_at"]) == "announce"
    assert life.renders.unannounced("taj/") == [render]


@pytest.mark.parametrize("stage", ["claimed", "in_line", "tried_later"])
def test_of_two_who_send_a_render_at_once_one_wins_and_it_is_paid_once(
    life: Life, ledger: Callable[[], dict[str, Any]], stage: str
) -> None:
    seen = life.at(stage)
    before = ledger().get("reserved", 0.0)
    life.renders.submitting(seen, LATER)

    with pytest.raises(ConditionFailed):
        life.renders.submitting(seen, LATER)

    assert ledger()["reserved"] - before == pytest.approx(0.05)


def test_an_older_drop_that_comes_late_claims_nothing(renders: Renders, pair: MakePair, complete: MakeReady) -> None:
    newer, older = pair(drop=2), pair(drop=1)
    Claims(renders).claim(newer, complete(newer, prompt="new"), NOW)
    asked = complete(older, prompt="old")

    claim = Claims(renders).claim(older, asked, NOW)

    assert claim is None
    assert renders.get("taj/", asked.render_id("taj/")) is None


def test_the_same_content_dropped_again_is_not_paid_again(
    life: Life, pair: MakePair, complete: MakeReady, ledger: Callable[[], dict[str, Any]]
) -> None:
    done = life.delivered()
    paid = ledger()
    again = pair(drop=2, current=done["render_id"])

    claim = Claims(life.renders).claim(again, complete(again), LATER)

    assert claim is None
    assert ledger() == paid


def test_a_claim_that_comes_late_leaves_a_newer_drop_due(
    renders: Renders, drops: Drops, pair: MakePair, complete: MakeReady, table: Table
) -> None:
    older = pair(drop=1)
    newer = pair(drop=2)
    drops.look_again(newer.prefix, NOW)

    claim = Claims(renders).claim(older, complete(older), NOW)

    assert claim is None
    assert pair_of(table.get(pair_key("taj/")) or {}).due_at is not None


def test_a_render_from_before_drops_were_counted_ends_and_is_dropped_again(
    life: Life, pair: MakePair, complete: MakeReady, table: Table
) -> None:
    done = life.delivered()
    life.renders.table.update(render_key(done["prefix"], done["render_id"]), "SET #drop_id = :text", text="0055AED6")
    table.update(pair_key(done["prefix"]), "SET #current_drop = :text REMOVE #current_count", text="0055AED6")
    again = pair(drop=1, current=done["render_id"])

    claim = Claims(life.renders).claim(again, complete(again), LATER)
    known = pair_of(table.get(pair_key(done["prefix"])) or {})

    assert claim is None
    assert known.rejected_drop <= known.current_drop


def test_content_that_was_overtaken_and_comes_back_is_delivered_again_without_paying(
    life: Life, pair: MakePair, complete: MakeReady, ledger: Callable[[], dict[str, Any]]
) -> None:
    life.delivered()
    paid = ledger()
    back = pair(drop=3, current="another render")

    render = Claims(life.renders).claim(back, complete(back), LATER)

    assert render is not None
    assert (render["status"], render["attempt"]) == ("COMPLETED", 2)
    assert render["output_url"] == "https://images/a.png"
    assert ledger() == paid


def test_a_drop_is_one_render_though_a_default_or_a_named_image_has_changed_when_its_message_comes_again(
    life: Life, pair: MakePair, complete: MakeReady
) -> None:
    first = life.claimed()
    dropped = pair(drop=1)
    other = complete(dropped, prompt="another default")

    claim = Claims(life.renders).claim(dropped, other, LATER)

    assert claim is None
    assert life.renders.get("taj/", other.render_id("taj/")) is None
    assert life.renders.get("taj/", first["render_id"]) is not None


@pytest.mark.parametrize("known", ["queued", "completed", "delivered", "failed", "uncertain"])
def test_a_drop_is_one_render_though_its_message_comes_again_and_now_asks_for_one_that_an_earlier_drop_asked_for(
    life: Life, pair: MakePair, complete: MakeReady, ledger: Callable[[], dict[str, Any]], drops: Drops, known: str
) -> None:
    earlier = life.at(known)
    dropped = pair(drop=2, current=earlier["render_id"], current_drop=1)
    render = Claims(life.renders).claim(dropped, complete(dropped, prompt="the default at that time"), NOW + 60)
    assert render is not None
    before, paid = life.renders.get("taj/", earlier["render_id"]), ledger()

    again = replace(dropped, current=render["render_id"], current_drop=2)
    claims = [Claims(life.renders).claim(seen, life.complete, LATER) for seen in (again, dropped)]

    assert claims == [None, None]
    assert (life.renders.get("taj/", earlier["render_id"]), ledger()) == (before, paid)
    assert drops.get("taj/").current == render["render_id"]  # type: ignore[union-attr]


def test_a_drop_that_is_a_render_is_not_rejected_when_its_message_comes_again(
    life: Life, pair: MakePair, drops: Drops
) -> None:
    claimed = life.claimed()
    dropped = replace(pair(drop=1), current=claimed["render_id"], current_drop=1)

    rejected = Claims(life.renders).reject(
        dropped, problem("invalid_image", "no picture"), "v", "taj/error.json", LATER
    )

    assert rejected is None
    assert drops.get("taj/").rejected_drop == 0  # type: ignore[union-attr]


def test_a_failed_render_dropped_again_is_tried_again(life: Life, pair: MakePair, complete: MakeReady) -> None:
    failed = life.failed()
    life.renders.announced(failed)
    again = pair(drop=2)

    render = Claims(life.renders).claim(again, complete(again), LATER)

    assert render is not None
    assert (render["status"], render["attempt"]) == ("CLAIMED", 2)
    assert {"error", "request_id", "announced", "expires_at", "submitted_at", "line_at"}.isdisjoint(render)


def test_a_failed_render_is_tried_again_once_for_a_drop(life: Life, pair: MakePair, complete: MakeReady) -> None:
    life.failed()
    again = pair(drop=2)
    once = Claims(life.renders).claim(again, complete(again), LATER)

    twice = Claims(life.renders).claim(again, complete(again), LATER)

    assert once is not None
    assert twice is None


def test_a_paid_picture_that_could_not_be_delivered_is_not_paid_again(
    life: Life, pair: MakePair, complete: MakeReady
) -> None:
    life.renders.failed(life.completed(), problem("delivery", "no access"), "taj/error.json", NOW)
    again = pair(drop=2)

    render = Claims(life.renders).claim(again, complete(again), LATER)

    assert render is not None
    assert (render["status"], render["attempt"]) == ("COMPLETED", 2)


def test_an_uncertain_render_dropped_again_stays_uncertain(life: Life, pair: MakePair, complete: MakeReady) -> None:
    uncertain = life.uncertain()
    life.renders.announced(uncertain)
    again = pair(drop=2)

    claim = Claims(life.renders).claim(again, complete(again), LATER)

    render = life.renders.get("taj/", uncertain["render_id"]) or {}
    assert claim is None
    assert (render["status"], render["announced"], render["due_lane"]) == ("UNCERTAIN", True, "UNCERTAIN")


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


@pytest.mark.parametrize("end", ["a picture", "none"])
def test_a_job_that_is_done_and_names_no_picture_is_paid_once_however_it_ends(
    life: Life, ledger: Callable[[], dict[str, Any]], end: str
) -> None:
    render = life.renders.unlinked(life.queued(), "no picture", METRICS, NOW + 20)

    if end == "a picture":
        render = life.renders.completed(render, "https://images/a.png", METRICS, NOW + 30)
    else:
        render = life.renders.failed(render, problem("no_result", "none"), "taj/error.json", NOW + 30)

    assert [one["what"] for one in render["history"][3:]] == [
        "unlinked",
        "completed" if end == "a picture" else "failed",
    ]
    assert (render["cost"], "answer" in render) == (0.04, end == "none")
    assert ledger() == {"submitted": 1, "completed": 1, "cost": 0.04, "reserved": 0.05}


def test_a_picture_that_cannot_be_delivered_is_tried_ever_more_seldom_and_told_to_be_late_in_ten_minutes(
    life: Life,
) -> None:
    render, now, waits = life.completed(), NOW + 20, []
    for _ in range(14):
        render = Deliveries(life.renders).put_off(render, "HTTP 503", now)
        waits.append(render["due_at"] - now)
        now = render["due_at"]

    assert waits[:6] == [30, 60, 120, 240, 150, 960]
    assert waits[-1] == 6 * 3600
    assert [entry["what"] for entry in render["history"][-2:]] == ["completed", "undelivered"]
    assert render["history"][-1]["times"] == 14


def test_a_delivered_render_that_cannot_be_delivered_again_stays_delivered(life: Life) -> None:
    render = life.renders.new_attempt(life.delivered(), Status.COMPLETED, 1, NOW + 60, stays_delivered=True)

    render = Deliveries(life.renders).keep_delivered(render, "HTTP 404", NOW + 70)

    assert (render["status"], render["result"], render["attempt"]) == ("DELIVERED", RESULT, 2)
    assert "error" not in render


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


def test_a_result_cannot_be_delivered_under_a_newer_drops_name(life: Life, pair: MakePair, complete: MakeReady) -> None:
    done = life.completed()
    newer = pair(drop=2)
    Claims(life.renders).claim(newer, complete(newer, prompt="new"), NOW)

    with pytest.raises(ConditionFailed) as refused:
        Deliveries(life.renders).delivered(done, RESULT, NOW)
    beside = Deliveries(life.renders).delivered(done, {"key": "taj/superseded/x.png", "superseded": True}, NOW)

    assert refused.value.position == 1
    assert beside["status"] == "DELIVERED"


def test_the_price_is_reserved_before_the_request_is_sent(life: Life, ledger: Callable[[], dict[str, Any]]) -> None:
    life.submitting()

    assert ledger() == {"submitted": 1, "reserved": 0.05}


@pytest.mark.parametrize("end", ["in_line", "failed"])
def test_what_was_not_charged_is_given_back(life: Life, ledger: Callable[[], dict[str, Any]], end: str) -> None:
    if end == "in_line":
        life.renders.join_line(life.submitting(), NOW, "rate_limited", NOW)
    else:
        life.at(end)

    assert ledger() == {"submitted": 1, "reserved": 0, "not_charged": 1}


def test_what_fails_again_when_it_is_looked_at_again_is_given_back_once(
    life: Life, ledger: Callable[[], dict[str, Any]]
) -> None:
    again = life.renders.new_attempt(life.at("failed"), Status.QUEUED, 1, NOW)

    life.renders.failed(again, problem("render_failed", "again"), "taj/error.json", NOW)

    assert ledger() == {"submitted": 1, "reserved": 0, "not_charged": 1}


def test_what_had_failed_and_is_paid_after_all_is_booked_as_paid(
    life: Life, ledger: Callable[[], dict[str, Any]]
) -> None:
    again = life.renders.new_attempt(life.at("failed"), Status.QUEUED, 1, NOW)

    life.renders.completed(again, "https://images.segmind.com/a.png", {"cost": 0.05}, NOW)

    assert ledger()["not_charged"] == 0
    assert (ledger()["reserved"], ledger()["completed"], ledger()["cost"]) == (0.05, 1, 0.05)


def test_a_job_that_another_render_has_is_nobody_elses(life: Life) -> None:
    submitting = life.submitting()
    other: Render = {**submitting, "render_id": "another"}
    life.renders.table.transact(jobs.own(other, "r-1", NOW))

    with pytest.raises(jobs.JobTaken):
        life.renders.accepted(submitting, "r-1", NOW)

    assert life.renders.accepted(submitting, "r-2", NOW)["request_id"] == "r-2"


def test_a_job_that_a_person_names_twice_is_the_first_renders(life: Life) -> None:
    uncertain = life.uncertain()
    life.renders.table.transact(jobs.own({**uncertain, "render_id": "another"}, "r-1", NOW))

    with pytest.raises(jobs.JobTaken):
        settle.with_job(life.renders, uncertain, "r-1", NOW)


def test_what_a_server_error_may_hide_stays_reserved(life: Life, ledger: Callable[[], dict[str, Any]]) -> None:
    life.tried_later()

    assert ledger() == {"submitted": 1, "reserved": 0.05}


def test_who_joins_the_line_without_having_been_sent_is_given_nothing_back(
    life: Life, ledger: Callable[[], dict[str, Any]]
) -> None:
    waits = life.in_line()
    life.renders.join_line(waits, waits["line_at"], "paused", NOW + 1)

    assert ledger() == {}


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


def test_the_days_limit_holds_to_the_cent(renders: Renders, pair: MakePair, complete: MakeReady) -> None:
    def submitting(number: int) -> Render:
        dropped = pair(f"p{number}/")
        claimed = Claims(renders).claim(dropped, complete(dropped), NOW)
        assert claimed is not None
        return renders.submitting(claimed, NOW)

    room = []
    for number in range(20):  # of 0.05 USD each: 1 USD
        room.append(renders.has_room(NOW))
        submitting(number)

    assert room == [True] * 20
    assert not renders.has_room(NOW)
    with pytest.raises(OverLimit):
        submitting(20)
    assert renders.get("p20/", complete(pair("p20/")).render_id("p20/"))["status"] == "CLAIMED"  # type: ignore[index]


def test_tomorrow_there_is_room_again(life: Life, table: Table) -> None:
    table.update(ledger_key(day(NOW)), "SET #reserved = :all", all=1.0)
    claimed = life.claimed()
    room = [life.renders.has_room(at) for at in (NOW, NOW + 86_400)]

    render = life.renders.submitting(claimed, NOW + 86_400)

    assert room == [False, True]
    assert render["day"] == day(NOW + 86_400)


@pytest.mark.parametrize("limit", [0.0, 0.04])
def test_a_limit_below_the_price_stops_everything(life: Life, limit: float) -> None:
    life.renders.daily_limit = limit
    claimed = life.claimed()

    with pytest.raises(OverLimit):
        life.renders.submitting(claimed, NOW)
    assert not life.renders.has_room(NOW)


def test_a_price_that_segmind_does_not_tell_is_the_configured_one(
    life: Life, ledger: Callable[[], dict[str, Any]]
) -> None:
    render = life.renders.completed(life.queued(), "https://images/a.png", {}, NOW)

    assert render["cost"] == 0.05
    assert ledger() == {"submitted": 1, "completed": 1, "cost": 0.05, "reserved": 0.05}


def test_a_render_that_joins_the_line_stands_at_its_place_and_says_why_and_since_when(life: Life) -> None:
    render = life.renders.join_line(life.submitting(), NOW + 60, "rate_limited", NOW + 1, {"status": 429})

    noted = {"at": iso(NOW + 1), "what": "parked", "reason": "rate_limited", "status": 429}
    assert (render["status"], render["line_at"], render["waiting_since"]) == ("CLAIMED", NOW + 60, NOW + 1)
    assert (render["due_lane"], render["due_at"]) == (LINE, NOW + 60)
    assert render["history"][-1] == noted
    assert life.renders.get("taj/", render["render_id"]) == render | render_key("taj/", render["render_id"])


def test_a_render_that_is_a_trial_in_vain_keeps_its_place_and_waits_since_it_first_did(life: Life) -> None:
    render = life.in_line()

    for tried in (NOW + 5, NOW + 10):
        submitting = life.renders.submitting(render, tried)
        render = life.renders.join_line(submitting, submitting["line_at"], "no_credits", tried, {"status": 406})

    assert (render["line_at"], render["due_at"], render["waiting_since"]) == (NOW + 60, NOW + 60, NOW)


@pytest.mark.parametrize("line_at", [None, NOW + 950], ids=["sent at once", "at a place of its own"])
def test_a_later_attempt_does_not_inherit_the_place_of_an_earlier_one_and_how_long_it_waited(
    life: Life, line_at: float | None
) -> None:
    submitting = life.renders.submitting(life.in_line(), NOW + 60)
    failed = life.renders.failed(submitting, FAILED, "taj/error.json", NOW + 61)

    again = life.renders.new_attempt(failed, "CLAIMED", 2, NOW + 900, line_at=line_at)

    joined = life.renders.join_line(again, again.get("line_at", NOW + 960), "pace", NOW + 900)
    lane, due_at = (LINE, line_at) if line_at else (TIMER, NOW + 900 + LEASE_SECONDS + LEASE_GRACE_SECONDS)
    assert (again["due_lane"], again["due_at"], again.get("line_at")) == (lane, due_at, line_at)
    assert joined["waiting_since"] == NOW + 900


@pytest.mark.parametrize("stage", ["in_line", "tried_later"])
def test_a_submitted_render_is_not_parked_any_more(life: Life, stage: str) -> None:
    submitting = life.renders.submitting(life.at(stage), NOW + 60)
    queued = life.renders.accepted(submitting, "r-1", NOW + 61)

    assert (submitting["due_lane"], queued["due_lane"]) == (TIMER, TIMER)
    assert "waiting_since" not in queued


def test_a_render_that_is_tried_later_waits_for_a_time_of_its_own_out_of_the_line(life: Life) -> None:
    waited = life.in_line()

    renders = []
    for at in (NOW + 100, NOW + 200):
        submitting = life.renders.submitting(renders[-1] if renders else waited, at)
        renders.append(life.renders.retry_later(submitting, at + 60, "outage", at, SERVER_ERROR))

    assert [(one["status"], one["due_lane"], one["due_at"]) for one in renders] == [
        ("CLAIMED", TIMER, NOW + 160),
        ("CLAIMED", TIMER, NOW + 260),
    ]
    assert [one["server_errors"] for one in renders] == [1, 2]
    assert renders[0]["history"][-1] == {"at": iso(NOW + 100), "what": "parked", "reason": "outage", **SERVER_ERROR}


def test_an_answer_that_comes_after_all_settles_an_uncertain_render(life: Life) -> None:
    render = life.renders.accepted(life.uncertain(), "r-1", NOW + 1)

    assert (render["status"], render["request_id"]) == ("QUEUED", "r-1")
    assert "error" not in render


def test_a_rejected_drop_is_on_the_record_once(life: Life, drops: Drops) -> None:
    error = problem("invalid_image", "taj/1.png: it is empty (0 bytes)")

    first = Claims(life.renders).reject(life.pair, error, "taj/1.png v1", "taj/error.json", NOW)
    again = Claims(life.renders).reject(life.pair, error, "taj/1.png v1", "taj/error.json", NOW + 1)
    assert first is not None
    assert again is not None
    life.renders.announced(first)
    told = Claims(life.renders).reject(life.pair, error, "taj/1.png v1", "taj/error.json", NOW + 2)

    assert told is None
    assert first["render_id"] == rejected_id(life.pair, "taj/1.png v1", error)
    assert (first["status"], first["error"]) == ("FAILED", error)
    assert again["created_at"] == first["created_at"]
    pair = drops.get("taj/")
    assert pair is not None
    assert (pair.rejected_drop, pair.written) == (life.pair.drop_id, {"taj/error.json"})


def test_what_is_wrong_is_told_once_whatever_the_number_of_parts_that_come_to_it(
    life: Life, pair: MakePair, drops: Drops
) -> None:
    claims, error = Claims(life.renders), problem("invalid_request", "taj/request.json: seed is text")
    first = claims.reject(life.pair, error, "taj/request.json v1", "taj/error.json", NOW)
    assert first is not None
    life.renders.announced(first)

    another_part = claims.reject(pair(drop=2, rejected_drop=1), error, "taj/request.json v1", "e", NOW + 1)
    another_version = claims.reject(pair(drop=3, rejected_drop=2), error, "taj/request.json v2", "e", NOW + 2)

    assert another_part is None
    assert another_version is not None
    assert another_version["render_id"] != first["render_id"]
    known = drops.get("taj/")
    assert known is not None
    assert known.rejected_drop == 3


def test_a_picture_that_comes_good_while_the_wrong_one_is_refused_is_not_forgotten(
    life: Life, pair: MakePair, drops: Drops
) -> None:
    wrong = pair(drop=2)
    drops.look_again(pair(drop=3).prefix, NOW)

    refused = Claims(life.renders).reject(wrong, problem("invalid_image", "empty"), "taj/2.png v1", "e", NOW)

    known = drops.get("taj/")
    assert known is not None
    assert refused is None
    assert (known.rejected_drop, known.due_at is not None) == (0, True)


def test_what_was_right_and_is_wrong_again_is_told_again(life: Life, pair: MakePair) -> None:
    claims, error = Claims(life.renders), problem("invalid_request", "taj/request.json: seed is text")
    first = claims.reject(life.pair, error, "taj/request.json v1", "taj/error.json", NOW)
    assert first is not None
    life.renders.announced(first)

    again = claims.reject(pair(drop=3, rejected_drop=1, current_drop=2), error, "taj/request.json v1", "e", NOW + 9)

    assert again is not None
    assert (again["render_id"], again["drop_id"]) == (first["render_id"], 3)


def test_an_announcement_of_an_attempt_that_is_over_is_refused(life: Life, pair: MakePair, complete: MakeReady) -> None:
    failed = life.failed()
    again = pair(drop=2)
    Claims(life.renders).claim(again, complete(again), LATER)

    with pytest.raises(ConditionFailed):
        life.renders.announced(failed)


def test_a_repetition_is_counted_not_listed(life: Life) -> None:
    render = life.claimed()

    for n in range(4):
        render = life.renders.join_line(render, NOW, "no_credits", NOW + n)

    parked = {"at": iso(NOW), "what": "parked", "reason": "no_credits", "times": 4, "last_at": iso(NOW + 3)}
    assert render["history"][1:] == [parked]


def test_a_long_history_keeps_its_beginning_and_its_end(life: Life) -> None:
    long = [{"at": iso(NOW), "what": "parked", "reason": str(n)} for n in range(HISTORY_KEPT)]

    render = life.renders.join_line(life.claimed() | {"history": long}, NOW + 60, "pace", NOW)

    assert len(render["history"]) == HISTORY_KEPT
    assert render["history"][0] == long[0]
    assert [entry["reason"] for entry in render["history"][-2:]] == [str(HISTORY_KEPT - 1), "pace"]


def test_an_image_named_by_a_url_is_kept_as_a_url(renders: Renders, pair: MakePair) -> None:
    dropped = pair()
    asked = Ready(({"url": "https://example.com/a.png"}, dropped.parts["2"]), {"prompt": "p"}, {"prompt": "p"})

    render = Claims(renders).claim(dropped, asked, NOW)

    assert render is not None
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

    render = Claims(life.renders).claim(pair(drop=9), life.complete, NOW + days * 86_400)

    assert render is not None
    assert render["status"] == status


def test_an_operator_who_delivers_an_old_render_again_does_not_make_it_speak_for_its_pair(life: Life) -> None:
    old = life.renders.failed(life.completed(), problem("delivery", "no access"), "taj/error.json", NOW + 60)
    life.renders.table.update(pair_key("taj/"), "SET #current = :newer", newer="a newer render")

    life.renders.new_attempt(old, "COMPLETED", old["drop_id"], NOW + 70)

    dropped = Drops(life.renders.table).get("taj/")
    assert dropped is not None
    assert dropped.current == "a newer render"


def test_what_was_reserved_is_given_back_though_the_price_has_changed(life: Life) -> None:
    submitting = life.submitting()
    life.renders.price = 1.0

    life.renders.join_line(submitting, NOW, "no_credits", NOW)

    assert (life.renders.table.get(ledger_key(day(NOW))) or {})["reserved"] == 0


@pytest.mark.parametrize(
    ("stage", "later", "action"),
    [
        pytest.param("claimed", 0, "submit", id="whoever worked on it is dead"),
        pytest.param("tried_later", 0, "submit", id="its time has come"),
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
def test_what_is_due_is_looked_at_by_its_state(life: Life, stage: str, later: float, action: str) -> None:
    render = life.at(stage)

    assert render["due_lane"] == TIMER
    assert overdue_action(render, render["due_at"] + later) == action


def test_a_job_that_is_running_is_taken_over_like_one_that_is_queued(life: Life) -> None:
    render = life.renders.processing(life.queued(), NOW + 5)

    assert overdue_action(render, render["due_at"]) == "restart"


def test_what_was_not_told_of_a_pair_is_told_in_the_order_in_which_it_ended(
    renders: Renders, pair: MakePair, complete: MakeReady
) -> None:
    lives = (Life(renders, pair(drop=n), complete(pair(), prompt=f"{n}")) for n in (1, 2, 3))
    ended = [
        renders.failed(life.submitting(), FAILED, "taj/error.json", NOW + at)
        for life, at in zip(lives, (30, 10, 20), strict=True)
    ]

    renders.announced(ended[2])

    assert [one["render_id"] for one in renders.unannounced("taj/")] == [ended[1]["render_id"], ended[0]["render_id"]]


def test_a_restart_is_another_generation_of_the_same_attempt(life: Life) -> None:
    render = life.queued()

    again = life.renders.restarted(render, NOW + 400)

    assert (render["generation"], again["generation"], again["attempt"]) == (1, 2, 1)
    assert again["history"][-1] == {"at": iso(NOW + 400), "what": "restarted", "generation": 2}
    assert is_stale(again, 1, 1)
    assert not is_stale(again, 1, 2)
    assert not is_stale(render, 1, 2)  # begun, and not yet on the record


def test_an_execution_from_before_generations_were_counted_goes_on(life: Life) -> None:
    record = {name: value for name, value in life.queued().items() if name != "generation"}

    assert not is_stale(record, 1, 0)
    assert is_stale(life.renders.restarted(life.renders.get("taj/", record["render_id"]), NOW), 1, 0)  # type: ignore[arg-type]


def test_an_execution_whose_start_was_not_recorded_takes_over_when_it_begins(life: Life) -> None:
    record = life.queued()
    state: Any = {name: record[name] for name in ("prefix", "render_id", "attempt")} | {"generation": 2}

    followed = life.renders.follow(state, NOW)

    assert followed is not None
    assert followed["generation"] == 2
    assert is_stale(life.renders.get("taj/", record["render_id"]), 1, 1)  # type: ignore[arg-type]


def test_what_was_sent_for_a_render_is_kept_when_it_is_restarted_and_forgotten_when_it_moves(
    life: Life, table: Table
) -> None:
    render = life.queued()
    index = DueIndex(table)
    (item,) = index.over(render["due_at"])
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


COSTS = [(0.04, 0.04), (0.2, 0.2), (0.21, 0.05), (30.0, 0.05), (0.0, 0.05), (None, 0.05)]


@pytest.mark.parametrize(("stated", "booked"), COSTS)
def test_a_cost_that_cannot_be_is_noted_and_booked_at_the_price(
    life: Life, stated: float | None, booked: float
) -> None:
    job: Any = {} if stated is None else {"cost": stated}

    render = life.renders.completed(life.renders.accepted(life.submitting(), "r-1", NOW), "https://x/1.png", job, NOW)

    noted = render["history"][-1]
    strange = None if booked == stated else "strange_cost"
    assert (render["cost"], noted["cost"], noted.get("reason")) == (booked, booked, strange)
    assert noted.get("stated") == (stated if strange else None)
