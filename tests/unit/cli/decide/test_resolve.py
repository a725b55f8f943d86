"""What `kontext resolve` takes, and what it refuses: whatever is in doubt leaves a render undecided, and says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kontext.clock import Clock, iso
from kontext.due import LINE, TIMER
from kontext.dynamodb import Table
from kontext.model import ErrorCode, Render, Status
from kontext_cli.decide.decisions import Decision
from kontext_cli.decide.operate import Operator
from kontext_cli.decide.resolve import asked, decide
from kontext_cli.errors import CommandError, Unfinished
from kontext_cli.target import Target
from tests.unit.cli.decide.conftest import (
    HOUR,
    JOB,
    OTHER_JOB,
    PICTURE,
    LaterClock,
    Segmind,
    delivered,
    failed,
    messages,
    render_of,
    without,
)
from tests.unit.conftest import add_uncertain


def test_sending_again_says_its_price_and_what_may_be_paid_twice(
    target: Target, uncertain: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = decide(Operator(target), [Decision("a cat", "resubmit")], as_json=True)

    said = capsys.readouterr()
    assert code == 0
    assert "a cat/ is sent again for USD 0.05; the request whose answer was lost may be paid as well" in said.err
    assert [render["attempt"] for render in json.loads(said.out)] == [2]


def test_what_is_sent_again_stands_in_line_and_the_head_of_the_line_may_go(target: Target, uncertain: str) -> None:
    decide(Operator(target), [Decision(uncertain, "resubmit")], as_json=False)

    render = render_of(target, uncertain)
    assert (render["status"], render["due_lane"], render["due_at"]) == ("CLAIMED", LINE, render["line_at"])
    assert messages(target) == [{"permit": 1}]


def test_what_is_sent_again_while_the_stack_is_paused_waits_for_the_end_of_the_pause(
    target: Target, uncertain: str
) -> None:
    operator = Operator(target)
    operator.pause()

    decide(operator, [Decision(uncertain, "resubmit")], as_json=False)
    waiting = messages(target)
    operator.resume()

    assert render_of(target, uncertain)["due_lane"] == LINE
    assert waiting == []
    assert {"permit": 1} in messages(target)


def test_what_is_sent_again_stands_in_line_though_no_permit_can_be_sent(target: Target, uncertain: str) -> None:
    code = decide(Operator(without(target, "sqs")), [Decision(uncertain, "resubmit")], as_json=True)

    render = render_of(target, uncertain)
    assert (code, render["status"], render["due_lane"]) == (0, "CLAIMED", LINE)


def test_a_decision_that_breaks_off_may_be_given_again_and_is_taken_once(target: Target, uncertain: str) -> None:
    away = without(target, "dynamodb")

    with pytest.raises(Unfinished, match="The same command may be given again, and sends nothing twice") as broken:
        decide(Operator(away), [Decision(uncertain, "resubmit")], as_json=False)
    decide(Operator(target), [Decision(uncertain, "resubmit")], as_json=False)
    with pytest.raises(CommandError, match="there is nothing to decide"):
        decide(Operator(target), [Decision(uncertain, "resubmit")], as_json=False)

    assert broken.value.exit_code == 3
    assert "could not be reached" in str(broken.value)
    render = render_of(target, uncertain)
    assert (render["status"], render["attempt"], render["due_lane"]) == ("CLAIMED", 2, LINE)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        pytest.param({"request_id": ""}, "request_id is empty", id="an empty id"),
        pytest.param({"request_id": " \t "}, "request_id is empty", id="a blank id"),
        pytest.param(
            {"request_id": f"https://api.segmind.com/v2/requests/{JOB}"}, "no request_id of Segmind's", id="a URL"
        ),
        pytest.param({"request_id": f"{JOB}, perhaps"}, "no request_id of Segmind's", id="more than an id"),
        pytest.param({"request_id": f"{JOB[:20]}\n{JOB[20:]}"}, "no request_id of Segmind's", id="an id in two lines"),
        pytest.param({"request_id": f"../{JOB}"}, "no request_id of Segmind's", id="a path"),
        pytest.param({"request_id": JOB[:-1] + "g"}, "does not know the job", id="a wrong character"),
        pytest.param({"request_id": JOB[:-1]}, "does not know the job", id="a character too few"),
        pytest.param({"request_id": OTHER_JOB}, "belongs to another render, of 'b/'", id="another pair's id"),
        pytest.param(
            {"request_id": OTHER_JOB.upper()}, "belongs to another render, of 'b/'", id="another pair's, upper case"
        ),
        pytest.param({"request_id": JOB[:-1] + "0"}, "does not know the job", id="an unknown id"),
        pytest.param({"request_id": JOB, "give_up": True}, "2 was given", id="two decisions at once"),
        pytest.param({"request_id": "", "resubmit": True}, "2 was given", id="an empty id and a decision"),
        pytest.param({}, "none was given", id="no decision"),
        pytest.param(
            {"prefix": "b/", "request_id": JOB}, "there is nothing to decide", id="a pair that is not uncertain"
        ),
        pytest.param({"prefix": "nobody/", "request_id": JOB}, "There is no pair", id="a pair that is not there"),
        pytest.param({"output_url": f"https://evil.example/{JOB}.png"}, "evil.example", id="a foreign host"),
        pytest.param({"output_url": PICTURE.replace("https", "http")}, "https links to", id="plain http"),
        pytest.param({"output_url": "  "}, "output URL is empty", id="a blank URL"),
        pytest.param(
            {"output_url": "https://images.segmind.com/b.png"}, "belongs to another", id="another pair's picture"
        ),
        pytest.param(
            {"output_url": "https://images.segmind.com/b.png?again=1#top"},
            "belongs to another",
            id="another pair's picture, with a query",
        ),
        pytest.param(
            {"output_url": "https://IMAGES.segmind.com//x/../%62.png"},
            "belongs to another",
            id="another pair's picture, written in another way",
        ),
        pytest.param({"output_url": "https://images.segmind.com/none.png"}, "answers HTTP 404", id="no picture there"),
        pytest.param({"prefix": None, "table": "not there.csv"}, "cannot be read", id="a table that is not there"),
        pytest.param({"table": "not there.csv"}, "--file stands alone", id="a table beside a pair"),
    ],
)
def test_a_wrong_decision_leaves_the_render_undecided_and_says_why(
    operator: Operator, table: Table, uncertain: str, wrong: dict[str, Any], why: str
) -> None:
    delivered(table, "b/")
    before = render_of(operator.chosen, uncertain)
    options: dict[str, Any] = {"prefix": uncertain, "request_id": None, "output_url": None, "table": None}
    options |= {"resubmit": False, "give_up": False} | wrong
    options["table"] = options["table"] and Path(options["table"])

    with pytest.raises(CommandError, match=why):
        decide(operator, asked(**options), as_json=False)

    assert render_of(operator.chosen, uncertain) == before


@pytest.mark.parametrize("status", [500, 503, 429, 401, 403])
def test_an_id_that_segmind_says_nothing_of_is_in_doubt(
    operator: Operator, segmind: Segmind, uncertain: str, status: int
) -> None:
    segmind.away = status
    before = render_of(operator.chosen, uncertain)

    with pytest.raises(CommandError, match=r"could not be found out: .*Nothing was decided: try again"):
        decide(operator, [Decision(uncertain, "request-id", JOB)], as_json=False)

    assert render_of(operator.chosen, uncertain) == before


def test_a_job_older_than_an_hour_is_not_missed_but_its_link_is_asked_for(
    target: Target, segmind: Segmind, uncertain: str
) -> None:
    segmind.jobs = []

    with pytest.raises(CommandError, match=r"forgets jobs after an hour, .* 2 h ago.*--output-url"):
        decide(Operator(target, LaterClock(2 * HOUR), segmind), [Decision(uncertain, "request-id", JOB)], as_json=False)


@pytest.mark.parametrize("given", [JOB, JOB.upper(), f"  {JOB}\n"])
def test_the_id_of_a_job_that_segmind_has_is_the_renders(
    operator: Operator, segmind: Segmind, uncertain: str, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = decide(operator, [Decision(uncertain, "request-id", given)], as_json=True)

    render = render_of(operator.chosen, uncertain)
    assert code == 0
    assert (render["status"], render["request_id"], render["attempt"], render["due_lane"]) == ("QUEUED", JOB, 1, TIMER)
    assert [request.method for request in segmind.asked] == ["GET"]
    (said,) = json.loads(capsys.readouterr().out)
    assert said["status"] == "QUEUED"
    assert (said["decision"], said["value"]) == ("request-id", JOB)


def test_an_id_of_another_form_is_taken_as_it_is_given(operator: Operator, segmind: Segmind, uncertain: str) -> None:
    segmind.jobs = ["Req_01:a~B"]

    decide(operator, [Decision(uncertain, "request-id", "Req_01:a~B")], as_json=False)

    assert render_of(operator.chosen, uncertain)["request_id"] == "Req_01:a~B"


def test_an_adopted_job_is_as_old_as_its_request(target: Target, segmind: Segmind, table: Table) -> None:
    sent = Clock().now() - 1800
    add_uncertain(table, "a cat/", history=[{"at": iso(sent), "what": "submitting"}])

    decide(Operator(target, LaterClock(0.0), segmind), [Decision("a cat/", "request-id", JOB)], as_json=False)

    assert render_of(target, "a cat/")["submitted_at"] == pytest.approx(sent, abs=0.01)


def test_the_link_of_a_picture_is_delivered_from_and_booked_at_the_price(
    target: Target, segmind: Segmind, table: Table, uncertain: str
) -> None:
    operator = Operator(target, LaterClock(5 * HOUR), segmind)

    decide(operator, [Decision(uncertain, "output-url", f" {PICTURE} ")], as_json=False)

    render = render_of(target, uncertain)
    assert (render["status"], render["output_url"], render["cost"]) == ("COMPLETED", PICTURE, 0.05)
    assert render["due_lane"] == TIMER
    day = table.get({"pk": "stack", "sk": f"ledger#{render['day']}"}) or {}
    assert (day["completed"], day["cost"], day["reserved"]) == (1, 0.05, 0)


def test_a_link_that_leads_to_a_picture_of_another_format_than_was_asked_for_is_taken(
    operator: Operator, segmind: Segmind, uncertain: str, encoded: Callable[..., bytes]
) -> None:
    segmind.picture = encoded("JPEG")

    decide(operator, [Decision(uncertain, "output-url", PICTURE)], as_json=False)

    assert render_of(operator.chosen, uncertain)["status"] == "COMPLETED"


@pytest.mark.parametrize(("code", "decision"), [("given_up", "request-id"), ("expired", "output-url")])
def test_what_was_given_up_or_has_expired_is_taken_up_again_as_another_attempt(
    operator: Operator, table: Table, code: ErrorCode, decision: Any
) -> None:
    prefix = failed(table, code, "unknown", expires_at=5)

    decide(operator, [Decision(prefix, decision, JOB if decision == "request-id" else PICTURE)], as_json=False)

    render = render_of(operator.chosen, prefix)
    assert render["status"] == ("QUEUED" if decision == "request-id" else "COMPLETED")
    assert render["attempt"] == 2
    assert not {"error", "announced", "expires_at"} & render.keys()


def booked(render: Any, table: Table) -> tuple[float, ...]:
    """What the ledger of a render's day has: submitted and given back, completed, USD reserved and charged."""
    item = table.get({"pk": "stack", "sk": f"ledger#{render['day']}"}) or {}
    return tuple(float(item.get(name, 0.0)) for name in ("not_charged", "completed", "reserved", "cost"))


