"""The emulated vendor against the contract of the Segmind API, on a virtual clock."""

from __future__ import annotations

import json
import statistics
from random import Random
from typing import Any, NoReturn

import httpx
import pytest

from kontext_local.segmind import BadInput, Bimodal, Lognormal, Parameters, Rule
from kontext_local.segmind.shapes import ELSEWHERE
from tests.contract.conftest import Customers

MODEL = "multi-image-kontext-pro"


def test_a_submitted_job_is_queued_and_says_where_to_look(customer: Customers) -> None:
    answer = customer().post()

    body = answer.json()
    url = f"https://api.segmind.com/v2/requests/{body['request_id']}"
    assert answer.status_code == 200
    assert body == {
        "request_id": body["request_id"],
        "status": "QUEUED",
        "poll_url": f"https://api.segmind.com/v1/requests/{body['request_id']}",
        "status_url": f"{url}/status",
        "response_url": url,
    }


def test_a_job_goes_through_its_states_as_the_clock_says(customer: Customers) -> None:
    one = customer(workers=1)
    first, second = one.submit(), one.submit()

    seen = []
    for _ in range(3):
        seen.append((one.state(first), one.state(second)))
        one.clock.sleep(10)

    assert seen == [("PROCESSING", "QUEUED"), ("COMPLETED", "PROCESSING"), ("COMPLETED", "COMPLETED")]


def test_jobs_wait_in_line_while_every_worker_is_busy(customer: Customers) -> None:
    one = customer(workers=2)
    ids = [one.submit() for _ in range(5)]
    one.clock.sleep(60)

    metrics = [one.result(request_id).json()["metrics"] for request_id in ids]

    assert [metric["queue_time"] for metric in metrics] == [0, 0, 10, 10, 20]
    assert [metric["total_time"] for metric in metrics] == [10, 10, 20, 20, 30]


def test_the_same_times_come_out_however_rarely_anybody_looks(customer: Customers) -> None:
    rarely, often = (customer(workers=2, inference={"values": [7, 3, 5]}) for _ in range(2))
    for one in (rarely, often):
        for _ in range(7):
            one.submit()

    for _ in range(60):
        often.clock.sleep(1)
        often.service.advance()
    rarely.clock.sleep(60)

    assert rarely.service.ledger.as_json() == often.service.ledger.as_json()


def test_a_running_job_has_no_output_and_no_metrics(customer: Customers) -> None:
    one = customer()
    request_id = one.submit()

    status, result = one.status(request_id), one.result(request_id)

    assert status.status_code == result.status_code == 200
    assert status.json() == result.json()
    assert status.json()["metrics"] == {}
    assert "output" not in result.json()


def test_a_completed_job_names_its_picture_its_cost_and_the_balance(customer: Customers) -> None:
    one = customer(credits=1.0, price=0.05)
    request_id = one.submit(output_format="jpg")
    one.clock.sleep(10)

    body = one.result(request_id).json()

    url = f"https://images.segmind.com/output/{request_id}.jpg"
    assert body["images"] == [{"url": url, "content_type": "image/jpeg"}]
    assert body["metrics"] == {
        "inference_time": 10,
        "queue_time": 0,
        "total_time": 10,
        "retry_count": 0,
        "cost": 0.05,
        "remaining_credits": 0.95,
    }
    assert one.status(request_id).json() == {
        "status": "COMPLETED",
        "request_id": request_id,
        "metrics": {"inference_time": 10},
    }


def test_the_v1_poll_url_answers_like_the_response_url(customer: Customers) -> None:
    one = customer()
    submitted = one.post().json()
    one.clock.sleep(10)

    assert one.http.get(submitted["poll_url"]).json() == one.http.get(submitted["response_url"]).json()


def test_the_output_comes_in_every_shape_in_turn(customer: Customers) -> None:
    one = customer()
    ids = [one.submit() for _ in range(3)]
    one.clock.sleep(10)

    outputs = [one.result(request_id).json()["output"] for request_id in ids]

    urls = [f"https://images.segmind.com/output/{request_id}.png" for request_id in ids]
    assert outputs == [urls[0], [urls[1]], {"url": urls[2]}]


