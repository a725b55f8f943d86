"""The console's page in a real browser, over stacks that stand still."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from kontext.errors import problem
from kontext.model import Status
from kontext_cli.web.command import Served
from tests.browser.conftest import Open, Stack

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = "<img src=x onerror=alert(1)>\u202e'\"&amp;</script>/"
PROMPT = "<script>alert(2)</script><style>*{display:none}</style> javascript:alert(3)"
NOW_SHOWN = (
    "() => document.activeElement.id || document.activeElement.name || document.activeElement.getAttribute('href')"
)
OUTLINED = """() => {
  const outlined = ({ outlineWidth, outlineStyle }) => parseFloat(outlineWidth) >= 2 && outlineStyle !== 'none';
  const active = document.activeElement;
  const around = [active, active.closest('label'), active.closest('.pair')?.querySelector('.plates')];
  return around.some((node) => node && outlined(getComputedStyle(node)));
}"""


def prefixes(page: Page) -> list[str]:
    return page.locator(".pair h3").all_inner_texts()


def test_hostile_keys_and_prompts_are_shown_as_text(page_of: Open, stack: Stack) -> None:
    stack.pair(HOSTILE, status=Status.FAILED, prompt=PROMPT, error=problem("refused", PROMPT))

    page = page_of()

    expect(page.locator(".pair h3")).to_have_text(HOSTILE)
    expect(page.locator(".pair .prompt")).to_have_text(PROMPT)
    page.locator(".pair h3 a").click()
    expect(page.locator("#story-title")).to_have_text(HOSTILE)
    expect(page.locator("#story .notice")).to_contain_text(PROMPT)
    assert page.locator("main script, dialog script, main style, [onerror]").count() == 0


def test_what_a_pair_waits_for_is_said_plainly(page_of: Open, stack: Stack) -> None:
    now = time.time()
    breaker = {"reason": "no_credits", "since": now - 60, "next_trial_at": now + 600}
    stack.note("stack", "throttle", state={"breaker": breaker})
    stack.pair("parked/", status=Status.CLAIMED, due_lane="line", due_at=now, waiting_since=now - 60)
    stack.pair("failed/", status=Status.FAILED, error=problem("render_failed", "Content blocked."))
    stack.pair("half/", slots="1")
    stack.pair("unknown/", status=Status.UNCERTAIN, error=problem("uncertain", "The answer never came."))

    page = page_of()

    card = page.locator(".pair")
    expect(card.filter(has_text="parked/")).to_contain_text("waits for credits")
    expect(card.filter(has_text="parked/")).to_contain_text("looks again at")
    expect(card.filter(has_text="failed/")).to_contain_text("Content blocked.")
    expect(card.filter(has_text="failed/")).to_contain_text("Nothing was charged.")
    expect(card.filter(has_text="half/")).to_contain_text("Waiting for image 2")
    expect(card.filter(has_text="unknown/")).to_contain_text("It may have been charged.")
    page.get_by_role("link", name="unknown/").click()
    expect(page.locator("#story .notice")).to_contain_text("What to do: Decide with `kontext resolve`")


def test_an_open_circuit_breaker_is_said_above_everything(page_of: Open, stack: Stack) -> None:
    stack.note("stack", "throttle", state={"breaker": {"reason": "bad_key", "since": 1.0}})

    page = page_of()

    expect(page.locator(".banner")).to_contain_text("Nothing is sent just now: waits for a valid API key.")


def test_the_day_and_the_credits_are_shown(page_of: Open, stack: Stack) -> None:
    today = time.strftime("%Y-%m-%d", time.gmtime())
    stack.note("stack", f"ledger#{today}", submitted=3, completed=2, cost=0.1, reserved=0.15)
    stack.pair(
        "cat/", status=Status.DELIVERED, completed_at=time.time(), metrics={"remaining_credits": 41.9}, cost=0.05
    )

    page = page_of()

    expect(page.locator("#today")).to_contain_text("USD 0.10")
    expect(page.locator("#today")).to_contain_text("41.90")
    expect(page.locator(".pair")).to_contain_text("USD 0.05")


def test_one_render_is_not_said_to_be_several(stack: Stack, page_of: Open) -> None:
    stack.note("stack", f"ledger#{time.strftime('%Y-%m-%d', time.gmtime())}", submitted=1, completed=1, cost=0.05)

    expect(page_of().locator("#today dt").first).to_have_text("render today")


def test_a_pair_is_found_by_status_and_prefix(page_of: Open, stack: Stack) -> None:
    stack.pair("summer/one/", status=Status.DELIVERED, at=time.time() - 10)
    stack.pair("summer/two/", status=Status.FAILED, error=problem("refused", "No."), at=time.time() - 20)
    stack.pair("winter/one/", status=Status.DELIVERED, at=time.time() - 30)
    page = page_of()
    expect(page.locator(".pair")).to_have_count(3)
    assert prefixes(page) == ["summer/one/", "summer/two/", "winter/one/"], "the newest come first"

    page.get_by_role("radio", name="Delivered").check()
    expect(page.locator(".pair h3")).to_have_text(["summer/one/", "winter/one/"])
    page.get_by_role("searchbox", name="Prefix").fill("win")
    expect(page.locator(".pair h3")).to_have_text(["winter/one/"])
    page.get_by_role("searchbox", name="Prefix").fill("spring")

    expect(page.locator("#empty")).to_have_text("No pair fits this filter.")


def test_it_works_by_keyboard(page_of: Open, stack: Stack) -> None:
    stack.pair("one/", status=Status.DELIVERED, at=time.time() - 10)
    stack.pair("two/", status=Status.DELIVERED, at=time.time() - 20)
    page = page_of()
    expect(page.locator(".pair")).to_have_count(2)

    walked = []
    for _ in range(12):
        page.keyboard.press("Tab")
        walked.append(page.evaluate(NOW_SHOWN))
        assert page.evaluate(OUTLINED) or walked[-1] == "#pairs", f"{walked[-1]} shows that it has the focus"

    assert walked == [
        *("#pairs", "first", "second", "prompt", "aspect_ratio", "output_format", "seed", "name", "send"),
        *("group", "prefix", "#pair=one%2F"),
    ]
    page.keyboard.press("Enter")
    expect(page.locator("#story")).to_be_visible()
    expect(page.locator("#story-title")).to_be_focused()
    expect(page.locator("#older")).to_be_enabled()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#story-title")).to_have_text("two/")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#story-title")).to_have_text("one/")
    page.keyboard.press("Escape")
    expect(page.locator("#story")).to_be_hidden()
    expect(page.get_by_role("link", name="one/")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Running")).to_be_checked()


def test_everything_has_a_name_for_those_who_cannot_see_it(page_of: Open, stack: Stack) -> None:
    stack.pair("one/", status=Status.DELIVERED)
    page = page_of()

    for found in (
        page.get_by_role("button", name="First photograph", exact=True),
        page.get_by_role("button", name="Second photograph", exact=True),
        page.get_by_role("textbox", name="What should the picture show?", exact=True),
        page.get_by_role("combobox", name="Aspect ratio", exact=True),
        page.get_by_role("combobox", name="Format", exact=True),
        page.get_by_role("textbox", name="Seed", exact=True),
        page.get_by_role("textbox", name="Name", exact=True),
        page.get_by_role("button", name="Render", exact=True),
        page.get_by_role("radiogroup", name="Show pairs by status", exact=True),
        page.get_by_role("link", name="one/", exact=True),
    ):
        expect(found).to_be_attached()
    unnamed = page.locator("img:not([alt])")
    assert unnamed.count() == 0


def test_a_pair_has_an_address_of_its_own(page_of: Open, stack: Stack) -> None:
    stack.pair("summer/taj_", status=Status.DELIVERED, prompt="Two women.")

    page = page_of("#pair=summer%2Ftaj_")

    expect(page.locator("#story")).to_contain_text("Two women.")
    expect(page.locator("#story .steps")).to_contain_text("dropped taj_1.png (PNG, 64 × 48)")
    expect(page.locator("#story .steps")).to_contain_text("claimed")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#story")).to_be_hidden()
    page.go_back()
    expect(page.locator("#story")).to_be_visible()


def test_going_back_at_once_opens_again_what_was_closed(page_of: Open, stack: Stack) -> None:
    stack.pair("summer/taj_", status=Status.DELIVERED, prompt="Two women.")
    page = page_of("#pair=summer%2Ftaj_")
    expect(page.locator("#story")).to_contain_text("Two women.")

    page.evaluate("() => { document.getElementById('close').click(); history.back(); }")

    expect(page.locator("#story")).to_be_visible()
    expect(page.locator("#story-title")).to_have_text("summer/taj_")


def test_an_address_of_no_pair_says_so(page_of: Open, stack: Stack) -> None:
    stack.pair("one/", status=Status.DELIVERED)
    page = page_of("#pair=none%2F")

    expect(page.locator("#story-body")).to_contain_text("Nothing has been dropped there")
    page.evaluate("location.hash = '#pair=%E0%A4%A'")
    expect(page.locator("#story")).to_be_hidden()
    page.get_by_role("link", name="one/").click()
    expect(page.locator("#story-title")).to_have_text("one/")


def test_a_console_that_fails_or_is_stopped_says_so(empty: Served, open_page: Open, said: list[str]) -> None:
    page = open_page(empty.url)
    expect(page.locator("#empty")).to_be_visible()

    page.route("**/api/pairs*", lambda route: route.fulfill(status=500, json={"message": "A bug."}))
    expect(page.locator(".banner")).to_contain_text("The console refuses to answer. A bug.")
    page.unroute("**/api/pairs*")
    page.route("**/api/pairs*", lambda route: route.abort())
    expect(page.locator(".banner")).to_contain_text("The console does not answer.")
    page.unroute("**/api/pairs*")
    expect(page.locator(".banner")).to_have_count(0)

    assert all("Failed to load resource" in line for line in said)
    said.clear()


def test_a_large_stack_is_shown_in_portions(page_of: Open, stack: Stack) -> None:
    for number in range(60):
        stack.pair(f"many/{number:02}/", slots="1", at=1_795_384_556.0 + number)

    page = page_of()

    expect(page.locator(".pair")).to_have_count(24)
    page.get_by_role("button", name="More, older ones").click()
    expect(page.locator(".pair")).to_have_count(48)
    page.get_by_role("button", name="More, older ones").click()
    expect(page.locator(".pair")).to_have_count(60)
    expect(page.locator("#more")).to_be_hidden()
    assert prefixes(page)[0] == "many/59/"


@pytest.mark.parametrize("part", ["", "#pair=long%2F"])
def test_a_phone_never_scrolls_sideways(page_of: Open, stack: Stack, part: str) -> None:
    stack.pair("long/", status=Status.FAILED, prompt="w" * 400, error=problem("refused", "m" * 300))
    stack.pair(f"{'p' * 300}/", status=Status.DELIVERED)

    page = page_of(part, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)

    expect(page.locator(".pair")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("document.getElementById('story').scrollWidth") <= 390


def test_dark_and_light_differ_and_are_both_readable(page_of: Open, empty: Served, open_page: Open) -> None:
    shown = {}
    for scheme in ("light", "dark"):
        page = open_page(empty.url, color_scheme=scheme)
        shown[scheme] = page.evaluate(
            "() => { const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]; }"
        )

    assert shown["light"] != shown["dark"]
    assert all(_contrast(*colours) > 7 for colours in shown.values())


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    darker, lighter = sorted(map(_luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(", ")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
