"""The command line's manners: what it says, and how it exits."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kontext_cli import demo, up
from kontext_cli.console import terminal
from kontext_cli.errors import CommandError, explain
from kontext_local.project import ROOT

Kontext = Callable[..., "subprocess.CompletedProcess[str]"]
COMMANDS = ("up", "demo", "drop", "status", "down", "segmind")


@pytest.fixture
def kontext(tmp_path: Path) -> Kontext:
    """Runs the command in an empty folder, with no local cloud and no AWS."""
    environment = {
        "KONTEXT_HOME": str(tmp_path / "home"),
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "COLUMNS": "200",
    }

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kontext_cli.main", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment | variables, capture_output=True, text=True, check=False
        )

    return run


def test_help_names_every_command(kontext: Kontext) -> None:
    shown = kontext("--help")

    assert shown.returncode == 0
    assert [command for command in COMMANDS if f" {command} " not in shown.stdout] == []


def test_help_imports_neither_aws_nor_the_cloud(kontext: Kontext) -> None:
    heavy = "{'boto3', 'httpx', 'PIL', 'kontext_local'}"
    program = f"import sys, kontext_cli.main; print(sorted({heavy} & set(sys.modules)))"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("drop", "no.png", "no.png"), "no.png is not a file", id="no file"),
        pytest.param(("drop", __file__, __file__), "is not named like a picture", id="no picture"),
        pytest.param(("status", "--stack", "local"), "No local cloud is running", id="no local cloud"),
        pytest.param(("status",), "No AWS region is set", id="no region"),
        pytest.param(("up", "--segmind-url", "https://x.test"), "--segmind-url needs --api-key", id="no key"),
        pytest.param(("up", "--segmind-url", "x.test", "--api-key", "k"), "must be an http or https URL", id="no url"),
        pytest.param(("up", "--param", "SettleSeconds"), "--param takes NAME=VALUE", id="no value"),
        pytest.param(("paint",), "No such command", id="no command"),
    ],
)
def test_what_cannot_be_done_is_said_in_words_and_exits_with_2(
    kontext: Kontext, arguments: tuple[str, ...], said: str
) -> None:
    answer = kontext(*arguments)

    assert answer.returncode == 2
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


def test_missing_credentials_are_said_in_words(kontext: Kontext) -> None:
    answer = kontext("status", AWS_REGION="eu-central-1")

    assert answer.returncode == 2
    assert "credentials" in answer.stderr
    assert "kontext up" in answer.stderr


def test_a_value_that_segmind_does_not_know_is_refused_before_anything_is_uploaded(kontext: Kontext) -> None:
    images = (str(ROOT / "samples" / "chelsea.png"), str(ROOT / "samples" / "coffee.png"))

    answer = kontext("drop", *images, "--aspect-ratio", "5:7")

    assert answer.returncode == 2
    assert "aspect_ratio" in answer.stderr
    assert "16:9" in answer.stderr


@pytest.mark.parametrize(
    ("program", "runs", "said"),
    [
        pytest.param(".venv/bin/kontext", False, ("`.venv/bin/kontext up`", "`.venv/bin/kontext console`"), id="make"),
        pytest.param("/usr/local/bin/kontext", False, ("`kontext up`", "`kontext console`"), id="installed"),
        pytest.param("/usr/local/bin/kontext", True, ("`kontext console`",), id="on a stack that runs already"),
    ],
)
def test_the_demo_ends_with_what_to_type_to_look_at_a_stack(program: str, runs: bool, said: tuple[str, ...]) -> None:
    commands = re.findall(r"`[^`]+`", demo.invitation(program, runs=runs))

    assert tuple(commands) == said


def test_stopping_where_nothing_runs_is_no_error(kontext: Kontext) -> None:
    answer = kontext("down")

    assert answer.returncode == 0
    assert "No local cloud was running" in answer.stderr


def test_what_is_printed_can_be_typed_again(capsys: pytest.CaptureFixture[str]) -> None:
    remedy = "--secret-id arn:aws:secretsmanager:eu-west-1:123456789012:secret:segmind"

    terminal().print(remedy, soft_wrap=True)

    assert capsys.readouterr().out.strip() == remedy


def test_a_bug_is_not_explained_away() -> None:
    assert explain(ZeroDivisionError()) is None
    assert explain(CommandError("because")) == "because"


def test_options_of_up_become_options_of_the_stack() -> None:
    chosen = up.options("https://x.test", "SG_1", ["a.test", "b.test:81"], None, ["DefaultPrompt=a = b"])

    assert chosen.segmind_url == "https://x.test"
    assert chosen.result_hosts == ("a.test", "b.test:81")
    assert chosen.parameters == {"DefaultPrompt": "a = b"}


def test_a_key_in_the_environment_is_kept_from_the_emulator() -> None:
    chosen = up.options(None, "SG_from_the_environment", [], 3.0, [])

    assert "SG_from_the_environment" not in json.dumps(vars(chosen))
    assert chosen.emulator == {"inference": 3.0}
