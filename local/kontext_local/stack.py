"""The local stack: an embedded cloud with the project's template deployed into it.

One supervisor process keeps it. Its folder (`home`) holds `local.json` for those who look for the stack,
the logs, and two locks. Nobody else can enter it: `local.json` holds root's keys. The supervisor holds
`alive.lock` for as long as it lives, so that a stale `local.json` is never believed. Users that want the
stack to end with them hold `users.lock`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import httpx

from kontext_local import cloud, private
from kontext_local.errors import LocalCloudError

STATE, ALIVE, USERS, STARTING = "local.json", "alive.lock", "users.lock", "starting.lock"
STOP_SECONDS = 20.0
Say = Callable[[str], None]


def _say_nothing(_: str) -> None: ...


@dataclass(frozen=True)
class Options:
    """How a local stack is to be started; what is None or empty is left to the template's defaults."""

    segmind_url: str | None = None
    """Base URL of a server to use in place of the emulator."""
    api_key: str | None = None
    result_hosts: tuple[str, ...] = ()
    """Hosts (`host` or `host:port`) that results may be fetched from, beside the emulator's own."""
    emulator: dict[str, Any] = field(default_factory=dict)
    """Settings of the emulator, by name; see `kontext_local.segmind.settings.Settings`."""
    parameters: dict[str, str] = field(default_factory=dict)
    """Template parameters, by name; they win over everything above."""
    wait_scale: float | None = None
    """Multiplies the waits of state machines."""
    iam_record: str | None = None
    """A file for the IAM decisions, see `launcher.record_decisions`."""
    keep: bool = True
    """Go on until told to stop; otherwise stop as soon as nobody uses the stack (see `using`)."""


@dataclass(frozen=True)
class LocalStack:
    """A running local stack, as `local.json` describes it."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    segmind_url: str
    outputs: dict[str, str]
    parameters: dict[str, str]
    """The template parameters that differ from the defaults, the API key left out."""
    home: str
    keep: bool
    """Whether the stack goes on when nobody uses it."""
    emulator_key: str | None = None
    """The API key that the emulator accepts; None when another server is used."""

    @property
    def account(self) -> cloud.Account:
        """How to reach the stack's cloud."""
        return cloud.Account(self.endpoint, self.access_key, self.secret_key)

    def client(self, service: str) -> cloud.Client:
        """A boto3 client of the stack's cloud, with root credentials."""
        return self.account.client(service)

    def emulator(self) -> httpx.Client:
        """A client of the emulator's own endpoints: `POST script`, `GET ledger`, `POST settings`, …"""
        headers = {"x-api-key": self.emulator_key or ""}
        return httpx.Client(base_url=f"{self.segmind_url}/_emulator/", headers=headers, trust_env=False)


def find(home: Path) -> LocalStack | None:
    """The running stack of `home`, or None; what a dead one left behind is not believed."""
    state = home / STATE
    if not _alive(home) or not state.exists():
        return None
    with contextlib.suppress(FileNotFoundError):
        return LocalStack(**json.loads(state.read_text()))
    return None


def start(home: Path, options: Options, say: Say = _say_nothing) -> LocalStack:
    """Start a stack under `home` and return when it is deployed; `say` is told each step.

    Raises LocalCloudError when it cannot be started, or runs already. When the caller dies before the
    stack is ready, or is interrupted, nothing is left behind.
    """
    private.folder(home)
    with private.opened(home / "supervisor.log", "wb") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "kontext_local.supervisor", str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    try:
        stack = _follow(supervisor, options, say, home / "supervisor.log")
    except BaseException:
        _end(supervisor)
        raise
    finally:
        _close(supervisor)
    # It may outlive us by intent; a Popen object that goes before its process would complain.
    supervisor.returncode = 0
    return stack


def stop(home: Path) -> bool:
    """Stop the stack of `home` with everything it started; False when none was running."""
    if not _alive(home):
        (home / STATE).unlink(missing_ok=True)
        return False
    pid = int((home / ALIVE).read_text())
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)
        if _gone(home):
            break
    (home / STATE).unlink(missing_ok=True)
    return True


@contextmanager
def using(home: Path, options: Options, say: Say = _say_nothing) -> Iterator[LocalStack]:
    """The stack of `home`, started if it does not run; one started with `keep=False` ends with its last user.

    Processes can share a stack in this way: the locks are the kernel's, so a killed user counts as gone.
    """
    private.folder(home)
    with private.opened(home / USERS, "a") as users:
        # Waits while a supervisor that has lost its last user is on its way out.
        fcntl.flock(users, fcntl.LOCK_SH)
        with private.opened(home / STARTING, "a") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            stack = find(home) or start(home, options, say)
        try:
            yield stack
        finally:
            if not stack.keep and _last(users):
                stop(home)


def _follow(supervisor: subprocess.Popen[bytes], options: Options, say: Say, log: Path) -> LocalStack:
    """Hand the options over (not by arguments, which everybody can read) and wait for the outcome."""
    private.hand_over(supervisor, asdict(options))
    for line in cast(IO[bytes], supervisor.stdout):
        match json.loads(line):
            case {"ready": dict(state)}:
                return LocalStack(**state)
            case {"error": str(message)}:
                raise LocalCloudError(message)
            case {"step": str(step)}:
                say(step)
    raise LocalCloudError(f"The local cloud ended before it was ready. The end of {log}:\n{cloud.tail(log)}")


def _close(supervisor: subprocess.Popen[bytes]) -> None:
    for pipe in (supervisor.stdin, supervisor.stdout):
        with contextlib.suppress(OSError):
            pipe and pipe.close()


def _end(supervisor: subprocess.Popen[bytes]) -> None:
    supervisor.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        supervisor.wait(STOP_SECONDS)
    supervisor.kill()
    supervisor.wait()


def _last(users: IO[str]) -> bool:
    """Whether nobody else uses the stack whose lock we hold with others."""
    for lock, last in ((fcntl.LOCK_EX, True), (fcntl.LOCK_SH, False)):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(users, lock | fcntl.LOCK_NB)
            return last
    return True  # between the two the supervisor took it: it has found itself without users


def _gone(home: Path) -> bool:
    """Wait for the supervisor to let go of its lock, within a bound."""
    deadline = time.monotonic() + STOP_SECONDS
    while (alive := _alive(home)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive


def _alive(home: Path) -> bool:
    """Whether a supervisor holds the lock of `home`."""
    try:
        with (home / ALIVE).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def hold_alive(home: Path) -> None:
    """Take the lock that says that a stack lives, for the supervisor, until this very process is gone.

    Raises LocalCloudError when another supervisor holds it.
    """
    descriptor = os.open(home / ALIVE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, private.FILE)
    # More than once: whoever looks whether a stack lives holds the lock for an instant.
    for _ in range(20):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.truncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            return
        time.sleep(0.05)
    os.close(descriptor)
    raise LocalCloudError("A local cloud is running already; `kontext down` stops it.")
