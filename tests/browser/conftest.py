"""A headless Chromium, consoles to look at with it, and stacks for them: made of moto, or the embedded cloud."""

from __future__ import annotations

import functools
import io
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Unpack

import boto3
import pytest
from moto import mock_aws
from PIL import Image

from kontext.due import TIMER, WAITING
from kontext.dynamodb import Table
from kontext.model import ENDED, Part, Render, Status
from kontext_cli.target import Target
from kontext_cli.web.command import Served, serving
from simulation.template import Template

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    "--host-resolver-rules=MAP evil.example 127.0.0.1",
)
REGION = "us-east-1"
PATIENCE_MS = 30_000
"""For whatever a page has to show: well below a second, but not on a machine that is busy with other things."""
OUTPUTS = {
    "InputBucket": "dropped",
    "OutputBucket": "results",
    "RendersTable": "renders",
    "RenderWorkflowArn": f"arn:aws:states:{REGION}:123456789012:stateMachine:render",
}
Serve = Callable[[Target], Served]
Open = Callable[..., "Page"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, with a profile of its own. Without it the test is skipped, but on CI it fails."""
    chromium = shutil.which("chromium")
    if chromium is None:
        why = "Chromium is not installed (tests/browser/install-chromium does it)"
        pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def said() -> list[str]:
    """What the pages of a test have written on their consoles."""
    return []


@pytest.fixture
def open_page(browser: Browser, said: list[str]) -> Iterator[Open]:
    """Opens a page, with the arguments of a browser context; at the end there must be nothing on its console."""
    with ExitStack() as opened:

        def new(url: str, **context: Any) -> Page:
            page = opened.enter_context(_page(browser, said, context))
            page.goto(url)
            return page

        yield new
    assert said == [], "the page's console must stay empty"


def _dismissed(dialog: Dialog, said: list[str]) -> None:
    said.append(f"dialog: {dialog.message}")
    dialog.dismiss()


@contextmanager
def _page(browser: Browser, said: list[str], context: dict[str, Any]) -> Iterator[Page]:
    made = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    page = made.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("console", lambda message: said.append(f"{message.type}: {message.text} {message.location['url']}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("dialog", lambda dialog: _dismissed(dialog, said))
    yield page
    # Requests that are under way when the page goes are not the page's errors.
    made.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves the console of a stack in this process for as long as the test lasts."""
    with ExitStack() as running:
        yield lambda target: running.enter_context(served(target))


@pytest.fixture(scope="session")
def empty() -> Iterator[Served]:
    """The console of a stack in which there is nothing, for the whole run."""
    with served(Target("empty", OUTPUTS, lambda service: Nothing())) as console:
        yield console


@contextmanager
def served(target: Target) -> Iterator[Served]:
    """A console that runs in a thread."""
    with serving(target) as console:
        thread = threading.Thread(target=console.run)
        thread.start()
        try:
            yield console
        finally:
            console.stop()
            thread.join()


class Nothing:
    """A client of any service that has nothing."""

    def get_paginator(self, operation: str) -> Nothing:
        return self

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        return [{"Items": [], "Count": 0}]

    def batch_get_item(self, **asked: Any) -> dict[str, Any]:
        return {"Responses": {}}


@functools.cache
def moto_client(service: str) -> Any:
    """A client of moto's service: as slow to make as a real one, so it is kept from test to test."""
    session: Any = boto3.session.Session("test", "test", region_name=REGION)
    return session.client(service)


class Described:
    """A CloudFormation client that knows one stack."""

    def describe_stacks(self, **asked: str) -> dict[str, Any]:
        settings = {"DefaultPrompt": "Bring them together.", "PricePerRender": "0.05"}
        settings |= {"MaxInputMegabytes": "50", "MaxInputMegapixels": "100"}
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in settings.items()]
        return {"Stacks": [{**asked, "Parameters": given}]}


class Stack:
    """The buckets and the table of a stack without anything that works on them, in moto."""

    @staticmethod
    def client(service: str) -> Any:
        """A client of one of its services."""
        return Described() if service == "cloudformation" else moto_client(service)

    def __init__(self) -> None:
        for bucket in ("dropped", "results", "elsewhere"):
            self.client("s3").create_bucket(Bucket=bucket)
            status = {"Status": "Enabled"}
            self.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration=status)
        self.client("dynamodb").create_table(TableName="renders", **Template().table)
        self.table = Table(self.client("dynamodb"), "renders")

    @property
    def target(self) -> Target:
        """The stack as the command line sees it."""
        return Target("test", OUTPUTS, self.client)

    def put(self, key: str, body: bytes, bucket: str = "dropped") -> str:
        """Put an object; returns its version."""
        version: str = self.client("s3").put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]
        return version

    def note(self, pk: str, sk: str, **values: Any) -> None:
        """Write an item into the table."""
        names = ", ".join(f"#{name} = :{name}" for name in values)
        self.table.update({"pk": pk, "sk": sk}, f"SET {names}", **values)

    def pair(
        self,
        prefix: str,
        /,
        *,
        slots: str = "12",
        at: float | None = None,
        prompt: str = "A picture.",
        **render: Unpack[Render],
    ) -> None:
        """A pair of grey photographs, with a render if anything is said of one."""
        dropped = time.time() if at is None else at
        parts = {f"part_{slot}": self._part(f"{prefix}{slot}.png", dropped) for slot in slots}
        waits = {} if render else {"due_lane": WAITING, "due_at": dropped}
        self.note(f"pair#{prefix}", "pair", prefix=prefix, **({"current": "r1"} if render else waits), **parts)
        if render:
            record = _render(prefix, dropped, list(parts.values()), prompt)
            record["due_lane"] = render["status"] if render.get("status") in ENDED else TIMER
            record.update(render)
            self.note(f"pair#{prefix}", "render#r1", **record)

    def _part(self, key: str, at: float) -> Part:
        version = self.put(key, photograph())
        return {"key": key, "version_id": version, "sequencer": "1", "at": at, "width": 64, "height": 48, "kind": "png"}


def _render(prefix: str, at: float, parts: list[Part], prompt: str) -> Render:
    when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at))
    render: Render = {"prefix": prefix, "render_id": "r1", "attempt": 1, "drop_id": 1, "status": Status.QUEUED}
    render |= {"created_at": when, "updated_at": when, "history": [{"at": when, "what": "claimed"}], "due_at": at}
    render["inputs"] = [{"key": part["key"], "version_id": part["version_id"] or ""} for part in parts]
    render["parameters"] = {"prompt": prompt, "output_format": "png"}
    return render


@pytest.fixture
def stack() -> Iterator[Stack]:
    """A stack that stands still."""
    with mock_aws():
        yield Stack()


@pytest.fixture
def page_of(stack: Stack, serve: Serve, open_page: Open) -> Open:
    """Opens the page of the stack, at a part of it (`#…`)."""

    def new(part: str = "", **context: Any) -> Page:
        return open_page(serve(stack.target).url + part, **context)

    return new


@pytest.fixture(scope="session")
def grey() -> bytes:
    """A grey photograph."""
    return photograph()


def photograph(colour: str = "grey", size: tuple[int, int] = (64, 48)) -> bytes:
    """A PNG of one colour."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """Looks again until what is looked for is there."""
    return _eventually


def _eventually(look: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: did not happen within {seconds:.0f} s")
        time.sleep(0.05)
    return seen
