"""A command that asks questions, in a terminal of its own, answered by somebody who presses Enter."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

IN_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
"""In a process of its own: a fork of one with threads, as pytest may be, could hang."""
QUIET_SECONDS = 0.3
"""For so long nothing is written after a question; a line that merely ends like one goes on at once."""
STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Stuck(Exception):
    """The command asks the same again, or does not come to an end."""


def press_enter(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float = 180.0
) -> tuple[int, list[str]]:
    """The command's exit code, and its questions with the answers they offer.

    Raises Stuck when it repeats a question, or still runs after `seconds`.
    """
    questions: list[str] = []
    with _in_a_terminal(command, folder, environment) as process:
        assert process.stdin is not None
        for question in _questions(process, time.monotonic() + seconds):
            if question in questions:
                raise Stuck(f"Enter is no answer to {question!r}")
            questions.append(question)
            process.stdin.write(b"\n")
            process.stdin.flush()
        return process.wait(), questions


@contextmanager
def _in_a_terminal(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *command],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()  # its terminal goes with it, and that ends the command


def _questions(process: subprocess.Popen[bytes], deadline: float) -> Iterator[str]:
    """Each line that the command leaves unfinished, until it ends."""
    assert process.stdout is not None
    line = ""
    while time.monotonic() < deadline:
        if select.select([process.stdout], [], [], QUIET_SECONDS)[0]:
            written = os.read(process.stdout.fileno(), 65_536)
            if not written:
                return
            line = (line + written.decode(errors="replace")).rpartition("\n")[2]
        elif line.endswith(": "):
            yield STYLE.sub("", line).strip()
            line = ""
    assert isinstance(process.args, list)
    raise Stuck(f"{process.args[3:]} did not end; the last that it wrote: {line!r}")
