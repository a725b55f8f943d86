"""What is wrong with a pair is on the record once, and told once."""

from __future__ import annotations

from dataclasses import replace

from kontext.clock import iso
from kontext.drops.store import Drops
from kontext.due import TELL_SECONDS
from kontext.errors import problem
from kontext.renders.claims import Claims, rejected_id
from tests.existing import existing
from tests.unit.life import LATER, NOW, Life, MakePair


def test_a_drop_that_is_a_render_is_not_rejected_when_its_message_comes_again(
    life: Life, pair: MakePair, drops: Drops
) -> None:
    claimed = life.claimed()
    dropped = replace(pair(drop=1), current=claimed["render_id"], current_drop=1)

    rejected = Claims(life.renders).reject(dropped, problem("invalid_image", "no picture"), "v", LATER)

    assert rejected is None
    assert existing(drops.get("taj/")).rejected_drop == 0


def test_a_rejected_drop_is_on_the_record_once(life: Life, drops: Drops) -> None:
    error = problem("invalid_image", "taj/1.png: it is empty (0 bytes)")

    first = Claims(life.renders).reject(life.pair, error, "taj/1.png v1", NOW)
    telling = Claims(life.renders).reject(life.pair, error, "taj/1.png v1", NOW + 1)
    late = NOW + TELL_SECONDS
    again = Claims(life.renders).reject(life.pair, error, "taj/1.png v1", late)
    assert first is not None
    assert again is not None
    life.renders.mark_announced(first)
    told = Claims(life.renders).reject(life.pair, error, "taj/1.png v1", late + 1)

    assert telling is None
    assert told is None
    assert first["render_id"] == rejected_id(life.pair, "taj/1.png v1", error)
    assert (first["status"], first["error"]) == ("FAILED", error)
    assert again["created_at"] == first["created_at"]
    pair = drops.get("taj/")
    assert pair is not None
    assert (pair.rejected_drop, set(pair.written)) == (life.pair.drop_id, {"taj/error.json"})


def test_what_is_wrong_is_told_once_whatever_the_number_of_parts_that_come_to_it(
    life: Life, pair: MakePair, drops: Drops
) -> None:
    claims, error = Claims(life.renders), problem("invalid_request", "taj/request.json: seed is text")
    first = claims.reject(life.pair, error, "taj/request.json v1", NOW)
    assert first is not None
    life.renders.mark_announced(first)

    another_part = claims.reject(pair(drop=2, rejected_drop=1), error, "taj/request.json v1", NOW + 1)
    another_version = claims.reject(pair(drop=3, rejected_drop=2), error, "taj/request.json v2", NOW + 2)

    assert another_part is None
    assert another_version is not None
    assert another_version["render_id"] != first["render_id"]
    known = drops.get("taj/")
    assert known is not None
    assert (known.rejected_drop, known.speaker) == (3, another_version["render_id"])


def test_a_picture_that_comes_good_while_the_wrong_one_is_refused_is_not_forgotten(
    life: Life, pair: MakePair, drops: Drops
) -> None:
    wrong = pair(drop=2)
    drops.look_again(pair(drop=3).prefix, NOW)

    refused = Claims(life.renders).reject(wrong, problem("invalid_image", "empty"), "taj/2.png v1", NOW)

    known = drops.get("taj/")
    assert known is not None
    assert refused is None
    assert (known.rejected_drop, known.due_at is not None) == (0, True)


def test_what_was_right_and_is_wrong_again_is_told_again(life: Life, pair: MakePair) -> None:
    claims, error = Claims(life.renders), problem("invalid_request", "taj/request.json: seed is text")
    first = claims.reject(life.pair, error, "taj/request.json v1", NOW)
    assert first is not None
    life.renders.mark_announced(first)

    again = claims.reject(pair(drop=3, rejected_drop=1, current_drop=2), error, "taj/request.json v1", NOW + 9)

    assert again is not None
    assert (again["render_id"], again["drop_id"]) == (first["render_id"], 3)


def test_what_is_wrong_again_after_something_right_is_told_by_sweep_where_nobody_comes(
    life: Life, pair: MakePair
) -> None:
    claims, error = Claims(life.renders), problem("invalid_image", "empty")
    first = claims.reject(life.pair, error, "taj/1.png v1", NOW)
    assert first is not None
    life.renders.mark_announced(first)
    between = replace(pair(drop=3), rejected_drop=1, current="r", current_drop=2)

    again = claims.reject(between, error, "taj/1.png v1", LATER)

    assert again is not None
    known = life.renders.get("taj/", first["render_id"])
    assert known is not None
    assert ("announced" in known, known["due_at"]) == (False, LATER + TELL_SECONDS)
    assert again["attempt"] == known["attempt"] == first["attempt"] + 1, (
        "another event, which nobody takes for the first"
    )
    assert again["updated_at"] == known["updated_at"] == iso(LATER)
