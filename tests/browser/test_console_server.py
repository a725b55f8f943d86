"""The console's server: whom it answers, what it gives away, and what it takes."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest
from botocore.exceptions import EndpointConnectionError
from PIL import Image

from kontext_cli.web.command import Served
from tests.browser.conftest import Serve, Stack


@pytest.fixture
def console(stack: Stack, serve: Serve) -> Served:
    return serve(stack.target)


@pytest.fixture
def ask(console: Served) -> Iterator[httpx.Client]:
    """A client of the console."""
    with httpx.Client(base_url=console.url, trust_env=False, verify=False, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def ask_empty(empty: Served) -> Iterator[httpx.Client]:
    """A client of the console of an empty stack."""
    with httpx.Client(base_url=empty.url, trust_env=False, verify=False) as client:
        yield client


def body_of(*photographs: bytes, **told: Any) -> bytes:
    head = {"sizes": [len(one) for one in photographs], "files": ["a.png", "b.png"], "parameters": {}, **told}
    return json.dumps(head).encode() + b"\n" + b"".join(photographs)


def drop(ask: httpx.Client, body: bytes, origin: str | None = None) -> httpx.Response:
    return ask.post("api/drops", content=body, headers={"origin": origin or str(ask.base_url).rstrip("/")})


def grey(colour: str = "grey", size: tuple[int, int] = (64, 48), kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


def test_it_listens_on_the_loopback_only(empty: Served) -> None:
    assert empty.listener.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("rebound.example:{port}", id="a name that was made to point here"),
        pytest.param("127.0.0.1", id="without the port"),
        pytest.param("127.0.0.1:1", id="another port"),
        pytest.param("127.0.0.1.rebound.example:{port}", id="a name that begins like ours"),
        pytest.param("", id="none"),
    ],
)
@pytest.mark.parametrize("path", ["", "api/pairs", "picture?role=input&key=a/1.png"])
def test_another_host_is_refused(ask_empty: httpx.Client, host: str, path: str) -> None:
    answer = ask_empty.get(path, headers={"host": host.format(port=ask_empty.base_url.port)})

    assert answer.status_code == 403


def test_localhost_is_ours_too(ask_empty: httpx.Client) -> None:
    assert ask_empty.get("", headers={"host": f"localhost:{ask_empty.base_url.port}"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no origin"),
        pytest.param({"origin": "null"}, id="a sandboxed page"),
        pytest.param({"origin": "https://example.com"}, id="another site"),
        pytest.param({"origin": "http://127.0.0.1"}, id="another port"),
    ],
)
def test_only_its_own_page_may_drop(ask: httpx.Client, stack: Stack, headers: dict[str, str]) -> None:
    answer = ask.post("api/drops", content=body_of(grey(), grey()), headers=headers)

    assert answer.status_code == 403
    assert "Contents" not in stack.client("s3").list_objects_v2(Bucket="dropped")


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://example.com"}])
def test_other_sites_may_not_look(ask_empty: httpx.Client, headers: dict[str, str]) -> None:
    assert ask_empty.get("api/pairs", headers=headers).status_code == 403


@pytest.mark.parametrize("path", ["", "console.js", "api/pairs", "api/pair?prefix=none/", "picture", "nothing"])
def test_every_answer_tells_the_browser_to_be_strict(ask_empty: httpx.Client, path: str) -> None:
    headers = ask_empty.get(path).headers

    assert "default-src 'none'" in headers["content-security-policy"]
    assert "script-src 'self';" in headers["content-security-policy"]
    assert "require-trusted-types-for 'script'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("DELETE", "api/drops", 405), ("PUT", "", 405), ("GET", "../main.py", 404), ("GET", "static/console.js", 404)],
)
def test_there_is_nothing_else(ask_empty: httpx.Client, method: str, path: str, status: int) -> None:
    answer = ask_empty.request(method, path, headers={"origin": str(ask_empty.base_url).rstrip("/")})

    assert answer.status_code == status


def test_a_picture_is_one_version_of_an_object(ask: httpx.Client, stack: Stack) -> None:
    before = stack.put("cat/1.png", grey("red"))
    stack.put("cat/1.png", grey("blue"))

    answer = ask.get("picture", params={"role": "input", "key": "cat/1.png", "version": before})

    assert answer.headers["content-type"] == "image/png"
    assert answer.content == grey("red")
    assert "immutable" in answer.headers["cache-control"]
    assert ask.get("picture", params={"role": "input", "key": "cat/1.png"}).content == grey("blue")


def test_a_small_picture_is_small_and_upright(ask: httpx.Client, stack: Stack) -> None:
    lying = Image.new("RGB", (3000, 1000), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    out = io.BytesIO()
    lying.save(out, "JPEG", exif=exif)
    version = stack.put("cat/1.jpg", out.getvalue())

    answer = ask.get("picture", params={"role": "input", "key": "cat/1.jpg", "version": version, "width": "480"})

    with Image.open(io.BytesIO(answer.content)) as small:
        assert small.size == (160, 480)


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({"role": "elsewhere", "key": "secret.png"}, id="another bucket"),
        pytest.param({"role": "input", "key": "secret.png"}, id="a key of another bucket"),
        pytest.param({"role": "input", "key": "../elsewhere/secret.png"}, id="a path"),
        pytest.param({"role": "input", "key": "notes.txt"}, id="not a picture"),
        pytest.param({"role": "input", "key": "notes.txt", "width": "480"}, id="not a picture, made small"),
        pytest.param({"role": "input", "key": "page.png"}, id="markup under a picture's name"),
        pytest.param({"role": "input", "key": "cat/1.png", "width": "4800"}, id="another width"),
        pytest.param({"role": "input", "key": "cat/1.png", "version": "no-such-version"}, id="another version"),
        pytest.param({"role": "input"}, id="no key"),
    ],
)
def test_nothing_but_pictures_of_the_two_buckets(ask: httpx.Client, stack: Stack, asked: dict[str, str]) -> None:
    stack.put("secret.png", grey(), bucket="elsewhere")
    stack.put("notes.txt", b"a secret")
    stack.put("page.png", b"<script>a secret</script>")
    stack.put("cat/1.png", grey())

    answer = ask.get("picture", params=asked)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert b"secret" not in answer.content


def test_no_signature_no_token_and_no_key_leaves_the_server(ask: httpx.Client, stack: Stack, eventually: Any) -> None:
    signed = "https://photos.example/1.png?X-Amz-Signature=do-not-tell"
    stack.pair("cat/", inputs=[{"url": signed}, {"url": signed}], output_url=signed, wake="do-not-tell")  # type: ignore[call-arg]
    eventually(lambda: ask.get("api/pairs").json()["pairs"], "the pair is read")

    told = ask.get("api/pairs").text + ask.get("api/pair", params={"prefix": "cat/"}).text

    assert "photos.example" in told
    assert "do-not-tell" not in told


def test_a_drop_becomes_objects_and_is_shown_at_once(ask: httpx.Client, stack: Stack) -> None:
    body = body_of(grey("red"), grey("blue", kind="JPEG"), parameters={"prompt": "Zwei Farben ☕", "seed": 7})

    answer = drop(ask, body)

    prefix = answer.json()["prefix"]
    assert answer.status_code == 201
    contents = stack.client("s3").list_objects_v2(Bucket="dropped")["Contents"]
    assert [item["Key"] for item in contents] == [f"{prefix}{name}" for name in ("1.png", "2.jpg", "request.json")]
    request = stack.client("s3").get_object(Bucket="dropped", Key=f"{prefix}request.json")["Body"].read()
    assert json.loads(request) == {"prompt": "Zwei Farben ☕", "seed": 7}
    shown = ask.get("api/pairs").json()["pairs"]
    assert [(pair["prefix"], pair["status"]) for pair in shown] == [(prefix, "DROPPED")]


def test_a_drop_takes_the_name_it_is_given(ask: httpx.Client) -> None:
    assert drop(ask, body_of(grey(), grey(), name="/summer/taj/")).json()["prefix"] == "summer/taj/"


def keys(stack: Stack) -> list[str]:
    return [item["Key"] for item in stack.client("s3").list_objects_v2(Bucket="dropped").get("Contents", ())]


def versions(stack: Stack) -> int:
    return len(stack.client("s3").list_object_versions(Bucket="dropped").get("Versions", ()))


def test_a_drop_whose_parts_would_each_be_paid_is_refused_with_the_price(ask: httpx.Client, stack: Stack) -> None:
    drop(ask, body_of(grey("red"), grey("blue"), name="taj", parameters={"prompt": "One."}))

    answer = drop(ask, body_of(grey("blue"), grey("red"), name="taj", parameters={"prompt": "Two."}))

    assert answer.status_code == 409
    assert answer.json()["field"] == "name"
    assert "Nothing was uploaded. taj/ is there already" in answer.json()["message"]
    assert "3 pictures for USD 0.15. Give the pair another name (USD 0.05)" in answer.json()["message"]
    assert versions(stack) == 3


def test_one_part_of_a_pair_may_be_exchanged(ask: httpx.Client, stack: Stack) -> None:
    drop(ask, body_of(grey("red"), grey("blue"), name="taj"))

    answer = drop(ask, body_of(grey("green"), grey("blue"), name="taj"))

    assert answer.status_code == 201
    assert versions(stack) == 3


def test_the_same_drop_again_uploads_nothing(ask: httpx.Client, stack: Stack) -> None:
    body = body_of(grey("red"), grey("blue"), name="taj")
    drop(ask, body)

    answer = drop(ask, body)

    assert answer.status_code == 200
    assert answer.json() == {"prefix": "taj/", "message": "taj/ has just this already: nothing more is paid."}
    assert versions(stack) == 2


def test_two_clicks_at_once_are_one_pair(ask: httpx.Client, stack: Stack) -> None:
    body = body_of(grey("red"), grey("blue"), mark="abc123", parameters={"prompt": "Once."})

    with ThreadPoolExecutor(4) as clicks:
        answers = list(clicks.map(lambda _: drop(ask, body), range(4)))

    assert {answer.json()["prefix"] for answer in answers} == {"a-b-abc123/"}
    assert keys(stack) == [f"a-b-abc123/{name}" for name in ("1.png", "2.png", "request.json")]
    assert versions(stack) == 3


def test_an_upload_that_breaks_off_says_what_is_there_and_goes_on_under_its_name(stack: Stack, serve: Serve) -> None:
    s3 = Breaking(stack.client("s3"), at=3)
    target = replace(stack.target, client=lambda name: s3 if name == "s3" else stack.client(name))
    with httpx.Client(base_url=serve(target).url, trust_env=False, verify=False) as ask:
        body = body_of(grey("red"), grey("blue"), parameters={"prompt": "A cat."})

        broken = drop(ask, body)
        told = broken.json()
        again = drop(ask, body_of(grey("red"), grey("blue"), parameters={"prompt": "A cat."}, name=told["name"]))

    assert (broken.status_code, again.status_code) == (502, 201)
    assert "2 of 3 parts of a-b-" in told["message"]
    assert versions(stack) == 3


def test_a_command_that_drops_under_the_same_name_meanwhile_is_not_mixed_with_the_page(
    stack: Stack, serve: Serve
) -> None:
    s3 = Breaking(stack.client("s3"), at=2, act=lambda: stack.put("taj/1.webp", b"theirs"))
    target = replace(stack.target, client=lambda name: s3 if name == "s3" else stack.client(name))
    with httpx.Client(base_url=serve(target).url, trust_env=False, verify=False) as ask:
        answer = drop(ask, body_of(grey("red"), grey("blue"), parameters={"prompt": "A cat."}, name="taj"))

    assert (answer.status_code, answer.json()["field"]) == (409, "name")
    assert answer.json()["message"].startswith("somebody else has just dropped taj/1.webp: look at it, and give it an")
    assert "2 of 3 parts of taj/ are uploaded, beside somebody else's" in answer.json()["message"]
    assert "taj/2.png" not in keys(stack)


def lose_the_connection() -> None:
    raise EndpointConnectionError(endpoint_url="https://s3.example")


class Breaking:
    """An S3 client at which something happens before one upload: it loses its connection."""

    def __init__(self, client: Any, at: int, act: Callable[[], object] = lose_the_connection) -> None:
        self.client, self.at, self.act = client, at, act

    def __getattr__(self, name: str) -> Any:
        if name == "put_object":
            self.at -= 1
            if self.at == 0:
                self.act()
        return getattr(self.client, name)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param(b"", "not what the page sends", id="nothing"),
        pytest.param(b"[1, 2]\n", "not what the page sends", id="other JSON"),
        pytest.param(body_of(grey(), grey())[:-1], "cut off", id="cut off"),
        pytest.param(body_of(grey(), b"GIF89a"), "Photograph 2 cannot be used", id="not a picture"),
        pytest.param(body_of(grey(), b""), "Photograph 2 cannot be used", id="empty"),
        pytest.param(body_of(grey(), grey(), parameters={"aspect_ratio": "5:7"}), "aspect_ratio", id="a wrong value"),
        pytest.param(body_of(grey(), grey(), parameters={"colour": "red"}), "unknown field", id="an unknown field"),
        pytest.param(body_of(grey(), grey(), name="../up"), "steps", id="a name that climbs"),
        pytest.param(body_of(grey(), grey(), name="a\x00b"), "cannot be printed", id="a name with a NUL"),
        pytest.param(body_of(grey(), grey(), name="ü" * 500), "too long", id="a name beyond a key's length"),
    ],
)
def test_a_wrong_drop_is_refused_in_plain_words(ask: httpx.Client, stack: Stack, body: bytes, why: str) -> None:
    answer = drop(ask, body)

    assert answer.status_code == 400
    assert why in answer.json()["message"]
    assert "Contents" not in stack.client("s3").list_objects_v2(Bucket="dropped")


def test_a_drop_that_is_too_large_is_refused_before_it_is_read(empty: Served) -> None:
    address = ("127.0.0.1", empty.listener.getsockname()[1])
    host = f"127.0.0.1:{address[1]}"
    head = f"POST /api/drops HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\ncontent-length: {10**9}\r\n\r\n"

    with socket.create_connection(address, timeout=10) as line:
        line.sendall(head.encode())
        answer = line.recv(4096)

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_what_has_not_changed_is_not_sent_again(ask_empty: httpx.Client) -> None:
    tag = ask_empty.get("api/pairs").headers["etag"]

    answer = ask_empty.get("api/pairs", headers={"if-none-match": tag})

    assert (answer.status_code, answer.content) == (304, b"")


def test_a_bug_is_answered_as_strictly_as_anything_else(stack: Stack, serve: Serve) -> None:
    stack.note("pair#cat/", "pair", prefix="cat/", part_1="what nobody ever writes")
    url = serve(stack.target).url

    answer = httpx.get(f"{url}api/pair?prefix=cat/", trust_env=False)

    assert answer.status_code == 500
    assert "a bug" in answer.json()["message"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_stack_that_cannot_be_read_is_said(ask: httpx.Client, stack: Stack, eventually: Any) -> None:
    stack.client("dynamodb").delete_table(TableName="renders")

    problem = eventually(lambda: ask.get("api/pairs").json()["problem"], "the problem is said")

    assert "AWS refused " in problem
    assert ask.get("api/pair", params={"prefix": "cat/"}).status_code == 502
