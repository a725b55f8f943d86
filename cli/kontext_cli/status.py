"""`kontext status`: the pairs of a stack, or everything about one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from kontext.due import LINE, TIMER, UNKNOWN
from kontext.model import ENDED, Status
from kontext_cli import target
from kontext_cli.errors import CommandError
from kontext_cli.read.newest import Listing, how_many
from kontext_cli.read.records import Filter, Records
from kontext_cli.read.timeline import describe_entry
from kontext_cli.read.views import PairView, RenderView, group_of
from kontext_cli.terminal import print_json, terminal

LOOK_SECONDS = 2.0
STYLES = {"delivered": "green", "failed": "red", "uncertain": "bold red", "waiting": "dim", "unknown": "yellow"}
"""How the statuses of a group are shown; the others are on their way."""


def run(prefix: str, wanted: Filter, *, watch: bool = False, stack: str | None, limit: int, as_json: bool) -> int:
    """Show the pairs whose prefix begins with `prefix`, at most `limit`; returns the exit code."""
    if watch and as_json:
        raise CommandError("--watch is for people, --json for programs: say one of them.")
    chosen = target.find(stack)
    records, console = Records(chosen), terminal()

    def read() -> Listing:
        return records.newest(prefix, limit, wanted)

    if watch:
        watch_pairs(read, lambda listing: _many(listing, progress_of(records, prefix, wanted, listing)), console)
        return 0
    listing = read()
    if as_json:
        print_json([document(pair) for pair in listing.pairs])
    elif not listing.pairs:
        nothing = f"Nothing under {prefix!r} in {chosen.name}." if prefix else f"Nothing in {chosen.name} so far."
        console.print(escape(nothing))
    elif len(listing.pairs) == 1:
        _show_one(console, listing.pairs[0])
    else:
        console.print(_many(listing, progress_of(records, prefix, wanted, listing)))
    return 0


def document(pair: PairView) -> dict[str, Any]:
    """A pair for programs."""
    return {
        "prefix": pair.prefix,
        "status": pair.status,
        "detail": pair.detail,
        "since": pair.since,
        "renders": [asdict(render) for render in pair.renders],
    }


def watch_pairs(
    read: Callable[[], Listing],
    drawn: Callable[[Listing], RenderableType],
    console: Console,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show the pairs as they move, until none of them moves any more, or Ctrl-C."""
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            listing = read()
            live.update(drawn(listing), refresh=True)
            if not any(_moves(pair) for pair in listing.pairs):
                return
            sleep(LOOK_SECONDS)


def _moves(pair: PairView) -> bool:
    return bool(pair.renders) and pair.status not in ENDED


def ledger(*, stack: str | None, as_json: bool) -> int:
    """Show what was spent each UTC day; returns the exit code."""
    days = Records(target.find(stack)).ledger()
    if as_json:
        print_json(list(map(asdict, days)))
        return 0
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("UTC day", "submitted", "not charged", "completed", "reserved USD", "cost USD"):
        table.add_column(title, justify="left" if title == "UTC day" else "right")
    for day in days:
        counts = map(str, (day.submitted, day.not_charged, day.completed))
        table.add_row(day.day, *counts, f"{day.reserved:.2f}", f"{day.cost:.2f}")
    terminal().print(table if days else "Nothing has been spent so far.")
    return 0


def _many(listing: Listing, progress: str) -> Group:
    """How far they all are, and a line for each of the newest."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("pair", "status", "age", ""):
        table.add_column(title, overflow="fold")
    for pair in listing.pairs:
        table.add_row(escape(pair.prefix), styled(pair.status), age(pair.since), escape(pair.detail))
    more = [] if listing.is_whole else ["[dim]… and more: --limit shows them, --status and --day choose among them.[/]"]
    return Group(progress, "", table, *more)


def progress_of(records: Records, prefix: str, wanted: Filter, listing: Listing) -> str:
    """How far all are: of those that are shown, if these are all, else of what the table holds."""
    if listing.is_whole:
        return _told(Counter("parked" if pair.is_parked else pair.status for pair in listing.pairs))
    if wanted != Filter():
        return f"the newest {len(listing.pairs)} of those"
    names = {LINE: "parked", TIMER: "in work"}
    counts = Counter({names.get(lane, lane): count for lane, count in records.counts(prefix).items()})
    return _told(counts + Counter({UNKNOWN: len(records.loose(prefix))}))


def _told(counts: Counter[str]) -> str:
    """How many pairs are where: `12 of 20 delivered, 5 parked, 3 FAILED`, in rich's markup."""
    loose, delivered = counts.pop(UNKNOWN, 0), counts.pop(Status.DELIVERED, 0)
    told = [f"{how_many(delivered)} of {how_many(delivered + counts.total())} [green]delivered[/]"]
    told += [f"{how_many(count)} {styled(status)}" for status, count in counts.most_common()]
    return ", ".join(told + ([f"{how_many(loose)} [yellow]fit no rule[/]"] if loose else []))


def _show_one(console: Console, pair: PairView) -> None:
    if not pair.renders:
        console.print(f"{styled(pair.status)}  {escape(pair.prefix)}  {escape(pair.detail)}", soft_wrap=True)
    for render in pair.renders:
        ago = f"[dim]{age(render.created_at)} ago[/]"
        console.print(f"{styled(render.status)}  {escape(pair.prefix)}  {ago}", soft_wrap=True)
        for line in _lines(render):
            console.print(line, soft_wrap=True)


def _lines(render: RenderView) -> list[str]:
    facts = [f"  [dim]{name:<11}[/] {escape(str(value))}" for name, value in _facts(render).items() if value]
    history = [f"  [dim]{entry.get('at', '')}[/]  {escape(describe_entry(entry))}" for entry in render.history]
    return facts + history


def _facts(render: RenderView) -> dict[str, Any]:
    error = render.meaning if render.error else None
    return {
        "render id": render.render_id,
        "request id": render.request_id,
        "prompt": render.parameters.get("prompt"),
        "waits": render.detail if render.parked else None,
        "result": render.result["key"] if render.result else None,
        "cost": f"USD {render.cost:.2f}" if render.cost else None,
        "error": error and error.text,
        "charged": error and error.charged,
        "remedy": error and error.remedy,
    }


def age(since: datetime | None) -> str:
    """How long ago, in one unit."""
    if since is None:
        return "?"
    seconds = (datetime.now(UTC) - since).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def styled(status: str) -> str:
    """A status, in rich's markup."""
    return f"[{STYLES.get(group_of(status), 'cyan')}]{escape(status)}[/]"