@pytest.mark.parametrize("code", ["no_result", "delivery"])
def test_a_paid_picture_that_could_not_be_had_is_delivered_by_its_link_and_booked_once(
    operator: Operator, table: Table, code: ErrorCode
) -> None:
    prefix = failed(table, code, "yes", request_id=JOB, cost=0.05)

    decide(operator, [Decision(prefix, "output-url", PICTURE)], as_json=False)

    render = render_of(operator.chosen, prefix)
    assert (render["status"], render["output_url"], render["attempt"]) == ("COMPLETED", PICTURE, 2)
    assert booked(render, table) == (0.0, 0.0, 0.0, 0.0)


def test_a_paid_picture_whose_link_is_refused_is_delivered_by_another_link(operator: Operator, table: Table) -> None:
    waits: Render = {"output_url": PICTURE.replace("//", "//me:key@"), "cost": 0.05, "completed_at": Clock().now()}
    waits |= {"status": Status.COMPLETED, "request_id": JOB, "submitted_at": Clock().now()}
    prefix = add_uncertain(table, "a cat/", **waits)

    decide(operator, [Decision(prefix, "output-url", PICTURE)], as_json=False)

    render = render_of(operator.chosen, prefix)
    assert (render["status"], render["output_url"], render["attempt"]) == ("COMPLETED", PICTURE, 1)
    assert booked(render, table) == (0.0, 0.0, 0.0, 0.0)


