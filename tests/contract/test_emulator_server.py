"""The emulator over a real socket: real downloads, real pictures, really broken connections."""

from __future__ import annotations

import io
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from kontext_local.errors import LocalCloudError
from kontext_local.segmind.server import Emulator, start
from tests.contract.conftest import pixel

MODEL = "multi-image-kontext-pro"
Settled = Callable[[dict[str, Any]], httpx.Response]


@pytest.fixture
def http(emulator: Emulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=emulator.url, headers={"x-api-key": emulator.api_key}, timeout=5) as client:
        yield client


@pytest.fixture
def settled(http: httpx.Client) -> Settled:
    """Submit a request and poll until it has ended: the last answer of the response URL."""

    def settle(asked: dict[str, Any]) -> httpx.Response:
        urls = http.post(f"/v2/{MODEL}", json=asked).json()
        deadline = time.monotonic() + 10
        while http.get(urls["status_url"]).json()["status"] in ("QUEUED", "PROCESSING"):
            assert time.monotonic() < deadline
        return http.get(urls["response_url"])

    return settle


def pixels_of(answer: httpx.Response) -> Image.Image:
    image = Image.open(io.BytesIO(answer.content))
    image.load()
    return image


def test_both_inputs_are_downloaded_and_become_one_picture(
    http: httpx.Client, settled: Settled, asked: dict[str, Any]
) -> None:
    result = settled({**asked, "aspect_ratio": "2:1", "output_format": "jpg"}).json()

    answer = http.get(result["images"][0]["url"])

    picture = pixels_of(answer)
    assert (picture.format, picture.width) == ("JPEG", 2 * picture.height)
    assert answer.headers["content-type"] == "image/jpeg"
    left, right = (pixel(picture, round(x * picture.width), picture.height // 3) for x in (0.1, 0.9))
    assert left[0] > 2 * left[2]
    assert right[2] > 2 * right[0]


def test_the_same_seed_gives_the_same_bytes(http: httpx.Client, settled: Settled, asked: dict[str, Any]) -> None:
    urls = [settled({**asked, "seed": 7}).json()["images"][0]["url"] for _ in range(2)]

    assert urls[0] != urls[1]
    assert http.get(urls[0]).content == http.get(urls[1]).content


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("text.png", "input_image_2 is not an image that can be read"),
        ("missing.png", "input_image_2 could not be downloaded: HTTP 404"),
    ],
)
def test_an_input_that_cannot_be_used_fails_the_job_free_of_charge(
    emulator: Emulator, settled: Settled, asked: dict[str, Any], photographs: str, name: str, error: str
) -> None:
    answer = settled({**asked, "input_image_2": f"{photographs}/{name}?signature=secret"})

    assert (answer.status_code, answer.json()["error"]) == (422, error)
    assert emulator.ledger()["spent"] == 0


def test_a_host_that_does_not_answer_fails_the_job(settled: Settled, asked: dict[str, Any]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        answer = settled({**asked, "input_image_1": f"http://127.0.0.1:{closed.getsockname()[1]}/1.png"})

    assert answer.json()["error"] == "input_image_1 could not be downloaded: ConnectError"


def test_a_dropped_connection_is_really_closed(emulator: Emulator, http: httpx.Client, asked: dict[str, Any]) -> None:
    emulator.script(drop=True)
    emulator.script(drop=True, accept=True, nth=2)

    for _ in range(2):
        with pytest.raises(httpx.RemoteProtocolError):
            http.post(f"/v2/{MODEL}", json=asked)

    assert [post["outcome"] for post in emulator.ledger()["posts"]] == ["unanswered", "accepted unanswered"]


def test_a_hanging_answer_runs_into_the_clients_timeout(emulator: Emulator, http: httpx.Client) -> None:
    emulator.script(on="credits", hang=60)

    with pytest.raises(httpx.ReadTimeout):
        http.get("/v1/get-user-credits", timeout=0.1)

    assert http.get("/v1/get-user-credits").status_code == 200


def test_an_answer_can_break_off(emulator: Emulator, http: httpx.Client) -> None:
    emulator.script(on="credits", cut_after=4)

    with pytest.raises(httpx.RemoteProtocolError):
        http.get("/v1/get-user-credits")


@pytest.mark.parametrize("output_format", ["png", "jpg"])
def test_an_output_of_any_size_is_still_a_picture(
    emulator: Emulator, http: httpx.Client, settled: Settled, asked: dict[str, Any], output_format: str
) -> None:
    emulator.script(output_bytes=5_000_000)
    result = settled({**asked, "output_format": output_format}).json()

    answer = http.get(result["images"][0]["url"])

    assert len(answer.content) == int(answer.headers["content-length"]) == 5_000_000
    assert pixels_of(answer).size


def test_settings_can_be_changed_while_it_runs(emulator: Emulator, http: httpx.Client, asked: dict[str, Any]) -> None:
    emulator.change(rate_limit=1, credits=3.5)
    credits = http.get("/v1/get-user-credits").json()

    statuses = [http.post(f"/v2/{MODEL}", json=asked).status_code for _ in range(2)]

    assert (credits, statuses) == ({"credits": 3.5}, [200, 429])
    assert emulator.ledger()["too_many_requests"] == 1


def test_a_reset_forgets_everything(emulator: Emulator, http: httpx.Client, asked: dict[str, Any]) -> None:
    emulator.script(drop=True, times=None)
    emulator.change(rate_limit=0)

    emulator.reset()

    assert http.post(f"/v2/{MODEL}", json=asked).status_code == 200
    assert len(emulator.ledger()["posts"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "script", {"dorp": True}, 400),
        ("POST", "settings", {"workers": "many"}, 400),
        ("POST", "settings", [1], 400),
        ("POST", "sctipt", {}, 404),
    ],
)
def test_a_wrong_instruction_is_told(http: httpx.Client, method: str, path: str, body: Any, status: int) -> None:
    answer = http.request(method, f"/_emulator/{path}", json=body)

    assert (answer.status_code, "error" in answer.json()) == (status, True)


