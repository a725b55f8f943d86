"""Segmind's API key: replaced, rejected, unreadable, and never told to anybody."""

from __future__ import annotations

import httpx
import pytest

from kontext.errors import (
    AccountRefused,
    RecordGone,
    Unavailable,
)
from kontext.segmind.answers import JobStatus
from kontext.segmind.client import Segmind
from kontext.segmind.exchange import fingerprint
from tests.unit.segmind.network import ID, PARAMETERS, Network, says


@pytest.mark.parametrize(
    "repeated",
    ["SG_0123456789abcdef", "\\u0053G_0123456789abcdef", "SG\\u005F0123\\u003456789abcdef"],
    ids=["as it is", "one escape", "more escapes"],
)
def test_an_answer_that_repeats_the_key_in_any_form_does_not_carry_it_further(repeated: str) -> None:
    network = Network(says(200, text=f'{{"status": "FAILED", "error": "a \\\\u0041 \\u0022 {repeated} b"}}'))

    status = network.client().status(ID)

    assert status.error == 'a \\u0041 " ... b'


def test_a_replaced_key_is_used_without_a_restart() -> None:
    network = Network(says(401, error="Unauthorized"), says(200, request_id=ID))
    asked: list[bool] = []

    def key(fresh: bool) -> str:
        asked.append(fresh)
        return "new" if fresh else "old"

    request_id = network.client(key).submit(PARAMETERS)

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
