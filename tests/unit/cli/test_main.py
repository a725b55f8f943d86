"""The command line's manners: what it says, and how it exits."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kontext_cli import main, up
from kontext_cli.demo import command as demo
from kontext_cli.errors import CommandError, Unread, explain
from kontext_cli.terminal import command, terminal
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


def test_the_version_is_the_one_of_the_project_and_of_the_changelog(kontext: Kontext) -> None:
    (project,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    newest, *_ = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    shown = kontext("--version")

    assert (shown.returncode, shown.stdout) == (0, f"kontext {project}\n")
    assert newest == project


def test_a_shell_completes_a_command() -> None:
    installed = Path(sys.executable).with_name("kontext")
    typed = {"COMP_WORDS": "kontext re", "COMP_CWORD": "1", "_KONTEXT_COMPLETE": "complete_bash"}

    completed = subprocess.run([installed], env=typed, capture_output=True, text=True, check=True)

    assert set(completed.stdout.split()) >= {"reconcile", "redeliver", "redrive", "replay", "resolve", "resume"}


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
        pytest.param(("up", "--param", "PromptWaitSeconds"), "--param takes NAME=VALUE", id="no value"),
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("status", "--json"), "No AWS region is set", id="no region"),
        pytest.param(("drop", "no.png", "no.png", "--json"), "no.png is not a file", id="no file"),
        pytest.param(("up", "--json", "--param", "x"), "--param takes NAME=VALUE", id="no value"),
    ],
)
def test_a_program_that_asks_for_json_is_told_of_an_error_in_json(
    kontext: Kontext, arguments: tuple[str, ...], said: str
) -> None:
    answer = kontext(*arguments)

    assert answer.returncode == 2
    assert said in json.loads(answer.stdout)["error"]["message"]
    assert said in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        pytest.param(("up",), "Not a directory", id="up"),
        pytest.param(("status", "--stack", "local"), "Not a directory", id="status"),
        pytest.param(("down",), "Not a directory", id="down"),
        pytest.param(("demo", "--picture", "{home}/sheet.png"), "Nothing can be saved as", id="demo"),
    ],
)
def test_no_error_of_the_system_is_a_stack_trace(
    kontext: Kontext, tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file" / "home"

    answer = kontext(*(word.format(home=home) for word in arguments), KONTEXT_HOME=str(home))

    assert answer.returncode == 2
    assert answer.stderr.splitlines()[-1].startswith(f"kontext: {why}")
    assert "Traceback" not in answer.stderr


def test_a_port_that_is_taken_is_told_to_programs_too(kontext: Kontext) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = kontext("segmind", "--port", str(taken.getsockname()[1]), "--json")

    assert answer.returncode == 2
    assert "is taken: choose another one" in json.loads(answer.stdout)["error"]["message"]


def run_into(command: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of a command whose streams lead nowhere."""
    return subprocess.run(
        ["bash", "-c", command.replace("kontext", f"{sys.executable} -m kontext_cli.main") + '; echo "code $?" >&3'],
        capture_output=True,
        text=True,
        check=False,
        env={"AWS_EC2_METADATA_DISABLED": "true", "KONTEXT_HOME": "/nowhere", "PATH": os.environ["PATH"]},
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize(
    ("streams", "code", "heard"),
    [
        pytest.param(">/dev/full", 2, "kontext: No space left on device", id="a full disk"),
        pytest.param(">&-", 0, "", id="no output at all"),
    ],
)
def test_an_output_that_takes_nothing_is_one_line_at_most(streams: str, code: int, heard: str) -> None:
    answer = run_into(f"exec 3>&1; kontext --help {streams}")

    assert answer.stdout == f"code {code}\n"
    assert answer.stderr.strip() == heard


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("errors", ["2>/dev/full", "2>&-"])
def test_an_error_that_nobody_can_be_told_in_words_is_still_told_to_programs(errors: str) -> None:
    answer = run_into(f"exec 3>&2; kontext drop no.png no.png --json {errors}")

    assert "no.png is not a file" in json.loads(answer.stdout)["error"]["message"]
    assert answer.stderr == "code 2\n"


@pytest.mark.parametrize("typed", [("fetch", "cat"), ("drop", "cat.png", "cat.png", "--json")])
def test_ctrl_c_before_anything_is_begun_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, typed: tuple[str, ...]
) -> None:
    def press_ctrl_c(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").touch()
    monkeypatch.setattr("kontext_cli.target.find", press_ctrl_c)
    monkeypatch.setattr("sys.argv", ["kontext", *typed])

    code = main._run()

    said = capsys.readouterr()
    assert (code, said.err) == (130, "kontext: Interrupted.\n")
    assert not said.out or json.loads(said.out) == {"error": {"message": "Interrupted."}}
    assert bool(said.out) == ("--json" in typed)
    assert list(tmp_path.iterdir()) == [tmp_path / "cat.png"]


class Closed(io.StringIO):
    """A stream that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_command_goes_on_without_words_when_nobody_reads_its_errors() -> None:
    console = terminal(stderr=True)
    console.file = Closed()

    for _ in range(2):
        console.print("dropped")

    assert console.quiet


def test_a_command_ends_when_nobody_reads_its_output() -> None:
    console = terminal()
    console.file = Closed()

    with pytest.raises(Unread):
        console.print("a pair")


def test_text_that_a_terminal_cannot_show_is_no_stack_trace(kontext: Kontext) -> None:
    answer = kontext("drop", "Kätzchen.png", "no.png", "--json", PYTHONIOENCODING="ascii", PYTHONUTF8="1")

    assert answer.returncode == 2
    assert json.loads(answer.stdout)["error"]["message"] == "Kätzchen.png is not a file."


@pytest.mark.parametrize(
    ("name", "pasted"),
    [
        pytest.param("cat", ["kontext", "fetch", "--stack", "shop", "cat"], id="plain"),
        pytest.param("my cat's", ["kontext", "fetch", "--stack", "shop", "my cat's"], id="with a space"),
        pytest.param("-x", ["kontext", "fetch", "--stack", "shop", "--", "-x"], id="like an option"),
    ],
)
def test_a_command_that_is_told_can_be_pasted(monkeypatch: pytest.MonkeyPatch, name: str, pasted: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["kontext"])

    assert shlex.split(command("fetch", "--stack", "shop", name=name)) == pasted
