"""`kontext status`: the pairs of a stack, or everything about one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from kontext.model import Status
from kontext_cli import target
from kontext_cli.console import print_json, terminal
from kontext_cli.errors import CommandError
from kontext_cli.journey import told
from kontext_cli.records import Pair, Records, Render, parked

LOOK_SECONDS = 2.0
LOOK_SHARE = 10
ENDED = (Status.DELIVERED, Status.FAILED, Status.UNCERTAIN)
STYLES = {
    Status.DELIVERED: "green",
    Status.FAILED: "red",
    "REJECTED": "red",
    Status.UNCERTAIN: "bold red",
    "WAITING": "dim",
}


def run(prefix: str, wanted: Wanted, *, watch: bool = False, stack: str | None, limit: int, as_json: bool) -> int:
    """Show the pairs whose prefix begins with `prefix`, at most `limit`; returns the exit code."""
    if watch and as_json:
        raise CommandError("--watch is for people, --json for programs: say one of them.")
    chosen = target.find(stack)
    records, console = Records(chosen), terminal()

    def look() -> list[Pair]:
        return [pair for pair in records.matching(prefix) if wanted.fits(pair)]

    if watch:
        follow(look, console, limit)
        return 0
    pairs = look()
    if as_json:
        print_json([asdict(pair) for pair in pairs[:limit]])
    elif not pairs:
        console.print(f"Nothing under {prefix!r} in {chosen.name}." if prefix else f"Nothing in {chosen.name} so far.")
    elif len(pairs) == 1:
        _show_one(console, pairs[0])
    else:
        console.print(_many(pairs, limit))
    return 0


@dataclass(frozen=True)
class Wanted:
    """Which pairs to show: those of a status, in any case (`parked` counts as one), and of a UTC day."""

    status: str | None = None
    day: date | None = None

    def fits(self, pair: Pair) -> bool:
        """Whether a pair is one of them."""
        known = {pair.status, "PARKED"} if _is_parked(pair) else {pair.status}
        return (self.status is None or self.status.upper() in known) and (
            self.day is None or (pair.since is not None and pair.since.date() == self.day)
        )


def follow(
    look: Callable[[], list[Pair]], console: Console, limit: int, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Show the pairs as they move, until none of them moves any more, or Ctrl-C."""
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            began = time.monotonic()
            pairs = look()
            live.update(_many(pairs, limit), refresh=True)
            if not any(_moves(pair) for pair in pairs):
                return
            # Each look reads the table: a large one is read less often.
            sleep(max(LOOK_SECONDS, LOOK_SHARE * (time.monotonic() - began)))


def _moves(pair: Pair) -> bool:
    return bool(pair.renders) and pair.status not in ENDED


def _is_parked(pair: Pair) -> bool:
    return pair.status == Status.CLAIMED and bool(pair.renders and pair.renders[0].parked)


def ledger(*, stack: str | None, as_json: bool) -> int:
    """Show what was spent each UTC day; returns the exit code."""
    days = Records(target.find(stack)).ledger()
    if as_json:
        print_json(days)
        return 0
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("UTC day", "submitted", "not charged", "completed", "reserved USD", "cost USD"):
        table.add_column(title, justify="left" if title == "UTC day" else "right")
    for day in days:
        counts = (str(day[name]) for name in ("submitted", "not_charged", "completed"))
        table.add_row(day["day"], *counts, f"{day['reserved']:.2f}", f"{day['cost']:.2f}")
    terminal().print(table if days else "Nothing has been spent so far.")
    return 0


def _many(pairs: list[Pair], limit: int) -> Group:
    """How far they all are, and a line for each of the newest."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("pair", "status", "age", ""):
        table.add_column(title, overflow="fold")
    for pair in pairs[:limit]:
        table.add_row(escape(pair.prefix), _styled(pair.status), age(pair.since), escape(pair.detail))
    more = [f"[dim]… and {len(pairs) - limit} more: --limit shows them.[/]"] if len(pairs) > limit else []
    return Group(progress_of(pairs), "", table, *more)


def progress_of(pairs: list[Pair]) -> str:
    """How many of the pairs are where: `12 of 20 delivered, 5 parked, 3 FAILED`, in rich's markup."""
    counts = Counter("parked" if _is_parked(pair) else pair.status for pair in pairs)
    delivered = counts.pop(Status.DELIVERED, 0)
    others = (f"{count} {_styled(status)}" for status, count in counts.most_common())
    return ", ".join((f"{delivered} of {len(pairs)} [green]delivered[/]", *others))


def _show_one(console: Console, pair: Pair) -> None:
    if not pair.renders:
        console.print(f"{_styled(pair.status)}  {escape(pair.prefix)}  {escape(pair.detail)}", soft_wrap=True)
    for render in pair.renders:
        ago = f"[dim]{age(render.created_at)} ago[/]"
        console.print(f"{_styled(render.status)}  {escape(pair.prefix)}  {ago}", soft_wrap=True)
        for line in _lines(render):
            console.print(line, soft_wrap=True)


def _lines(render: Render) -> list[str]:
    facts = [f"  [dim]{name:<11}[/] {escape(str(value))}" for name, value in _facts(render).items() if value]
    history = [f"  [dim]{entry.get('at', '')}[/]  {escape(told(entry))}" for entry in render.history]
    return facts + history


def _facts(render: Render) -> dict[str, Any]:
    result, error = render.result or {}, render.error or {}
    return {
        "render id": render.render_id,
        "request id": render.request_id,
        "prompt": render.parameters.get("prompt"),
        "waits": parked(render.parked, render.place) if render.parked else None,
        "result": result.get("key"),
        "cost": f"USD {render.cost:.2f}" if render.cost else None,
        "error": error.get("message"),
        "charged": error.get("charged"),
        "remedy": error.get("remedy"),
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


def _styled(status: str) -> str:
    return f"[{STYLES.get(status, 'cyan')}]{escape(status)}[/]"
