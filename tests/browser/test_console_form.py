"""The form of the console's page in a real browser: photographs are dropped, and sent once."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from kontext.model import Status
from tests.browser.conftest import Open, Stack, photograph

if TYPE_CHECKING:
    from playwright.sync_api import FilePayload, Page

DROP = """([photographs, place]) => {
  const carried = new DataTransfer();
  for (const [name, text] of photographs) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    carried.items.add(new File([bytes], name, { type: name.endsWith('.txt') ? 'text/plain' : 'image/png' }));
  }
  const target = document.querySelector(place);
  for (const kind of ['dragover', 'drop']) {
    target.dispatchEvent(new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true }));
  }
}"""


def drop_files(page: Page, photograph: bytes, *names: str, place: str = "body") -> None:
    text = base64.b64encode(photograph).decode()
    page.evaluate(DROP, [[[name, text] for name in names], place])


def keep_photographs(page: Page, *photographs: bytes) -> None:
    """Chooses a photograph for each place."""
    for label, body in zip(("First photograph", "Second photograph"), photographs, strict=True):
        file: FilePayload = {"name": "photograph.png", "mimeType": "image/png", "buffer": body}
        page.get_by_label(label, exact=True).set_input_files(file)


@pytest.mark.parametrize("place", ["body", ".slot[data-slot='1']"])
def test_two_photographs_dropped_at_once_fill_both_places(page_of: Open, grey: bytes, stack: Stack, place: str) -> None:
    page = page_of()

    drop_files(page, grey, "left.png", "right.png", place=place)

    expect(page.locator(".slot.filled img").nth(0)).to_have_attribute("alt", "left.png")
    expect(page.locator(".slot.filled img").nth(1)).to_have_attribute("alt", "right.png")
    page.get_by_label("What should the picture show?").fill("Both.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".pair[data-status=DROPPED]")).to_contain_text("Both.")
    expect(page.locator(".slot.filled")).to_have_count(0)
    keys = [item["Key"] for item in stack.client("s3").list_objects_v2(Bucket="dropped")["Contents"]]
    assert [key.rpartition("/")[2] for key in keys] == ["1.png", "2.png", "request.json"]


def test_photographs_can_be_dropped_one_by_one_and_taken_back(page_of: Open, grey: bytes) -> None:
    page = page_of()

    drop_files(page, grey, "left.png")
    drop_files(page, grey, "right.png")
    page.get_by_role("button", name="Remove the first photograph").click()

    expect(page.locator(".slot.filled img")).to_have_attribute("alt", "right.png")
    page.get_by_role("button", name="Render").click()
    expect(page.get_by_role("alert")).to_have_text("Choose both photographs.")
    expect(page.get_by_label("First photograph", exact=True)).to_be_focused()


def test_a_file_that_is_no_picture_is_refused_with_a_word(page_of: Open, grey: bytes) -> None:
    page = page_of()

    drop_files(page, grey, "notes.txt")

    expect(page.get_by_role("alert")).to_contain_text("These are no pictures")


def test_a_name_that_is_taken_is_refused_beside_the_form_with_its_price(
    page_of: Open, stack: Stack, grey: bytes, said: list[str]
) -> None:
    stack.pair("summer/taj/", status=Status.DELIVERED, prompt="Two women.")
    before = stack.client("s3").list_object_versions(Bucket="dropped")["Versions"]
    page = page_of()
    keep_photographs(page, photograph("red"), photograph("blue"))
    page.get_by_label("What should the picture show?").fill("Two men.")
    page.get_by_label("Name").fill("summer/taj")

    page.get_by_role("button", name="Render").click()

    refusal = page.locator("#composer").get_by_role("alert")
    expect(refusal).to_contain_text("Nothing was uploaded. summer/taj/ is there already, with other parts")
    expect(refusal).to_contain_text("what is asked for and the first photograph and the second photograph")
    expect(refusal).to_contain_text("3 pictures for USD 0.15. Give the pair another name (USD 0.05)")
    expect(page.get_by_label("Name")).to_be_focused()
    expect(page.locator(".slot.filled")).to_have_count(2)
    assert stack.client("s3").list_object_versions(Bucket="dropped")["Versions"] == before
    assert all("409" in line for line in said)
    said.clear()

    page.keyboard.type("summer/men")
    page.get_by_role("button", name="Render").click()

    expect(page.locator(".pair[data-status=DROPPED] h3")).to_have_text("summer/men/")
    expect(refusal).to_be_hidden()


def test_a_form_that_is_sent_twice_at_once_is_one_pair(page_of: Open, stack: Stack) -> None:
    page = page_of()
    keep_photographs(page, photograph("red"), photograph("blue"))
    page.get_by_label("What should the picture show?").fill("Once.")

    page.evaluate("() => { for (let i = 0; i < 3; i += 1) document.getElementById('composer').requestSubmit(); }")

    expect(page.locator(".pair[data-status=DROPPED]")).to_have_count(1)
    expect(page.locator(".slot.filled")).to_have_count(0)
    assert len(stack.client("s3").list_object_versions(Bucket="dropped")["Versions"]) == 3


def test_a_form_that_is_sent_again_after_a_lost_answer_is_the_same_pair(
    page_of: Open, stack: Stack, said: list[str]
) -> None:
    page = page_of()
    keep_photographs(page, photograph("red"), photograph("blue"))
    page.route("**/api/drops", lambda route: (route.fetch(), route.abort()))
    page.get_by_role("button", name="Render").click()
    expect(page.get_by_role("alert").first).to_contain_text("The console does not answer")
    page.unroute("**/api/drops")
    said.clear()

    page.get_by_role("button", name="Render").click()

    expect(page.locator("#said")).to_contain_text("has just this already: nothing more is paid.")
    assert len(stack.client("s3").list_object_versions(Bucket="dropped")["Versions"]) == 2
