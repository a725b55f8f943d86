"""What is shown, logged and passed on of text from outside."""

from __future__ import annotations

import doctest
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kontext import text

SEEN = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
"""Signs around numbers, which Unicode counts as formats and fonts draw."""
ANY = st.text() | st.text(st.characters(categories=["Cc", "Cf", "Zl", "Zp"]), max_size=10)


def test_the_example_of_the_documentation_holds() -> None:
    results = doctest.testmod(text)

    assert (results.failed, results.attempted) == (0, 1)


@given(ANY)
def test_json_carries_every_text_exactly_and_none_of_it_hidden(raw: str) -> None:
    said = text.dumps({raw: [raw]}, indent=1)

    assert json.loads(said) == {raw: [raw]}
    assert not [letter for letter in said if letter != "\n" and is_hidden(letter)]
    said.encode()


@given(ANY)
def test_what_is_shown_is_one_line_without_anything_hidden(raw: str) -> None:
    line = text.escape_line(raw)

    assert not [letter for letter in line if is_hidden(letter)]
    assert raw.isprintable() is False or "\\u" in line or line == raw


def is_hidden(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") and letter not in SEEN


@pytest.mark.parametrize(
    ("said", "told"),
    [
        pytest.param("all is well", "all is well", id="nothing to hide"),
        pytest.param("GET https://b/k.png?X-Amz-Signature=0a&b=1 failed", "GET https://b/k.png?… failed", id="a link"),
        pytest.param('{"u": "http://b/k?s=1"}', '{"u": "http://b/k?…"}', id="a link in JSON"),
        pytest.param("X-Amz-Credential=AKIA/1 x", "X-Amz-Credential=… x", id="a part of a link"),
        pytest.param("u%3FX-Amz-Signature%3D0a1b", "u%3FX-Amz-Signature%3D…", id="an encoded link"),
        pytest.param("bad key SG_0123456789abcdef!", "bad key SG_…!", id="a key"),
        pytest.param("a\n\tb\r\nc", "a b c", id="several lines"),
        pytest.param("a\u202eb\ud800", "a\\u202eb\\ud800", id="hidden and half characters"),
        pytest.param("x" * 600, "x" * 499 + "…", id="too long"),
    ],
)
def test_a_message_is_told_without_secrets_as_one_line(said: str, told: str) -> None:
    assert text.summarize_vendor_message(said) == told


@given(st.text(max_size=100), st.text("0123456789abcdef", min_size=8, max_size=64), st.text(max_size=100))
def test_no_signature_is_ever_told(before: str, signature: str, behind: str) -> None:
    message = f"{before} https://bucket.s3.amazonaws.com/a?X-Amz-Signature={signature} {behind}"

    assert f"Signature={signature}" not in text.summarize_vendor_message(message)
    assert len(text.summarize_vendor_message(message)) <= 500


def test_half_a_character_can_be_written_down() -> None:
    said = text.dumps({"key": "a\ud800"})

    assert said.encode() == b'{"key": "a\\ud800"}'
