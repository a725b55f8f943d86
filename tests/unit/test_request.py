"""What may be asked of a render, and how a mistake is explained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from email.header import Header
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kontext.drops import request
from kontext.drops.request import merge, parse_metadata, parse_prompt, parse_request, render_id
from kontext.drops.text_file import MAX_BYTES
from kontext.errors import BadDrop
from kontext.model import Parameters

FIELDS = request.PARAMETERS
RATIOS = (
    ["match_input_image", "1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "4:5", "5:4", "21:9", "9:21", "2:1", "1:2"]
)  # fmt: skip
WORDS = st.sampled_from([*FIELDS, "promt", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(RATIOS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


def body(**content: Any) -> bytes:
    return json.dumps(content).encode()


def read(parse: Callable[[Any], Parameters], content: Any) -> tuple[Parameters, str]:
    """The parameters, or the words with which they were refused."""
    try:
        return parse(content), ""
    except BadDrop as refused:
        return {}, str(refused)


@pytest.mark.parametrize("ratio", RATIOS)
def test_each_of_the_14_aspect_ratios_may_be_asked_for(ratio: str) -> None:
    assert parse_request(body(aspect_ratio=ratio)) == {"aspect_ratio": ratio}


def test_parameters_of_every_kind_may_be_asked_for_at_once() -> None:
    asked = {
        "prompt": "Ein Kätzchen 🐈",
        "aspect_ratio": "16:9",
        "output_format": "jpg",
        "safety_tolerance": 0,
        "seed": 42,
        "input_image_1": "/shared/product.png",
        "input_image_2": "https://example.com/me.jpg",
    }

    assert parse_request(json.dumps(asked).encode()) == asked


@pytest.mark.parametrize(
    ("content", "parameters"),
    [
        pytest.param(b"{}", {}, id="nothing"),
        pytest.param(b"\xef\xbb\xbf" + body(seed=1), {"seed": 1}, id="byte order mark"),
        pytest.param(b"\xef\xbb\xbf" * 2 + body(seed=1), {"seed": 1}, id="two of them"),
        pytest.param('{"prompt": "é"}'.encode("utf-16"), {"prompt": "é"}, id="UTF-16, as Windows saves it"),
        pytest.param(b'\r\n{"seed":\t1}\r\n', {"seed": 1}, id="white space"),
        pytest.param(b'{"seed": 1.0}', {"seed": 1}, id="a whole number with a point"),
        pytest.param(body(seed=None), {"seed": None}, id="a random seed"),
        pytest.param(body(seed=-1), {"seed": -1}, id="a random seed in the vendor's words"),
        pytest.param('{"seed": 1}'.encode("utf-16-le"), {"seed": 1}, id="UTF-16 without its mark"),
        pytest.param('{"seed": 1}'.encode("utf-32"), {"seed": 1}, id="UTF-32"),
        pytest.param(body(**dict.fromkeys(FIELDS)), {"seed": None}, id="fields that are null, as forms send them"),
        pytest.param(body(**{"$schema": "./request.v1.json"}, seed=1), {"seed": 1}, id="an editor's schema"),
        pytest.param(body(aspect_ratio="16:09:00"), {"aspect_ratio": "16:9"}, id="a ratio that Excel took for a time"),
        pytest.param(body(aspect_ratio="16x9"), {"aspect_ratio": "16:9"}, id="a ratio with a cross"),
        pytest.param(body(aspect_ratio="04:03"), {"aspect_ratio": "4:3"}, id="a ratio with zeros"),
        pytest.param(body(output_format="JPEG"), {"output_format": "jpg"}, id="the format's other name"),
    ],
)
def test_a_request_is_read_as_people_write_it(content: bytes, parameters: dict[str, Any]) -> None:
    assert parse_request(content) == parameters


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(body(aspect_ratio="16:10"), ["aspect_ratio", '"16:10"', *RATIOS], id="a ratio that there is not"),
        pytest.param(body(output_format="gif"), ["output_format", '"gif"', "png, jpg"], id="a format"),
        pytest.param(body(safety_tolerance=5), ["safety_tolerance", "5", "from 0 to 2"], id="a number too large"),
        pytest.param(body(safety_tolerance="2"), ["safety_tolerance", '"2"', "whole number"], id="a number in quotes"),
        pytest.param(body(safety_tolerance=True), ["safety_tolerance", "true"], id="a truth value for a number"),
        pytest.param(body(safety_tolerance=1.5), ["safety_tolerance", "1.5"], id="a fraction"),
        pytest.param(body(seed=-2), ["seed", "-2", "or null"], id="a negative seed"),
        pytest.param(body(seed=2**32), ["seed", "4294967296", "4294967295"], id="a seed too large"),
        pytest.param(body(prompt=""), ["prompt", '""', "1 to 5000"], id="an empty prompt"),
        pytest.param(
            body(prompt="\u200b\ufeff"), ["prompt", '"\\u200b\\ufeff"', "seen"], id="a prompt that nobody sees"
        ),
        pytest.param(body(prompt="x" * 5001), ["prompt", "...", "1 to 5000"], id="a prompt too long"),
        pytest.param(body(prompt=["a"]), ["prompt", '["a"]'], id="a list for a text"),
        pytest.param(body(input_image_1=""), ["input_image_1", '""'], id="an image without a name"),
        pytest.param(body(promt="x"), ['"promt"', *FIELDS], id="a field that there is not"),
        pytest.param(b"[1]", ["one JSON object", "[1]"], id="a list"),
        pytest.param(b'"a cat"', ["one JSON object", '"a cat"'], id="a text"),
        pytest.param(b"", ["not valid JSON"], id="an empty file"),
        pytest.param(b'{"prompt": "a cat"', ["not valid JSON"], id="cut off"),
        pytest.param(b"{'prompt': 'a'}", ["not valid JSON"], id="single quotes"),
        pytest.param(b'{"seed": NaN}', ["not valid JSON", "NaN"], id="not a number"),
        pytest.param(b'{"seed": 1e400}', ["seed"], id="an endless number"),
        pytest.param(b'{"seed": 1, "seed": 2}', ['"seed" is given twice'], id="a field twice"),
        pytest.param(b'{"prompt": "\\ud800"}', ["prompt", "half of a character"], id="half of a character"),
        pytest.param(b"[" * 60_000, ["nested too deeply"], id="nested"),
        pytest.param(b"\xff\xd8\xff\xe0", ["not UTF-8"], id="a photograph"),
        pytest.param(
            "{“prompt”: “a cat”}".encode(), ["curly quotation marks"], id="quotation marks of a word processor"
        ),
        pytest.param('{"prompt”: "a cat"}'.encode(), ["curly quotation marks"], id="one of them"),
        pytest.param(b"{'prompt': 'a'}", ["double quotation marks"], id="quotation marks of Python"),
        pytest.param(b'{"seed": 1,}', ["take the comma"], id="a comma too many"),
        pytest.param(b'{"prompt": "a\nb"}', ["line break", "\\n"], id="a line break in a text"),
        pytest.param(b'{"prompt": "C:\\x"}', ["backslash twice"], id="a backslash in a text"),
        pytest.param(b'{"seed": 1 // one\n}', ["no comments"], id="a comment"),
        pytest.param(b"a cat and a cup", ["a prompt alone belongs into prompt.txt"], id="a prompt"),
        pytest.param(b"  ", ["the file is empty"], id="blanks"),
        pytest.param(
            '{"prompt": "größer"}'.encode("cp1252"), ["older encoding", "ANSI", "save it as UTF-8"], id="ANSI"
        ),
        pytest.param(b"<html></html>", ["not valid JSON"], id="a web page"),
        pytest.param(b" " * (MAX_BYTES + 1), ["longer than"], id="a huge file"),
    ],
)
def test_a_mistake_is_explained_by_field_and_by_what_came_and_what_is_allowed(content: bytes, said: list[str]) -> None:
    with pytest.raises(BadDrop) as refused:
        parse_request(content)

    assert refused.value.code == "invalid_request"
    assert [part for part in said if part not in str(refused.value)] == []
    assert "\n" not in str(refused.value)


@given(JSON)
def test_any_json_is_read_or_refused_in_plain_words(content: Any) -> None:
    encoded = json.dumps(content).encode()

    parameters, refusal = read(parse_request, encoded)

    assert refusal == "" or refusal.startswith("request.json")
    assert len(refusal) < 400
    assert set(parameters) <= set(FIELDS)
    assert parse_request(json.dumps(parameters).encode()) == parameters


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_in_plain_words(content: bytes) -> None:
    for parse in (parse_request, parse_prompt):
        parameters, refusal = read(parse, content)

        assert bool(refusal) or set(parameters) <= set(FIELDS)
        json.dumps(parameters, ensure_ascii=False).encode()


def test_a_prompt_file_holds_the_prompt_alone() -> None:
    assert parse_prompt("\ufeff  Zwei Katzen.\r\n".encode()) == {"prompt": "Zwei Katzen."}


@pytest.mark.parametrize(
    "content",
    [b"", b" \r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xef\xbb\xbf" * 2, "\u200b\u00ad".encode()],
    ids=["empty", "blank", "mark", "UTF-16", "two marks", "nothing that can be seen"],
)
def test_an_empty_prompt_file_is_none(content: bytes) -> None:
    assert parse_prompt(content) == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"\xff\xfe\x00\xd8", "damaged UTF-16", id="half"),
        pytest.param(b"\x89PNG\r\n\x1a\n\0", "save it as UTF-8", id="a picture"),
        pytest.param(b"x" * 5001, "1 to 5000 characters", id="long"),
        pytest.param("größer – am Fenster".encode("cp1252"), r"ANSI \(byte 0xF6 at 3\); save it as UTF-8", id="ANSI"),
        pytest.param(b"{\\rtf1\\ansi a cat}", "Rich Text .*Make Plain Text", id="Rich Text"),
        pytest.param(b"PK\x03\x04...", "a Word document", id="Word"),
        pytest.param(b"%PDF-1.7", "a PDF", id="PDF"),
        pytest.param(b"Zwei Katzen\0\0\0", "NUL", id="padded"),
        pytest.param(b'{"prompt": "a cat"}', "belongs into request.json", id="JSON"),
    ],
)
def test_a_prompt_file_that_is_no_plain_text_is_refused_with_how_to_save_it(content: bytes, said: str) -> None:
    with pytest.raises(BadDrop, match=rf"^prompt\.txt: .*{said}"):
        parse_prompt(content)


def test_metadata_is_read_whatever_the_case_and_separator_of_its_names() -> None:
    metadata = {"Prompt": "A cat.", "aspect-ratio": "1:1", "output_format": "jpg", "Safety-Tolerance": "1", "seed": "7"}

    assert parse_metadata(metadata) == {
        "prompt": "A cat.",
        "aspect_ratio": "1:1",
        "output_format": "jpg",
        "safety_tolerance": 1,
        "seed": 7,
    }


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({}, id="none"),
        pytest.param({"camera": "x", "mtime": "1699999999"}, id="somebody else's"),
        pytest.param({"prompt": "  "}, id="empty"),
        pytest.param({"prompt": "=?utf-8?b?4oCL?="}, id="nothing that can be seen"),
        pytest.param({"input-image-1": "/a.png"}, id="names of images stand in request.json alone"),
    ],
)
def test_other_metadata_is_none_of_our_business(metadata: dict[str, str]) -> None:
    assert parse_metadata(metadata) == {}


@pytest.mark.parametrize(
    "prompt",
    ["Ein Kätzchen", "二匹の猫", "🐈 and 🐕", "plain", "=?strange?=", "=?utf-8?b?a?=", "a =?utf-8?q?b=C3=BC?= c"],
)
def test_a_prompt_beyond_ascii_is_read_as_s3_gives_it(prompt: str) -> None:
    stored = prompt if prompt.isascii() else Header(prompt, "utf-8", maxlinelen=10_000).encode()
    expected = "a bü c" if "C3" in prompt else prompt

    assert parse_metadata({"prompt": stored}) == {"prompt": expected}


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        pytest.param({"seed": "seven"}, ["seed", '"seven"', "whole number"], id="a word for a number"),
        pytest.param({"aspect-ratio": "wide"}, ["aspect_ratio", '"wide"', "16:9"], id="a ratio that there is not"),
    ],
)
def test_a_mistake_in_metadata_is_explained(metadata: dict[str, str], said: list[str]) -> None:
    with pytest.raises(BadDrop) as refused:
        parse_metadata(metadata)

    assert str(refused.value).startswith("the image's metadata")
    assert [part for part in said if part not in str(refused.value)] == []


@given(
    st.dictionaries(
        st.sampled_from(["prompt", "seed", "aspect-ratio", "x"]),
        st.text(max_size=30)
        | st.builds(
            "=?{}?{}?{}?=".format,
            st.sampled_from(["utf-8", "latin-1", "utf-7", "base64", "", "\0"]),
            st.sampled_from("bqx"),
            st.text("YQ=\ud800+2Aü0 ", max_size=9),
        ),
    )
)
def test_any_metadata_is_read_or_refused_in_plain_words(metadata: dict[str, str]) -> None:
    parameters, refusal = read(parse_metadata, metadata)

    assert refusal == "" or refusal.startswith("the image's metadata")
    json.dumps(parameters, ensure_ascii=False).encode()


def test_the_first_source_that_names_a_parameter_decides() -> None:
    merged = merge({"prompt": "first"}, {"prompt": "second", "seed": 2}, {"seed": 3, "output_format": "png"})

    assert merged == {"prompt": "first", "seed": 2, "output_format": "png"}


def test_a_render_is_named_by_its_prefix_images_and_parameters() -> None:
    asked: list[Parameters] = [{"safety_tolerance": 1, "seed": 2}, {"seed": 2, "safety_tolerance": 1}]
    same = {render_id("a/", "e1", "e2", parameters) for parameters in asked}
    others = {
        render_id("b/", "e1", "e2", {"safety_tolerance": 1, "seed": 2}),
        render_id("a/", "e2", "e1", {"safety_tolerance": 1, "seed": 2}),
        render_id("a/", "e1", "e2", {"safety_tolerance": 1, "seed": 3}),
        render_id("a/", "e1", "e2", {"safety_tolerance": "1", "seed": 2}),  # type: ignore[typeddict-item]
        render_id("a/e1", "", "e2", {"safety_tolerance": 1, "seed": 2}),
    }

    (name,) = same
    assert len(name) == 24
    assert len(others - same) == 5


def test_a_renders_name_never_changes_from_one_version_to_the_next() -> None:
    canonical = '["taj/", "e1", "e2", {"prompt": "é", "seed": 1}]'

    name = render_id("taj/", "e1", "e2", {"seed": 1, "prompt": "é"})

    assert name == hashlib.sha256(canonical.encode()).hexdigest()[:24]


def test_the_schema_allows_each_aspect_ratio_of_the_contract_and_no_unknown_field() -> None:
    schema = json.loads((Path(request.__file__).parents[1] / "schemas" / "request.v1.json").read_text())

    assert schema["properties"]["aspect_ratio"]["enum"] == [*RATIOS, None]
    assert schema["additionalProperties"] is False
