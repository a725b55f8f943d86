"""Pages of others, in a real browser, beside a local stack that runs: they read nothing, write nothing, run nothing.

Each call is signed with root's own keys, which no page has: what keeps the page out is not that it cannot sign.
"""

from __future__ import annotations

import base64
import functools
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from kontext_local import cloud
from kontext_local.segmind import server
from tests.signing import Call, Signed, as_link

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

KEY = "SG_what-no-page-may-read"
SCRIPT = f"window.stolen = {KEY!r}"
ROLE = "arn:aws:iam::000000000000:role/anybody"
TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}

# Every way in which a page can ask: the answer as text, or why there is none. Each waits until it is over.
WAYS = {
    "fetch": "s => fetch(s.url, {method: s.method, headers: s.headers, body: s.body || undefined}).then(r => r.text())",
    "fetch without CORS": """s => fetch(
        s.url, {method: s.method, headers: s.headers, body: s.body || undefined, mode: 'no-cors'}
    ).then(r => r.text())""",
    "beacon": """s => new Promise(done => {
        navigator.sendBeacon(s.url, new Blob([s.body], {type: s.headers['content-type']}));
        setTimeout(done, 300);
    })""",
    "form": """s => new Promise(done => {
        const frame = document.createElement('iframe'), form = document.createElement('form');
        frame.name = form.target = `answer ${frames.length}`;
        form.method = s.method; form.action = s.url;
        for (const [name, value] of new URLSearchParams(s.body)) {
            const input = form.appendChild(document.createElement('input'));
            input.name = name; input.value = value;
        }
        document.body.append(frame, form);
        frame.onload = () => { try { done(frame.contentDocument.body.textContent) } catch { done(null) } };
        form.submit();
    })""",
    "image": """s => new Promise(done => {
        const image = new Image(); image.onload = image.onerror = done; image.src = s.url;
    }).then(() => 0)""",
    "script": """s => new Promise(done => {
        const script = document.head.appendChild(document.createElement('script'));
        script.onload = script.onerror = done; script.src = s.url;
    }).then(() => String(window.stolen))""",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("local")


@pytest.fixture(scope="module")
def aws(folder: Path) -> Iterator[cloud.Cloud]:
    """A cloud in which there is something to be stolen."""
    with cloud.start(folder / "cloud.log") as running:
        running.client("secretsmanager").create_secret(Name="key", SecretString=KEY)
        running.client("s3").create_bucket(Bucket="mine")
        running.client("s3").put_object(Bucket="mine", Key="it.js", Body=SCRIPT, ContentType="text/javascript")
        policy = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
        running.client("iam").create_role(RoleName="anybody", AssumeRolePolicyDocument=policy)
        yield running


@pytest.fixture(scope="module")
def emulator(folder: Path) -> Iterator[server.Emulator]:
    with server.start(log=folder / "segmind.log", pixels=10_000) as running:
        yield running


@pytest.fixture(scope="module")
def evil() -> Iterator[int]:
    """A web server of somebody else's; gives its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_port
        running.shutdown()


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><body>")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("http://127.0.0.1:{evil}/", id="another port of this machine"),
        pytest.param("http://evil.example:{evil}/", id="another site"),
        pytest.param("http://evil.example:{ours}/", id="a name made to point here"),
    ],
)
def page_beside(request: pytest.FixtureRequest, browser: Browser, evil: int) -> Iterator[Callable[[str], Any]]:
    """Opens a page of somebody else's beside a server of ours; gives it and the address that it asks."""
    with browser.new_context() as context:

        @functools.cache
        def opened(ours: str) -> tuple[Page, str]:
            page = context.new_page()
            page.goto(request.param.format(evil=evil, ours=urlsplit(ours).port))
            return page, page.evaluate("location.origin") if "{ours}" in request.param else ours

        yield opened


def asked(page: Page, way: str, call: Signed) -> str:
    """What a page is told."""
    step = {"url": call.url, "method": call.method, "headers": call.headers, "body": call.body}
    return str(page.evaluate(f"s => Promise.resolve(({WAYS[way]})(s)).catch(String)", step))


def program(proof: Path) -> str:
    """A Lambda function's package that writes a file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as files:
        files.writestr("x.py", f"def handler(event, context):\n    open({str(proof)!r}, 'w').write('run')\n")
    return base64.b64encode(packed.getvalue()).decode()


SIMPLE = {"content-type": "text/plain"}
"""What a page may send without asking first."""
TARGET = {"x-amz-target": "secretsmanager.GetSecretValue", "content-type": "application/x-amz-json-1.1"}
SECRET_READ = Call("POST", "/", "secretsmanager", '{"SecretId": "key"}', TARGET)
OBJECT_READ = Call("GET", "/mine/it.js", "s3")
READS = [
    pytest.param("fetch", SECRET_READ, id="fetch a secret"),
    pytest.param("fetch", OBJECT_READ, id="fetch an object"),
    pytest.param("script", OBJECT_READ, id="run an object as a script"),
]


@pytest.mark.parametrize(("way", "call"), READS)
def test_a_page_reads_nothing(aws: cloud.Cloud, page_beside: Any, way: str, call: Call) -> None:
    page, url = page_beside(aws.account.endpoint)

    told = asked(page, way, as_link(replace(call, url=url + call.url), keys_of(aws)))

    assert KEY not in told


CHANGES = [
    pytest.param("fetch", "POST", id="fetch"),
    pytest.param("fetch without CORS", "POST", id="fetch without CORS"),
    pytest.param("fetch without CORS", "GET", id="fetch without CORS, by GET"),
    pytest.param("beacon", "POST", id="beacon"),
    pytest.param("form", "POST", id="form"),
    pytest.param("image", "GET", id="image"),
    pytest.param("script", "GET", id="script"),
]


def new_queue(url: str, name: str, method: str) -> Call:
    action = f"Action=CreateQueue&QueueName={name}&Version=2012-11-05"
    if method == "GET":
        return Call("GET", f"{url}/?{action}", "sqs")
    return Call("POST", f"{url}/", "sqs", action, {"content-type": "application/x-www-form-urlencoded"})


@pytest.mark.parametrize(("way", "method"), CHANGES)
def test_a_page_writes_nothing(aws: cloud.Cloud, page_beside: Any, way: str, method: str) -> None:
    page, url = page_beside(aws.account.endpoint)

    before = queues(aws)

    told = asked(page, way, as_link(new_queue(url, f"of-a-page-{len(before)}", method), keys_of(aws)))

    assert "CreateQueueResult" not in told
    assert queues(aws) == before


def test_a_page_runs_nothing(aws: cloud.Cloud, page_beside: Any, tmp_path: Path) -> None:
    page, url = page_beside(aws.account.endpoint)

    for call in function_calls(url, "of-a-page", tmp_path / "proof"):
        asked(page, "fetch without CORS", as_link(call, keys_of(aws)))

    assert aws.client("lambda").list_functions()["Functions"] == []
    assert not (tmp_path / "proof").exists()


def test_the_same_calls_work_for_who_has_the_keys_and_is_no_page(aws: cloud.Cloud, tmp_path: Path) -> None:
    url = aws.account.endpoint
    reads = [as_link(replace(call, url=url + call.url), keys_of(aws)) for call in (SECRET_READ, OBJECT_READ)]
    writes = [as_link(new_queue(url, f"of-its-owner-{method}", method), keys_of(aws)) for method in ("GET", "POST")]

    told = [send(call) for call in (*reads, *writes)]
    for call in function_calls(url, "of-its-owner", tmp_path / "proof"):
        send(as_link(call, keys_of(aws)))

    assert all(KEY in answer.text for answer in told[: len(reads)])
    assert {"of-its-owner-GET", "of-its-owner-POST"} <= queues(aws)
    assert (tmp_path / "proof").read_text() == "run"
    aws.client("lambda").delete_function(FunctionName="of-its-owner")


@pytest.mark.parametrize("way", ["fetch", "fetch without CORS", "beacon"])
def test_a_page_neither_scripts_the_emulator_nor_reads_its_ledger(
    emulator: server.Emulator, page_beside: Any, way: str
) -> None:
    page, url = page_beside(emulator.url)
    key = {"x-api-key": emulator.api_key}

    asked(page, way, Signed("POST", f"{url}/_emulator/settings", '{"credits": 1.25}', {**key, **SIMPLE}))
    told = asked(page, "fetch", Signed("GET", f"{url}/_emulator/ledger", "", key))

    assert emulator.ledger()["credits"] == 100.0
    assert "credits" not in told


def test_no_page_of_another_origin_is_ever_let_in(aws: cloud.Cloud, emulator: server.Emulator) -> None:
    preflight = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    aws.client("s3").create_bucket(Bucket="open-to-pages")
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}
    aws.client("s3").put_bucket_cors(Bucket="open-to-pages", CORSConfiguration={"CORSRules": [rule]})
    link = as_link(Call("GET", f"{aws.account.endpoint}/open-to-pages", "s3"), keys_of(aws))
    asked_of_all = [
        send(Signed(method, url, "", headers))
        for url in (link.url, f"{aws.account.endpoint}/", f"{emulator.url}/_emulator/ledger")
        for method, headers in (("OPTIONS", preflight), ("OPTIONS", {}), ("GET", {}), ("GET", preflight))
    ]

    assert {name for answer in asked_of_all for name in answer.headers if name.startswith("access-control")} == set()
    assert {answer.status_code for answer in asked_of_all if "origin" in answer.request.headers} == {403}


def keys_of(aws: cloud.Cloud) -> tuple[str, str]:
    return aws.account.access_key, aws.account.secret_key


def queues(aws: cloud.Cloud) -> set[str]:
    return {url.rpartition("/")[2] for url in aws.client("sqs").list_queues().get("QueueUrls", ())}


def function_calls(url: str, name: str, proof: Path) -> list[Call]:
    """Make a function, and invoke it."""
    given = {"Runtime": "python3.13", "Handler": "x.handler", "Role": ROLE, "Code": {"ZipFile": program(proof)}}
    functions = f"{url}/2015-03-31/functions"
    return [
        Call("POST", functions, "lambda", json.dumps({"FunctionName": name, **given}), SIMPLE),
        Call("POST", f"{functions}/{name}/invocations", "lambda", "{}", SIMPLE),
    ]


def send(call: Signed) -> httpx.Response:
    # Plain http: without `verify=False` each call reads all certificates of the machine first.
    return httpx.request(
        call.method, call.url, headers=call.headers, content=call.body, timeout=60, trust_env=False, verify=False
    )
