"""The emulated vendor against the contract of the Segmind API, on a virtual clock: a job's life, and its picture."""

from __future__ import annotations

import json
import statistics
from random import Random
from typing import NoReturn

import httpx
import pytest

from kontext_local.segmind import BadInput, Bimodal, Lognormal, Parameters, Rule
from kontext_local.segmind.shapes import ELSEWHERE
from tests.contract.conftest import MODEL, Customers


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


def test_the_ledger_tells_every_look_and_what_it_was_told(customer: Customers) -> None:
    one = customer(rate_limit=2, count_gets=True)
    request_id = one.submit()

    one.status(request_id)
    one.clock.sleep(10)
    one.result(request_id)

    polls = [(poll.kind, poll.status, poll.told, poll.resets is None) for poll in one.service.ledger.polls]
    assert polls == [("status", 200, "PROCESSING", True), ("result", 429, "", False)]


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
