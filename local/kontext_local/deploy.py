"""The project's own template, built and deployed into an embedded cloud by the real `sam`."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kontext_local import cloud, private
from kontext_local.errors import LocalCloudError
from kontext_local.project import BUILD_FOLDER, ROOT, TEMPLATE

STACK = "kontext-drop"
CONFIG = ROOT / "samconfig.toml"
BUILT_FROM = ("template.yaml", "workflow.asl.json", "functions", "layers", "schemas")
MARK = "built-from"
API_KEY = "SegmindApiKey"
"""Stands among the parameters of a local stack, but is none of the template's: it goes where a person puts it."""
BIN = Path(sys.executable).parent


def build(log: Path, template: Path = TEMPLATE, folder: Path = BUILD_FOLDER) -> Path:
    """Run `sam build` unless `folder` holds the build of exactly these sources; returns the built template.

    Raises LocalCloudError with the end of sam's output; all of it goes to `log`.
    """
    if not template.exists():
        raise LocalCloudError(f"There is no {template}: is this a complete checkout of the project?")
    built = folder / "build" / "template.yaml"
    with _locked(folder / "lock"):
        if not is_built(template, folder):
            fingerprint, mark = _fingerprint(template.parent), folder / MARK
            mark.unlink(missing_ok=True)
            places = ("--build-dir", built.parent, "--cache-dir", folder / "cache")
            _sam("build", log, template, *places, "--cached", needs=("make",))
            mark.write_text(fingerprint)
    return built


def is_built(template: Path = TEMPLATE, folder: Path = BUILD_FOLDER) -> bool:
    """Whether `folder` holds the build of the template and the sources beside it as they are now."""
    mark = folder / MARK
    there = (folder / "build" / "template.yaml").exists() and mark.exists()
    return there and mark.read_text() == _fingerprint(template.parent)


def deploy(
    account: cloud.Account, template: Path, parameters: Mapping[str, str], log: Path, *, stack: str = STACK
) -> dict[str, str]:
    """Run `sam deploy` of a built template into a cloud; returns the stack's outputs.

    `SegmindApiKey` among the parameters goes into the stack's secret. Deploying again changes the stack in place.
    Raises LocalCloudError like `build`.
    """
    given = {name: value for name, value in parameters.items() if name != API_KEY}
    settings = ("--config-file", CONFIG, "--config-env", "local", "--stack-name", stack)
    quiet = ("--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar")
    with _parameter_file(given) as file:
        overrides = ("--parameter-overrides", f"file://{file}") if given else ()
        _sam("deploy", log, template, *settings, *quiet, *overrides, environment=account.environment())
    found = outputs(account.client("cloudformation"), stack)
    if API_KEY in parameters:
        secrets = account.client("secretsmanager")
        secrets.put_secret_value(SecretId=found["SegmindSecretArn"], SecretString=parameters[API_KEY])
    return found


def outputs(cloudformation: cloud.Client, stack: str = STACK) -> dict[str, str]:
    """The outputs of a deployed stack, by name."""
    (description,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in description.get("Outputs", ())}


def _sam(
    command: str,
    log: Path,
    template: Path,
    *arguments: str | Path,
    needs: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> None:
    path = os.pathsep.join((str(BIN), os.environ.get("PATH", os.defpath)))
    for tool in ("sam", *needs):
        if not shutil.which(tool, path=path):
            raise LocalCloudError(f"`{tool}` was not found on the PATH: install it, or run `make demo`, which does.")
    log.parent.mkdir(parents=True, exist_ok=True)
    with private.opened(log, "ab") as output, sam_settings() as settings:
        process = subprocess.Popen(
            ["sam", command, "--template-file", template, *arguments],
            cwd=ROOT,
            env=_without_aws() | settings | {"PATH": path} | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait()
        finally:
            cloud.end(process)
    if code:
        raise LocalCloudError(f"`sam {command}` failed. The end of {log}:\n{cloud.tail(log)}")


def _without_aws() -> dict[str, str]:
    """Our environment but for what it says of AWS: a profile or a session's token is of another account."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


@contextmanager
def sam_settings() -> Iterator[dict[str, str]]:
    """Variables with which sam speaks to AWS alone, and looks often how a deployment goes.

    Its settings folder says that the weekly look for a newer version has just been done.
    """
    with tempfile.TemporaryDirectory(prefix="kontext-sam-") as folder:
        settings = {"telemetryEnabled": False, "lastVersionCheck": time.time()}
        (Path(folder) / "metadata.json").write_text(json.dumps(settings))
        yield {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "0.3", "__SAM_CLI_APP_DIR": folder}


@contextmanager
def _parameter_file(parameters: Mapping[str, str]) -> Iterator[Path]:
    """The parameters as a file, which takes any value: on the command line each would have to be quoted for sam."""
    with tempfile.TemporaryDirectory(prefix="kontext-parameters-") as folder:
        file = Path(folder) / "parameters.yaml"
        with private.opened(file, "w") as out:
            json.dump(dict(parameters), out)
        yield file


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fingerprint(root: Path) -> str:
    """A hash over the names and bytes of everything that `sam build` reads."""
    digest = hashlib.sha256()
    for path in sorted(_sources(root)):
        digest.update(f"{path.relative_to(root)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return digest.hexdigest()


def _sources(root: Path) -> Iterator[Path]:
    for path in (root / name for name in BUILT_FROM):
        files = path.rglob("*") if path.is_dir() else [path]
        yield from (file for file in files if file.is_file() and "__pycache__" not in file.parts)
