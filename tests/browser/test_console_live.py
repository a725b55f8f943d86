"""The console on a running local stack: two photographs dropped on the page become a picture on it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from kontext_cli.drop.client import DropClient, prepare
from kontext_cli.target import LOCAL, Target
from kontext_local import stack as local_stack
from kontext_local.project import ROOT
from tests.browser.conftest import Open

if TYPE_CHECKING:
    from playwright.sync_api import Page

KONTEXT = [sys.executable, "-m", "kontext_cli.main"]
SAMPLES = ROOT / "samples"
SECONDS = 60_000.0
"""How long a render may take before the test gives up, in milliseconds."""

# Whatever states the first card goes through, in their order.
WATCH = """() => {
  window.seen = [];
  const look = () => {
    const status = document.querySelector('.pair')?.dataset.status;
    if (status && window.seen.at(-1) !== status) window.seen.push(status);
  };
  new MutationObserver(look).observe(document.getElementById('pairs'), { childList: true });
}"""
ORDER = ["DROPPED", "WAITING", "CLAIMED", "SUBMITTING", "QUEUED", "PROCESSING", "COMPLETED", "DELIVERED"]
LOADED = """async () => {
  for (const image of document.images) image.loading = 'eager';
  const shown = [...document.images].filter((image) => image.src);
  await Promise.all(shown.map((image) => image.decode().catch(() => null)));
}"""

BLOCKED = "Content blocked: the prompt asks for a real person in a false light."


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("console") / "kontext"


@pytest.fixture(scope="module")
def local(home: Path) -> Iterator[local_stack.LocalStack]:
    """A stack of its own: its account runs out of credits, which would park everybody else's renders."""
    emulator = {"inference": 2.0, "pixels": 262_144, "workers": 4, "rate_limit": None}
    parameters = {"PromptWaitSeconds": "2", "RequestsPerMinute": "1200", "PollCostSeconds": "0.05"}
    # A new stack expects renders of 23 s; its workflow waits a quarter of what it thinks right.
    options = local_stack.Options(keep=False, emulator=emulator, parameters=parameters, wait_scale=0.25)
    with local_stack.using(home, options) as running:
        yield running


