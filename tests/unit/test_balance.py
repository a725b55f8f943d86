"""What the balance has lost beside what is booked, as each completed job shows it."""

from __future__ import annotations

from typing import Any

import pytest

from kontext.dynamodb import Table
from kontext.renders import ledger
from kontext.renders.balance import unexplained

NOW = 1_800_014_400.0
PRICE = 0.05


def seen(table: Table, remaining: float | None, cost: float = PRICE, at: float = NOW) -> float | None:
    render: Any = {"cost": cost, "metrics": {} if remaining is None else {"remaining_credits": remaining}}
    return unexplained(table, PRICE, render, at)


def test_a_balance_that_loses_what_is_booked_is_explained(table: Table) -> None:
    assert [seen(table, 10 - PRICE * n) for n in range(1, 30)] == [0.0] * 29


def test_answers_that_come_in_another_order_are_no_loss(table: Table) -> None:
    assert [seen(table, remaining) for remaining in (9.95, 9.80, 9.90, 9.85, 9.75)] == [0.0] * 5


def test_what_is_lost_beyond_three_prices_is_told(table: Table) -> None:
    seen(table, 9.95)

    assert seen(table, 9.90 - 3 * PRICE) == 0.0
    assert seen(table, 9.85 - 5 * PRICE) == pytest.approx(2 * PRICE)


def test_on_a_day_of_many_renders_a_twentieth_is_tolerated(table: Table) -> None:
    seen(table, 100.0, cost=20.0)

    assert seen(table, 98.95) == 0.0
    assert seen(table, 97.8) == pytest.approx(1.095)


def test_what_is_still_at_segmind_may_be_charged_already(table: Table) -> None:
    table.update(ledger.ledger_key("2027-01-15"), "ADD #submitted :n", n=12)
    table.update(ledger.ledger_key("2027-01-14"), "ADD #submitted :n, #completed :n", n=7)
    seen(table, 9.95)

    assert seen(table, 9.90 - 12 * PRICE) == 0.0
    assert seen(table, 9.85 - 20 * PRICE) == pytest.approx(5 * PRICE)


def test_a_top_up_is_no_reserve_for_losses(table: Table) -> None:
    seen(table, 9.95)
    seen(table, 59.90)

    assert seen(table, 59.85 - 10 * PRICE) == pytest.approx(7 * PRICE)


def test_a_day_begins_with_its_first_balance(table: Table) -> None:
    seen(table, 9.95)

    assert seen(table, 5.0, at=NOW + 86_400) == 0.0


def test_a_job_that_tells_no_balance_says_nothing(table: Table) -> None:
    assert seen(table, None) is None


def test_what_is_paid_while_no_balance_is_told_is_no_loss(table: Table) -> None:
    seen(table, 9.95)
    told = [seen(table, None) for _ in range(20)]

    assert set(told) == {None}
    assert seen(table, 9.95 - 21 * PRICE) == 0.0


def test_the_balance_of_a_job_that_was_done_an_hour_ago_is_no_top_up(table: Table) -> None:
    for n in range(1, 60):
        seen(table, 100 - PRICE * n)
    metrics = {"remaining_credits": 99.95, "total_time": 25.0}
    late: Any = {"cost": PRICE, "metrics": metrics, "submitted_at": NOW - 3600}

    told = unexplained(table, PRICE, late, NOW)

    assert told is None
    assert seen(table, 100 - PRICE * 61) == 0.0
