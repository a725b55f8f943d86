"""Commands that drop pairs, or fetch what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kontext_cli.commands.options import Inference, Json, Output, Stack

app = typer.Typer()


@app.command()
def drop(
    first: Annotated[Path, typer.Argument(metavar="A", help="The first photograph.", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="B", help="The second photograph.", show_default=False)],
    prompt: Annotated[str | None, typer.Option(help="What the picture should show. Default: the stack's.")] = None,
    name: Annotated[str | None, typer.Option(help="The pair's name in the buckets. Default: a new one.")] = None,
    aspect_ratio: Annotated[str | None, typer.Option(help="For example 16:9.")] = None,
    output_format: Annotated[str | None, typer.Option(help="png or jpg.")] = None,
    safety_tolerance: Annotated[int | None, typer.Option(help="0 (strict) to 2 (lenient).")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same picture.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the result and save it.")] = True,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long to wait.")] = 3900.0,
    output: Output = None,
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Drop a pair of photographs and fetch the picture that becomes of them.

    What the bucket has already is neither uploaded nor paid again; a pair of which more than one part has changed is
    refused, for each part would be paid.
    """
    from kontext_cli.drop import command

    parameters = {
        "prompt": prompt,
        "aspect_ratio": aspect_ratio,
        "output_format": output_format,
        "safety_tolerance": safety_tolerance,
        "seed": seed,
    }
    code = command.run(
        (first, second),
        name,
        parameters,
        stack=stack,
        wait=wait,
        seconds=timeout,
        save_as=output,
        as_json=json,
    )
    raise typer.Exit(code)


@app.command()
def backfill(
    source: Annotated[
        Path, typer.Argument(help="A folder that follows the drop convention, or a table (CSV).", show_default=False)
    ],
    under: Annotated[str, typer.Option(metavar="PREFIX", help="Where in the bucket the pairs go.")] = "",
    upload: Annotated[
        bool, typer.Option("--upload/--dry-run", help="Drop them, or only say what that means and costs.")
    ] = False,
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Drop many pairs at once; says first what is wrong, what it costs and how long it takes."""
    from kontext_cli.backfill import command

    raise typer.Exit(command.run(source, under, upload=upload, stack=stack, as_json=json))


@app.command()
def fetch(
    prefix: Annotated[str, typer.Argument(help="The pair.", show_default=False)],
    output: Output = None,
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Save the picture of a pair that was delivered; never pays."""
    from kontext_cli.drop import fetch as command

    raise typer.Exit(command.run(prefix, output, stack=stack, as_json=json))


@app.command()
def demo(
    inference: Inference = 15.0,
    picture: Annotated[str, typer.Option("--picture", help="Where the contact sheet goes.")] = "kontext-demo.png",
) -> None:
    """Watch two pairs of photographs go through the whole stack."""
    from kontext_cli.demo import command

    raise typer.Exit(command.run(inference or 0, picture))
