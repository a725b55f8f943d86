"""Whatever the documentation tells people to type exists, and so does whatever it points at."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
import typer
from botocore import xform_name

from kontext.errors import CODES, REASONS
from kontext.model import Status
from kontext_cli.main import app

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "events" / "README.md",
]
S3_COMMANDS = {"cp", "ls", "mv", "rm", "sync", "presign"}


def text_of(document: Path) -> str:
    return document.read_text() if document.exists() else ""


def commands(text: str) -> Iterator[list[str]]:
    """Each command in a text, in words: the lines of its blocks and what stands in backticks."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    inline = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in [*lines, *inline]:
        typed = re.sub(r"^[A-Z_]+=\$\((.*)\)$", r"\1", line.strip())
        words = re.sub(r"\s+#.*", "", typed).removeprefix("$ ").removeprefix(".venv/bin/").split()
        if words and words[0] in CHECKS:
            yield shlex.split(" ".join(words).replace("’", ""))


def check_make(words: list[str]) -> str | None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return next((word for word in words if "=" not in word and word not in targets), None)


def check_kontext(words: list[str]) -> str | None:
    return check_click(typer.main.get_command(app), words)


def check_sam(words: list[str]) -> str | None:
    from samcli.cli.main import cli

    loading = SimpleNamespace(obj=True)  # sam loads a command only where it sees itself running
    return check_click(cli, words, loading)


def check_click(command: Any, words: list[str], context: Any = None) -> str | None:
    """The first word that a command does not know, None if it knows all."""
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        name, *words = words
        if name.isupper():  # a placeholder
            return None
        command = command.get_command(context, name)
        if command is None:
            return name
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    options = [word.partition("=")[0] for word in words if word.startswith("-")]
    return next((option for option in options if option not in {*known, "--help"}), None)


def check_aws(words: list[str]) -> str | None:
    if words == ["configure"]:
        return None
    service, operation, *rest = words
    if service == "s3":
        return None if operation in S3_COMMANDS else operation
    model = botocore.session.get_session().get_service_model(service.removesuffix("api"))
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in operations:
        return operation
    shape = model.operation_model(operations[operation]).input_shape
    known = {f"--{xform_name(name, '-')}" for name in (shape.members if shape else ())} | {"--query", "--output"}
    return next((word for word in rest if word.startswith("--") and word not in known), None)


CHECKS: dict[str, Callable[[list[str]], str | None]] = {
    "make": check_make,
    "kontext": check_kontext,
    "sam": check_sam,
    "aws": check_aws,
}


@pytest.fixture(params=[document for document in DOCUMENTS if document.exists()], ids=lambda path: path.name)
def document(request: pytest.FixtureRequest) -> str:
    """The text of each document."""
    return text_of(request.param)


def test_every_command_exists_with_its_options(document: str) -> None:
    wrong = {" ".join(words): unknown for words in commands(document) if (unknown := CHECKS[words[0]](words[1:]))}

    assert wrong == {}


def blocks(text: str) -> list[str]:
    """The blocks of a text that are to be typed."""
    return re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_what_is_deployed_was_built_just_before(document: str) -> None:
    # Without a build sam refuses; after an old one it would deploy the code of that day.
    deploying = [block.splitlines() for block in blocks(document) if re.search("^sam deploy", block, re.MULTILINE)]

    unbuilt = [lines for lines in deploying if "sam build" not in lines[: _first(lines, "sam deploy")]]

    assert unbuilt == []


def _first(lines: list[str], beginning: str) -> int:
    return next(number for number, line in enumerate(lines) if line.startswith(beginning))


def test_every_variable_that_is_typed_is_set_before_or_where_the_document_links_to(document: str) -> None:
    typed = "\n".join(blocks(document))
    used, set_here = set(re.findall(r"\$\{?([A-Z_]+)", typed)), set(re.findall(r"\b([A-Z_]+)=\$\(", typed))
    set_there = set(re.findall(r"\b([A-Z_]+)=\$\(", text_of(ROOT / "docs" / "deploy.md")))

    assert used <= set_here | (set_there if "deploy.md#deploy" in document else set())


def test_the_readme_shows_commands_of_every_tool() -> None:
    shown = {words[0] for words in commands(text_of(ROOT / "README.md"))}

    assert shown == CHECKS.keys()


@pytest.mark.parametrize(
    "line",
    [
        "make everything",
        "kontext dorp a b",
        "kontext drop a b --promt x",
        "sam deploy --guide",
        "aws s3api put-objects",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(line: str) -> None:
    (words,) = commands(f"```\n$ {line}\n```")

    assert CHECKS[words[0]](words[1:])


def test_every_link_leads_to_a_file(document: str) -> None:
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", document) if "://" not in link]

    missing = [link for link in links if link and not (ROOT / link).exists() and not (ROOT / "docs" / link).exists()]

    assert missing == []


def test_every_file_of_the_readmes_table_exists() -> None:
    rows = re.findall(r"^\| (`[^|]+) \| [^|]+ \|$", text_of(ROOT / "README.md"), re.MULTILINE)
    paths = [name for row in rows for name in re.findall(r"`([\w./-]+(?:/|\.yaml|\.json))`", row)]

    missing = [path for path in paths if not (ROOT / path).exists()]

    assert len(paths) > 5
    assert missing == []


def test_every_parameter_of_the_stack_is_named_as_the_template_does(template: Json) -> None:
    text = text_of(ROOT / "README.md")
    stated = re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)` \(([\d.]+)\)", text)
    named = set(re.findall(r"`((?:Default|Hold|PromptWait|Requests|Daily|Price|Segmind)[A-Z]\w+)`", text))

    assert named <= template["Parameters"].keys()
    assert stated
    assert {name: str(template["Parameters"][name]["Default"]) for name, _ in stated} == dict(stated)


def test_every_status_and_reason_that_the_readme_explains_is_one() -> None:
    text = text_of(ROOT / "README.md")
    statuses = re.findall(r"`([A-Z]+)`", "".join(re.findall(r"^\| (`[A-Z]+`.*?) \|", text, re.MULTILINE)))
    (reasons,) = re.findall(r"^Parked for one of these reasons: (.*)", text, re.MULTILINE)

    assert set(statuses) == set(Status)
    assert set(re.findall(r"`(\w+)`", reasons)) == REASONS.keys()


def test_no_error_is_explained_that_does_not_exist() -> None:
    explained = {
        code for path in DOCUMENTS for code in re.findall(r"^\| `([a-z_]+)` \| (?:yes|no|unknown)", text_of(path), re.M)
    }

    assert explained <= CODES.keys()
