"""The client of Segmind's API, against every answer of the contract and some that are not in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kontext.errors import (
    AccountRefused,
    Ambiguous,
    RateLimited,
    RecordGone,
    RequestRefused,
    SegmindError,
    ServerError,
    Unavailable,
)
from kontext.segmind.answers import JobStatus, Result, parse_time
from kontext.segmind.client import Segmind
from kontext.segmind.exchange import ANSWER_SECONDS, MAX_ANSWER_BYTES, fingerprint

ID = "3f2c8f5e-8f5e-4b7a-9d6e-0123456789ab"
URL = "https://images.segmind.com/outputs/a.png"
PARAMETERS = {"prompt": "Zwei Kätzchen", "input_image_1": "https://a/1.png", "input_image_2": "https://a/2.png"}
HTML = "<!doctype html>\n<title>405 Method Not Allowed</title>\n"
RESET = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

Answer = httpx.Response | Exception
Client = Callable[..., Segmind]


class Network:
    """Gives one prepared answer after the other, the last one for ever, and keeps what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(
        self, api_key: Callable[[bool], str] = lambda fresh: "SG_0123456789abcdef", previous_key: str | None = None
    ) -> Segmind:
        transport = httpx.MockTransport(self)
        return Segmind("https://api.segmind.com/", "multi-image-kontext-pro", api_key, transport, lambda: previous_key)


class BrokenOff(httpx.SyncByteStream):
    """An answer of which only the beginning comes."""

    def __init__(self, part: bytes) -> None:
        self.part = part

    def __iter__(self) -> Iterator[bytes]:
        yield self.part
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


def says(code: int, /, *, text: str | None = None, headers: dict[str, str] | None = None, **content: Any) -> Answer:
    """An answer with a JSON body, or with a text."""
    if text is not None:
        return httpx.Response(code, text=text, headers={"content-type": "text/html"} | (headers or {}))
    return httpx.Response(code, json=content, headers=headers)


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
    assert refused.value.status == answer.status_code  # type: ignore[union-attr]
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


@pytest.mark.parametrize(
    "repeated",
    ["SG_0123456789abcdef", "\\u0053G_0123456789abcdef", "SG\\u005F0123\\u003456789abcdef"],
    ids=["as it is", "one escape", "more escapes"],
)
def test_an_answer_that_repeats_the_key_in_any_form_does_not_carry_it_further(repeated: str) -> None:
    network = Network(says(200, text=f'{{"status": "FAILED", "error": "a \\\\u0041 \\u0022 {repeated} b"}}'))

    status = network.client().status(ID)

    assert status.error == 'a \\u0041 " ... b'


def test_an_answer_cannot_leave_a_cookie_behind() -> None:
    network = Network(says(200, status="QUEUED", headers={"set-cookie": "a=b; Path=/"}))
    client = network.client()

    for _ in range(2):
        client.status(ID)

    assert [request.headers.get("cookie") for request in network.requests] == [None, None]


def test_a_replaced_key_is_used_without_a_restart() -> None:
    network = Network(says(401, error="Unauthorized"), says(200, request_id=ID))
    asked: list[bool] = []

    request_id = network.client(lambda fresh: asked.append(fresh) or ("new" if fresh else "old")).submit(PARAMETERS)

    assert request_id == ID
    assert [request.headers["x-api-key"] for request in network.requests] == ["old", "new"]
    assert asked == [False, True]


def test_a_rejected_key_that_has_not_changed_is_not_tried_again() -> None:
    network = Network(says(401, error="Unauthorized", error_description="The API key was revoked", status_code=401))

    with pytest.raises(AccountRefused, match="The API key was revoked"):
        network.client().submit(PARAMETERS)

    assert len(network.requests) == 1


@pytest.mark.parametrize("key", ["", "put the key here", "SG_\n", "SG_é", "x" * 201])
def test_a_secret_that_holds_no_key_is_never_sent(key: str) -> None:
    network = Network(says(200, request_id=ID))

    with pytest.raises(AccountRefused, match="no API key") as refused:
        network.client(lambda fresh: key).submit(PARAMETERS)

    assert refused.value.reason == "bad_key"
    assert network.requests == []


