"""What each function is given, and what it is made of."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import httpx
import pytest

from kontext_local import runtime

Json = dict[str, Any]

FUNCTIONS = ("submit", "poll", "finalize", "sweep")
LAYER = Path("layers/kontext/python")
READ_BY_POWERTOOLS = {"POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_SERVICE_NAME"}
HEAVY = {"pydantic", "pydantic_core", "aws_xray_sdk", "jsonschema", "fastjsonschema"}
"""What costs a cold start more than it gives; the last is loaded when a request is first read."""

START = """
import importlib, json, sys

class OnlyWhatIsDeployed:
    allowed = set(json.loads(sys.argv[2]))

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.allowed | sys.stdlib_module_names:
            raise ModuleNotFoundError(name)

before = set(sys.modules)
sys.meta_path.insert(0, OnlyWhatIsDeployed())
for module in json.loads(sys.argv[1]):
    importlib.import_module(module)
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""
"""Imports modules as a function does that starts, seeing nothing but the layers and what Lambda provides."""


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_variable_that_a_function_reads_is_set(template: Json, root: Path, function: str) -> None:
    given = _own(template, function) | _shared(template)

    read = _variables_read(root, function)

    assert read
    assert read <= given


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_given_no_variable_that_it_does_not_read(template: Json, root: Path, function: str) -> None:
    own = _own(template, function)

    assert own <= _variables_read(root, function)


def test_a_variable_for_all_functions_is_read_by_more_than_one(template: Json, root: Path) -> None:
    read = [_variables_read(root, function) for function in FUNCTIONS]

    lonely = {name for name in _shared(template) - READ_BY_POWERTOOLS if sum(name in names for names in read) < 2}

    assert lonely == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_starts_light_and_with_nothing_but_what_is_deployed(root: Path, function: str) -> None:
    loaded = _loaded(root, [function])

    assert function in loaded
    assert HEAVY.isdisjoint(loaded)


def test_every_module_of_the_layer_needs_only_what_is_deployed(root: Path) -> None:
    paths = [path.relative_to(root / LAYER) for path in (root / LAYER / "kontext").rglob("[a-z]*.py")]
    modules = [".".join(path.with_suffix("").parts) for path in paths]

    loaded = _loaded(root, modules)

    assert "kontext" in loaded
    assert {"pydantic", "aws_xray_sdk"}.isdisjoint(loaded)


def test_the_layer_is_locked_with_hashes(root: Path) -> None:
    entries = re.split(r"\n(?=\w)", _lock(root))

    assert all(re.search(r"^[\w.-]+==\S+", entry) and "--hash=sha256:" in entry for entry in entries)


def test_the_layer_holds_what_its_source_asks_for(root: Path) -> None:
    asked = (root / "layers" / "dependencies" / "requirements.in").read_text().split()

    assert asked
    assert set(asked) <= set(_locked(root))


def test_the_layer_holds_only_pure_python(root: Path) -> None:
    compiled = [name for name in _locked(root) if "Root-Is-Purelib: true" not in _wheel(name)]

    assert compiled == []


def test_the_tests_run_the_versions_that_are_deployed(root: Path) -> None:
    tested = dict(re.findall(r"^([\w.-]+)==(\S+)", (root / "requirements" / "dev.txt").read_text(), re.MULTILINE))

    different = {name: version for name, version in _locked(root).items() if tested.get(name) != version}

    assert different == {}


def test_what_the_layer_leaves_out_is_there_to_be_left_out(root: Path) -> None:
    """What a newer version has called otherwise would silently be deployed again."""
    packages = Path(httpx.__file__).parents[1]

    gone = [name for name in _left_out(root) if not list(packages.glob(name))]

    assert "anyio" in _left_out(root)
    assert gone == []


def test_the_schemas_travel_with_the_layer(root: Path) -> None:
    schemas = root / "layers" / "kontext" / "python" / "kontext" / "schemas"

    ids = {json.loads(path.read_text())["$id"] for path in schemas.glob("*.json")}

    assert ids == {"urn:kontext-drop:schema:request:v1", "urn:kontext-drop:schema:event:v1"}


