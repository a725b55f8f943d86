"""MiniStack, the embedded AWS, as a child process on loopback with IAM enforcement on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from kontext_local.errors import LocalCloudError

# boto3's clients have no common type that tells one service from another.
Client = Any
REGION = "us-east-1"
# MiniStack's root credentials; every other key is checked against IAM.
ACCESS_KEY, SECRET_KEY = "test", "test"
READY_SECONDS = 30.0
STOP_SECONDS = 5.0
ATTEMPTS = 3
FUNCTIONS_AT_ONCE = 20
"""Each is a process of its own, of about 90 MB."""


@dataclass
class Cloud:
    """A running embedded cloud; `stop` it, or leave its `with` block."""

    endpoint: str
    log: Path
    folder: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    def client(self, service: str) -> Client:
        """A boto3 client with root credentials."""
        return client(service, self.endpoint)

    def is_running(self) -> bool:
        """Whether its process is still there."""
        return self.process.poll() is None

    def stop(self) -> None:
        """End the cloud and every Lambda worker, and remove its temporary files."""
        # It keeps nothing, and a SIGTERM would wait for the executions and handlers that are still running.
        _kill_group(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Cloud:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def client(service: str, endpoint: str) -> Client:
    """A boto3 client of the cloud at `endpoint`, with its root credentials.

    S3 is addressed by path and signs with version 4, the only one whose expiry is enforced.
    """
    session: Any = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    config = Config(signature_version="s3v4", s3={"addressing_style": "path"}) if service == "s3" else None
    return session.client(service, endpoint_url=endpoint, config=config)


def environment(endpoint: str) -> dict[str, str]:
    """The AWS variables with which any AWS tool talks to the cloud at `endpoint` and to nothing else."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def start(
    log: Path,
    *,
    wait_scale: float | None = None,
    iam_record: Path | None = None,
) -> Cloud:
    """Start an embedded cloud on a free loopback port and return when it answers.

    `wait_scale` multiplies the waits of state machines, `iam_record` names a file for `launcher.record_decisions`.
    Raises LocalCloudError with the end of `log` when it does not come up within 30 s.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    options = {"LAMBDA_ACCOUNT_CONCURRENCY": str(FUNCTIONS_AT_ONCE)}
    options |= {} if wait_scale is None else {"SFN_WAIT_SCALE": str(wait_scale)}
    arguments = [] if iam_record is None else [str(iam_record.absolute())]
    # Another process may take the free port first: then MiniStack ends at once, and the next port is tried.
    for _ in range(ATTEMPTS):
        cloud = _launch(log, options, arguments)
        if _answers(cloud):
            return cloud
        cloud.stop()
    raise LocalCloudError(f"The embedded cloud did not start. The end of {log}:\n{tail(log)}")


def _launch(log: Path, options: dict[str, str], arguments: list[str]) -> Cloud:
    folder = Path(tempfile.mkdtemp(prefix="kontext-cloud-"))
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "kontext_local.launcher", *arguments],
            env=_clean_environment(folder, port) | options,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Cloud(f"http://127.0.0.1:{port}", log, folder, process)


def _clean_environment(folder: Path, port: int) -> dict[str, str]:
    """What the cloud, and with it every Lambda worker, sees: nothing of the person who started it."""
    return {
        "PATH": os.defpath,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "STATE_DIR": str(folder / "state"),
        "LANG": "C.UTF-8",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AUTH": "true",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
    }


def free_port() -> int:
    """A loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(cloud: Cloud) -> bool:
    """Wait for the cloud to be ready; False when it ended or did not answer in time."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and cloud.process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{cloud.endpoint}/_ministack/ready", timeout=2).status_code == httpx.codes.OK:
                return True
        time.sleep(0.05)
    return False


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a child that leads its own process group: SIGTERM, then SIGKILL for what is left of the group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        process.stdin.close()


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log file, indented; says so when there is none."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (nothing was written)"
