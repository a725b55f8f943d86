"""The command line on a running local stack, as a person uses it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from kontext_cli.resources import physical_ids
from kontext_cli.target import Target
from kontext_local import stack
from tests.e2e.conftest import Eventually

KONTEXT = [sys.executable, "-m", "kontext_cli.main"]


@pytest.fixture
def kontext(local: stack.LocalStack, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command in an empty folder, with the shared stack as the local one."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KONTEXT_HOME": local.home, "COLUMNS": "200"}
        return subprocess.run(
            [*KONTEXT, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture
def images(samples: Path) -> tuple[str, str]:
    return str(samples / "chelsea.png"), str(samples / "coffee.png")


def test_a_dropped_pair_comes_back_as_a_picture(
    kontext: Callable[..., Any], images: tuple[str, str], tmp_path: Path, local: stack.LocalStack
) -> None:
    asked = ("--prompt", "Die Katze trinkt Kaffee ☕", "--aspect-ratio", "16:9", "--output-format", "jpg")

    answer = kontext("drop", *images, *asked, "--name", "cli/delivered", "--json")

    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert told["status"] == "DELIVERED"
    assert told["result"] == {
        "bucket": local.outputs["OutputBucket"],
        "key": "cli/delivered/result.jpg",
        "file": str(tmp_path / "cli-delivered.jpg"),
    }
    with Image.open(tmp_path / "cli-delivered.jpg") as picture:
        assert picture.format == "JPEG"
        assert picture.width / picture.height == pytest.approx(16 / 9, rel=0.05)


def test_the_same_drop_again_is_not_rendered_again(
    kontext: Callable[..., Any], images: tuple[str, str], emulator: Any
) -> None:
    first = kontext("drop", *images, "--prompt", "Once.", "--name", "cli/twice", "--json")
    paid = _paid(emulator, "Once.")

    second = kontext("drop", *images, "--prompt", "Once.", "--name", "cli/twice", "--json")

    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["request_id"] == json.loads(first.stdout)["request_id"]
    assert (paid, _paid(emulator, "Once.")) == (1, 1)


def test_a_name_that_is_taken_by_another_pair_is_refused_and_nothing_is_paid(
    kontext: Callable[..., Any], images: tuple[str, str], emulator: Any
) -> None:
    assert kontext("drop", *images, "--prompt", "Taken.", "--name", "cli/taken").returncode == 0

    answer = kontext("drop", *reversed(images), "--prompt", "Taken.", "--name", "cli/taken", "--json")
    another = kontext("drop", *images, "--prompt", "Taken: no more.", "--name", "cli/taken", "--json")

    assert answer.returncode == 2
    assert "2 x USD 0.05 = USD 0.10" in json.loads(answer.stdout)["error"]["message"]
    assert json.loads(another.stdout)["status"] == "DELIVERED"
    assert (_paid(emulator, "Taken."), _paid(emulator, "Taken: no more.")) == (1, 1)


def test_what_ctrl_c_says_follows_a_drop_and_fetches_its_picture(
    local: stack.LocalStack, images: tuple[str, str], tmp_path: Path, eventually: Eventually
) -> None:
    environment = {**os.environ, "KONTEXT_HOME": local.home, "PYTHONUNBUFFERED": "1"}
    command = [*KONTEXT, "drop", *images, "--prompt", "A cat.", "--name", "cli/my cat"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "dropped" in line)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    follow, fetch = (shlex.split(told) for told in re.findall(r"`([^`]+)`", rest))

    eventually(lambda: "DELIVERED" in _pasted(follow, tmp_path, environment).stdout, "the delivery")
    fetched = _pasted(fetch, tmp_path, environment)

    assert process.returncode == 130
    assert "is, or will be, paid (USD 0.05)" in rest
    assert fetched.returncode == 0, fetched.stderr
    assert (tmp_path / "cli-my cat.png").stat().st_size > 0
    assert list(tmp_path.glob(".kontext-*")) == []


def _pasted(words: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_file_that_is_no_picture_is_refused_before_anything_is_dropped(
    kontext: Callable[..., Any], tmp_path: Path
) -> None:
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_text("this is no picture")

    refused = kontext("drop", "1.png", "2.png", "--prompt", "Anything.", "--name", "cli/no-picture")

    assert refused.returncode == 2
    assert "1.png" in refused.stderr
    assert kontext("status", "cli/no-picture").stdout.startswith("Nothing under")


def test_a_pair_that_cannot_be_rendered_exits_with_1_and_says_why(
    kontext: Callable[..., Any], images: tuple[str, str], emulator: httpx.Client
) -> None:
    prompt = "Something that may not be shown, exits with 1."
    emulator.post("script", json={"prompt": prompt, "fail": "blocked", "times": None}).raise_for_status()

    once, again = (
        kontext("drop", *images, "--prompt", prompt, "--name", "cli/broken", "--timeout", "60", "--json")
        for _ in range(2)
    )

    assert (once.returncode, again.returncode) == (1, 1)
    told = json.loads(once.stdout)
    assert (told["status"], told["error"]["code"], told["error"]["charged"]) == ("FAILED", "render_failed", "no")
    assert told["error"]["remedy"] in once.stderr


def test_status_tells_all_about_one_pair_and_a_line_about_many(
    kontext: Callable[..., Any], images: tuple[str, str]
) -> None:
    for name in ("cli/status/a", "cli/status/b"):
        assert kontext("drop", *images, "--prompt", "A cat.", "--name", name).returncode == 0

    one, many = kontext("status", "cli/status/a"), kontext("status", "cli/status/")
    as_json = json.loads(kontext("status", "cli/status/a", "--json").stdout)

    assert "QUEUED at Segmind as" in one.stdout
    assert "cli/status/a/result.png" in one.stdout
    assert [line.split()[:2] for line in many.stdout.splitlines()[-3:]] == [
        ["pair", "status"],
        ["cli/status/b/", "DELIVERED"],
        ["cli/status/a/", "DELIVERED"],
    ]
    assert [(pair["prefix"], pair["status"]) for pair in as_json] == [("cli/status/a/", "DELIVERED")]


def test_a_drop_that_is_not_waited_for_can_be_followed_by_status(
    kontext: Callable[..., Any], images: tuple[str, str], eventually: Eventually
) -> None:
    answer = kontext("drop", *images, "--prompt", "A cat.", "--name", "cli/later", "--no-wait", "--json")

    assert json.loads(answer.stdout)["status"] == "DROPPED"
    eventually(lambda: "DELIVERED" in kontext("status", "cli/later").stdout, "the delivery")


def test_other_tools_reach_it_with_what_env_prints(
    kontext: Callable[..., Any], local: stack.LocalStack, tmp_path: Path
) -> None:
    look = "import boto3; print(boto3.client('s3').list_buckets()['Buckets'])"
    shell = f'eval "$({" ".join(KONTEXT)} env)" && {sys.executable} -c "{look}"'
    environment = {**os.environ, "KONTEXT_HOME": local.home, "AWS_PROFILE": "mine", "AWS_SESSION_TOKEN": "mine"}

    answer = subprocess.run(["sh", "-c", shell], env=environment, capture_output=True, text=True, check=False)

    assert local.outputs["InputBucket"] in answer.stdout, answer.stderr
    assert json.loads(kontext("env", "--json").stdout)["AWS_ENDPOINT_URL"] == local.endpoint


def test_env_without_a_stack_says_how_to_start_one(tmp_path: Path) -> None:
    answer = _run(tmp_path, "env")

    assert (answer.returncode, answer.stdout) == (2, "")
    assert "kontext up" in answer.stderr


def test_everything_that_a_stack_keeps_is_its_owners_alone(local: stack.LocalStack) -> None:
    home = Path(local.home)

    found = {}
    for path in (home, *home.rglob("*")):
        with suppress(FileNotFoundError):  # a worker of the running cloud has taken its files away
            if not path.is_symlink():  # it would be the mode of what it leads to
                found[str(path.relative_to(home))] = path.stat().st_mode & 0o777

    assert {"local.json", "sam.log", "cloud.log", "segmind.log", "supervisor.log", "tmp"} <= set(found)
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}


def test_no_secret_of_a_stack_stands_on_a_command_line_or_in_a_log(local: stack.LocalStack) -> None:
    said = subprocess.run(["ps", "-ww", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    said += "".join(log.read_text(errors="replace") for log in Path(local.home).glob("*.log"))

    assert "kontext_local.supervisor" in said
    assert [secret for secret in (local.secret_key, local.emulator_key) if secret and secret in said] == []


@pytest.fixture
def own_home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    yield home
    stack.stop(home)


def test_what_up_has_started_is_found_and_stopped_by_down(own_home: Path) -> None:
    up = _run(own_home, "up", "--inference", "1", "--param", "PromptWaitSeconds=7", "--json")
    running = stack.find(own_home)
    again = _run(own_home, "up", "--inference", "2")
    down = _run(own_home, "down")

    assert up.returncode == 0, up.stderr
    assert running is not None
    assert json.loads(up.stdout)["endpoint"] == running.endpoint
    assert running.secret_key not in up.stdout + up.stderr
    assert running.parameters["PromptWaitSeconds"] == "7"
    assert (again.returncode, down.returncode) == (2, 0)
    assert "kontext down" in again.stderr
    assert stack.find(own_home) is None
    assert _processes(own_home) == []
    assert not (own_home / "tmp").exists()


@pytest.fixture
def another_server() -> Iterator[dict[str, str]]:
    """A server of the Segmind API that is not the local stack's own; `url` and `api_key`."""
    command = [*KONTEXT, "segmind", "--inference", "1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130


def test_the_stack_runs_against_any_server_of_the_api(
    own_home: Path, another_server: dict[str, str], images: tuple[str, str], tmp_path: Path
) -> None:
    url, key = another_server["url"], another_server["api_key"]
    where = ("--segmind-url", url, "--api-key", key, "--result-host", url.removeprefix("http://"))

    up = _run(own_home, "up", *where)
    drop = _run(own_home, "drop", *images, "--prompt", "A cat.", "--output", str(tmp_path / "cat.png"))

    assert up.returncode == 0, up.stderr
    assert drop.returncode == 0, drop.stderr
    ledger = httpx.get(f"{url}/_emulator/ledger", headers={"x-api-key": key}, trust_env=False).json()
    assert len(ledger["charges"]) == 1
    assert (tmp_path / "cat.png").stat().st_size > 0
    assert key not in (own_home / "local.json").read_text() + (own_home / "sam.log").read_text()


def test_workflows_leave_submit_room_to_read_the_queue(target: Target) -> None:
    client, ids = target.client("lambda"), physical_ids(target)
    (mapping,) = client.list_event_source_mappings()["EventSourceMappings"]
    at_once = client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"]

    caps = [client.get_function_concurrency(FunctionName=ids[name]) for name in ("PollFunction", "FinalizeFunction")]

    taken = sum(cap["ReservedConcurrentExecutions"] for cap in caps)
    assert at_once - taken >= mapping["ScalingConfig"]["MaximumConcurrency"]


def test_a_port_that_is_taken_is_said_in_words(local: stack.LocalStack, tmp_path: Path) -> None:
    taken = str(urlsplit(local.segmind_url).port)

    answer = _run(tmp_path, "segmind", "--port", taken)

    assert answer.returncode == 2
    assert f"port {taken} is taken" in answer.stderr


def test_nothing_is_left_when_the_supervisor_is_killed(own_home: Path, eventually: Eventually) -> None:
    started = stack.start(own_home, stack.Options())
    (supervisor,) = _processes(own_home)

    os.kill(supervisor, signal.SIGKILL)

    eventually(lambda: stack.find(own_home) is None, "the end of the stack", 60)
    eventually(lambda: not _answers(started.endpoint), "the end of the embedded cloud", 60)
    eventually(lambda: not _answers(started.segmind_url), "the end of the emulator", 60)


@pytest.mark.parametrize("command", [("up",), ("demo",)])
def test_an_interrupt_leaves_nothing_behind_and_exits_with_130(own_home: Path, command: tuple[str, ...]) -> None:
    environment = {**os.environ, "KONTEXT_HOME": str(own_home), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*KONTEXT, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "sam deploy" in line)

        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()

    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    assert _processes(own_home) == []
    assert not (own_home / "tmp").exists()


def _run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KONTEXT_HOME": str(home)}
    return subprocess.run([*KONTEXT, *arguments], env=environment, capture_output=True, text=True, check=False)


def _processes(home: Path) -> list[int]:
    """The supervisors of a home that run; their children end with them."""
    found = subprocess.run(["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=1) for line in found.splitlines()]
    return [int(pid) for pid, command in lines if "kontext_local.supervisor" in command and str(home) in command]


def _answers(url: str) -> bool:
    address = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((str(address.hostname), int(address.port or 80))) == 0


def _paid(emulator: Any, prompt: str) -> int:
    return json.dumps(emulator.get("ledger").json()["jobs"]).count(prompt)
