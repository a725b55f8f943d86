"""`kontext status`: the pairs of a stack, or everything about one."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kontext_cli import target
from kontext_cli.console import print_json, terminal
from kontext_cli.journey import told
from kontext_cli.records import Pair, Records, Render, parked

STYLES = {"DELIVERED": "green", "FAILED": "red", "REJECTED": "red", "UNCERTAIN": "bold red", "WAITING": "dim"}


def run(prefix: str, *, stack: str | None, limit: int, as_json: bool) -> int:
    """Show the pairs whose prefix begins with `prefix`, at most `limit`; returns the exit code."""
    chosen = target.find(stack)
    pairs = Records(chosen).matching(prefix)
    console = terminal()
    if as_json:
        print_json([asdict(pair) for pair in pairs[:limit]])
    elif not pairs:
        console.print(f"Nothing under {prefix!r} in {chosen.name}." if prefix else f"Nothing in {chosen.name} so far.")
    elif len(pairs) == 1:
        _show_one(console, pairs[0])
    else:
        _show_many(console, pairs, limit)
    return 0


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


def _show_many(console: Console, pairs: list[Pair], limit: int) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("pair", "status", "age", ""):
        table.add_column(title, overflow="fold")
    for pair in pairs[:limit]:
        table.add_row(escape(pair.prefix), _styled(pair.status), age(pair.since), escape(pair.detail))
    console.print(table)
    if len(pairs) > limit:
        console.print(f"… and {len(pairs) - limit} more: --limit shows them.", style="dim")


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