def _own(template: Json, function: str) -> set[str]:
    properties = template["Resources"][f"{function.title()}Function"]["Properties"]
    return set(properties.get("Environment", {}).get("Variables", ()))


def _shared(template: Json) -> set[str]:
    return set(template["Globals"]["Function"]["Environment"]["Variables"])


def _variables_read(root: Path, function: str) -> set[str]:
    """The variables that a function and what it does in the pipeline read, through whatever they ask `deps` for."""
    offered = _offered(root / LAYER / "kontext" / "stores.py") | _offered(root / LAYER / "kontext" / "connections.py")
    trees = _pipeline_of(root, root / "functions" / f"{function}.py")
    nodes = [node for tree in trees for node in ast.walk(tree)]
    ahead = [node.attr for node in nodes if isinstance(node, ast.Attribute) and _is_deps(node.value)]
    read, asked = {name for tree in trees for name in _keys_of_environment(tree)}, set()
    while ahead:
        name = ahead.pop()
        if name in offered and name not in asked:
            asked.add(name)
            read |= offered[name][0]
            ahead += offered[name][1]
    return read


def _pipeline_of(root: Path, start: Path) -> list[ast.Module]:
    """A function's module, and the modules of the pipeline that it leads to."""
    trees: dict[Path, ast.Module] = {}
    ahead = [start]
    while ahead:
        path = ahead.pop()
        if path in trees:
            continue
        trees[path] = ast.parse(path.read_text())
        named = [node.module for node in ast.walk(trees[path]) if isinstance(node, ast.ImportFrom) and node.module]
        ahead += [
            (root / LAYER / name.replace(".", "/")).with_suffix(".py")
            for name in named
            if name.startswith("kontext.pipeline.")
        ]
    return list(trees.values())


def _offered(connections: Path) -> dict[str, tuple[set[str], set[str]]]:
    """For each member of Connections the variables that it reads, and the members that it uses."""
    (klass,) = (node for node in ast.parse(connections.read_text()).body if isinstance(node, ast.ClassDef))
    members = [node for node in klass.body if isinstance(node, ast.FunctionDef)]
    return {
        member.name: (
            set(_keys_of_environment(member)),
            {node.attr for node in ast.walk(member) if isinstance(node, ast.Attribute) and _is(node.value, "self")},
        )
        for member in members
    }


def _keys_of_environment(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Attribute(attr="environment"), slice=ast.Constant(value=str(name))):
                yield name


def _is_deps(node: ast.expr) -> bool:
    return _is(node, "deps") or (isinstance(node, ast.Attribute) and node.attr == "deps")


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


@cache
def _left_out(root: Path) -> tuple[str, ...]:
    """What the layer's Makefile takes away of what is locked for it, as patterns of paths."""
    asked = "include layers/dependencies/Makefile\nshown:\n\t@echo '$(NEVER_USED)'\n"
    command = ["make", "--no-print-directory", "-f", "-", "shown"]
    said = subprocess.run(command, input=asked, cwd=root, check=True, capture_output=True, text=True).stdout
    return tuple(said.split())


@cache
def _deployed(root: Path) -> set[str]:
    """The top-level modules of the layers and of the runtime."""
    of_the_layer = {module for name in _locked(root) for module in _modules_of(name)}
    return of_the_layer - set(_left_out(root)) | {*runtime.PACKAGES, "kontext", *FUNCTIONS}


def _loaded(root: Path, modules: list[str]) -> set[str]:
    """The top-level modules that a fresh process loads for some modules."""
    folders = [str(root / "functions"), str(root / "layers" / "kontext" / "python")]
    command = [sys.executable, "-c", START, json.dumps(modules), json.dumps(sorted(_deployed(root)))]
    answer = subprocess.run(command, env={"PYTHONPATH": ":".join(folders)}, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout))


def _lock(root: Path) -> str:
    text = (root / "layers" / "dependencies" / "requirements.txt").read_text()
    return "\n".join(line for line in text.splitlines() if not line.strip().startswith("#"))


def _locked(root: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", _lock(root), re.MULTILINE))


def _modules_of(name: str) -> set[str]:
    files = distribution(name).files or []
    return {file.parts[0].removesuffix(".py") for file in files}


def _wheel(name: str) -> str:
    return distribution(name).read_text("WHEEL") or ""