def test_a_key_that_cannot_be_read_is_nobodys_fault() -> None:
    def unreadable(fresh: bool) -> str:
        raise RuntimeError("SG_secret cannot be read")

    with pytest.raises(Unavailable, match="RuntimeError") as refused:
        Network(says(200)).client(unreadable).submit(PARAMETERS)

    assert "SG_" not in str(refused.value)


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


DONE = {"status": "COMPLETED", "request_id": ID, "metrics": {"cost": 0.05, "remaining_credits": 9, "total_time": 20}}
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

    assert isinstance(result, Result)
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

    assert isinstance(found, Result)
    assert found.links[0].startswith(("ftp:", "file:"))


@pytest.mark.parametrize("output", [None, "", "x", [], {}, "/a.png", "https://" + "x" * 5000, "https://a/\ud800.png"])
def test_a_result_that_names_no_picture_says_what_it_says_without_a_signature(output: Any) -> None:
    body = json.dumps({**DONE, "output": output, "logs": "https://a/b?X-Amz-Signature=f00d"})

    found = Network(says(200, text=body)).client().result(ID)

    assert isinstance(found, Result)
    assert (found.links, found.metrics) == ((), METRICS)
    assert "COMPLETED" in found.answer
    assert "f00d" not in found.answer


def test_links_are_read_wherever_they_stand_but_not_what_was_asked_for() -> None:
    elsewhere = {"result": {"files": [{"href": URL}]}, "input_image_1": "https://a/1.png", "status_url": "https://b/c"}

    found = Network(says(200, **DONE, **elsewhere)).client().result(ID)

    assert isinstance(found, Result)
    assert (found.links, found.others) == ((), (URL,))


def test_a_422_that_is_not_about_the_job_tells_nothing() -> None:
    with pytest.raises(Unavailable):
        Network(says(422, detail=[{"msg": "Input should be a valid UUID"}])).client().status(ID)


OLD, NEW = "SG_00000000000000aa", "SG_00000000000000bb"


@pytest.mark.parametrize("refusal", [401, 404])
@pytest.mark.parametrize(
    ("cached", "newest", "previous", "submitted_with"),
    [
        pytest.param(NEW, NEW, OLD, OLD, id="the key was replaced since"),
        pytest.param(OLD, NEW, None, NEW, id="the key was replaced before, and this function does not know it yet"),
    ],
)
def test_a_job_that_its_own_key_alone_knows_is_asked_for_with_that(
    refusal: int, cached: str, newest: str, previous: str | None, submitted_with: str
) -> None:
    def network(request: httpx.Request) -> httpx.Response:
        known = request.headers["x-api-key"] == submitted_with
        return (
            httpx.Response(200, json={"status": "QUEUED"}) if known else httpx.Response(refusal, json={"error": "no"})
        )

    transport = httpx.MockTransport(network)
    client = Segmind("https://a", "m", lambda fresh: newest if fresh else cached, transport, lambda: previous)

    assert client.status(ID, fingerprint(submitted_with)) == JobStatus("QUEUED")


@pytest.mark.parametrize("submitted_with", [fingerprint(NEW), fingerprint("a third one"), None])
def test_another_key_is_not_tried_for_a_job_that_it_did_not_submit(submitted_with: str | None) -> None:
    network = Network(says(404, error="no"))

    with pytest.raises(RecordGone):
        network.client(lambda fresh: NEW, previous_key=OLD).status(ID, submitted_with)

    assert {request.headers["x-api-key"] for request in network.requests} == {NEW}


def test_a_fingerprint_is_too_short_to_find_the_key() -> None:
    network = Network(says(200, request_id=ID))
    client = network.client()

    client.submit(PARAMETERS)

    assert client.sent_with == fingerprint("SG_0123456789abcdef")
    assert len(client.sent_with) == 8


READS: list[Callable[[Segmind], object]] = [
    lambda client: client.status(ID),
    lambda client: client.result(ID),
    lambda client: client.credits(),
]


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


@pytest.mark.parametrize("credits", [None, "many", -1e12, True, [1]])
def test_credits_that_are_no_amount_tell_nothing(credits: Any) -> None:
    with pytest.raises(Unavailable, match="no credits"):
        Network(says(200, credits=credits)).client().credits()


