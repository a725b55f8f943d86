"""The first deployment, as docs/deploy.md tells it, by somebody who presses Enter; and what later ones make of it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import jmespath
import pytest

from kontext_local import cloud, deploy
from kontext_local.project import ROOT
from tests.e2e.terminal import Stuck, press_enter

DOCUMENT = (ROOT / "docs" / "deploy.md").read_text()
REGION = "eu-central-1"
"""None that sam would choose by itself."""
CHECKOUT = ("template.yaml", "workflow.asl.json", "samconfig.toml", ".gitignore", "functions", "layers")
LOCAL = ("--config-env", "local")
"""The embedded cloud speaks plain http; all else is as on AWS."""


@dataclass(frozen=True)
class FirstDeployment:
    """What there is when the guide has come to its end."""

    checkout: Path
    environment: dict[str, str]
    exit_code: int
    questions: list[str]

    def client(self, service: str) -> Any:
        key_id, secret = self.environment["AWS_ACCESS_KEY_ID"], self.environment["AWS_SECRET_ACCESS_KEY"]
        session: Any = boto3.session.Session(key_id, secret, region_name=REGION)
        return session.client(service, endpoint_url=self.environment["AWS_ENDPOINT_URL"])

    @property
    def described(self) -> Any:
        return self.client("cloudformation").describe_stacks(StackName="kontext-drop")

    def output(self, name: str) -> str:
        """A stack's output, found in the way that is documented."""
        (query,) = re.findall(r'--query "(Stacks[^"]+)"', DOCUMENT)
        (value,) = jmespath.search(query.replace("$1", name), self.described)
        return str(value)

    def parameters(self) -> dict[str, str]:
        (stack,) = self.described["Stacks"]
        return {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}

    def layers(self) -> dict[str, list[str]]:
        functions = self.client("lambda").list_functions()["Functions"]
        return {one["FunctionName"]: [layer["Arn"] for layer in one["Layers"]] for one in functions}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return run(command, self.checkout, self.environment)


def run(command: Sequence[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstDeployment]:
    """A checkout that was just built, and the guide walked through in it, on an empty cloud."""
    folder = tmp_path_factory.mktemp("first")
    checkout = cloned(folder / "kontext-drop")
    built = deploy.build(folder / "build.log").parent
    shutil.copytree(built, checkout / ".aws-sam" / "build", ignore=shutil.ignore_patterns("samconfig.toml"))
    with cloud.start(folder / "cloud.log") as aws, deploy.sam_settings() as quick:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= aws.account.environment() | quick
        environment |= {"AWS_DEFAULT_REGION": REGION, "PATH": f"{deploy.BIN}{os.pathsep}{os.environ['PATH']}"}
        del environment["AWS_REGION"]
        code, questions = press_enter([*documented_guide(), *LOCAL], checkout, environment)
        yield FirstDeployment(checkout, environment, code, questions)


def cloned(folder: Path) -> Path:
    """What a deployment reads, as a repository of its own with nothing changed in it."""
    folder.mkdir()
    for name in CHECKOUT:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    somebody = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    for command in (("init", "--quiet"), ("add", "--all"), (*somebody, "commit", "--quiet", "--message", "all")):
        run(("git", *command), folder, os.environ | {"GIT_CONFIG_GLOBAL": os.devnull})
    return folder


def documented_guide() -> list[str]:
    (line,) = re.findall(r"^sam deploy --guided.*$", DOCUMENT, re.MULTILINE)
    return shlex.split(line, comments=True)


def test_enter_alone_leads_through_the_guide_to_a_stack_that_stands(first: FirstDeployment) -> None:
    (stack,) = first.described["Stacks"]

    assert first.exit_code == 0
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert stack["Tags"] == [{"Key": "app", "Value": "kontext-drop"}]
    assert first.output("EventSource") == f"urn:kontext-drop:{REGION}:000000000000:kontext-drop"
    assert {f"AWS Region [{REGION}]:", "Stack Name [kontext-drop]:"} <= set(first.questions)


def test_no_answer_to_the_guide_comes_into_a_file_of_the_project(first: FirstDeployment) -> None:
    status = first.run("git", "status", "--porcelain")

    assert status.stdout == ""
    assert any(question.startswith("Save arguments to configuration file") for question in first.questions)


def test_a_later_deployment_leaves_the_key_the_code_and_every_parameter_that_it_does_not_name(
    first: FirstDeployment,
) -> None:
    secrets, secret = first.client("secretsmanager"), first.output("SegmindSecretArn")
    secrets.put_secret_value(SecretId=secret, SecretString="SG_key")
    before, layers = first.parameters(), first.layers()

    first.run("sam", "deploy", *LOCAL, "--parameter-overrides", "DailySpendLimit=100 TlsOnly=false")
    first.run("sam", "deploy", *LOCAL, "--tags", "app=kontext-drop team=photo")

    assert first.parameters() == before | {"DailySpendLimit": "100"}
    assert first.layers() == layers
    assert secrets.get_secret_value(SecretId=secret)["SecretString"] == "SG_key"


def test_a_question_that_enter_does_not_answer_is_noticed(tmp_path: Path) -> None:
    asking = "import click; click.prompt('API key', hide_input=True)"

    with pytest.raises(Stuck, match="Enter is no answer to 'API key:'"):
        press_enter([sys.executable, "-c", asking], tmp_path, os.environ)


def test_a_command_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(Stuck, match="did not end"):
        press_enter([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path, os.environ, seconds=1.0)
