"""The process that keeps a local stack: `python -m kontext_local.supervisor HOME`, started by `stack.start`.

Reads the options as one JSON line from standard input and says on standard output, one JSON object a
line, each `step`, then `ready` with the stack's description, or `error`. It owns the embedded cloud and the
emulator as children, stops them when it gets SIGTERM, and they end by themselves when it dies otherwise.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kontext_local import cloud, deploy, private
from kontext_local.errors import LocalCloudError
from kontext_local.project import TEMPLATE
from kontext_local.stack import STATE, USERS, LocalStack, Options, hold_alive

if TYPE_CHECKING:
    from kontext_local.segmind import server

LOOK_SECONDS = 0.5
WORKFLOW_AT_ONCE = {"PollFunction": 12, "FinalizeFunction": 3}
"""How many of these run at once. The rest of `cloud.FUNCTIONS_AT_ONCE` is left to Submit, which reads the queue with
five: a batch that MiniStack refuses is away for the visibility time-out, a step of a workflow for some seconds."""


def main() -> None:
    """Keep a stack until SIGTERM, or until its last user has gone."""
    home, options = Path(sys.argv[1]), Options(**private.handed_over())
    signal.signal(signal.SIGTERM, _leave)
    ready = threading.Event()
    threading.Thread(target=_end_with_starter, args=(ready,), daemon=True).start()
    try:
        hold_alive(home)
        with _temporary_files_in(home / "tmp"):
            _run(home, options, ready)
    except LocalCloudError as error:
        _tell(error=str(error))


def _run(home: Path, options: Options, ready: threading.Event) -> None:
    with running(home, options, lambda step: _tell(step=step)) as (stack, is_whole):
        with private.opened(home / STATE, "w") as file:
            json.dump(asdict(stack), file, indent=2)
        ready.set()
        _tell(ready=asdict(stack))
        _keep(home, options, is_whole)
        # The last user says so by SIGTERM, too, which must not interrupt the clearing up.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Keep what we and our children put aside in one folder: an end at any moment cannot scatter it."""
    shutil.rmtree(folder, ignore_errors=True)
    private.folder(folder)
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(
    home: Path, options: Options, say: Callable[[str], None], template: Path = TEMPLATE
) -> Iterator[tuple[LocalStack, Callable[[], bool]]]:
    """A stack for the length of a `with` block, and a function that says whether all of it still runs."""
    log = home / "sam.log"
    log.unlink(missing_ok=True)
    with contextlib.ExitStack() as parts:
        if not deploy.is_built(template):
            say("building the functions and layers (sam build)")
        built = deploy.build(log, template)
        say("starting the embedded cloud (MiniStack)")
        aws = parts.enter_context(_start_cloud(home, options))
        segmind = _segmind(home, options, parts, say)
        parameters = _parameters(segmind, options)
        say("deploying the stack (sam deploy)")
        outputs = deploy.deploy(aws.account, built, parameters, log)
        _leave_room_for_submit(aws.account)
        shown = {name: value for name, value in parameters.items() if name != "SegmindApiKey"}
        url, key = parameters["SegmindUrl"], segmind.api_key if segmind else None
        stack = LocalStack(
            **asdict(aws.account),
            segmind_url=url,
            outputs=outputs,
            parameters=shown,
            home=str(home),
            keep=options.keep,
            emulator_key=key,
        )
        yield stack, lambda: aws.is_running() and (segmind is None or segmind.is_running())


def _start_cloud(home: Path, options: Options) -> cloud.Cloud:
    record = Path(options.iam_record) if options.iam_record else None
    return cloud.start(home / "cloud.log", wait_scale=options.wait_scale, iam_record=record)


def _leave_room_for_submit(account: cloud.Account) -> None:
    formation, functions = account.client("cloudformation"), account.client("lambda")
    for name, at_once in WORKFLOW_AT_ONCE.items():
        found = formation.describe_stack_resource(StackName=deploy.STACK, LogicalResourceId=name)
        function = found["StackResourceDetail"]["PhysicalResourceId"]
        functions.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=at_once)


def _segmind(
    home: Path, options: Options, parts: contextlib.ExitStack, say: Callable[[str], None]
) -> server.Emulator | None:
    """The emulator, unless another server takes its place."""
    if options.segmind_url:
        return None
    from kontext_local.segmind import server

    say("starting the Segmind emulator")
    return parts.enter_context(server.start(log=home / "segmind.log", **options.emulator))


def _parameters(segmind: server.Emulator | None, options: Options) -> dict[str, str]:
    """The template's parameters that a local stack needs otherwise than AWS does."""
    url = segmind.url if segmind else options.segmind_url or ""
    hosts = [urlsplit(url).netloc] * bool(segmind) + list(options.result_hosts)
    chosen = {
        "SegmindUrl": url,
        "SegmindApiKey": segmind.api_key if segmind else options.api_key,
        "ResultHosts": ",".join(hosts),
        # The embedded cloud speaks plain http on loopback.
        "TlsOnly": "false",
    }
    return {name: value for name, value in chosen.items() if value} | options.parameters


def _keep(home: Path, options: Options, is_whole: Callable[[], bool]) -> None:
    """Return when a part of the stack has died, or the last user has gone; SIGTERM leaves from here."""
    used = threading.Event()
    if not options.keep:
        threading.Thread(target=_wait_for_users, args=(home, used), daemon=True).start()
    while is_whole() and not used.wait(LOOK_SECONDS):
        pass


def _wait_for_users(home: Path, gone: threading.Event) -> None:
    with private.opened(home / USERS, "a") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        gone.set()
        # New users wait for the lock until this process has ended.
        time.sleep(threading.TIMEOUT_MAX)


def _end_with_starter(ready: threading.Event) -> None:
    """Before the stack is ready, the end of standard input means that nobody waits for it any more."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    if not ready.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def _leave(*_: object) -> None:
    # Once is enough.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)


def _tell(**message: object) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
