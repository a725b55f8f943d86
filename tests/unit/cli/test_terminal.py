"""What the command prints is text, whatever stands in it."""

from __future__ import annotations

import pytest
from rich.markup import escape
from rich.table import Table

from kontext_cli.terminal import terminal

COMMANDS = "a\x1b[2J\x1b]0;owned\x07\u202egnp[red]/"


def test_what_is_shown_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("key")
    table.add_row(escape(COMMANDS))

    terminal().print(escape(COMMANDS))
    terminal().print(table)

    assert capsys.readouterr().out.count(r"\u001b[2J\u001b]0;owned\u0007\u202egnp[red]/") == 2


def test_the_lines_of_a_text_stay_lines(capsys: pytest.CaptureFixture[str]) -> None:
    terminal().print("one\ntwo [bold]three[/]")

    assert capsys.readouterr().out == "one\ntwo three\n"
