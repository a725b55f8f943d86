"""`kontext up` and `kontext down`: the whole stack on this machine."""

from __future__ import annotations

from dataclasses import asdict
from urllib.parse import urlsplit

from rich.markup import escape

from kontext_cli.errors import CommandError
from kontext_cli.terminal import Progress, print_json, progress
from kontext_local import project, stack

SECRETS = ("access_key", "secret_key", "emulator_key")


def options(
    segmind_url: str | None, api_key: str | None, hosts: list[str], inference: float | None, params: list[str]
) -> stack.Options:
    """What was asked for on the command line. Raises CommandError where it makes no sense."""
    if segmind_url and urlsplit(segmind_url).scheme not in ("http", "https"):
        raise CommandError(f"--segmind-url must be an http or https URL, not {segmind_url!r}.")
    if segmind_url and not api_key:
        raise CommandError("--segmind-url needs --api-key (or SEGMIND_API_KEY).")
    if segmind_url and inference is not None:
        raise CommandError("--inference is the emulator's; with --segmind-url the other server decides.")
    return stack.Options(
        segmind_url=segmind_url,
        # Without another server a key that happens to be in the environment has no business in the emulator.
        api_key=api_key if segmind_url else None,
        result_hosts=tuple(hosts),
        emulator={} if inference is None else {"inference": inference},
        parameters=dict(_pair(param) for param in params),
    )


def _pair(param: str) -> tuple[str, str]:
    name, equals, value = param.partition("=")
    if not (name and equals):
        raise CommandError(f"--param takes NAME=VALUE, not {param!r}.")
    return name, value


def run(chosen: stack.Options, *, as_json: bool) -> int:
    """Start the stack unless it runs; returns the exit code."""
    home = project.home()
    running = stack.find(home)
    if running and chosen != stack.Options():
        raise CommandError("A local cloud is running already, with its own options: `kontext down` stops it.")
    with progress() as shown:
        if running is None:
            running = stack.start(home, chosen, shown.step)
        shown.step("the stack is up")
        _describe(shown, running)
    if as_json:
        print_json({name: value for name, value in asdict(running).items() if name not in SECRETS})
    return 0


def _describe(shown: Progress, running: stack.LocalStack) -> None:
    for name, value in {
        "AWS": running.endpoint,
        "Segmind": running.segmind_url + (" (the emulator)" if running.emulator_key else ""),
        "drop into": f"s3://{running.outputs.get('InputBucket')}",
        "results in": f"s3://{running.outputs.get('OutputBucket')}",
        "logs in": running.home,
    }.items():
        shown.line(f"  [dim]{name:<11}[/] {escape(value)}")
    shown.line(
        "  `kontext drop A B --prompt …` drops a pair, `kontext console` opens a page to look at, `kontext down` stops."
    )
    shown.line(
        '  `eval "$(kontext env)"` lets the AWS CLI and any other AWS tool of a shell reach this cloud, and no other.'
    )


def stop() -> int:
    """Stop the local stack; returns the exit code."""
    with progress() as shown:
        shown.waiting("stopping the local cloud")
        shown.line("The local cloud is stopped." if stack.stop(project.home()) else "No local cloud was running.")
    return 0
