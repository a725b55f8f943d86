"""Scripted misbehaviour of the emulated vendor: what is answered, and whether the job exists all the same."""

from __future__ import annotations

import contextlib
from typing import Any

import httpx
import pytest

from kontext_local.segmind import Rule, script
from tests.contract.conftest import Customers


def test_without_a_script_nothing_strange_happens(customer: Customers) -> None:
    one = customer()

    ids = [one.submit(prompt=prompt) for prompt in ("fail", "429", "drop", "hang")]
    one.clock.sleep(10)

    assert {one.state(request_id) for request_id in ids} == {"COMPLETED"}


def test_a_connection_dropped_before_the_post_is_accepted_leaves_no_job(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(drop=True))

    with pytest.raises(httpx.RemoteProtocolError):
        one.post()

    assert one.service.ledger.jobs == {}
    assert one.service.ledger.posts[0].outcome == "unanswered"


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        pytest.param(Rule(accept=True, drop=True), httpx.RemoteProtocolError, id="dropped"),
        pytest.param(Rule(accept=True, hang=3600), httpx.ReadTimeout, id="hung"),
    ],
)
def test_a_lost_answer_is_charged_all_the_same(customer: Customers, rule: Rule, error: type[Exception]) -> None:
    one = customer()
    one.service.script.add(rule)

    with pytest.raises(error):
        one.post()
    one.clock.sleep(10)

    assert one.service.ledger.spent == 0.05


@pytest.mark.parametrize(("accept", "jobs"), [(True, 1), (False, 0)])
def test_a_gateway_timeout_may_or_may_not_have_made_a_job(customer: Customers, accept: bool, jobs: int) -> None:
    one = customer()
    one.service.script.add(Rule(status=504, body={"error": "timed out"}, accept=accept))

    answer = one.post()

    assert (answer.status_code, len(one.service.ledger.jobs)) == (504, jobs)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_error_is_followed_by_the_normal_course(customer: Customers, status: int) -> None:
    one = customer()
    one.service.script.add(Rule(status=status, body={"error": "try again"}, times=2))

    answers = [one.post().status_code for _ in range(3)]

    assert answers == [status, status, 200]


def test_a_hanging_answer_lasts_as_long_as_the_client_is_patient(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(on="status", hang=30))
    began = one.clock()

    with pytest.raises(httpx.ReadTimeout):
        one.status("x")

    assert one.clock() - began == 5


def test_a_short_silence_ends_in_a_dropped_connection(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(on="status", hang=2))

    with pytest.raises(httpx.RemoteProtocolError):
        one.status("x")


def test_a_true_answer_can_be_slow(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(on="status", slow=3))
    request_id, began = one.submit(), one.clock()

    state = one.state(request_id)

    assert (state, one.clock() - began) == ("PROCESSING", 3)


@pytest.mark.parametrize(
    "headers", [{}, {"x-rate-limit-reset-at-utc": "soon"}, {"x-rate-limit-reset-at-utc": "9999-12-31T00:00:00Z"}]
)
def test_a_429_can_have_a_missing_or_absurd_reset_time(customer: Customers, headers: dict[str, str]) -> None:
    one = customer()
    one.service.script.add(Rule(status=429, body={"error": "Too many requests"}, headers=headers))

    answer = one.post()

    assert answer.headers.get("x-rate-limit-reset-at-utc") == headers.get("x-rate-limit-reset-at-utc")
    assert one.service.ledger.too_many_requests == 1


def test_any_text_can_stand_where_json_is_due(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(on="status", status=200, text='{"status": "COMP', content_type="application/json"))
    one.service.script.add(Rule(on="status", status=502, text="<h1>Bad gateway</h1>", nth=2))

    broken, page = one.status("x"), one.status("x")

    assert (broken.status_code, broken.text) == (200, '{"status": "COMP')
    assert (page.status_code, page.headers["content-type"]) == (502, "text/html; charset=utf-8")


def test_a_job_can_seem_to_go_back_after_it_completed(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(on="status", when="COMPLETED", nth=2, patch={"status": "PROCESSING"}))
    request_id = one.submit()
    states = [one.state(request_id)]
    one.clock.sleep(10)

    states += [one.state(request_id) for _ in range(3)]

    assert states == ["PROCESSING", "COMPLETED", "PROCESSING", "COMPLETED"]