@pytest.mark.parametrize("credits", [12.5, 0, -0.04])
def test_credits_are_read_in_usd(credits: float) -> None:
    network = Network(says(200, credits=credits))

    assert network.client().credits() == credits
    assert str(network.requests[0].url) == "https://api.segmind.com/v1/get-user-credits"


def test_a_synchronous_call_gives_the_picture_and_what_it_cost() -> None:
    headers = {"x-cost": "0.05", "x-remaining-credits": "9.95", "x-request-id": ID, "content-type": "image/png"}
    network = Network(httpx.Response(200, content=b"\x89PNG", headers=headers))

    picture = network.client().generate(PARAMETERS)

    assert picture.body == b"\x89PNG"
    assert picture.headers == {"x-cost": "0.05", "x-remaining-credits": "9.95", "x-request-id": ID}
    assert str(network.requests[0].url) == "https://api.segmind.com/v1/multi-image-kontext-pro"


@pytest.mark.parametrize(("answer", "error", "said"), REFUSALS)
def test_a_refused_synchronous_call_is_a_refused_submit(
    answer: Answer, error: type[SegmindError], said: dict[str, Any]
) -> None:
    with pytest.raises(error):
        Network(answer).client().generate(PARAMETERS)


def test_what_segmind_says_is_kept_short_and_can_be_stored() -> None:
    body = json.dumps({"error": "half \ud800 of a character " + "x" * 1000})

    with pytest.raises(RequestRefused) as refused:
        Network(says(400, text=body)).client().submit(PARAMETERS)

    assert len(str(refused.value)) <= 500
    assert str(refused.value).encode().startswith(b"half ")


@pytest.mark.parametrize(
    "value",
    [
        RESET.isoformat(),
        "2026-01-02T03:04:05Z",
        "2026-01-02 03:04:05",
        format_datetime(RESET, usegmt=True),
        str(int(RESET.timestamp())),
        str(int(RESET.timestamp() * 1000)),
        " 2026-01-02T03:04:05Z ",
        "2026-01-02T04:04:05+01:00",
    ],
)
def test_a_reset_is_read_in_every_form_that_is_in_use(value: str) -> None:
    assert parse_time(value) == RESET.timestamp()


@pytest.mark.parametrize("value", [None, "", "soon", "nan", "inf", "-", "99999-01-01", "1e999"])
def test_a_reset_that_says_nothing_is_none(value: str | None) -> None:
    assert parse_time(value) is None


@given(st.text(max_size=40))
def test_any_reset_is_a_finite_time_or_none(value: str) -> None:
    at = parse_time(value)

    assert at is None or abs(at) < float("inf")


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(URL),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["status", "request_id", "output", "images", "url", "metrics", "error", "credits", "cost"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)
BODIES = st.binary(max_size=60) | ANY_JSON.map(lambda value: json.dumps(value).encode())
RESPONSES = st.builds(
    httpx.Response,
    st.sampled_from(
        [200, 201, 204, 302, 400, 401, 402, 403, 404, 405, 406, 410, 418, 422, 429, 500, 502, 503, 504, 599]
    ),
    content=BODIES,
    headers=st.dictionaries(
        st.sampled_from(["x-rate-limit-reset-at-utc", "content-type", "location"]),
        st.text("0123456789:-TZ", max_size=20),
    ),
)
FAILURES = st.sampled_from(
    [httpx.ConnectError, httpx.ReadTimeout, httpx.WriteError, httpx.ProxyError, httpx.TooManyRedirects]
).map(lambda kind: kind("broken"))
CALLS: list[Callable[[Segmind], object]] = [
    lambda client: client.submit(PARAMETERS),
    lambda client: client.generate(PARAMETERS),
    *READS,
]


@given(RESPONSES | FAILURES, st.sampled_from(CALLS))
def test_whatever_is_answered_nothing_but_its_own_errors_is_raised(
    answer: Answer, call: Callable[[Segmind], object]
) -> None:
    client = Network(answer).client()

    try:
        told = str(call(client))
    except SegmindError as refusal:
        told = str(refusal)

    assert told
    told.encode()


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
