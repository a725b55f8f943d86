"""What a person sees while a command works: lines on standard error, a spinner where there is a terminal."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.text import Text

from kontext.text import escape_text
from kontext_cli.errors import Unread


class Progress:
    """Lines that stay and one line that changes; without a terminal each change is a line of its own.

    `started` is when the clock of `step` began (seconds of `time.monotonic`).
    """

    def __init__(self, console: Console, spinner: Status | None) -> None:
        self.console = console
        self.started = time.monotonic()
        self._spinner = spinner
        self._waiting = ""

    def line(self, text: str = "", style: str | None = None) -> None:
        """Print a line that stays. `text` may hold rich markup."""
        self.console.print(text, style=style, soft_wrap=True)

    def step(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        self.line(f"[dim]{time.monotonic() - self.started:6.1f} s[/]  {escape(text)}")

    def spin(self, text: str) -> None:
        """Say something beside the spinner, if there is one."""
        if self._spinner:
            self._spinner.update(escape(text))

    def waiting(self, text: str) -> None:
        """Say what is waited for just now."""
        if text == self._waiting:
            return
        self._waiting = text
        self.spin(text)
        if not self._spinner:
            self.line(escape(text))


class SafeConsole(Console):
    """A console on which a key or a message cannot move the cursor, turn the text or hide a part of it.

    A command goes on without a word if its standard error takes none any more; if its output is read no more, it
    ends (Unread).
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, if it is possible."""
        try:
            super().print(*objects, **options)
        except OSError:
            if not self.stderr:
                raise
            self.quiet = True

    def on_broken_pipe(self) -> None:
        """Nobody reads any more."""
        self.quiet = True
        if not self.stderr:
            raise Unread

    def render_str(self, text: str, **options: Any) -> Text:
        """Take a text with markup."""
        return super().render_str(escape_text(text), **options)


def terminal(*, stderr: bool = False) -> Console:
    """Where to print. Without emoji: rich would make `㊙` of the `:secret:` in an ARN."""
    return SafeConsole(stderr=stderr, emoji=False, highlight=False)


@contextmanager
def progress(*, stderr: bool = True) -> Iterator[Progress]:
    """Progress for the length of a `with` block; off standard error only where it is the command's output."""
    console = terminal(stderr=stderr)
    if not console.is_terminal or os.environ.get("CI"):
        yield Progress(console, None)
        return
    with console.status("") as spinner:
        yield Progress(console, spinner)


def print_json(value: Any) -> None:
    """One JSON document on standard output, for scripts. Raises Unread if nobody reads it."""
    is_unicode = (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    try:
        print(json.dumps(value, indent=2, ensure_ascii=not is_unicode, default=str), flush=True)
    except BrokenPipeError as closed:
        raise Unread from closed


def command(*words: str, name: str | None = None) -> str:
    """A command of ours, to be pasted into a shell; `name` is an argument that may look like an option."""
    program, found = sys.argv[0], shutil.which("kontext")
    if Path(program).name != "kontext":
        ours = [sys.executable, "-m", "kontext_cli.main"] if program.endswith("main.py") else ["kontext"]
    else:
        ours = ["kontext" if found and Path(found) == Path(program).absolute() else program]
    last = [] if name is None else ["--", name] if name.startswith("-") else [name]
    return shlex.join([*ours, *words, *last])
