"""Run MiniStack in this process: `python -m kontext_local.launcher SOCKET [RECORD]`, started by `cloud.start`.

SOCKET is the number of a listening socket that was inherited. The first line of standard input is root's access key
and secret key, as JSON: neither arguments nor the environment hold them. The process ends when its standard input
does. The parent holds the other end and writes no more, so the embedded cloud and its Lambda workers go even when
the parent is killed without warning.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack import app
from ministack.core import iam_evaluator, lambda_runtime
from ministack.core.responses import get_account_id

from kontext_local import private, runtime
from kontext_local.authentication import SignedOnly, draw_role_credentials, make_root
from kontext_local.guard import Guard, Guarded

SWEEP = "import shutil, sys; sys.stdin.read(); shutil.rmtree(sys.argv[1], ignore_errors=True)"


def main() -> None:
    """Serve the cloud; returns when it is stopped by SIGTERM."""
    listener, *records = sys.argv[1:]
    access_key, secret_key = private.handed_over()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    let_wildcards_match_line_ends()
    make_root(access_key, secret_key)
    draw_role_credentials()
    run_functions_with(runtime.make(Path(os.environ["TMPDIR"], "runtime")))
    for record in records:
        record_decisions(Path(record))
    guard = Guard(int(os.environ["GATEWAY_PORT"]))
    cloud: Any = Guarded(SignedOnly(app.app, access_key), guard)
    asyncio.run(serve(cloud, _config(listener)))


def _config(listener: str) -> Config:
    """MiniStack's own, on a socket that listens already."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    config = Config()
    config.bind, config.keep_alive_timeout = [f"fd://{listener}"], 75
    return config


def _end_with_parent() -> None:
    # Not through sys.stdin's buffer: its lock would be held while the interpreter shuts down.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    _sweep_after_us(Path(os.environ["TMPDIR"]))
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _sweep_after_us(folder: Path) -> None:
    """Leave a process behind that removes `folder` as soon as this one is gone."""
    subprocess.Popen([sys.executable, "-c", SWEEP, folder], stdin=subprocess.PIPE, start_new_session=True)


def record_decisions(path: Path) -> None:
    """Append one JSON line to `path` for each IAM decision about a call that a role made.

    Each line has `principal` (ARN), `action`, `resource` (ARN or `*`) and `allowed`.
    Calls by the root credentials are left out: everything is allowed to them.
    """
    lock = threading.Lock()
    enforce: Callable[..., Any] = iam_evaluator.enforce

    def recording(access_key_id: str, iam_action: str, *rest: Any, **named: Any) -> Any:
        denied = enforce(access_key_id, iam_action, *rest, **named)
        principal = _role_of(access_key_id)
        if principal:
            resource = named.get("resource_arn") or (rest[2] if len(rest) > 2 else "*")
            _append(path, lock, principal=principal, action=iam_action, resource=resource, allowed=denied is None)
        return denied

    iam_evaluator.enforce = recording


def let_wildcards_match_line_ends() -> None:
    """Let `bucket/*` in a policy stand for a key with line feeds too, as in AWS; MiniStack 1.5.33 would refuse it."""
    compiled: Callable[[str, bool], re.Pattern[str]] = iam_evaluator._fnmatch_compile

    def compiling(pattern: str, ignore_case: bool) -> re.Pattern[str]:
        usual = compiled(pattern, ignore_case)
        return re.compile(usual.pattern, usual.flags | re.DOTALL)

    iam_evaluator._fnmatch_compile = compiling


def run_functions_with(python: Path) -> None:
    """Let each function in Python be a process of `python`; MiniStack would take its own."""
    chosen: Callable[[str], tuple[str, str]] = lambda_runtime._detect_runtime_binary

    def choosing(name: str) -> tuple[str, str]:
        binary, script = chosen(name)
        return str(python) if binary == sys.executable else binary, script

    lambda_runtime._detect_runtime_binary = choosing


def _role_of(access_key_id: str) -> str | None:
    principal = iam_evaluator.resolve_principal(access_key_id or "", get_account_id())
    return principal.arn if getattr(principal, "policies", None) is not None else None


def _append(path: Path, lock: threading.Lock, **decision: object) -> None:
    with lock, path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(decision) + "\n")


if __name__ == "__main__":
    main()
