"""Commands that look, and change nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from kontext_cli.commands.options import Json, Stack

app = typer.Typer()


@app.command()
def status(
    prefix: Annotated[str, typer.Argument(help="Only pairs whose prefix begins so.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many.")] = 30,
    of: Annotated[str | None, typer.Option("--status", help="Only these, for example failed or parked.")] = None,
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Only those that ended, or were dropped and wait, on a UTC day."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow them until none is on its way.")] = False,
    ledger: Annotated[bool, typer.Option("--ledger", help="Show what was spent each day instead.")] = False,
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Show what became of the pairs that were dropped, or what was spent."""
    from kontext_cli import status as command

    if ledger:
        raise typer.Exit(command.ledger(stack=stack, as_json=json))
    from kontext_cli.read.records import Filter

    wanted = Filter(of or "", day.date() if day else None)
    raise typer.Exit(command.run(prefix, wanted, watch=watch, stack=stack, limit=limit, as_json=json))


@app.command()
def explain(
    prefix: Annotated[str, typer.Argument(help="The pair, or a file that was dropped.", show_default=False)],
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Tell the whole story of one pair: drops, decisions, polls, result, times, cost."""
    from kontext_cli import explain as command

    raise typer.Exit(command.run(prefix, stack=stack, as_json=json))


@app.command()
def doctor(
    drift: Annotated[
        bool, typer.Option("--drift", help="Compare each resource with the template; takes a while.")
    ] = False,
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Check a deployed stack; exit code 1 if something is wrong."""
    from kontext_cli.doctor import command

    raise typer.Exit(command.run(stack=stack, drift=drift, as_json=json))


@app.command()
def audit(stack: Stack = None, json: Json = False) -> None:
    """Compare what Segmind's balance has lost with what the stack has booked, day by day; costs nothing."""
    from kontext_cli import audit as command

    raise typer.Exit(command.run(stack=stack, as_json=json))


@app.command()
def console(
    stack: Stack = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The loopback port; 0 takes a free one.")] = 0,
    open_browser: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open a browser. Default: where there is a desktop.", show_default=False),
    ] = None,
) -> None:
    """Serve a page on this machine that shows the stack's pairs, and takes new ones."""
    from kontext_cli.web import command

    raise typer.Exit(command.run(stack, port, open_browser=open_browser))
