"""What only its owner can read, from the first byte on: files, folders, and what a child is told."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import IO, Any, cast

from kontext_local.errors import LocalCloudError

FILE, FOLDER, UMASK = 0o600, 0o700, 0o077


def folder(path: Path) -> Path:
    """Make `path` a folder that nobody else can enter. Raises LocalCloudError when others own it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=FOLDER, exist_ok=True)
    found = path.stat()
    if found.st_uid != os.getuid() or found.st_mode & stat.S_IWOTH:
        raise LocalCloudError(
            f"{path} belongs to another user, or everybody may write in it: name another folder in KONTEXT_HOME."
        )
    # It may be older than this rule.
    path.chmod(FOLDER)
    return path


def opened(path: Path, mode: str) -> IO[Any]:
    """Open a file, as `open` does, that only its owner can read."""
    return open(path, mode, opener=_open)


def _open(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW, FILE)
    os.fchmod(descriptor, FILE)
    return descriptor


def hand_over(process: subprocess.Popen[bytes], value: object) -> None:
    """Tell a child something as the first line of its standard input, which only it can read, and keep that open."""
    stdin = cast(IO[bytes], process.stdin)
    # One that has ended already says why elsewhere.
    with contextlib.suppress(BrokenPipeError):
        stdin.write(json.dumps(value).encode() + b"\n")
        stdin.flush()


def handed_over() -> Any:
    """What the parent has told this process with `hand_over`; no more than that line is read."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        return json.loads(stdin.readline())