@pytest.mark.parametrize(
    ("shape", "output", "images"),
    [
        pytest.param("deep", {"result": {"data": {"images": [{"url": "{}"}]}}}, [], id="deep"),
        pytest.param("blank", "{} ", ["{} "], id="a blank behind it"),
        pytest.param("relative", "/output/", ["/output/"], id="relative"),
        pytest.param("none", None, [], id="no link"),
        pytest.param("several", [f"{ELSEWHERE}/output/", "{}"], [f"{ELSEWHERE}/output/", "{}"], id="several"),
    ],
)
def test_a_link_can_be_told_in_ways_that_nobody_expects(
    customer: Customers, shape: str, output: object, images: object
) -> None:
    one = customer(output_shapes=(shape,))
    request_id = one.submit()
    one.clock.sleep(10)

    result = one.result(request_id).json()

    told = json.dumps([result["output"], [image["url"] for image in result["images"]]])
    there = f"https://images.segmind.com/output/{request_id}.png"
    assert json.loads(told.replace(there, "{}").replace(f"{request_id}.png", "")) == [output, images]
    assert one.http.get(there).status_code == 200


def test_output_files_are_public(customer: Customers) -> None:
    one = customer()
    request_id = one.submit(prompt="a cat", seed=7)
    one.clock.sleep(10)

    answer = one.http.get(f"https://images.segmind.com/output/{request_id}.png", headers={"x-api-key": ""})

    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/png", b"a cat #7")


def test_a_failed_job_answers_422_and_is_not_charged(customer: Customers) -> None:
    one = customer()
    one.service.script.add(Rule(fail="Content was blocked by the safety filter"))
    request_id = one.submit()
    one.clock.sleep(10)

    answers = [one.status(request_id), one.result(request_id)]

    assert [answer.status_code for answer in answers] == [422, 422]
    assert answers[0].json()["error"] == "Content was blocked by the safety filter"
    assert "cost" not in answers[1].json()["metrics"]
    assert one.service.ledger.charges == []


def test_an_input_that_is_no_image_fails_the_job_without_a_charge(customer: Customers) -> None:
    def refuse(_: Parameters) -> NoReturn:
        raise BadInput("input_image_2 is not an image that can be read")

    one = customer(draw=refuse)
    request_id = one.submit()

    answer = one.status(request_id)

    assert (answer.status_code, answer.json()["error"]) == (422, "input_image_2 is not an image that can be read")
    assert one.service.ledger.spent == 0


def test_a_job_is_charged_once_when_it_completes_however_often_it_is_asked_for(customer: Customers) -> None:
    one = customer(credits=1.0)
    request_id = one.submit()
    before = one.http.get("/v1/get-user-credits").json()
    one.clock.sleep(10)

    for _ in range(5):
        one.status(request_id)
        one.result(request_id)

    assert before == {"credits": 1.0}
    assert one.http.get("/v1/get-user-credits").json() == {"credits": 0.95}
    assert [(charge.request_id, charge.amount) for charge in one.service.ledger.charges] == [(request_id, 0.05)]


def test_the_ledger_refuses_a_second_charge_for_one_job(customer: Customers) -> None:
    one = customer()
    job = one.service.ledger.jobs[one.submit()]
    one.clock.sleep(10)

    with pytest.raises(ValueError, match="was charged before"):
        one.service.ledger.charge(job, 0.05, one.clock())


def test_every_accepted_post_is_a_new_job_and_a_new_charge(customer: Customers) -> None:
    one = customer()

    ids = {one.submit(prompt="the same") for _ in range(3)}
    one.clock.sleep(30)

    assert len(ids) == 3
    assert one.service.ledger.spent == 0.15


def test_a_job_nobody_asks_about_is_charged_all_the_same(customer: Customers) -> None:
    one = customer()
    one.submit()

    one.clock.sleep(7200)

    assert one.service.ledger.spent == 0.05


def test_a_record_is_gone_an_hour_after_its_submission(customer: Customers) -> None:
    one = customer()
    request_id = one.submit()
    one.clock.sleep(3599)
    before = one.result(request_id)
    one.clock.sleep(1)

    after = [one.status(request_id), one.result(request_id), one.http.get(f"/v1/requests/{request_id}")]

    assert before.status_code == 200
    assert [answer.status_code for answer in after] == [404, 404, 404]
    assert after[0].json() == {"error": f"Request {request_id} not found"}


