"""MiniStack, the embedded AWS, as a child process on loopback with IAM enforcement on."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from kontext_local import private
from kontext_local.errors import LocalCloudError

# boto3's clients have no common type that tells one service from another.
Client = Any
REGION = "us-east-1"
READY_SECONDS = 30.0
STOP_SECONDS = 5.0
FUNCTIONS_AT_ONCE = 20
"""Each is a process of its own, of about 90 MB."""


@dataclass(frozen=True)
class Account:
    """How to reach an embedded cloud: its endpoint, and the keys of its root, which are drawn at each start."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)

    @functools.cache  # noqa: B019  boto3 reads a service's description anew for each client: 50 ms
    def client(self, service: str) -> Client:
        """The boto3 client with root credentials, made once."""
        return self.new_client(service)

    def new_client(self, service: str, **options: Any) -> Client:
        """A boto3 client of one's own, with root credentials; `options` are botocore's.

        S3 is addressed by path and signs with version 4, the only one that the cloud takes.
        """
        if service == "s3":
            options |= {"signature_version": "s3v4", "s3": {"addressing_style": "path"}}
        session: Any = boto3.session.Session(
            self.access_key, self.secret_key, region_name=REGION, botocore_session=_session_of_nobody()
        )
        return session.client(service, endpoint_url=self.endpoint, config=Config(**options))

    def environment(self) -> dict[str, str]:
        """The AWS variables with which any AWS tool talks to this cloud and to nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def _session_of_nobody() -> botocore.session.Session:
    """A session that looks for no profile: one that AWS_PROFILE names need not exist on this machine."""
    return botocore.session.Session(session_vars={"profile": (None, None, None, None)})


@dataclass
class Cloud:
    """A running embedded cloud; `stop` it, or leave its `with` block."""

    account: Account
    log: Path
    folder: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    def client(self, service: str) -> Client:
        """A boto3 client with root credentials."""
        return self.account.client(service)

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
    cloud = _launch(log, options, arguments)
    try:
        # The port is open already: this waits in line until it is answered, or until the process has ended.
        timeouts = {
            "connect_timeout": READY_SECONDS,
            "read_timeout": READY_SECONDS,
            "retries": {"total_max_attempts": 1},
        }
        cloud.account.new_client("sts", **timeouts).get_caller_identity()
    except BotoCoreError as error:
        cloud.stop()
        raise LocalCloudError(f"The embedded cloud did not start. The end of {log}:\n{tail(log)}") from error
    except BaseException:
        cloud.stop()
        raise
    return cloud


def _launch(log: Path, options: dict[str, str], arguments: list[str]) -> Cloud:
    keys = f"AKIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30)
    # Opened here and inherited: between looking for a free port and using it, another process could take it.
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener, private.opened(log, "wb") as output:
        folder, port = Path(tempfile.mkdtemp(prefix="kontext-cloud-")), listener.getsockname()[1]
        # asyncio does this only for sockets with an explicit protocol number: without it, answers take 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        process = subprocess.Popen(
            [sys.executable, "-m", "kontext_local.launcher", str(listener.fileno()), *arguments],
            env=_clean_environment(folder, port) | options,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[listener.fileno()],
            umask=private.UMASK,
        )
    private.hand_over(process, keys)
    return Cloud(Account(f"http://127.0.0.1:{port}", *keys), log, folder, process)


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
