"""`kontext backfill`: drop many pairs at once, once it is known what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from kontext.drops.references import EVERYTHING, References
from kontext_cli import target
from kontext_cli.backfill import sources
from kontext_cli.backfill.plan import Plan
from kontext_cli.backfill.sources import Rejection
from kontext_cli.drop.photographs import limits_of
from kontext_cli.errors import EXIT_USAGE, INTERRUPTED, UNFINISHED, UNREAD, Unfinished, Unread, explain
from kontext_cli.resources import description, parameters
from kontext_cli.target import Target
from kontext_cli.terminal import print_json, terminal

WRONG = 1
SHOWN = 20


def run(source: Path, under: str, *, upload: bool, stack: str | None, as_json: bool) -> int:
    """Say what dropping the pairs of a table or folder means, and do it if told to; returns the exit code."""
    return carry_out(target.find(stack), source, under, upload=upload, as_json=as_json)


def carry_out(chosen: Target, source: Path, under: str, *, upload: bool, as_json: bool) -> int:
    """The same, for a stack that is found."""
    settings = parameters(description(chosen))
    found = sources.read(source, under, limits_of(settings), references_of(chosen, settings))
    plan = Plan(chosen, found, settings)
    console = terminal(stderr=as_json)
    _show(console, source, chosen.name, plan)
    wrong = list(plan.wrong)
    stopped = _upload(console, plan) if upload else None
    said = _stopped(plan, stopped) if stopped else _done(plan, upload=upload)
    # Who has stopped reading can still be told where errors go.
    console = terminal(stderr=True) if isinstance(stopped, Unread) else console
    summary = {"stack": chosen.name, "source": str(source), **_summary(plan, stopped)}
    try:
        _list_wrong(console, "went wrong on the way", [one for one in plan.wrong if one not in wrong])
        console.print(escape(said), soft_wrap=True)
        if stopped and _exit_code(plan, stopped) is None:
            raise stopped
        if as_json:
            print_json(summary)
    except OSError as full:
        if not (plan.uploaded or plan.at):
            raise
        raise Unfinished(f"{explain(full)}. {said}", summary) from full
    return _exit_code(plan, stopped) or 0


def references_of(chosen: Target, settings: dict[str, str]) -> References:
    """What a stack lets a request name; one from before the rule lets it name everything."""
    shared = settings.get("SharedPrefixes", EVERYTHING)
    return References.of_stack(shared, chosen.output("InputBucket"), chosen.output("OutputBucket"))


def _upload(console: Console, plan: Plan) -> BaseException | None:
    """Upload all pairs, or as many as can be until something stops it; returns what did."""
    columns = (TextColumn("uploading"), BarColumn(), MofNCompleteColumn(), TextColumn("pairs"), TimeRemainingColumn())
    try:
        with Bar(*columns, console=console, disable=not plan.todo) as bar:
            task = bar.add_task("", total=len(plan.todo))
            for _ in plan.upload():
                bar.advance(task)
    except (KeyboardInterrupt, Exception) as problem:  # noqa: BLE001  what is paid is said first
        return problem
    return None


def _exit_code(plan: Plan, stopped: BaseException | None) -> int | None:
    """The exit code; None if a bug of ours has stopped it."""
    match stopped:
        case None:
            return WRONG if plan.wrong else 0
        case KeyboardInterrupt():
            return INTERRUPTED
        case Unread():
            return UNREAD
    if explain(stopped) is None:
        return None
    return UNFINISHED if plan.uploaded or plan.uploads_there else EXIT_USAGE


def _show(console: Console, source: Path, stack: str, plan: Plan) -> None:
    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    kinds = {kind: sum(job.kind == kind for job in plan.jobs) for kind in ("new", "changed", "same")}
    say(f"[bold]{escape(str(source))}[/] for the stack {escape(stack)}")
    say(f"  {_count(kinds['new'], 'pair')} to drop, {kinds['same']} dropped before with this content")
    if kinds["changed"]:
        say(f"  {kinds['changed']} dropped before with another content, to be rendered and paid anew:")
        _list(say, [job.pair.where for job in plan.jobs if job.kind == "changed"])
    if plan.without_prompt:
        say(f"  {plan.without_prompt} without a prompt: the stack's is used (“{escape(plan.default_prompt)}”)")
    _list_wrong(console, "wrong, left out", plan.wrong)
    if plan.unknown_columns:
        named = ", ".join(repr(title.replace("_", " ")) for title in plan.unknown_columns)
        known = ", ".join(name.replace("_", " ") for name in sources.COLUMNS)
        say(f"  [yellow]left out: {escape(named)}[/]; the columns are: {known}")
    if plan.ignored:
        say(f"  {_count(len(plan.ignored), 'file')} outside the drop convention, left out:")
        _list(say, plan.ignored)
    if plan.todo:
        say(f"  price: USD {plan.price:.2f} ({_count(len(plan.todo), 'picture')} at USD {plan.budget.price:g})")
        say(f"  time:  {_time(plan)}")


def _list_wrong(console: Console, what: str, wrong: list[Rejection]) -> None:
    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    if wrong:
        say(f"  [red]{len(wrong)} {what}:[/]")
        _list(say, [f"{one.where}: {one.why}" for one in wrong])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _list(say: Callable[[str], None], lines: list[str]) -> None:
    for line in lines[:SHOWN]:
        say(f"    {escape(line)}")
    if len(lines) > SHOWN:
        say(f"    … and {len(lines) - SHOWN} more (--json shows all)")


def _time(plan: Plan) -> str:
    budget = plan.budget
    seconds = budget.seconds(len(plan.todo), time.time())
    if seconds is None:
        return f"never: DailySpendLimit (USD {budget.daily_limit:g}) does not pay for a picture"
    told = f"about {_duration(seconds)}, at {budget.per_minute:g} requests a minute"
    held = budget.reserved + plan.price > budget.daily_limit
    return f"{told} and USD {budget.daily_limit:g} a day (DailySpendLimit)" if held else told


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(1, seconds):.0f} seconds"


def _done(plan: Plan, *, upload: bool) -> str:
    if not plan.todo:
        return "There is nothing to upload."
    if upload:
        return f"{_count(len(plan.uploaded), 'pair')} uploaded: `kontext status` shows what becomes of them."
    return "Nothing has been uploaded: --upload does it."


def _stopped(plan: Plan, stopped: BaseException) -> str:
    """Where it has stopped, why, what is or may be paid, and how to go on."""
    why, price = explain(stopped), plan.budget.price
    said = [f"Stopped after {len(plan.uploaded)} of {len(plan.todo)} pairs{f': {why}' if why else '.'}"]
    if plan.uploaded:
        said.append(f"They go on by themselves, and are, or will be, paid: USD {len(plan.uploaded) * price:.2f}.")
    if plan.at:
        there = f"{len(plan.uploads_there)} of {_count(len(plan.at.uploads), 'part')}"
        next_one = plan.at.uploads[min(len(plan.uploads_there), len(plan.at.uploads) - 1)].name
        said.append(
            f"Of {plan.at.pair.prefix} {there} are there, and perhaps {next_one}; once all are, it is paid, too "
            f"(USD {price:g})."
        )
    said.append("The same command goes on from there; `kontext status` shows what becomes of them.")
    return " ".join(said)


def _summary(plan: Plan, stopped: BaseException | None) -> dict[str, Any]:
    def named(kind: str) -> list[str]:
        return [job.pair.prefix for job in plan.jobs if job.kind == kind]

    return {
        "new": named("new"),
        "changed": named("changed"),
        "dropped_before": named("same"),
        "wrong": [asdict(one) for one in plan.wrong],
        "ignored": plan.ignored,
        "unknown_columns": plan.unknown_columns,
        "price_usd": round(plan.price, 6),
        "seconds": plan.budget.seconds(len(plan.todo), time.time()),
        "uploaded": len(plan.uploaded),
        "interrupted": isinstance(stopped, KeyboardInterrupt),
        "error": {"message": explain(stopped)} if stopped and explain(stopped) else None,
    }
