"""The drop convention: which key is which part of which pair."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kontext.drops import keys
from kontext.drops.keys import Part

KEYS = st.text(max_size=60) | st.text("ab12/_-.pngjtxsREQUEST", max_size=40)
PREFIXES = st.just("") | st.builds(str.__add__, st.text(max_size=30), st.sampled_from("/_-"))


def test_the_example_of_the_documentation_holds() -> None:
    results = doctest.testmod(keys)

    assert (results.failed, results.attempted) == (0, 3)


@pytest.mark.parametrize(
    ("key", "part"),
    [
        pytest.param("summer/taj/1.png", Part("summer/taj/", "1"), id="folder"),
        pytest.param("summer/taj/2.jpg", Part("summer/taj/", "2"), id="other extension"),
        pytest.param("taj_1.png", Part("taj_", "1"), id="underscore"),
        pytest.param("a-1.png", Part("a-", "1"), id="hyphen"),
        pytest.param("1.png", Part("", "1"), id="root"),
        pytest.param("a/b_c-1.png", Part("a/b_c-", "1"), id="the last separator counts"),
        pytest.param("a/_1.png", Part("a/_", "1"), id="separators in a row"),
        pytest.param("-2.png", Part("-", "2"), id="nothing but a separator"),
        pytest.param("a/1.JPEG", Part("a/", "1"), id="upper case"),
        pytest.param("a/2.webp", Part("a/", "2"), id="webp"),
        pytest.param("a b+c/ü_1.PNG", Part("a b+c/ü_", "1"), id="space, plus and Unicode"),
        pytest.param("a\nb/1.png", Part("a\nb/", "1"), id="line break"),
        pytest.param("a/request.json", Part("a/", "request"), id="request"),
        pytest.param("a_Request.JSON", Part("a_", "request"), id="request, upper case"),
        pytest.param("request.json", Part("", "request"), id="request at the root"),
        pytest.param("a-prompt.txt", Part("a-", "prompt"), id="prompt"),
        pytest.param("1/1.png", Part("1/", "1"), id="a folder named like a slot"),
        pytest.param("a/1.jfif", Part("a/", "1"), id="as Windows saves a JPEG from the web"),
        pytest.param("a/2.jpe", Part("a/", "2"), id="the third extension of JPEG"),
        pytest.param("a/request.json.txt", Part("a/", "request"), id="request, its extension hidden by Windows"),
        pytest.param("a_Prompt.txt.TXT", Part("a_", "prompt"), id="prompt, its extension hidden by Windows"),
        pytest.param("a/1.jpg.jpg", Part("a/", "1"), id="image, its extension hidden by Windows"),
    ],
)
def test_a_key_that_fits_the_rule_names_a_part(key: str, part: Part) -> None:
    assert keys.parse(key) == part


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="empty"),
        pytest.param("taj/", id="folder"),
        pytest.param("taj/3.png", id="third image"),
        pytest.param("taj/12.png", id="two digits"),
        pytest.param("taj1.png", id="no separator"),
        pytest.param("taj/1", id="no extension"),
        pytest.param("taj/1.gif", id="another format"),
        pytest.param("taj/1.png.bak", id="something behind"),
        pytest.param("taj/1.png/", id="folder named like an image"),
        pytest.param("taj/01.png", id="leading zero"),
        pytest.param("taj/１.png", id="full-width digit"),
        pytest.param("taj/1xpng", id="no dot"),
        pytest.param("taj/myrequest.json", id="request without separator"),
        pytest.param("taj/request.txt", id="request with another extension"),
        pytest.param("taj/prompt.json", id="prompt with another extension"),
        pytest.param("taj/1.png\n", id="line break at the end"),
    ],
)
def test_any_other_key_names_nothing(key: str) -> None:
    assert keys.parse(key) is None


@given(KEYS)
def test_every_key_that_names_no_part_misses_a_rule_that_can_be_told(key: str) -> None:
    assert keys.rule_missed(key)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("taj/1.gif", "PNG, JPEG or WebP"),
        ("taj/1 (1).png", "like a copy"),
        ("taj/2 - Copy.png", "like a copy"),
        ("taj1.png", "before the 1 or 2"),
        ("taj/prompt (1).txt", "a prompt prompt.txt"),
        ("taj/me.HEIC", "by a request.json"),
        ("taj/result.png", "like a result"),
        ("notes.txt", "neither an image"),
    ],
)
def test_the_rule_that_an_object_misses_is_told_in_a_few_words(key: str, why: str) -> None:
    assert keys.parse(key) is None
    assert why in keys.rule_missed(key)


@given(KEYS)
def test_a_part_that_is_found_gives_its_key_back(key: str) -> None:
    part = keys.parse(key)

    if part is not None:
        assert not keys.is_litter(key)
        assert key.startswith(part.prefix)
        assert part.prefix == "" or part.prefix[-1] in "/_-"
        assert key[len(part.prefix) :].lower().startswith(part.slot)


@given(PREFIXES, st.sampled_from(["1.png", "2.JPG", "1.jpeg", "2.webp", "request.json", "prompt.txt"]))
def test_every_part_under_one_prefix_belongs_to_one_pair(prefix: str, name: str) -> None:
    part = keys.parse(prefix + name)

    assert part == (None if keys.is_litter(prefix + name) else Part(prefix, part.slot if part else "1"))


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("taj/._1.jpg", id="a Mac's disk"),
        pytest.param(".DS_Store", id="Finder"),
        pytest.param("taj/Icon\r", id="a folder's picture"),
        pytest.param("taj/Thumbs.db", id="Explorer"),
        pytest.param("taj/DESKTOP.INI", id="Explorer, in capitals"),
        pytest.param("__MACOSX/taj/._1.jpg", id="a Mac's archive"),
        pytest.param("up/__MACOSX/1.jpg", id="a Mac's archive, further down"),
        pytest.param(".Trash-1000/1.jpg", id="a bin"),
        pytest.param("taj/@eaDir/1.jpg", id="a network drive"),
        pytest.param("#recycle/taj/1.jpg", id="a network drive's bin"),
        pytest.param("photos/.recycle/taj/1.jpg", id="a file server's bin"),
        pytest.param(".stversions/taj/1.jpg", id="older versions that a sync tool keeps"),
        pytest.param(".AppleDouble/1.jpg", id="a Mac's side files on a network drive"),
        pytest.param("taj/.keep", id="made by a sync tool"),
    ],
)
def test_what_systems_leave_lying_is_nobodys_drop_and_no_part(key: str) -> None:
    assert keys.is_litter(key)
    assert keys.parse(key) is None


@pytest.mark.parametrize(
    "key", ["taj/1.png", "../1.png", "a.b/1.png", ".git/1.png", "__macosx_1.png", "thumbs.db/1.png", ""]
)
def test_what_people_drop_is_no_litter(key: str) -> None:
    assert not keys.is_litter(key, 5)


@pytest.mark.parametrize(
    ("key", "size", "expected"),
    [
        pytest.param("taj/", 0, True, id="made by a console"),
        pytest.param("taj_$folder$", 0, True, id="made by Hadoop"),
        pytest.param("taj/", 3, False, id="not empty"),
        pytest.param("taj/1.png", 0, False, id="an empty image is a mistake, not a folder"),
    ],
)
def test_an_empty_folder_object_is_nobodys_drop(key: str, size: int, expected: bool) -> None:
    assert keys.is_litter(key, size) is expected


@pytest.mark.parametrize(
    ("prefix", "name", "key"),
    [
        pytest.param("summer/taj/", "me.png", "summer/taj/me.png", id="beside the request"),
        pytest.param("summer/taj_", "me.png", "summer/me.png", id="in the request's folder, not under its prefix"),
        pytest.param("taj_", "me.png", "me.png", id="at the root"),
        pytest.param("summer/taj/", "photos/me.png", "summer/taj/photos/me.png", id="in a folder below"),
        pytest.param("summer/taj/", "/shared/me.png", "shared/me.png", id="from the root of the bucket"),
        pytest.param("a/", "b c+ü.png", "a/b c+ü.png", id="as it is, not URL-encoded"),
    ],
)
def test_a_name_in_a_request_leads_to_a_key(prefix: str, name: str, key: str) -> None:
    assert keys.resolve_name(prefix, name) == key


@pytest.mark.parametrize("name", ["", "/", "a/", "./a.png", "../a.png", "a/../b.png", "/../a.png", "a//b.png"])
def test_a_name_that_climbs_or_names_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must name an object"):
        keys.resolve_name("summer/taj/", name)


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_name_never_climbs_out_of_the_bucket(prefix: str, name: str) -> None:
    try:
        key = keys.resolve_name(prefix + "/", name)
    except ValueError:
        return

    assert ".." not in key.removeprefix(prefix + "/").split("/")
    assert name.startswith("/") or key.startswith(prefix + "/")


def test_results_and_errors_stand_under_the_pairs_prefix() -> None:
    assert keys.result_key("taj_", "jpg") == "taj_result.jpg"
    assert keys.error_key("taj/") == "taj/error.json"
    assert keys.superseded_key("taj/", "abc", "png") == "taj/superseded/abc.png"
    assert keys.unknown_drop_key("notes.txt") == "notes.txt.error.json"


@pytest.mark.parametrize("prefix", ["", "taj/", "taj_", "a/b-"])
def test_what_we_write_is_never_taken_for_a_drop(prefix: str) -> None:
    written = [
        keys.result_key(prefix, "png"),
        keys.error_key(prefix),
        keys.superseded_key(prefix, "0" * 24, "jpg"),
        keys.unknown_drop_key(f"{prefix}1.gif"),
    ]

    assert [keys.parse(key) for key in written] == [None] * 4
