"""Lambda's own runtime around a function: awslambdaric and the runtime interface emulator, in a sandbox like
Lambda's.

In a mount namespace of its own a sandbox sees the code at /var/task, the layers at /opt and the runtime at
/var/runtime; everything is read-only but /tmp, of 512 MB. It has no network but the loopback that the whole run is
confined to, and no package but those that Lambda has or the layers bring.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import httpx

from simulation.template import Spec

ENTER = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /var
mkdir /var/task /var/runtime
mount --bind "$CODE" /var/task
mount --bind "$RUNTIME" /var/runtime
mount --bind "$LAYERS" /opt
mount -t tmpfs -o size=512m tmpfs /tmp
while read -r _ place kind _; do
    case "$place:$kind" in
        /tmp:*|*:proc|*:sysfs|*:devtmpfs|*:devpts|*:cgroup*) ;;
        *) mount -o remount,bind,ro "$place" ;;
    esac
done < /proc/self/mounts
cd /var/task
exec "$@"
"""
INVOKE = "/2015-03-31/functions/function/invocations"
READY_SECONDS = 20.0


@dataclass(frozen=True)
class Places:
    """Folders of this machine: the functions' code, both layers merged, and the runtime with its boto3."""

    code: Path
    layers: Path
    runtime: Path


class FunctionFailed(Exception):
    """The function raised, timed out or used more memory than it has; the text is what Lambda says of it."""


class Sandbox:
    """One running execution environment, for one invocation at a time."""

    def __init__(self, spec: Spec, places: Places, log: Path) -> None:
        self.spec = spec
        self.port = _free_port()
        address = ("--runtime-interface-emulator-address", f"127.0.0.1:{self.port}")
        api = ("--runtime-api-address", f"127.0.0.1:{_free_port()}")
        python = (os.path.realpath(sys.executable), "-S", "-m", "awslambdaric", spec.handler)
        command = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            ENTER,
            "sh",
            "/var/runtime/aws-lambda-rie",
            *address,
            *api,
            *python,
        ]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                env=_environment(spec, places),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._wait_until_it_listens(log)

    def invoke(self, event: Any) -> Any:
        """The handler's answer. Raises FunctionFailed."""
        answer = httpx.post(f"http://127.0.0.1:{self.port}{INVOKE}", json=event, timeout=None, trust_env=False)
        try:
            told = answer.json()
        except ValueError:
            raise FunctionFailed(answer.text) from None
        if isinstance(told, dict) and told.keys() >= {"errorType", "errorMessage"}:
            raise FunctionFailed(json.dumps(told))
        if self.peak_megabytes() > self.spec.memory:
            raise FunctionFailed(f"used {self.peak_megabytes()} MB of {self.spec.memory}")
        return told

    def peak_megabytes(self) -> int:
        """The most memory that the function's process ever held, as the kernel counts it; 0 when it is gone."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        children = {child for thread in threads for child in thread.read_text().split()}
        return max((_peak_kilobytes(child) for child in children), default=0) // 1024

    def stop(self) -> None:
        """End everything in the sandbox."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _wait_until_it_listens(self, log: Path) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", self.port)):
                    return
            time.sleep(0.02)
        raise RuntimeError(f"the sandbox did not start: {log.read_text()[-2000:]}")


@dataclass
class Function:
    """A function with as many sandboxes as it needs at once, each used again when it is idle, as Lambda does."""

    spec: Spec
    places: Places
    log: Path
    idle: list[Sandbox] = field(default_factory=list)
    all: list[Sandbox] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def invoke(self, event: Any) -> Any:
        """The handler's answer. Raises FunctionFailed."""
        sandbox = self._take()
        try:
            return sandbox.invoke(event)
        finally:
            with self.lock:
                self.idle.append(sandbox)

    def peak_megabytes(self) -> int:
        return max((sandbox.peak_megabytes() for sandbox in self.all), default=0)

    def stop(self) -> None:
        for sandbox in self.all:
            sandbox.stop()

    def _take(self) -> Sandbox:
        with self.lock:
            if self.idle:
                return self.idle.pop()
        sandbox = Sandbox(self.spec, self.places, self.log)
        with self.lock:
            self.all.append(sandbox)
        return sandbox


def _peak_kilobytes(process: str) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return 0
    return max((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), default=0)


def _environment(spec: Spec, places: Places) -> dict[str, str]:
    """What Lambda gives every function, and what the template gives this one; nothing of whoever runs the tests."""
    return {
        "PATH": os.defpath,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PYTHONPATH": "/opt/python:/var/runtime",
        "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "AWS_LAMBDA_FUNCTION_NAME": spec.module,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(spec.timeout),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory),
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        **{name.upper(): str(folder) for name, folder in vars(places).items()},
        **spec.environment,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
