"""Commands about the stack on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from kontext_cli.commands.options import Inference, Json

app = typer.Typer()


@app.command()
def up(
    segmind_url: Annotated[
        str | None,
        typer.Option("--segmind-url", metavar="URL", help="Use this server in place of the emulator."),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option("--api-key", metavar="KEY", envvar="SEGMIND_API_KEY", help="The API key for it."),
    ] = None,
    result_host: Annotated[
        list[str] | None,
        typer.Option("--result-host", metavar="HOST[:PORT]", help="Fetch results from this host, too. Repeatable."),
    ] = None,
    inference: Inference = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUE", help="Set a parameter of the template. Repeatable."),
    ] = None,
    json: Json = False,
) -> None:
    """Start the whole stack on this machine and leave it running."""
    from kontext_cli import up as command

    options = command.options(segmind_url, api_key, result_host or [], inference, param or [])
    raise typer.Exit(command.run(options, as_json=json))


@app.command()
def env(json: Json = False) -> None:
    """Print what lets other AWS tools reach the stack on this machine: `eval "$(kontext env)"`."""
    from kontext_cli import env as command

    raise typer.Exit(command.run(as_json=json))


@app.command()
def down() -> None:
    """Stop the stack on this machine; everything in it is gone."""
    from kontext_cli import up as command

    raise typer.Exit(command.stop())


@app.command()
def segmind(
    port: Annotated[int, typer.Option(min=0, max=65535, help="The loopback port; 0 takes a free one.")] = 0,
    inference: Inference = None,
    api_key: Annotated[str | None, typer.Option("--api-key", metavar="KEY", help="The API key it accepts.")] = None,
    json: Json = False,
) -> None:
    """Run the emulator of the Segmind API alone, until interrupted."""
    from kontext_cli import segmind as command

    raise typer.Exit(command.run(port, inference, api_key, as_json=json))