def test_an_output_file_lives_for_seven_days(customer: Customers) -> None:
    one = customer()
    url = f"https://images.segmind.com/output/{one.submit()}.png"
    one.clock.sleep(10 + 7 * 86400 - 1)
    before = one.http.get(url)
    one.clock.sleep(1)

    assert (before.status_code, one.http.get(url).status_code) == (200, 404)


def test_the_synchronous_call_waits_and_returns_the_bytes(customer: Customers) -> None:
    one = customer(credits=1.0)
    began = one.clock()

    answer = one.http.post(
        f"/v1/{MODEL}",
        json={"prompt": "p", "input_image_1": "https://a/1", "input_image_2": "https://a/2", "seed": 3},
        timeout=60,
    )

    assert one.clock() - began == 10
    assert (answer.status_code, answer.content) == (200, b"p #3")
    assert answer.headers["x-request-id"] in one.service.ledger.jobs
    assert {name: answer.headers[name] for name in ("x-cost", "x-remaining-credits", "x-seed-value")} == {
        "x-cost": "0.05",
        "x-remaining-credits": "0.95",
        "x-seed-value": "3",
    }
    assert float(answer.headers["x-generation-time"]) == 10


def test_a_synchronous_caller_who_gives_up_early_pays_all_the_same(customer: Customers) -> None:
    one = customer()

    with pytest.raises(httpx.ReadTimeout):
        one.post("v1")
    one.clock.sleep(10)

    assert one.service.ledger.spent == 0.05


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


def test_the_ledger_tells_every_look_and_what_it_was_told(customer: Customers) -> None:
    one = customer(rate_limit=2, count_gets=True)
    request_id = one.submit()

    one.status(request_id)
    one.clock.sleep(10)
    one.result(request_id)

    polls = [(poll.kind, poll.status, poll.told, poll.resets is None) for poll in one.service.ledger.polls]
    assert polls == [("status", 200, "PROCESSING", True), ("result", 429, "", False)]


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


def test_inference_times_have_the_asked_mean_and_spread() -> None:
    rng = Random(1)

    times = [Lognormal(23.32, 0.2).sample(rng, nth) for nth in range(20_000)]

    assert statistics.mean(times) == pytest.approx(23.32, rel=0.01)
    assert statistics.stdev(times) / statistics.mean(times) == pytest.approx(0.2, rel=0.03)


def test_without_a_spread_every_inference_takes_the_same_time() -> None:
    assert {Lognormal(5.0, 0.0).sample(Random(1), nth) for nth in range(10)} == {5.0}


def test_inference_times_can_have_two_modes() -> None:
    rng = Random(1)

    times = [Bimodal(10, 60, slow_share=0.25).sample(rng, nth) for nth in range(4000)]

    assert set(times) == {10, 60}
    assert times.count(60) / len(times) == pytest.approx(0.25, abs=0.03)


def test_the_same_seed_gives_the_same_ids_and_times(customer: Customers) -> None:
    first, second = customer(inference=20), customer(inference=20)

    for one in (first, second):
        one.submit()
        one.clock.sleep(100)

    assert first.service.ledger.as_json() == second.service.ledger.as_json()


def test_the_ledger_tells_every_post_and_what_became_of_it(customer: Customers) -> None:
    one = customer(credits=0.05)
    one.service.script.add(Rule(prompt="lost", accept=True, drop=True))
    accepted = one.submit(prompt="good", input_image_1="https://a/left.png")
    one.post(aspect_ratio="7:5")
    with pytest.raises(httpx.RemoteProtocolError):
        one.post(prompt="lost")
    one.status(accepted)

    ledger = one.service.ledger

    assert [(post.outcome, post.status) for post in ledger.posts] == [
        ("accepted", 200),
        ("refused", 406),
        ("accepted unanswered", None),
    ]
    assert [job.parameters.prompt for job in ledger.jobs.values()] == ["good", "lost"]
    assert ledger.jobs[accepted].parameters.input_image_1 == "https://a/left.png"
    assert ledger.gets == {"status": 1}


@pytest.mark.parametrize(
    "changes",
    [{"nonsense": 1}, {"workers": 0}, {"inference": -1}, {"inference": {"values": []}}, {"rate_window": "no"}],
)
def test_a_wrong_setting_is_refused_by_name(customer: Customers, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        customer().service.change(**changes)
