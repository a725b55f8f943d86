"""The vendor's published SDK, unmodified, against the emulator: the executable half of the contract."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from segmind import InferenceFailed, InferenceTimeout, SegmindClient, SegmindError

from kontext_local.segmind.server import Emulator

MODEL = "multi-image-kontext-pro"


@pytest.fixture
def sdk(emulator: Emulator) -> Iterator[SegmindClient]:
    client = SegmindClient(api_key=emulator.api_key, base_url=f"{emulator.url}/v1")
    yield client
    client._client.close()


def test_run_gives_the_result(sdk: SegmindClient, asked: dict[str, str]) -> None:
    result = sdk.run(MODEL, **asked)

    assert result["status"] == "COMPLETED"
    assert result["output"] == result["images"][0]["url"]
    assert result["metrics"]["cost"] == 0.05


def test_submit_and_wait_give_the_result(sdk: SegmindClient, asked: dict[str, str]) -> None:
    job = sdk.submit_async(MODEL, **asked)

    result = job.wait(interval=0.01)

    assert result["request_id"] == job.request_id
    assert job.status()["status"] == "COMPLETED"
    assert job.result()["images"] == result["images"]


def test_run_sync_gives_the_bytes(sdk: SegmindClient, emulator: Emulator, asked: dict[str, str]) -> None:
    response = sdk.run_sync(MODEL, **asked)

    assert Image.open(io.BytesIO(response.content)).format == "PNG"
    assert response.headers["x-request-id"] == emulator.ledger()["jobs"][0]["request_id"]
    assert response.headers["x-cost"] == "0.05"


def test_a_failed_job_raises_inference_failed(sdk: SegmindClient, emulator: Emulator, asked: dict[str, str]) -> None:
    emulator.script(fail="Content was blocked by the safety filter")
    job = sdk.submit_async(MODEL, **asked)

    with pytest.raises(InferenceFailed) as raised:
        job.wait(interval=0.01)

    assert raised.value.detail == "Content was blocked by the safety filter"
    assert raised.value.status_body["status"] == "FAILED"
    assert job.result()["status"] == "FAILED"


def test_a_slow_job_raises_inference_timeout(sdk: SegmindClient, emulator: Emulator, asked: dict[str, str]) -> None:
    emulator.script(inference=3600)
    job = sdk.submit_async(MODEL, **asked)

    with pytest.raises(InferenceTimeout) as raised:
        job.wait(timeout=0.05, interval=0.01)

    assert raised.value.request_id == job.request_id
    assert job.status()["status"] == "PROCESSING"


def test_a_queued_job_says_so(sdk: SegmindClient, emulator: Emulator, asked: dict[str, str]) -> None:
    emulator.change(workers=1)
    emulator.script(inference=3600)
    sdk.submit_async(MODEL, **asked)

    assert sdk.submit_async(MODEL, **asked).status()["status"] == "QUEUED"


@pytest.mark.parametrize("call", ["submit_async", "run_sync"])
@pytest.mark.parametrize(
    ("settings", "wrong", "status", "detail"),
    [
        pytest.param({}, {"prompt": ""}, 400, "prompt: field required", id="400"),
        pytest.param({"keys": ["SG_fedcba9876543210"]}, {}, 401, "Unauthorized", id="401"),
        pytest.param(
            {"models": {MODEL: "forbidden"}}, {}, 403, f"Your account may not use the model {MODEL}", id="403"
        ),
        pytest.param({"models": {}}, {}, 404, f"Model {MODEL} not found", id="404"),
        pytest.param(
            {"credits": 0.01}, {}, 406, "Insufficient credits: your balance is 0.01, this model costs 0.05", id="406"
        ),
        pytest.param({"models": {MODEL: "retired"}}, {}, 410, f"The model {MODEL} has been retired", id="410"),
        pytest.param({"rate_limit": 0}, {}, 429, "Too many requests", id="429"),
    ],
)
def test_a_refused_request_raises_an_error_with_status_and_message(
    sdk: SegmindClient,
    emulator: Emulator,
    asked: dict[str, str],
    call: str,
    settings: dict[str, Any],
    wrong: dict[str, str],
    status: int,
    detail: str,
) -> None:
    emulator.change(**settings)

    with pytest.raises(SegmindError) as raised:
        getattr(sdk, call)(MODEL, **{**asked, **wrong})

    assert (raised.value.status, raised.value.detail) == (status, detail)


def test_a_missing_key_raises_401(emulator: Emulator, asked: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    client = SegmindClient(base_url=f"{emulator.url}/v1")

    with client._client, pytest.raises(SegmindError) as raised:
        client.run(MODEL, **asked)

    assert (raised.value.status, raised.value.detail) == (401, "Missing Authorization or x-api-key in header")


def test_an_unknown_request_raises_404(sdk: SegmindClient, emulator: Emulator, asked: dict[str, str]) -> None:
    job = sdk.submit_async(MODEL, **asked)
    emulator.reset()

    with pytest.raises(SegmindError) as raised:
        job.status()

    assert (raised.value.status, raised.value.detail) == (404, f"Request {job.request_id} not found")


def test_a_html_error_page_raises_an_error_without_a_message(
    sdk: SegmindClient, emulator: Emulator, asked: dict[str, str]
) -> None:
    emulator.script(status=502, text="<h1>Bad gateway</h1>")

    with pytest.raises(SegmindError) as raised:
        sdk.submit_async(MODEL, **asked)

    assert (raised.value.status, raised.value.detail) == (502, None)