@pytest.fixture(scope="module")
def console(home: Path, local: local_stack.LocalStack) -> Iterator[subprocess.Popen[str]]:
    """`kontext console`, as a person starts it, and ends it by Ctrl-C."""
    environment = {**os.environ, "KONTEXT_HOME": str(home)}
    command = [*KONTEXT, "console", "--stack", "local", "--no-open"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0, "Ctrl-C is its ordinary end"
        finally:
            process.kill()


@pytest.fixture(scope="module")
def url(console: subprocess.Popen[str]) -> str:
    assert console.stderr
    told = console.stderr.readline()
    return next(word.rstrip(";") for word in told.split() if word.startswith("http://"))


@pytest.fixture
def vendor(local: local_stack.LocalStack) -> Callable[..., Any]:
    """Tells the emulator how to misbehave (`script`), and what its account has (`settings`)."""

    def tell(what: str, **values: Any) -> None:
        with local.emulator() as emulator:
            emulator.post(what, json=values).raise_for_status()

    return tell


@pytest.fixture
def client(local: local_stack.LocalStack) -> DropClient:
    return DropClient(Target(LOCAL, local.outputs, local.client))


# Half a minute where nothing else runs; a busy machine may take its time.
@pytest.mark.timeout(600)
def test_two_dropped_photographs_become_a_picture(
    open_page: Open,
    url: str,
    vendor: Callable[..., Any],
    client: DropClient,
    local: local_stack.LocalStack,
    tmp_path: Path,
) -> None:
    page = open_page(url)
    expect(page.locator("#empty")).to_contain_text("Nothing has been dropped yet")
    page.evaluate(WATCH)

    _drop(page, "astronaut.png", "grace_hopper.jpg", "The two women take a selfie in front of the Taj Mahal.")

    card = page.locator(".pair").first
    expect(card).to_have_attribute("data-status", "DELIVERED", timeout=SECONDS)
    seen = page.evaluate("window.seen")
    assert seen == [status for status in ORDER if status in seen]
    assert {"QUEUED", "PROCESSING"} & set(seen), f"the render was seen at work: {seen}"
    expect(card.locator(".result img")).to_be_visible()
    assert card.locator(".result img").evaluate("async (image) => (await image.decode(), image.naturalWidth)") >= 400
    expect(card).to_contain_text("USD 0.05")
    _read_the_story(page)

    _make_a_scene(client, vendor, local)
    _see_the_scene(page)
    _run_out_of_credits(page, client, vendor)
    for name, context in SCREENS.items():
        _photograph(open_page(url, **context), f"console-{name}.png", tmp_path)


def _drop(page: Page, first: str, second: str, prompt: str) -> None:
    page.get_by_label("First photograph", exact=True).set_input_files(SAMPLES / first)
    page.get_by_label("Second photograph", exact=True).set_input_files(SAMPLES / second)
    page.get_by_label("What should the picture show?").fill(prompt)
    page.get_by_label("Name").fill("summer/taj")
    page.get_by_role("button", name="Render").click()


def _read_the_story(page: Page) -> None:
    page.get_by_role("link", name="summer/taj/").click()
    steps = page.locator("#story .steps")
    for told in ("dropped 1.png", "claimed", "submitting", "QUEUED", "polled Segmind", "COMPLETED", "DELIVERED"):
        expect(steps).to_contain_text(told)
    expect(page.locator("#story .details")).to_contain_text("USD 0.05")
    page.keyboard.press("Escape")


def _make_a_scene(client: DropClient, vendor: Callable[..., Any], local: local_stack.LocalStack) -> None:
    """One pair at work, one failed, and one half."""
    vendor("script", prompt="celebrity", fail=BLOCKED, inference=0.2)
    vendor("script", prompt="bridge of a ship", inference=900)
    drops = [
        ("astronaut.png", "chelsea.png", "campaign/cover-b", "A magazine cover: the celebrity and her cat."),
        ("grace_hopper.jpg", "coffee.png", "campaign/admiral", "Morning coffee on the bridge of a ship, golden light."),
    ]
    for first, second, name, prompt in drops:
        client.put(prepare(SAMPLES / first, SAMPLES / second, name, {"prompt": prompt}))
    half = {
        "summer/harbour/1.png": (SAMPLES / "chelsea.png").read_bytes(),
        "summer/harbour/prompt.txt": b"The cat watches the boats come in.",
    }
    for key, body in half.items():
        local.client("s3").put_object(Bucket=local.outputs["InputBucket"], Key=key, Body=body)


def _card(page: Page, name: str) -> Any:
    return page.locator(".pair").filter(has=page.get_by_role("link", name=name))


def _see_the_scene(page: Page) -> None:
    expect(_card(page, "campaign/cover-b/")).to_contain_text(BLOCKED, timeout=SECONDS)
    expect(_card(page, "campaign/cover-b/")).to_contain_text("Nothing was charged.")
    expect(_card(page, "summer/harbour/")).to_contain_text("Waiting for image 2")
    expect(_card(page, "campaign/admiral/").locator(".result.running")).to_be_visible(timeout=SECONDS)


def _run_out_of_credits(page: Page, client: DropClient, vendor: Callable[..., Any]) -> None:
    """One more pair is delivered, for the last credits; the next is parked."""
    vendor("settings", credits=0.06)
    prompt = {"prompt": "The cat sits behind the cup of coffee on a café table."}
    client.put(prepare(SAMPLES / "chelsea.png", SAMPLES / "coffee.png", "summer/cafe", prompt))
    expect(_card(page, "summer/cafe/")).to_have_attribute("data-status", "DELIVERED", timeout=SECONDS)

    page.get_by_label("First photograph", exact=True).set_input_files(
        [SAMPLES / "astronaut.png", SAMPLES / "coffee.png"]
    )
    page.get_by_label("What should the picture show?").fill("Coffee on the moon, Earth rising behind her.")
    page.get_by_label("Name").fill("campaign/moon")
    page.get_by_role("button", name="Render").click()

    expect(_card(page, "campaign/moon/")).to_contain_text("waits for credits", timeout=SECONDS)
    expect(_card(page, "campaign/moon/")).to_contain_text("since")
    expect(page.locator(".banner")).to_contain_text("Nothing is sent just now")
    expect(page.locator("#today div", has_text="credits left").locator("dd")).to_have_text("0.01")


SCREENS = {
    f"{width}-{scheme}": {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
    for width, height in ((1280, 900), (390, 844))
    for scheme in ("light", "dark")
}


def _photograph(page: Page, name: str, folder: Path) -> None:
    """A screenshot; into the documentation where `make screenshots` asks for it."""
    expect(page.locator(".pair")).to_have_count(6)
    page.evaluate(LOADED)
    taken = page.screenshot(full_page=True, animations="disabled", path=folder / name)
    if os.environ.get("KONTEXT_SCREENSHOTS"):
        _publish(taken, ROOT / "docs" / "images" / name)


def _publish(taken: bytes, file: Path) -> None:
    """256 colours are a third of the size; only means keep the few green pixels of a status green."""
    with Image.open(io.BytesIO(taken)) as picture:
        shown = picture.convert("RGB")
    colours = shown.quantize(256, kmeans=2)
    shown.quantize(palette=colours, dither=Image.Dither.FLOYDSTEINBERG).save(file, optimize=True)
