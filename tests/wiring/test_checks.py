"""What checks a change is the same everywhere: at a commit, on the build server, and by hand."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ANYWHERE, FIRST, GROUPS

Json = dict[str, Any]


@pytest.fixture(scope="session")
def hooks(root: Path) -> dict[str, Json]:
    """Each hook of pre-commit, by the command that it runs."""
    (repository,) = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())["repos"]
    return {hook["entry"].removeprefix("env "): hook for hook in repository["hooks"]}


def _recipe(root: Path, target: str) -> list[str]:
    """The commands of a target of the Makefile."""
    (block,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", (root / "Makefile").read_text(), re.MULTILINE)
    places = {"$(BIN)": ".venv/bin", "$(AUDIT)": ".venv-audit", "$(STACKS)": "", "$(MAKE)": "make"}
    return [re.sub(r"\$\(\w+\)", lambda name: places[name[0]], line.strip()) for line in block.splitlines()]


def test_a_commit_is_checked_by_what_make_check_runs(root: Path, hooks: dict[str, Json]) -> None:
    halves = re.findall(r"\bcheck-\w+", " ".join(_recipe(root, "check")))

    assert list(hooks) == [command for half in halves for command in _recipe(root, half)]


def test_a_check_runs_when_a_file_that_it_names_has_changed(hooks: dict[str, Json]) -> None:
    unseen = [
        command
        for command, hook in hooks.items()
        for file in re.findall(r"\b(?:template\.yaml|workflow\.asl\.json)", command)
        if not re.match(hook["files"], file)
    ]

    assert unseen == []


def test_what_the_quick_check_leaves_out_exists(root: Path) -> None:
    recipe = subprocess.run(["make", "-n", "quick"], cwd=root, check=True, capture_output=True, text=True).stdout
    left_out = re.findall(r"--ignore=(\S+)", recipe)

    assert left_out
    assert [path for path in left_out if not (root / path).exists()] == []


def test_python_keeps_what_it_has_compiled_whatever_the_shell_says(root: Path) -> None:
    """Without that each command and each test worker compiles all it imports, and nothing else shows it."""
    told_not_to = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    asked: Json = {"input": "include Makefile\nshown:\n\t@env\n", "cwd": root, "env": told_not_to}

    seen = subprocess.run(["make", "-f", "-", "shown"], check=True, capture_output=True, text=True, **asked).stdout

    assert "PATH=" in seen
    assert "PYTHONDONTWRITEBYTECODE" not in seen


def test_the_build_server_runs_what_a_person_runs(root: Path) -> None:
    jobs = yaml.safe_load((root / ".github" / "workflows" / "ci.yml").read_text())["jobs"]

    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]

    assert commands == [".ci/run"]
    assert (root / ".ci" / "run").read_text().splitlines()[-1] == "exec make test"


def test_the_build_server_fetches_only_what_is_pinned_to_a_commit(root: Path) -> None:
    workflow = (root / ".github" / "workflows" / "ci.yml").read_text()

    loose = [action for action in re.findall(r"uses: (\S+)", workflow) if not re.search(r"@[0-9a-f]{40}$", action)]

    assert loose == []


def test_what_shares_a_stack_is_run_by_one_worker(root: Path) -> None:
    """Without the groups each worker starts each stack: the run takes twice as long, and nothing else shows it."""
    (recipe,) = _recipe(root, "test-stacks")
    command = re.sub(r"-n \d+", "-n 2", recipe).split()  # two show it as well as six
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}

    module = "tests/browser/test_console_gallery.py"  # grouped as those with stacks are, and quick
    asked = [*command, "-v", module]
    said = subprocess.run(asked, cwd=root, env=plain, capture_output=True, text=True, check=True).stdout

    workers = re.findall(r"\[(gw\d+)\].*PASSED", said)
    assert len(workers) > 20
    assert len(set(workers)) == 1


def test_what_is_said_of_modules_and_tests_of_whole_stacks_is_said_of_some_that_are_there(root: Path) -> None:
    """What is renamed would silently have a group, and with it a stack, of its own."""
    modules = [path for folder in ("e2e", "browser") for path in (root / "tests" / folder).glob("test_*.py")]
    tests = {name for path in modules for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}
    there = tests | {path.stem for path in modules}

    assert {name.partition("[")[0] for name in (*GROUPS, *ANYWHERE, *FIRST)} <= there
