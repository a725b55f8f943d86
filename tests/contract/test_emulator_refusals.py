"""What the emulated vendor refuses, and how: parameters, keys, models, an empty account, the rate."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.conftest import MODEL, Customers


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        pytest.param({"prompt": None}, 400, "prompt: field required", id="no prompt"),
        pytest.param({"prompt": 5}, 400, "prompt: a string is required, got 5", id="prompt of a wrong type"),
        pytest.param({"input_image_1": None}, 400, "input_image_1: field required", id="no first image"),
        pytest.param({"input_image_2": "2.png"}, 400, "input_image_2: an http(s) URL", id="no URL"),
        pytest.param({"seed": "x"}, 400, "seed: an integer is required", id="seed of a wrong type"),
        pytest.param({"safety_tolerance": True}, 400, "safety_tolerance: int required", id="a boolean for a number"),
        pytest.param({"aspect_ratio": "7:5"}, 406, 'Invalid value "7:5" for aspect_ratio', id="unknown aspect ratio"),
        pytest.param({"output_format": "webp"}, 406, 'Invalid value "webp" for output_format', id="unknown format"),
        pytest.param({"safety_tolerance": 3}, 406, "Invalid value 3 for safety_tolerance", id="tolerance too high"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(
    customer: Customers, fields: dict[str, Any], status: int, message: str
) -> None:
    one = customer()

    answer = one.post(**fields)

    assert (answer.status_code, answer.json()["error"][: len(message)]) == (status, message)
    assert one.service.ledger.jobs == {}


@pytest.mark.parametrize("seed", [None, "", -1])
def test_a_blank_seed_leaves_the_choice_to_the_vendor(customer: Customers, seed: str | int | None) -> None:
    one = customer()

    first, second = (one.service.ledger.jobs[one.submit(seed=seed)] for _ in range(2))

    assert first.parameters.seed != second.parameters.seed


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"{broken", "The request body is not valid JSON", id="broken JSON"),
        pytest.param(b"\xff\xfe\x00", "The request body is not valid JSON", id="no text at all"),
        pytest.param(b"[1]", "The request body must be a JSON object", id="a list"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(customer: Customers, body: bytes, message: str) -> None:
    one = customer()

    answer = one.http.post(f"/v2/{MODEL}", content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()) == (400, {"error": message})


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param({}, {"error": "Missing Authorization or x-api-key in header"}, id="missing"),
        pytest.param({"x-api-key": "SG_0000000000000000"}, None, id="rejected"),
        pytest.param({"authorization": "Bearer SG_0123456789abcdef"}, None, id="bearer"),
    ],
)
def test_without_an_accepted_key_nothing_goes(
    customer: Customers, headers: dict[str, str], body: dict[str, Any]
) -> None:
    rejected = {
        "error": "Unauthorized",
        "error_description": "The API key is invalid or was revoked",
        "status_code": 401,
    }
    one = customer()
    del one.http.headers["x-api-key"]
    one.http.headers.update(headers)

    answers = [one.post(), one.post("v1"), one.status("x"), one.result("x"), one.http.get("/v1/get-user-credits")]

    assert [answer.status_code for answer in answers] == [401] * 5
    assert answers[0].json() == (body or rejected)


def test_a_replaced_key_takes_over_at_once(customer: Customers) -> None:
    one = customer()
    one.service.change(keys=["SG_fedcba9876543210"])
    refused = one.post()
    one.http.headers["x-api-key"] = "SG_fedcba9876543210"

    assert (refused.status_code, one.post().status_code) == (401, 200)


@pytest.mark.parametrize(("state", "status"), [("forbidden", 403), ("retired", 410)])
def test_a_model_can_be_forbidden_or_retired(customer: Customers, state: str, status: int) -> None:
    one = customer(models={MODEL: state})

    assert one.post().status_code == status


def test_an_unknown_model_and_an_unknown_request_answer_404(customer: Customers) -> None:
    one = customer()

    answers = [one.http.post("/v2/no-such-model", json={}), one.status("no-such-id"), one.http.get("/v3/x")]

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert answers[1].json() == {"error": "Request no-such-id not found"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/v2/{MODEL}"),
        ("DELETE", "/v2/requests/x"),
        ("POST", "/v1/get-user-credits"),
        ("POST", "/v2/requests/x"),
    ],
)
def test_a_wrong_method_is_answered_with_html(customer: Customers, method: str, path: str) -> None:
    answer = customer().http.request(method, path)

    assert (answer.status_code, answer.headers["content-type"]) == (405, "text/html; charset=utf-8")
    assert answer.text.startswith("<!doctype html>")


def test_406_has_four_causes_that_only_the_message_tells_apart(customer: Customers) -> None:
    poor, limited, one = customer(credits=0.04, price=0.05), customer(spend_limit=0.04), customer()
    not_json = one.http.post(f"/v2/{MODEL}", content=b"{}", headers={"content-type": "text/plain"})

    answers = [not_json, poor.post(), limited.post(), one.post(aspect_ratio="7:5")]

    assert [answer.status_code for answer in answers] == [406] * 4
    assert [answer.json()["error"].split(":")[0] for answer in answers] == [
        "Invalid content type",
        "Insufficient credits",
        "Team spend limit reached",
        'Invalid value "7',
    ]
    assert "balance is 0.04, this model costs 0.05" in answers[1].json()["error"]


def test_a_topped_up_account_works_again(customer: Customers) -> None:
    one = customer(credits=0.0)
    refused = one.post()

    one.service.change(credits=1.0)

    assert (refused.status_code, one.post().status_code) == (406, 200)


def test_the_rate_limit_is_hard_and_names_only_when_it_resets(customer: Customers) -> None:
    one = customer(rate_limit=2)
    one.post()
    one.clock.sleep(20)

    statuses = [one.post().status_code for _ in range(2)]
    answer = one.post()

    assert statuses == [200, 429]
    assert answer.headers["x-rate-limit-reset-at-utc"] == "2027-01-15T08:01:00Z"
    assert not {"retry-after", "x-rate-limit-limit", "x-rate-limit-remaining"} & set(answer.headers)
    assert one.service.ledger.too_many_requests == 2


def test_a_fixed_window_resets_as_a_whole(customer: Customers) -> None:
    one = customer(rate_limit=2)
    one.post()
    one.clock.sleep(59)
    one.post()
    one.clock.sleep(1)

    assert [one.post().status_code for _ in range(3)] == [200, 200, 429]


def test_a_sliding_window_frees_one_place_at_a_time(customer: Customers) -> None:
    one = customer(rate_limit=2, rate_window="sliding")
    one.post()
    one.clock.sleep(59)
    one.post()
    one.clock.sleep(1)

    assert [one.post().status_code for _ in range(2)] == [200, 429]


def test_a_key_can_be_blind_to_the_jobs_of_another_one(customer: Customers) -> None:
    one = customer(keys=("SG_0000000000000001", "SG_0000000000000002"), jobs_per_key=True)
    request_id = one.submit()

    with_other_key = one.http.get(f"/v2/requests/{request_id}", headers={"x-api-key": "SG_0000000000000002"})

    assert one.status(request_id).status_code == 200
    assert with_other_key.status_code == 404
    assert with_other_key.json() == {"error": f"Request {request_id} not found"}


def test_every_answer_has_a_date_by_the_vendors_own_clock(customer: Customers) -> None:
    one = customer()
    one.clock.now = 1_800_000_120.0

    assert one.post().headers["date"] == "Fri, 15 Jan 2027 08:02:00 GMT"


def test_gets_count_only_where_that_is_set(customer: Customers) -> None:
    lenient, strict = customer(rate_limit=1), customer(rate_limit=1, count_gets=True)

    answers = [(one.submit(), one.status("x").status_code)[1] for one in (lenient, strict)]

    assert answers == [404, 429]


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("iso", "2027-01-15T08:01:00Z"),
        ("epoch", "1800000060"),
        ("epoch_ms", "1800000060000"),
        ("http_date", "Fri, 15 Jan 2027 08:01:00 GMT"),
    ],
)
def test_the_reset_time_comes_in_any_form(customer: Customers, form: str, value: str) -> None:
    one = customer(rate_limit=0, reset_form=form)

    assert one.post().headers["x-rate-limit-reset-at-utc"] == value


@pytest.mark.parametrize(
    "changes",
    [{"nonsense": 1}, {"workers": 0}, {"inference": -1}, {"inference": {"values": []}}, {"rate_window": "no"}],
)
def test_a_wrong_setting_is_refused_by_name(customer: Customers, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        customer().service.change(**changes)
