"""Files and classes stay small enough to be read at once, and what has a name has a type."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = sorted(path for folder in ("functions", "layers") for path in (ROOT / folder).rglob("*.py"))
PRODUCT = [*CORE, *sorted((ROOT / "cli").rglob("*.py"))]

LINES_OF_A_FUNCTION = 60
LINES_OF_A_FILE = 300
LINES_OF_A_CLASS = 150
UNTYPED = 15
"""How often the core may say `dict[str, Any]`: for what a schema, the table or an AWS client leaves open."""


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES_OF_A_FILE


@pytest.mark.parametrize("path", sorted((ROOT / "functions").glob("*.py")), ids=lambda path: path.name)
def test_a_function_of_lambda_fits_a_screen(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES_OF_A_FUNCTION


def test_a_class_is_read_on_a_few_screens() -> None:
    larger = {name: lines for name, lines in _classes() if lines > LINES_OF_A_CLASS}

    assert larger == {}


def test_records_and_messages_have_types() -> None:
    untyped = {
        str(path.relative_to(ROOT)): count
        for path in CORE
        if (count := len(re.findall(r"\b(?:dict|Mapping)\[str, Any\]", path.read_text())))
    }

    assert sum(untyped.values()) <= UNTYPED, untyped


def _classes() -> Iterator[tuple[str, int]]:
    """The classes of the product, and how many lines each has."""
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                yield node.name, (node.end_lineno or 0) - node.lineno + 1
