"""`kontext`: the command line. It runs the command that was typed, and ends with what there is to say."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Annotated, NoReturn, TextIO

import typer

from kontext_cli.commands import deciding, dropping, looking, stack
from kontext_cli.errors import UNREAD, CommandError, Interrupted, Unread
from kontext_cli.errors import explain as in_plain_words

app = typer.Typer(
    no_args_is_help=True,
    help="Drop two photographs and a prompt; get one picture back.",
    epilog="Exit codes: 0 done, 1 the render failed, 2 it could not be tried, 3 it was dropped and may be paid, "
    "but its picture is not saved here, 130 interrupted.",
)
for commands in (stack, dropping, looking, deciding):
    app.add_typer(commands.app)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"kontext {version('kontext-drop')}")
        raise typer.Exit


@app.callback()
def common(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What every command has in common."""


def main() -> NoReturn:
    """Run the command of `sys.argv` and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(_run())
    finally:
        _let_go(sys.stdout)
        _let_go(sys.stderr)


def _run() -> str | int | None:
    """The exit code of the command, after all that is to be said has been said."""
    try:
        try:
            app()
        except SystemExit as ended:
            if _is_by_ctrl_c(ended):
                raise Interrupted from ended
            code = ended.code
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except (Unread, BrokenPipeError):
        return UNREAD
    except KeyboardInterrupt:
        return _tell(Interrupted(), str(Interrupted()))
    except Exception as error:
        message = in_plain_words(error)
        if message is None:
            raise
        return _tell(error, message)


def _is_by_ctrl_c(ended: SystemExit) -> bool:
    """Whether typer has made this of a Ctrl-C, without a word."""
    return ended.__context__ is not None and isinstance(ended.__context__.__cause__, KeyboardInterrupt)


def _tell(error: Exception, message: str) -> int:
    """Say what went wrong, to people and, with --json, to programs; returns the exit code."""
    told = error if isinstance(error, CommandError) else CommandError(message)
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            print(f"kontext: {message}", file=sys.stderr, flush=True)
    if "--json" in sys.argv:
        from kontext_cli.terminal import print_json

        with contextlib.suppress(OSError, Unread):
            print_json(told.document)
    return told.exit_code


def _let_go(stream: TextIO | None) -> None:
    """What cannot be written any more must not be tried again when Python ends."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
