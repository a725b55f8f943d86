"""Everything hostile that we have thought of, played through the whole pipeline in process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kontext import text
from kontext.drops import keys
from kontext.images import behind
from kontext.net import addresses
from kontext.results.hosts import Allowed
from kontext.segmind import answers
from tests.adversarial.oracle import played, wrong
from tests.adversarial.play import CORPUS, Case, cases, play

FILES = sorted(path.stem for path in CORPUS.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES)
def test_each_case_ends_as_the_corpus_says_unpaid_where_it_is_bad_and_with_no_secret_told(file: str) -> None:
    assert played(file) == {}


def test_the_corpus_is_large_and_names_each_case_once() -> None:
    names = [case.name for case in cases()]

    assert len(set(names)) == len(names)
    assert sum(not case.good for case in cases()) >= 200


GUARDS: list[Any] = [
    pytest.param(addresses, "check_url", lambda url: None, "links", "metadata", id="links to anywhere"),
    pytest.param(
        behind, "check", lambda source: list(source.rest()), "images", "program", id="what is behind an image"
    ),
    pytest.param(keys, "is_error_file", lambda key: False, "keys", "error file", id="our own error files"),
    pytest.param(keys, "_fitting", lambda *parts: "".join((parts[0], parts[2])), "keys", "longest", id="long keys"),
    pytest.param(text, "escape_line", lambda same: same, "keys", "reads backwards", id="hidden characters"),
    pytest.param(
        answers,
        "summarize_vendor_message",
        lambda same: same,
        "looks",
        "links to the images",
        id="signatures in messages",
    ),
    pytest.param(answers, "number", lambda value: value, "results", "too small", id="numbers of any size"),
    pytest.param(Allowed, "_names", lambda self: Everything(), "pictures", "redirect to metadata", id="any host"),
]


class Everything(set[str]):
    def __contains__(self, name: object) -> bool:
        return True


@pytest.mark.parametrize(("where", "guard", "instead", "file", "part"), GUARDS)
def test_without_a_guard_the_corpus_finds_something(
    where: Any, guard: str, instead: Callable[..., Any], file: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, guard, instead)

    assert played(file, part)


def test_a_case_that_ends_otherwise_is_found() -> None:
    (case,) = (case for case in cases("images") if case.name.endswith("a GIF"))

    found = wrong(Case(**{**vars(case), "end": "DELIVERED"}), play(case))

    assert found
