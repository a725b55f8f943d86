"""What `kontext audit` says of a day: it agrees, the stack alone may explain it, or others have spent."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from kontext.clock import Clock, iso
from kontext.dynamodb import Table
from kontext.model import Charged
from kontext_cli.audit import Day, audit, compare, in_words
from kontext_cli.decide.operate import Operator
from kontext_cli.errors import CommandError

PRICE = 0.05
NOON = 1_800_014_400.0  # 2027-01-15 12:00 UTC
DAY = 86_400.0


def completed(at: float, remaining: float, cost: float = PRICE, **metrics: Any) -> Any:
    """A render that was paid, as the record has it."""
    told = {"remaining_credits": remaining, "cost": cost, **metrics}
    sent = {"at": iso(at - 25), "what": "submitting"}
    return {
        "prefix": f"at {at:.0f}/",
        "status": "DELIVERED",
        "completed_at": at,
        "cost": cost,
        "metrics": told,
        "history": [sent],
        "created_at": iso(at - 25),
    }


def undecided(prefix: str, at: float, code: str = "uncertain", charged: Charged = "unknown") -> Any:
    """A render of which nobody knows whether it was paid."""
    status = "UNCERTAIN" if code == "uncertain" else "FAILED"
    history = [{"at": iso(at), "what": "submitting"}]
    error = {"code": code, "charged": charged}
    return {"prefix": prefix, "status": status, "history": history, "created_at": iso(at), "error": error}


def test_a_day_on_which_the_balance_lost_what_was_booked_agrees() -> None:
    renders = [completed(NOON, 9.95), completed(NOON + 60, 9.90), completed(NOON + DAY, 9.85)]

    days = audit(renders, PRICE, 9.85, NOON + DAY + 60)

    assert [(one.day, one.moved, one.booked, one.verdict) for one in days] == [
        ("2027-01-16", 0.05, 0.05, "agrees"),
        ("2027-01-15", 0.10, 0.10, "agrees"),
    ]


@pytest.mark.parametrize("code", ["uncertain", "expired", "given_up"])
def test_what_the_stack_may_have_been_charged_for_is_named_with_its_day(code: str) -> None:
    renders = [completed(NOON, 9.95), undecided("lost/", NOON + 30, code), completed(NOON + 60, 9.85)]

    (one,) = audit(renders, PRICE, 9.85, NOON + 120)

    assert (one.unexplained, one.verdict, one.by_others) == (0.05, "candidates", 0.0)
    assert one.candidates == [{"pair": "lost/", "why": code}]
    assert f"lost/ ({code})" in in_words(one)


def test_a_charge_after_the_last_completed_render_shows_in_the_balance_of_now() -> None:
    renders = [completed(NOON, 9.95), undecided("lost/", NOON + 30)]

    (one,) = audit(renders, PRICE, 9.90, NOON + 3600)

    assert (one.verdict, one.candidates[0]["pair"]) == ("candidates", "lost/")


def test_what_is_more_than_the_stack_can_explain_was_moved_by_others() -> None:
    renders = [completed(NOON, 9.95), undecided("lost/", NOON + 30), completed(NOON + 60, 7.85)]

    (one,) = audit(renders, PRICE, 7.85, NOON + 120)

    assert (one.verdict, one.unexplained, one.by_others) == ("others", 2.05, 2.0)
    assert "others have moved USD 2.00, besides what may be for lost/ (uncertain)" in in_words(one)


def test_a_render_that_surely_was_not_charged_explains_nothing() -> None:
    renders = [completed(NOON, 9.95), undecided("bad/", NOON + 30, "refused", "no"), completed(NOON + 60, 9.80)]

    (one,) = audit(renders, PRICE, 9.80, NOON + 120)

    assert (one.verdict, one.by_others, one.candidates) == ("others", 0.1, [])


def test_a_top_up_hides_nothing_of_the_day() -> None:
    renders = [completed(NOON, 9.95), completed(NOON + 60, 59.90)]

    (one,) = audit(renders, PRICE, 59.90, NOON + 120)

    assert (one.topped_up, one.moved, one.booked, one.verdict) == (50.0, 0.10, 0.10, "agrees")


@pytest.mark.parametrize("lie", [0.0, -500.0, 3.0, 9_999.0])
def test_a_balance_that_those_before_and_after_contradict_is_passed_over_and_said(lie: float) -> None:
    balances = (9.95, 9.90, lie, 9.80, 9.75)
    renders = [completed(NOON + 60 * number, usd) for number, usd in enumerate(balances)]

    (one,) = audit(renders, PRICE, 9.75, NOON + 3600)

    assert (one.moved, one.booked, one.topped_up, one.verdict) == (0.25, 0.25, 0.0, "agrees")
    assert one.passed_over == [{"pair": f"at {NOON + 120:.0f}/", "usd": lie}]
    assert in_words(one).startswith("agrees; passed over, as those before and after contradict it: a balance of USD")


@pytest.mark.parametrize(
    ("after", "what"),
    [
        pytest.param(7.80, {"topped_up": 0.0, "verdict": "others", "by_others": 2.0}, id="spent by others"),
        pytest.param(59.80, {"topped_up": 50.0, "verdict": "agrees", "by_others": 0.0}, id="topped up"),
    ],
)
def test_a_lasting_change_is_no_contradiction(after: float, what: dict[str, Any]) -> None:
    balances = (9.95, 9.90, 9.85, after, after - PRICE)
    renders = [completed(NOON + 60 * number, usd) for number, usd in enumerate(balances)]

    (one,) = audit(renders, PRICE, after - PRICE, NOON + 3600)

    assert {name: getattr(one, name) for name in what} == what
    assert one.passed_over == []


def test_a_charge_that_no_balance_shows_is_seen_though_one_is_passed_over() -> None:
    renders = [completed(NOON, 9.95), undecided("lost/", NOON + 30), completed(NOON + 60, 500.0)]

    (one,) = audit([*renders, completed(NOON + 90, 9.80)], PRICE, 9.80, NOON + 120)

    assert (one.unexplained, one.verdict, one.candidates[0]["pair"]) == (0.05, "candidates", "lost/")


def test_what_was_paid_without_a_balance_being_told_was_not_moved_by_others() -> None:
    silent = [completed(NOON + at, 0.0) | {"metrics": {}} for at in range(10, 60)]
    renders = [completed(NOON, 9.95), *silent, completed(NOON + 60, 7.40)]

    (one,) = audit(renders, PRICE, 7.40, NOON + 120)

    assert (one.moved, one.booked, one.verdict, one.by_others) == (2.60, 2.60, "agrees", 0.0)


def test_a_job_that_was_found_an_hour_later_is_no_top_up() -> None:
    renders = [completed(NOON + at, 100 - PRICE * (at + 1)) for at in range(60) if at != 10]
    found = completed(NOON + 3600, 100 - PRICE * 11, total_time=25.0) | {"submitted_at": NOON + 10 - 25}

    (one,) = audit([*renders, found], PRICE, 97.0, NOON + 3700)

    assert (one.moved, one.booked, one.topped_up, one.verdict) == (3.0, 3.0, 0.0, "agrees")


def test_a_job_whose_picture_was_never_named_is_booked_as_its_balance_was_told() -> None:
    paid = undecided("no picture/", NOON + 30, "no_result", "yes") | {"cost": PRICE}
    paid["metrics"] = {"remaining_credits": 9.90}
    paid["history"] = [*paid["history"], {"at": iso(NOON + 50), "what": "unlinked"}]

    (one,) = audit([paid, completed(NOON, 9.95), completed(NOON + 60, 9.85)], PRICE, 9.85, NOON + 120)

    assert (one.moved, one.booked, one.verdict, one.candidates) == (0.15, 0.15, "agrees", [])


def test_a_cost_that_cannot_be_makes_its_render_a_candidate() -> None:
    strange = completed(NOON + 60, 9.80) | {"metrics": {"remaining_credits": 9.80, "cost": 30.0}}

    (one,) = audit([completed(NOON, 9.95), strange], PRICE, 9.80, NOON + 120)

    assert (one.verdict, one.candidates[0]["why"]) == ("candidates", "Segmind states a cost of USD 30")


def test_an_uncertain_render_that_the_balance_does_not_show_seems_not_to_be_charged() -> None:
    renders = [completed(NOON, 9.95), undecided("lost/", NOON + 30), completed(NOON + 60, 9.90)]

    (one,) = audit(renders, PRICE, 9.90, NOON + 120)

    assert in_words(one) == "agrees; not charged, it seems: lost/ (uncertain)"


def test_before_the_first_balance_nothing_can_be_compared() -> None:
    assert audit([undecided("lost/", NOON)], PRICE, 9.90, NOON + 120) == []
    (one,) = audit([undecided("lost/", NOON - 60), completed(NOON, 9.95)], PRICE, 9.95, NOON + 120)
    assert one == Day("2027-01-15", moved=0.05, booked=0.05)


class AfterNoon(Clock):
    """A clock that stands."""

    def now(self) -> float:
        return NOON + 60


class Credits(httpx.MockTransport):
    """A Segmind that says what the account holds, or not."""

    def __init__(self, status: int = 200) -> None:
        self.asked: list[httpx.Request] = []
        self.status = status
        super().__init__(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return httpx.Response(self.status, json={"credits": 9.9})


def test_the_audit_of_a_stack_reads_its_table_and_asks_for_the_balance_alone(
    target: Any, table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    paid = completed(NOON, 9.95)
    names = ", ".join(f"#{name} = :{name}" for name in paid)
    table.update({"pk": "pair#a/", "sk": "render#r"}, f"SET {names}", **paid)
    segmind = Credits()

    code = compare(Operator(target, AfterNoon(), segmind), as_json=True)

    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert said["balance"] == 9.9
    (one,) = said["days"]
    assert (one["day"], one["unexplained"], one["verdict"]) == ("2027-01-15", 0.05, "others")
    assert [(request.method, request.url.path) for request in segmind.asked] == [("GET", "/v1/get-user-credits")]


def test_without_a_balance_of_now_the_audit_says_so(target: Any) -> None:
    with pytest.raises(CommandError, match="does not say what the account holds"):
        compare(Operator(target, transport=Credits(503)), as_json=False)