def test_the_picture_of_a_job_that_failed_by_segminds_word_is_delivered_by_its_link_and_booked(
    operator: Operator, table: Table
) -> None:
    prefix = failed(table, "render_failed", "no", request_id=JOB, reserved=0.0)
    table.update({"pk": "stack", "sk": f"ledger#{iso(Clock().now())[:10]}"}, "ADD #not_charged :one", one=1)

    decide(operator, [Decision(prefix, "output-url", PICTURE)], as_json=False)

    render = render_of(operator.chosen, prefix)
    assert render["status"] == "COMPLETED"
    assert booked(render, table) == (0.0, 1.0, 0.05, 0.05)


def test_what_has_failed_and_was_surely_not_charged_is_nothing_to_decide(operator: Operator, table: Table) -> None:
    prefix = failed(table, "refused", "no")

    with pytest.raises(CommandError, match="there is nothing to decide"):
        decide(operator, [Decision(prefix, "request-id", JOB)], as_json=False)


def test_what_a_newer_drop_has_replaced_is_not_sent_again(operator: Operator, table: Table, uncertain: str) -> None:
    table.update({"pk": f"pair#{uncertain}", "sk": "pair"}, "SET #current = :other", other="another")

    with pytest.raises(CommandError, match="A newer drop has replaced"):
        decide(operator, [Decision(uncertain, "resubmit")], as_json=False)
