"""Which render a drop is: claimed once, and begun anew where that pays nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kontext.drops.pairs import Ready, pair_key, pair_of
from kontext.drops.store import Drops
from kontext.due import TELL_SECONDS, TIMER
from kontext.dynamodb import Table, Write
from kontext.errors import problem
from kontext.renders.claims import Claims
from kontext.renders.overdue import overdue_action
from kontext.renders.record import render_key
from kontext.renders.store import LEASE_SECONDS, Renders
from tests.existing import existing
from tests.unit.life import LATER, NOW, Life, MakePair, MakeReady

STAGES = (
    *("claimed", "in_line", "tried_later", "submitting", "queued", "completed"),
    *("delivered", "failed", "announced", "uncertain"),
)


def test_a_complete_pair_is_claimed_and_speaks_for_its_prefix(life: Life, drops: Drops) -> None:
    render = life.claimed()

    assert life.renders.get("taj/", render["render_id"]) == render | render_key("taj/", render["render_id"])
    assert (render["status"], render["attempt"], render["lease_until"]) == ("CLAIMED", 1, NOW + LEASE_SECONDS)
    assert render["inputs"] == [{"key": f"taj/{n}.png", "version_id": f"v{n}", "etag": f"e{n}"} for n in (1, 2)]
    assert render["parameters"] == life.complete.parameters
    assert [entry["what"] for entry in render["history"]] == ["claimed"]
    assert existing(drops.get("taj/")).current == render["render_id"]


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


def test_what_is_dropped_again_meanwhile_speaks_for_its_pair_again(
    life: Life, pair: MakePair, complete: MakeReady, drops: Drops
) -> None:
    first = life.queued()
    other = Claims(life.renders).claim(pair(drop=2), complete(life.pair, prompt="Another."), NOW + 1)
    assert other is not None

    claim = Claims(life.renders).claim(pair(drop=3, current=other["render_id"]), life.complete, NOW + 2)

    assert claim is None
    assert existing(drops.get("taj/")).current == first["render_id"]


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
    life.renders.mark_announced(uncertain)

    claim = Claims(life.renders).claim(pair(drop=3, **meanwhile), life.complete, NOW + 2)

    render = life.renders.get("taj/", uncertain["render_id"]) or {}
    assert claim is None
    assert (render["due_lane"], render["due_at"]) == (TIMER, NOW + 2 + TELL_SECONDS)
    assert overdue_action(render, render["due_at"]) == "announce"
    assert life.renders.unannounced("taj/") == [render]


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
    assert existing(drops.get("taj/")).current == render["render_id"]


def test_a_failed_render_dropped_again_is_tried_again(life: Life, pair: MakePair, complete: MakeReady) -> None:
    failed = life.failed()
    life.renders.mark_announced(failed)
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
    life.renders.mark_failed(life.completed(), problem("delivery", "no access"), NOW)
    again = pair(drop=2)

    render = Claims(life.renders).claim(again, complete(again), LATER)

    assert render is not None
    assert (render["status"], render["attempt"]) == ("COMPLETED", 2)


def test_an_uncertain_render_dropped_again_stays_uncertain(life: Life, pair: MakePair, complete: MakeReady) -> None:
    uncertain = life.uncertain()
    life.renders.mark_announced(uncertain)
    again = pair(drop=2)

    claim = Claims(life.renders).claim(again, complete(again), LATER)

    render = life.renders.get("taj/", uncertain["render_id"]) or {}
    assert claim is None
    assert (render["status"], render["announced"], render["due_lane"]) == ("UNCERTAIN", True, "UNCERTAIN")


def test_an_image_named_by_a_url_is_kept_as_a_url(renders: Renders, pair: MakePair) -> None:
    dropped = pair()
    asked = Ready(({"url": "https://example.com/a.png"}, dropped.parts["2"]), {"prompt": "p"}, {"prompt": "p"})

    render = Claims(renders).claim(dropped, asked, NOW)

    assert render is not None
    assert render["inputs"][0] == {"url": "https://example.com/a.png"}


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
    life.renders.mark_failed(completed, problem("delivery", "no access"), NOW + 60)

    render = Claims(life.renders).claim(pair(drop=9), life.complete, NOW + days * 86_400)

    assert render is not None
    assert render["status"] == status


@pytest.mark.parametrize("stage", ["failed", "delivered"])
def test_who_dies_as_an_ended_render_begins_again_leaves_the_drop_to_whoever_comes_next(
    life: Life, pair: MakePair, complete: MakeReady, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = life.at(stage)
    again = replace(pair(drop=2), current=ended["render_id"] if stage == "failed" else "another", current_drop=1)
    transact = Table.transact

    def dies(table: Table, *writes: Write) -> None:
        transact(table, *writes)
        raise ConnectionError

    monkeypatch.setattr(Table, "transact", dies)
    with pytest.raises(ConnectionError):
        Claims(life.renders).claim(again, complete(again), LATER)

    known = life.renders.get("taj/", ended["render_id"])
    assert known is not None
    assert known["attempt"] == 2, "the first write that is done says all of it"
