"""What Segmind tells of the account, and that no answer at all breaks the client."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kontext.errors import (
    SegmindError,
    Unavailable,
)
from kontext.segmind.answers import parse_time
from kontext.segmind.client import Segmind
from tests.unit.segmind.network import PARAMETERS, READS, RESET, URL, Answer, Network, says


@pytest.mark.parametrize("credits", [None, "many", -1e12, True, [1]])
def test_credits_that_are_no_amount_tell_nothing(credits: Any) -> None:
    with pytest.raises(Unavailable, match="no credits"):
        Network(says(200, credits=credits)).client().credits()


@pytest.mark.parametrize("credits", [12.5, 0, -0.04])
def test_credits_are_read_in_usd(credits: float) -> None:
    network = Network(says(200, credits=credits))

    assert network.client().credits() == credits
    assert str(network.requests[0].url) == "https://api.segmind.com/v1/get-user-credits"


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
