"""`kontext`: the command line. Each command's work is in the module of its name, imported when it runs."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, NoReturn, TextIO

import typer

from kontext_cli.errors import UNREAD, CommandError, Interrupted, Unread
from kontext_cli.errors import explain as in_plain_words

app = typer.Typer(
    no_args_is_help=True,
    help="Drop two photographs and a prompt; get one picture back.",
    epilog="Exit codes: 0 done, 1 the render failed, 2 it could not be tried, 3 it was dropped and may be paid, "
    "but its picture is not saved here, 130 interrupted.",
)

Stack = Annotated[
    str | None,
    typer.Option(
        "--stack",
        help="`local` or a CloudFormation stack. Default: the local one if it runs, else kontext-drop.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where the picture is saved: a file, which is replaced, or a folder, where none is. Tried before anything "
        "is dropped. Default: the current folder.",
    ),
]
Inference = Annotated[
    float | None,
    typer.Option("--inference", min=0, metavar="SECONDS", help="How long the emulator works on a picture."),
]


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
        from kontext_cli.console import print_json

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
def demo(
    inference: Inference = 15.0,
    picture: Annotated[str, typer.Option("--picture", help="Where the contact sheet goes.")] = "kontext-demo.png",
) -> None:
    """Watch two pairs of photographs go through the whole stack."""
    from kontext_cli import demo as command

    raise typer.Exit(command.run(inference or 0, picture))


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
    from kontext_cli import drop as command

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
def fetch(
    prefix: Annotated[str, typer.Argument(help="The pair.", show_default=False)],
    output: Output = None,
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Save the picture of a pair that was delivered; never pays."""
    from kontext_cli import fetch as command

    raise typer.Exit(command.run(prefix, output, stack=stack, as_json=json))


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
    from kontext_cli import backfill as command

    raise typer.Exit(command.run(source, under, upload=upload, stack=stack, as_json=json))


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
    from kontext_cli.records import Wanted

    wanted = Wanted(of, day.date() if day else None)
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
    from kontext_cli import doctor as command

    raise typer.Exit(command.run(stack=stack, drift=drift, as_json=json))


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

    Ids and links are checked first, which costs nothing; whatever is in doubt leaves the render undecided. The
    decisions of a table are request-id, output-url, resubmit and give-up; none is carried out unless all can be.
    """
    from kontext_cli import resolve as command

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
def audit(stack: Stack = None, json: Json = False) -> None:
    """Compare what Segmind's balance has lost with what the stack has booked, day by day; costs nothing."""
    from kontext_cli import audit as command

    raise typer.Exit(command.run(stack=stack, as_json=json))


@app.command()
def redeliver(
    prefix: Annotated[str | None, typer.Argument(help="The pair to deliver again.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every picture that is paid and not delivered.")] = False,
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Copy paid pictures again, and tell of them again; never pays."""
    from kontext_cli import operate as command

    raise typer.Exit(command.redeliver(prefix, everything=everything, stack=stack, as_json=json))


@app.command()
def cancel(
    prefix: Annotated[str, typer.Argument(help="The pair to take back.", show_default=False)],
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Take a pair back that waits and was not sent yet; dropped again it is rendered after all."""
    from kontext_cli import taking_back as command

    raise typer.Exit(command.cancel(prefix, stack=stack, as_json=json))


@app.command()
def again(
    prefix: Annotated[str, typer.Argument(help="The pair to render once more.", show_default=False)],
    send: Annotated[bool, typer.Option("--send/--dry-run", help="Pay for it, or only say what it costs.")] = False,
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Render the same images and prompt once more, for the price of a picture."""
    from kontext_cli import taking_back as command

    raise typer.Exit(command.again(prefix, send=send, stack=stack, as_json=json))


@app.command()
def forget(
    prefix: Annotated[str, typer.Argument(help="The pair to forget.", show_default=False)],
    delete: Annotated[bool, typer.Option("--delete/--dry-run", help="Delete it, or only say what is kept.")] = False,
    stack: Stack = None,
    json: Json = False,
) -> None:
    """Delete every version of a pair's images, its pictures, its prompt and its record, for good."""
    from kontext_cli import forget as command

    raise typer.Exit(command.run(prefix, delete=delete, stack=stack, as_json=json))


@app.command()
def redrive(stack: Stack = None, json: Json = False) -> None:
    """Move dead letters back to the upload queue, and tell what they died of."""
    from kontext_cli import operate as command

    raise typer.Exit(command.redrive(stack=stack, as_json=json))


@app.command()
def reconcile(stack: Stack = None, json: Json = False) -> None:
    """Tell a table that was restored to an earlier moment what has been paid since."""
    from kontext_cli import reconcile as command

    raise typer.Exit(command.run(stack=stack, as_json=json))


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
    from kontext_cli import replay as command

    raise typer.Exit(command.run(prefix, everything=everything, send=send, stack=stack, as_json=json))


@app.command()
def pause(stack: Stack = None) -> None:
    """Submit nothing more until `resume`; drops wait."""
    from kontext_cli import operate as command

    raise typer.Exit(command.pause(stack=stack))


@app.command()
def resume(stack: Stack = None) -> None:
    """Submit again, after `pause` or once an account is put right."""
    from kontext_cli import operate as command

    raise typer.Exit(command.resume(stack=stack))


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
    from kontext_cli.webconsole import command

    raise typer.Exit(command.run(stack, port, open_browser=open_browser))


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


if __name__ == "__main__":
    main()