def test_rules_can_be_listed_and_cleared(http: httpx.Client) -> None:
    http.post("/_emulator/script", json=[{"drop": True}, {"on": "any", "status": 503}])

    listed = http.get("/_emulator/script").json()
    http.delete("/_emulator/script")

    assert listed == [{"drop": True}, {"on": "any", "status": 503}]
    assert http.get("/_emulator/script").json() == []


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"origin": "https://example.com"}, id="a page of another site"),
        pytest.param({"origin": "null"}, id="a sandboxed page"),
        pytest.param({"origin": ""}, id="an origin without a name"),
        pytest.param({"sec-fetch-site": "cross-site"}, id="another site's image"),
        pytest.param({"sec-fetch-site": "same-site"}, id="another port's image"),
        pytest.param({"host": "rebound.example:{port}"}, id="a name that was made to point here"),
        pytest.param({"host": "127.0.0.1:1"}, id="another port"),
    ],
)
def test_what_comes_from_a_page_is_refused_before_it_is_read(
    emulator: Emulator, http: httpx.Client, asked: dict[str, Any], headers: dict[str, str]
) -> None:
    told = {name: value.format(port=http.base_url.port) for name, value in headers.items()}
    calls = [
        ("POST", "/_emulator/settings", {"credits": 1.0}),
        ("DELETE", "/_emulator/script", None),
        ("OPTIONS", "/_emulator/settings", None),
        ("GET", "/_emulator/ledger", None),
        ("POST", f"/v2/{MODEL}", asked),
        ("GET", "/output/any.png", None),
    ]

    answers = [http.request(method, path, headers=told, json=body) for method, path, body in calls]

    assert [answer.status_code for answer in answers] == [403] * len(calls)
    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control")]
    assert (emulator.ledger()["posts"], emulator.ledger()["credits"]) == ([], 100.0)


@pytest.mark.parametrize("key", [None, "", "SG_0123456789abcdef"])
@pytest.mark.parametrize(("method", "name"), [("POST", "settings"), ("GET", "ledger"), ("GET", "settings")])
def test_its_own_endpoints_take_the_key_that_it_was_started_with(
    emulator: Emulator, method: str, name: str, key: str | None
) -> None:
    emulator.change(keys=["SG_0123456789abcdef"])  # what the vendor accepts does not matter
    headers = {} if key is None else {"x-api-key": key}

    answer = httpx.request(method, f"{emulator.url}/_emulator/{name}", headers=headers, json={"credits": 1.0})

    assert (answer.status_code, list(answer.json())) == (403, ["error"])
    assert emulator.ledger()["credits"] == 100.0


def test_keys_that_it_is_told_stand_on_no_command_line(asked: dict[str, Any]) -> None:
    key = f"SG_{secrets.token_hex(8)}"
    with start(keys=[key]) as emulator:
        listed = subprocess.run(["ps", "-ww", "-eo", "args="], capture_output=True, text=True, check=True).stdout

    assert (emulator.api_key, emulator.api_key in listed) == (key, False)
    assert "kontext_local.segmind --child" in listed


def test_a_taken_port_is_told(emulator: Emulator) -> None:
    port = httpx.URL(emulator.url).port
    assert port

    with pytest.raises(LocalCloudError, match=f"port {port} is taken"):
        start(port=port)


def test_a_port_that_cannot_be_is_told() -> None:
    with pytest.raises(LocalCloudError, match=":70000: "):
        start(port=70_000)


def test_a_setting_that_cannot_be_is_told() -> None:
    with pytest.raises(LocalCloudError, match="workers: at least 1"):
        start(workers=0)


def test_it_ends_with_its_parent_even_if_that_is_killed() -> None:
    code = "from kontext_local.segmind.server import start; print(start().url, flush=True); input()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdin is not None
    url = parent.stdout.readline().decode().strip()
    parent.kill()
    parent.wait()

    deadline = time.monotonic() + 5
    while answers(url):
        assert time.monotonic() < deadline
    parent.stdout.close()
    parent.stdin.close()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code > 0
    except httpx.TransportError:
        return False


def test_in_the_foreground_it_says_where_it_is_and_ends_with_ctrl_c() -> None:
    command = [sys.executable, "-m", "kontext_local.segmind", "--api-key", "SG_0123456789abcdef"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        key = process.stdout.readline().split()[-1]
        answer = httpx.get(f"{url}/v1/get-user-credits", headers={"x-api-key": key})
        os.kill(process.pid, signal.SIGINT)
        ended = process.wait(10)

    assert (key, answer.json(), ended) == ("SG_0123456789abcdef", {"credits": 100.0}, 0)
