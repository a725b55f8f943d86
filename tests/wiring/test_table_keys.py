"""How a key of the table is spelt is known where keys are made, and in the read model; everybody else asks by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("functions", "layers/kontext/python", "cli", "local")
LAYER, READ = "layers/kontext/python/kontext", "cli/kontext_cli/read"
AT_HOME = (
    *(f"{LAYER}/{module}.py" for module in ("dynamodb", "due", "throttle/shared_state")),
    *(f"{folder}/" for folder in (f"{LAYER}/renders", f"{LAYER}/drops", READ)),
)
"""Where keys are made, and read."""
SOURCES = [
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not str(path.relative_to(ROOT)).startswith(AT_HOME)
]
KEY = re.compile(r"(pk|sk)|.*#(pk|sk)\b.*|(pair|render|object|ledger|balance|folder|job|letter)#.*", re.DOTALL)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_key_of_the_table_is_spelt_out(path: Path) -> None:
    assert list(_spelt(path.read_text())) == []


@pytest.mark.parametrize(
    "line",
    [
        'item["sk"].startswith(start)',
        'items = table.query(f"pair#{prefix}")',
        'day = "ledger#2026-11-27"',
        'table.delete(place, "attribute_exists(#pk)")',
        'days = table.query("stack")',
        'place = {"pk": name}',
    ],
)
def test_a_key_that_is_spelt_out_is_noticed(line: str) -> None:
    assert list(_spelt(line)) != []


def test_a_docstring_may_name_a_key() -> None:
    assert list(_spelt('"""pair#taj/"""')) == []


def _spelt(source: str) -> Iterator[str]:
    """What of a source is a key of the table, or a part of one."""
    tree = ast.parse(source)
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            if KEY.fullmatch(node.value):
                yield node.value
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "query":
            yield from (str(one.value) for one in node.args if isinstance(one, ast.Constant))
