"""A job's status and result, in every shape that they come in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from kontext.errors import (
    AccountRefused,
    RateLimited,
    RecordGone,
    SegmindError,
    Unavailable,
)
from kontext.segmind.answers import JobResult, JobStatus
from kontext.segmind.client import Segmind
from tests.unit.segmind.network import HTML, ID, READS, URL, Answer, Network, says


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        pytest.param(says(200, status="QUEUED", request_id=ID, metrics={}), JobStatus("QUEUED"), id="queued"),
        pytest.param(
            says(200, status="PROCESSING", request_id=ID, metrics={}), JobStatus("PROCESSING"), id="processing"
        ),
        pytest.param(
            says(200, status="COMPLETED", request_id=ID, metrics={"inference_time": 13.06}),
            JobStatus("COMPLETED", None, {"inference_time": 13.06}),
            id="completed",
        ),
        pytest.param(
            says(422, status="FAILED", error="RAI: blocked", metrics={"inference_time": 2}),
            JobStatus("FAILED", "RAI: blocked", {"inference_time": 2.0}),
            id="failed",
        ),
        pytest.param(says(422, error="blocked"), JobStatus("FAILED", "blocked"), id="failed, without saying so"),
        pytest.param(
            says(422, error={"why": "blocked"}), JobStatus("FAILED", '{"why": "blocked"}'), id="failed, nested"
        ),
        pytest.param(says(422, status="FAILED"), JobStatus("FAILED"), id="failed for no reason"),
        pytest.param(says(200, status="queued"), JobStatus("QUEUED"), id="lower case"),
        pytest.param(says(200, status="RUNNING"), JobStatus("RUNNING"), id="a state we do not know"),
        pytest.param(says(200, status="QUEUED", metrics=None), JobStatus("QUEUED"), id="metrics are null"),
        pytest.param(
            says(200, status="COMPLETED", metrics={"inference_time": "13", "cost": True, "queue_time": -1}),
            JobStatus("COMPLETED"),
            id="metrics are nonsense",
        ),
        pytest.param(
            says(200, status="COMPLETED", metrics={"cost": 0.05, "remaining_credits": -0.04}),
            JobStatus("COMPLETED", None, {"cost": 0.05, "remaining_credits": -0.04}),
            id="it ran as the account ran out",
        ),
    ],
)
def test_a_status_gives_the_state_of_the_job(answer: Answer, status: JobStatus) -> None:
    network = Network(answer)

    seen = network.client().status(ID)

    assert seen == status
    assert str(network.requests[0].url) == f"https://api.segmind.com/v2/requests/{ID}/status"


DONE: dict[str, Any] = {
    "status": "COMPLETED",
    "request_id": ID,
    "metrics": {"cost": 0.05, "remaining_credits": 9, "total_time": 20},
}


METRICS = {"cost": 0.05, "remaining_credits": 9.0, "total_time": 20.0}


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param({"output": URL}, id="a text"),
        pytest.param({"output": [URL]}, id="a list"),
        pytest.param({"output": {"url": URL}}, id="an object"),
        pytest.param({"output": {"image": URL}}, id="an object with another name"),
        pytest.param({"output": {"id": "x", "url": URL}}, id="an object with other texts"),
        pytest.param({"output": [{"images": [{"url": URL}]}]}, id="nested"),
        pytest.param({"output": None, "images": [{"url": URL, "content_type": "image/png"}]}, id="images alone"),
        pytest.param({"output": "x", "images": [{"url": URL}]}, id="an output that is none"),
        pytest.param({"output": URL, "images": []}, id="no images"),
        pytest.param({"output": URL, "images": "broken"}, id="broken images"),
        pytest.param({"output": [[[[[[URL]]]]]]}, id="deeper than anybody would put it"),
        pytest.param({"output": f"{URL} "}, id="followed by a blank"),
    ],
)
def test_a_result_is_found_whatever_its_shape(shape: dict[str, Any]) -> None:
    network = Network(says(200, **DONE, **shape))

    result = network.client().result(ID)

    assert isinstance(result, JobResult)
    assert (result.links, result.metrics) == ((URL,), METRICS)
    assert str(network.requests[0].url) == f"https://api.segmind.com/v2/requests/{ID}"


def test_a_result_that_is_not_there_yet_is_a_status() -> None:
    assert Network(says(200, status="PROCESSING", metrics={})).client().result(ID) == JobStatus("PROCESSING")


def test_the_result_of_a_failed_job_says_why() -> None:
    network = Network(says(422, status="FAILED", error="blocked", metrics={}))

    assert network.client().result(ID) == JobStatus("FAILED", "blocked")


@pytest.mark.parametrize("output", ["ftp://a/b", ["file:///etc/passwd"], {"x": ["ftp://a/b", "s3://a/b"]}])
def test_a_picture_that_nobody_would_fetch_is_a_result_all_the_same_for_it_is_paid(output: Any) -> None:
    found = Network(says(200, text=json.dumps({**DONE, "output": output}))).client().result(ID)

    assert isinstance(found, JobResult)
    assert found.links[0].startswith(("ftp:", "file:"))


@pytest.mark.parametrize("output", [None, "", "x", [], {}, "/a.png", "https://" + "x" * 5000, "https://a/\ud800.png"])
def test_a_result_that_names_no_picture_says_what_it_says_without_a_signature(output: Any) -> None:
    body = json.dumps({**DONE, "output": output, "logs": "https://a/b?X-Amz-Signature=f00d"})

    found = Network(says(200, text=body)).client().result(ID)

    assert isinstance(found, JobResult)
    assert (found.links, found.metrics) == ((), METRICS)
    assert "COMPLETED" in found.answer
    assert "f00d" not in found.answer


def test_links_are_read_wherever_they_stand_but_not_what_was_asked_for() -> None:
    elsewhere: dict[str, Any] = {
        "result": {"files": [{"href": URL}]},
        "input_image_1": "https://a/1.png",
        "status_url": "https://b/c",
    }

    found = Network(says(200, **DONE, **elsewhere)).client().result(ID)

    assert isinstance(found, JobResult)
    assert (found.links, found.others) == ((), (URL,))


def test_a_422_that_is_not_about_the_job_tells_nothing() -> None:
    with pytest.raises(Unavailable):
        Network(says(422, detail=[{"msg": "Input should be a valid UUID"}])).client().status(ID)


@pytest.mark.parametrize("read", READS, ids=["status", "result", "credits"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(says(401, error="no"), AccountRefused, id="401"),
        pytest.param(says(403, error="no"), AccountRefused, id="403"),
        pytest.param(says(404, error=f"Request {ID} not found"), RecordGone, id="404"),
        pytest.param(says(404, text=HTML), RecordGone, id="404, in HTML"),
        pytest.param(says(405, text=HTML), Unavailable, id="405"),
        pytest.param(says(422, text=HTML), Unavailable, id="422, in HTML: not Segmind's word"),
        pytest.param(says(429, text=""), RateLimited, id="429"),
        pytest.param(says(500, error="x"), Unavailable, id="500"),
        pytest.param(says(502, text=HTML), Unavailable, id="502"),
        pytest.param(says(503, text=HTML), Unavailable, id="503"),
        pytest.param(says(504, text=HTML), Unavailable, id="504"),
        pytest.param(says(200, text=HTML), Unavailable, id="200, in HTML"),
        pytest.param(says(200, text='{"status": "COMP'), Unavailable, id="200, cut off"),
        pytest.param(says(200, text="[" * 100_000), Unavailable, id="200, nested"),
        pytest.param(says(200, text="{}"), Unavailable, id="200, empty"),
        pytest.param(says(302, headers={"location": "https://elsewhere"}), Unavailable, id="redirect"),
        pytest.param(httpx.ConnectError("refused"), Unavailable, id="refused"),
        pytest.param(httpx.ReadTimeout("late"), Unavailable, id="late"),
        pytest.param(httpx.RemoteProtocolError("closed"), Unavailable, id="closed"),
        pytest.param(httpx.DecodingError("not gzip"), Unavailable, id="undecodable"),
    ],
)
def test_a_read_that_tells_nothing_may_be_repeated(
    read: Callable[[Segmind], object], answer: Answer, error: type[SegmindError]
) -> None:
    network = Network(answer)

    with pytest.raises(error) as refused:
        read(network.client())

    assert type(refused.value) is error
    assert {request.url.host for request in network.requests} == {"api.segmind.com"}


def test_a_state_that_is_no_text_tells_nothing() -> None:
    with pytest.raises(Unavailable, match="no status"):
        Network(says(200, status=3)).client().status(ID)
