"""Commands by which a person decides: about a render, a pair, or the whole stack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kontext_cli.commands.options import Json, Stack

app = typer.Typer()


@app.command()
def resolve(
    prefix: Annotated[
        str | None, typer.Argument(help="The pair whose render is uncertain.", show_default=False)
    ] = None,
    request_id: Annotated[
        str | None,
        typer.Option("--request-id", metavar="ID", help="Segmind's console shows this job, an hour old at most."),
    ] = None,
    output_url: Annotated[
        str | None, typer.Option("--output-url", metavar="URL", help="Segmind's console shows its picture there.")
    ] = None,
    resubmit: Annotated[
        bool, typer.Option("--resubmit", help="Send it again for the price of a picture; may pay twice.")
    ] = False,
    give_up: Annotated[bool, typer.Option("--give-up", help="End it without a picture.")] = False,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="TABLE.csv", help="Many: a pair, a decision and its value in each row."),
    ] = None,
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Decide about a render whose answer from Segmind was lost, or take one up again that was given up or expired.

    --output-url also delivers a paid picture that could not be had where Segmind said. Ids and links are checked
    first, which costs nothing; whatever is in doubt leaves the render undecided. The decisions of a table are
    request-id, output-url, resubmit and give-up; none is carried out unless all can be.
    """
    from kontext_cli.decide import resolve as command

    code = command.run(
        prefix,
        request_id=request_id,
        output_url=output_url,
        resubmit=resubmit,
        give_up=give_up,
        table=file,
        stack=stack,
        as_json=json,
    )
    raise typer.Exit(code)


@app.command()
def redeliver(
    prefix: Annotated[str | None, typer.Argument(help="The pair to deliver again.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every picture that is paid and not delivered.")] = False,
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Copy paid pictures again, and tell of them again; never pays."""
    from kontext_cli.decide import operate as command

    raise typer.Exit(command.redeliver(prefix, everything=everything, stack=stack, as_json=json))


@app.command()
def cancel(
    prefix: Annotated[str, typer.Argument(help="The pair to take back.", show_default=False)],
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Take a pair back that waits and was not sent yet; dropped again it is rendered after all."""
    from kontext_cli.decide import taking_back as command

    raise typer.Exit(command.cancel(prefix, stack=stack, as_json=json))


@app.command()
def again(
    prefix: Annotated[str, typer.Argument(help="The pair to render once more.", show_default=False)],
    send: Annotated[bool, typer.Option("--send/--dry-run", help="Pay for it, or only say what it costs.")] = False,
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Render the same images and prompt once more, for the price of a picture."""
    from kontext_cli.decide import taking_back as command

    raise typer.Exit(command.run_again(prefix, send=send, stack=stack, as_json=json))


@app.command()
def forget(
    prefix: Annotated[str, typer.Argument(help="The pair to forget.", show_default=False)],
    delete: Annotated[bool, typer.Option("--delete/--dry-run", help="Delete it, or only say what is kept.")] = False,
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Delete every version of a pair's images, its pictures, its prompt and its record, for good."""
    from kontext_cli.decide import forget as command

    raise typer.Exit(command.run(prefix, delete=delete, stack=stack, as_json=json))


@app.command()
def replay(
    prefix: Annotated[str | None, typer.Argument(help="Only objects whose key begins so.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole input bucket.")] = False,
    send: Annotated[
        bool, typer.Option("--send/--dry-run", help="Tell of them, or only say what that means and may cost.")
    ] = False,
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Tell the stack again of objects in its input bucket that it does not know, as S3 would.

    What cannot cost anything is told at once; where pairs may be rendered, their price is said, and --send does it.
    """
    from kontext_cli.decide import replay as command

    raise typer.Exit(command.run(prefix, everything=everything, send=send, stack=stack, as_json=json))


@app.command()
def redrive(stack: Stack = None, json: Json = False) -> None:
    """Move dead letters back to the upload queue, and tell what they died of."""
    from kontext_cli.decide import operate as command

    raise typer.Exit(command.redrive(stack=stack, as_json=json))


@app.command()
def reconcile(stack: Stack = None, json: Json = False) -> None:
    """Tell a table that was restored to an earlier moment what has been paid since."""
    from kontext_cli.decide import reconcile as command

    raise typer.Exit(command.run(stack=stack, as_json=json))


@app.command()
def pause(stack: Stack = None) -> None:
    """Submit nothing more until `resume`; drops wait."""
    from kontext_cli.decide import operate as command

    raise typer.Exit(command.pause(stack=stack))


@app.command()
def resume(stack: Stack = None) -> None:
    """Submit again, after `pause` or once an account is put right."""
    from kontext_cli.decide import operate as command

    raise typer.Exit(command.resume(stack=stack))
