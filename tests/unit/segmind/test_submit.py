"""A request to Segmind: sent once, and what each answer to it means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from kontext.errors import (
    AccountRefused,
    Ambiguous,
    RateLimited,
    RequestRefused,
    SegmindError,
    ServerError,
    Unavailable,
)
from kontext.segmind.client import Segmind
from kontext.segmind.exchange import ANSWER_SECONDS, MAX_ANSWER_BYTES
from tests.unit.segmind.network import HTML, ID, PARAMETERS, RESET, Answer, BrokenOff, Network, says


def test_a_submit_posts_the_parameters_once_and_gives_the_request_id() -> None:
    network = Network(says(200, request_id=ID, status="QUEUED", poll_url="x", status_url="y", response_url="z"))

    request_id = network.client().submit(PARAMETERS)

    (sent,) = network.requests
    assert request_id == ID
    assert (sent.method, str(sent.url)) == ("POST", "https://api.segmind.com/v2/multi-image-kontext-pro")
    assert sent.headers["x-api-key"] == "SG_0123456789abcdef"
    assert sent.headers["content-type"] == "application/json"
    assert "authorization" not in sent.headers
    assert json.loads(sent.content) == PARAMETERS


def test_of_an_answer_that_names_two_jobs_the_request_id_is_believed_and_its_links_are_data() -> None:
    other = f"https://api.segmind.com/v2/requests/{ID[:-1]}0"
    network = Network(says(200, request_id=ID, status="QUEUED", status_url=f"{other}/status", response_url=other))

    assert network.client().submit(PARAMETERS) == ID


REFUSALS = [
    pytest.param(says(400, error="prompt is required"), RequestRefused, {"code": "refused"}, id="400"),
    pytest.param(says(401, error="Missing Authorization"), AccountRefused, {"reason": "bad_key"}, id="401"),
    pytest.param(says(403, error="no access"), AccountRefused, {"reason": "forbidden"}, id="403"),
    pytest.param(says(404, error="Model not found"), AccountRefused, {"reason": "configuration"}, id="404"),
    pytest.param(says(405, text=HTML), RequestRefused, {"code": "refused"}, id="405, in HTML"),
    pytest.param(says(406, error="Invalid content type"), RequestRefused, {"code": "refused"}, id="406 content type"),
    pytest.param(
        says(406, error="Insufficient credits: balance 0.02, cost 0.05"),
        AccountRefused,
        {"reason": "no_credits"},
        id="406 credits",
    ),
    pytest.param(
        says(406, error="Team spend limit reached"), AccountRefused, {"reason": "spend_limit"}, id="406 spend limit"
    ),
    pytest.param(
        says(406, error="aspect_ratio must be one of 1:1, 16:9"), RequestRefused, {"code": "refused"}, id="406 a value"
    ),
    pytest.param(says(410, error="retired"), AccountRefused, {"reason": "configuration"}, id="410"),
    pytest.param(
        says(406, error="Your wallet does not cover this call"),
        AccountRefused,
        {"reason": "unknown_refusal"},
        id="406 in words that nobody knows",
    ),
    pytest.param(says(413, text=HTML), RequestRefused, {"code": "refused"}, id="413"),
    pytest.param(says(422, error="bad"), RequestRefused, {"code": "refused"}, id="422"),
    pytest.param(
        says(
            429, headers={"x-rate-limit-reset-at-utc": RESET.isoformat(), "date": format_datetime(RESET, usegmt=True)}
        ),
        RateLimited,
        {"reset_at": RESET.timestamp(), "answered_at": RESET.timestamp()},
        id="429",
    ),
    pytest.param(says(429, text="slow down"), RateLimited, {"reset_at": None}, id="429 without a reset"),
    pytest.param(says(500, error="Internal"), ServerError, {"status": 500}, id="500"),
    pytest.param(says(502, text=HTML), ServerError, {"status": 502}, id="502, in HTML"),
    pytest.param(says(503, text=""), ServerError, {"status": 503}, id="503, empty"),
    pytest.param(says(504, error="timed out"), Ambiguous, {"status": 504}, id="504"),
    pytest.param(says(520, text=HTML), Ambiguous, {"status": 520}, id="a gateway's own 5xx"),
    pytest.param(says(301, headers={"location": "https://elsewhere"}), Ambiguous, {"status": 301}, id="a redirect"),
]


@pytest.mark.parametrize(("answer", "error", "said"), REFUSALS)
def test_a_refused_submit_says_what_can_be_done_about_it(
    answer: Answer, error: type[SegmindError], said: dict[str, Any]
) -> None:
    network = Network(answer)

    with pytest.raises(error) as refused:
        network.client().submit(PARAMETERS)

    assert type(refused.value) is error
    assert {name: getattr(refused.value, name) for name in said} == said
    assert isinstance(answer, httpx.Response)
    assert refused.value.status == answer.status_code
    assert str(refused.value)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(says(200, text=HTML), id="a web page"),
        pytest.param(says(200, text='{"request_id": "abc"'), id="cut off"),
        pytest.param(says(200, text=""), id="empty"),
        pytest.param(says(200, text='["request_id"]'), id="a list"),
        pytest.param(says(200, status="QUEUED"), id="no request_id"),
        pytest.param(says(200, request_id=None), id="null"),
        pytest.param(says(200, request_id=7), id="a number"),
        pytest.param(says(200, request_id=""), id="an empty text"),
        pytest.param(says(200, request_id="../../v1/get-user-credits"), id="a path"),
        pytest.param(says(200, request_id="a\nb"), id="two lines"),
        pytest.param(says(200, request_id="x" * 200), id="too long"),
        pytest.param(says(204), id="204"),
        pytest.param(httpx.ReadTimeout("late"), id="no answer in time"),
        pytest.param(httpx.ReadError("reset"), id="connection lost"),
        pytest.param(httpx.RemoteProtocolError("closed"), id="connection closed"),
        pytest.param(httpx.WriteTimeout("slow"), id="perhaps half sent"),
        pytest.param(httpx.WriteError("broken"), id="broken while sending"),
        pytest.param(httpx.Response(200, content=b"x" * (MAX_ANSWER_BYTES + 1)), id="endless"),
        pytest.param(httpx.Response(200, content=b"\xff\xfe\x00"), id="bytes without a meaning"),
    ],
)
def test_a_submit_without_a_usable_answer_is_ambiguous_and_never_repeated(answer: Answer) -> None:
    network = Network(answer)

    with pytest.raises(Ambiguous):
        network.client().submit(PARAMETERS)

    assert len(network.requests) == 1


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("refused"), httpx.ConnectTimeout("late"), httpx.PoolTimeout("busy")],
    ids=lambda failure: type(failure).__name__,
)
def test_a_submit_that_never_left_may_be_repeated(failure: Exception) -> None:
    with pytest.raises(Unavailable) as refused:
        Network(failure).client().submit(PARAMETERS)

    assert refused.value.status is None


def test_an_answer_that_drips_is_given_up() -> None:
    class Dripping(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield from iter(lambda: b" " * 65_536, b"")

    network = Network(httpx.Response(200, stream=Dripping()))

    with pytest.raises(Ambiguous):
        network.client().submit(PARAMETERS)

    assert ANSWER_SECONDS < 45


def test_an_answer_cannot_leave_a_cookie_behind() -> None:
    network = Network(says(200, status="QUEUED", headers={"set-cookie": "a=b; Path=/"}))
    client = network.client()

    for _ in range(2):
        client.status(ID)

    assert [request.headers.get("cookie") for request in network.requests] == [None, None]


def test_what_segmind_says_is_kept_short_and_can_be_stored() -> None:
    body = json.dumps({"error": "half \ud800 of a character " + "x" * 1000})

    with pytest.raises(RequestRefused) as refused:
        Network(says(400, text=body)).client().submit(PARAMETERS)

    assert len(str(refused.value)) <= 500
    assert str(refused.value).encode().startswith(b"half ")


OTHER_ID = ID.replace("3f2c", "4f2c")


@pytest.mark.parametrize(
    ("answer", "candidate"),
    [
        pytest.param(says(200, text=f'{{"request_id": "{ID}", "status": "QUE'), ID, id="cut off, yet of full length"),
        pytest.param(httpx.Response(200, stream=BrokenOff(f'{{"request_id": "{ID}"'.encode())), ID, id="broken off"),
        pytest.param(
            httpx.Response(200, stream=BrokenOff(f'{{"request_id": "{ID[:-1]}'.encode())), None, id="within the id"
        ),
        pytest.param(says(504, request_id=ID.upper(), error="timed out"), ID, id="a gateway that names it"),
        pytest.param(says(200, text=f"<a href='/v2/requests/{ID}/status'>here</a>"), ID, id="in a link"),
        pytest.param(says(200, result={"request_id": ID}), ID, id="within something else"),
        pytest.param(says(400, request_id=ID, status="QUEUED"), ID, id="a refusal that names a job"),
        pytest.param(says(504, text=f"request_id={ID} request_id={OTHER_ID}"), None, id="two of them"),
        pytest.param(says(504, trace=ID), None, id="an id of something else"),
        pytest.param(says(504, text=HTML), None, id="none"),
    ],
)
def test_a_job_that_a_broken_answer_to_a_request_names_is_a_candidate(answer: Answer, candidate: str | None) -> None:
    client = Network(answer).client()

    with pytest.raises(Ambiguous) as lost:
        client.submit(PARAMETERS)

    assert lost.value.candidate_id == candidate


def test_an_answer_to_a_request_that_may_be_paid_is_waited_for_as_long_as_it_may_take() -> None:
    seen: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"]["read"])
        return httpx.Response(200, json={"request_id": "3f2cdd6a-5b1c-4d1e-9a3f-0d6d9bd4f001"})

    client = Segmind("https://api.example", "model", lambda fresh: "SG_0123456789abcdef", httpx.MockTransport(answer))

    client.submit({"prompt": "p"})

    assert seen == [ANSWER_SECONDS]