def test_fields_can_be_missing_from_a_true_answer(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(on="result", without=("output", "metrics")))
    request_id = one.submit()
    one.clock.sleep(10)

    assert set(one.result(request_id).json()) == {"status", "request_id", "images"}


def test_a_true_answer_can_be_wrong_in_one_number(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(on="result", patch={"metrics": {"cost": 30.0}}))
    request_id = one.submit()
    one.clock.sleep(10)

    metrics = one.result(request_id).json()["metrics"]

    assert (metrics["cost"], metrics["remaining_credits"], one.service.ledger.spent) == (30.0, 99.95, 0.05)


def test_a_true_answer_can_stand_in_a_body_that_is_no_json(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(into="{}<!-- served by gate 7 -->"))

    answer = one.post()

    (job,) = one.service.ledger.jobs
    assert answer.status_code == 200
    assert job in answer.text
    assert answer.text.endswith("gate 7 -->")


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        pytest.param(Rule(cut_after=20), False, id="cut before the id"),
        pytest.param(Rule(cut_after=70), True, id="cut behind the id"),
        pytest.param(Rule(drop=True, accept=True), False, id="dropped"),
        pytest.param(Rule(text="<html>", status=200, accept=True), False, id="a page"),
    ],
)
def test_the_ledger_tells_whether_a_sender_could_read_the_id_of_his_job(
    customer: Customers, rule: Rule, named: bool
) -> None:
    one = customer()
    one.service.script.add(rule)

    with contextlib.suppress(httpx.RemoteProtocolError):
        one.post()

    (post,) = one.service.ledger.posts
    assert (post.request_id is not None, post.names_job) == (True, named)


def test_an_output_can_break_off_in_the_middle(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(on="output", cut_after=3))
    request_id = one.submit(prompt="a long picture")
    one.clock.sleep(10)
    url = f"https://images.segmind.com/output/{request_id}.png"

    with pytest.raises(httpx.RemoteProtocolError):
        one.http.get(url)

    assert one.http.get(url).status_code == 200


def test_an_output_can_have_a_wrong_type_and_stand_on_another_host(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(output_content_type="text/html", output_shape="list"))
    one.service.script.add(Rule(output_url="https://elsewhere.example/x.png", nth=2))
    wrong_type, elsewhere = one.submit(), one.submit()
    one.clock.sleep(10)

    served = one.http.get(f"https://images.segmind.com/output/{wrong_type}.png")

    assert served.headers["content-type"] == "text/html"
    assert one.result(wrong_type).json()["output"] == [str(served.url)]
    assert one.result(elsewhere).json()["images"][0]["url"] == "https://elsewhere.example/x.png"


def test_a_rule_meets_the_nth_request_that_fits_it(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(prompt="cat", nth=2, times=2, status=500))

    answers = [one.post(prompt=prompt).status_code for prompt in ("cat", "dog", "cats", "a cat", "dog", "cat")]

    assert answers == [200, 200, 500, 500, 200, 200]


def test_a_rule_for_a_prompt_meets_the_gets_of_its_job_too(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(on="any", prompt="cat", status=503, when="PROCESSING", times=None))
    cat, dog = one.submit(prompt="cat"), one.submit(prompt="dog")

    assert [one.status(request_id).status_code for request_id in (cat, dog, cat)] == [503, 200, 503]


def test_of_two_rules_that_apply_the_first_decides(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(status=500))
    one.service.script.add(Rule(status=503, times=2))

    assert [one.post().status_code for _ in range(3)] == [500, 503, 200]


def test_a_cleared_script_is_without_effect(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(drop=True, times=None))

    one.service.script.clear()

    assert one.post().status_code == 200


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"on": "elsewhere"}, "on: 'elsewhere' is none of submit"),
        ({"status": 99}, "status: 99 is not between"),
        ({"output_shape": "circle"}, "output_shape: 'circle' is none of string"),
        ({"dorp": True}, "a rule has no dorp"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        script.parse(given)
