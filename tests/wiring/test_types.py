"""All that is Python here is checked for types, and no misspelt word passes, in the product or in a test."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from kontext.errors import REASONS
from kontext.model import Reason

WORDS = """
from kontext.model import Ending, HistoryEntry, PollState, Render, Status
from kontext.renders.submissions import Submissions
from tests.unit.life import MakeReady
from kontext.drops.pairs import Pair


def a_helper(submissions: Submissions, complete: MakeReady, render: Render) -> None:
    {0}
"""
RIGHT = [
    'render["status"] = Status.QUEUED',
    'later: Render = {"status": Status.DELIVERED, "output_url": "https://a"}',
    'noted: HistoryEntry = {"what": "parked", "reason": "no_credits"}',
    'submissions.join_line(render, 1.0, "pace", 0.0)',
    'polled: PollState = {"outcome": "completed"}',
    'ended: Ending = {"outcome": "postponed"}',
    'complete(Pair("taj/"), output_format="jpg")',
]
MISSPELT = {
    "a status": 'render["status"] = Status.QUEUD',
    "a status as a text": 'later: Render = {"status": "DELIVERD"}',
    "a field": 'later: Render = {"status": Status.DELIVERED, "output_ulr": "https://a"}',
    "a field that is read": 'print(render["ouput_url"])',
    "a reason": 'noted: HistoryEntry = {"what": "parked", "reason": "no_credit"}',
    "a reason that is handed over": 'submissions.join_line(render, 1.0, "pase", 0.0)',
    "an outcome of Poll": 'polled: PollState = {"outcome": "complete"}',
    "an outcome of Finalize": 'ended: Ending = {"outcome": "postpond"}',
    "a parameter that a test's helper takes": 'complete(Pair("taj/"), output_formt="jpg")',
}


@pytest.fixture(scope="session")
def settings(root: Path) -> dict[str, Any]:
    """What mypy is told."""
    told: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["mypy"]
    return told


def test_every_file_is_checked(root: Path, settings: dict[str, Any]) -> None:
    roots = [root / folder for folder in settings["mypy_path"].split(":")]
    files = [path for path in root.rglob("*.py") if not path.relative_to(root).parts[0].startswith(".")]

    unchecked = [path for path in files if _package(path, [*roots, root]) not in settings["packages"]]

    assert len(files) > 400
    assert unchecked == []


def _package(path: Path, roots: list[Path]) -> str:
    """The package of a file, or the module if it is in none."""
    base = next(base for base in roots if path.is_relative_to(base))
    return path.relative_to(base).parts[0].removesuffix(".py")


def test_every_reason_that_has_a_type_is_explained() -> None:
    assert set(get_args(Reason)) == REASONS.keys()


def test_the_words_of_the_model_pass_and_each_that_is_misspelt_is_found(root: Path, tmp_path: Path) -> None:
    lines = [*RIGHT, *MISSPELT.values()]
    file = tmp_path / "words.py"
    file.write_text(WORDS.format("\n    ".join(lines)))
    first = file.read_text().splitlines().index(f"    {lines[0]}") + 1

    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(file)]  # with what `make check` has just learned
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout

    found = {int(number) - first for number in re.findall(r"words\.py:(\d+): error", said)}
    assert [line for number, line in enumerate(lines) if number in found] == list(MISSPELT.values()), said
