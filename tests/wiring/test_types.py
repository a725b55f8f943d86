"""All that is Python here is checked for types, and no misspelt word passes, in the product or in a test."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from kontext.errors import CODES, REASONS
from kontext.model import ErrorCode, Reason

IMPORTS = """
from kontext.drops.pairs import Pair
from kontext.errors import BadDrop, problem
from kontext.model import HistoryEntry, Render, Status
from kontext.workflow_state import Ending, PollState
from kontext.renders.submissions import Submissions
from tests.unit.life import MakeReady
"""
FUNCTION = """
def function_{0}(submissions: Submissions, complete: MakeReady, render: Render, noted: HistoryEntry) -> object:
    {1}
    return None
"""
RIGHT = [
    'render["status"] = Status.QUEUED',
    'later: Render = {"status": Status.DELIVERED, "output_url": "https://a"}',
    'noted = {"what": "parked", "reason": "no_credits"}',
    'problem("near_miss", "x")',
    'if render["error"]["code"] == "no_result": return 0',
    'if noted["what"] == "completed": return 1',
    'match noted["what"]:\n        case "relinked": return 2',
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
    "a reason": 'noted = {"what": "parked", "reason": "no_credit"}',
    "an error code": 'problem("near_mis", "x")',
    "an error code that is raised": 'raise BadDrop("invalid_imge", "x")',
    "an error code that is told apart": 'if render["error"]["code"] == "no_reslt": return 0',
    "what the history tells": 'noted = {"what": "parkd", "reason": "no_credits"}',
    "what the history tells, told apart": 'if noted["what"] == "complete": return 1',
    "what the history tells, in a match": 'match noted["what"]:\n        case "relink": return 2',
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


def test_every_reason_and_every_error_code_that_has_a_type_is_explained() -> None:
    assert set(get_args(Reason)) == REASONS.keys()
    assert set(get_args(ErrorCode)) == CODES.keys()


def test_the_words_of_the_model_pass_and_each_that_is_misspelt_is_found(root: Path, tmp_path: Path) -> None:
    lines = [*RIGHT, *MISSPELT.values()]
    file = tmp_path / "words.py"
    file.write_text(IMPORTS + "".join(FUNCTION.format(number, line) for number, line in enumerate(lines)))

    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(file)]  # with what `make check` has just learned
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout

    written = file.read_text().splitlines()
    wrong = {"\n".join(written[: int(number)]).count("def function_") - 1 for number in _numbers(said)}
    assert [line for number, line in enumerate(lines) if number in wrong] == list(MISSPELT.values()), said


def _numbers(said: str) -> list[str]:
    """The lines that mypy complains about."""
    return re.findall(r"words\.py:(\d+): error", said)
