"""`kontext audit`: what Segmind's balance has lost, against what the stack has booked, by UTC day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import pairwise, zip_longest

from rich.markup import escape
from rich.table import Table

from kontext.clock import day
from kontext.errors import SegmindError
from kontext.model import Render, Status
from kontext.renders import settle
from kontext.renders.balance import TOP_UP_PRICES, told_at, tolerated
from kontext.renders.ledger import is_believable
from kontext_cli import target
from kontext_cli.decide.operate import Operator
from kontext_cli.errors import CommandError
from kontext_cli.terminal import print_json, progress, terminal

SHOWN = 5


@dataclass
class Day:
    """The money of a UTC day, in USD: what the balance has lost (top-ups apart), what completed renders are booked at,
    and the renders that may have been charged besides, each with a reason."""

    day: str
    moved: float = 0.0
    booked: float = 0.0
    topped_up: float = 0.0
    candidates: list[dict[str, str]] = field(default_factory=list)
    verdict: str = "agrees"
    by_others: float = 0.0
    """At least so much was spent by others, or is a price that has risen."""
    passed_over: list[dict[str, str | float]] = field(default_factory=list)
    """Balances that those before and after contradict: of which `pair`, and how many `usd`."""

    @property
    def unexplained(self) -> float:
        return round(self.moved - self.booked, 6)


@dataclass(frozen=True)
class Balance:
    """What the account holds (USD) as it was told at a time, for a pair or for the asking, and what was booked since
    the balance before."""

    at: float
    usd: float
    booked: float
    pair: str = ""


def run(*, stack: str | None, as_json: bool) -> int:
    """Compare; returns the exit code."""
    return compare(Operator(target.find(stack)), as_json=as_json)


def compare(operator: Operator, *, as_json: bool) -> int:
    """The same, for a stack that is found."""
    with progress() as shown, closing(operator):
        shown.spin("reading the table")
        renders = operator.all_renders()
        held = _held(operator)
    days = audit(renders, operator.renders.price, held, operator.clock.now())
    if as_json:
        print_json({"balance": held, "days": [{**asdict(one), "unexplained": one.unexplained} for one in days]})
    else:
        show(days, held)
    return 0


def audit(renders: Iterable[Render], price: float, held: float, now: float) -> list[Day]:
    """The days on which anything has moved, the newest first. `held`: the balance at the time `now`."""
    found = list(renders)
    days: dict[str, Day] = {}

    def of(at: float) -> Day:
        return days.setdefault(day(at), Day(day(at)))

    balances, passed_over = _believed(list(_balances(found, held, now)), price)
    for odd in passed_over:
        of(odd.at).passed_over.append({"pair": odd.pair, "usd": odd.usd})
    movements = list(_movements(balances))
    for at, moved, booked in movements:
        if moved < booked - TOP_UP_PRICES * price:
            of(at).topped_up += booked - moved
            moved = booked
        of(at).moved += moved
        of(at).booked += booked
    candidates = defaultdict(list)
    for render in found:
        # A charge shows in the first balance after it; before the first one of all nothing can be compared.
        seen = [at for at, *_ in movements if at >= _charged_at(render)]
        if (why := _may_be_charged(render, price)) and seen and len(seen) < len(movements) + ("cost" in render):
            candidates[day(seen[0])].append({"pair": render["prefix"], "why": why})
    for one in days.values():
        one.moved, one.booked, one.topped_up = (round(usd, 6) for usd in (one.moved, one.booked, one.topped_up))
        one.candidates = candidates[one.day]
        _judge(one, price)
    return sorted(days.values(), key=lambda one: one.day, reverse=True)


def _balances(renders: list[Render], held: float, now: float) -> Iterator[Balance]:
    """Each balance that a job told, and at last what the account holds now; none if no job told any."""
    is_any, booked = False, 0.0
    for render in sorted((render for render in renders if "cost" in render), key=_charged_at):
        booked += render["cost"]
        remaining = render.get("metrics", {}).get("remaining_credits")
        if remaining is None:
            continue  # what it cost shows in the next balance
        yield Balance(_charged_at(render), remaining, booked, render["prefix"])
        is_any, booked = True, 0.0
    if is_any:
        yield Balance(now, held, booked)


def _believed(balances: list[Balance], price: float) -> tuple[list[Balance], list[Balance]]:
    """The balances without those that are far off while the ones before and after agree; and these."""
    believed: list[Balance] = []
    passed_over: list[Balance] = []
    carried = 0.0
    for told, after in zip_longest(balances, balances[1:]):
        one = replace(told, booked=told.booked + carried)
        is_odd = bool(believed and after) and _is_contradicted(believed[-1], one, after, TOP_UP_PRICES * price)
        (passed_over if is_odd else believed).append(one)
        carried = one.booked if is_odd else 0.0
    return believed, passed_over


def _is_contradicted(before: Balance, one: Balance, after: Balance, far: float) -> bool:
    into, out = before.usd - one.usd - one.booked, one.usd - after.usd - after.booked
    return min(abs(into), abs(out)) > far >= abs(into + out)


def _movements(balances: list[Balance]) -> Iterator[tuple[float, float, float]]:
    """From one balance to the next: when it was seen, what was lost since the last, what was booked for it."""
    yield from ((first.at, first.booked, first.booked) for first in balances[:1])
    for before, one in pairwise(balances):
        yield one.at, before.usd - one.usd, one.booked


def _judge(one: Day, price: float) -> None:
    """Whether the renders that may have been charged explain what the balance has lost besides."""
    known = price * len(one.candidates)
    if one.unexplained <= price / 2:
        return
    if one.candidates and one.unexplained <= known + tolerated(price, one.booked):
        one.verdict = "candidates"
        return
    one.by_others = round(one.unexplained - known, 6)
    one.verdict = "others"


def _may_be_charged(render: Render, price: float) -> str | None:
    stated = render.get("metrics", {}).get("cost")
    if render.get("cost") is not None and stated is not None and not is_believable(stated, price):
        return f"Segmind states a cost of USD {stated:g}"
    if render["status"] == Status.UNCERTAIN:
        return "uncertain"
    if settle.may_be_paid(render):
        return str(render["error"]["code"])
    return "an earlier request may be charged" if settle.may_be_charged_before(render) else None


def _charged_at(render: Render) -> float:
    """When Segmind may have charged for a render: as it completed, as that was seen of one without a picture, or soon
    after it was sent."""
    if "completed_at" in render:
        return told_at(render, render["completed_at"])
    unlinked = [entry.get("last_at", entry["at"]) for entry in render["history"] if entry["what"] == "unlinked"]
    return datetime.fromisoformat(unlinked[-1]).timestamp() if unlinked else settle.sent_at(render)


def _held(operator: Operator) -> float:
    try:
        return operator.segmind.credits()
    except SegmindError as failure:
        raise CommandError(f"Segmind does not say what the account holds: {failure}") from failure


def show(days: list[Day], held: float) -> None:
    """The same for people."""
    console = terminal()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("UTC day", "balance lost", "booked", "topped up", ""):
        table.add_column(title, justify="left" if title in ("UTC day", "") else "right", overflow="fold")
    for one in days:
        usd = (f"{value:.2f}" for value in (one.moved, one.booked, one.topped_up))
        table.add_row(one.day, *usd, escape(in_words(one)))
    console.print(table if days else "No completed render has told a balance so far.")
    console.print(f"Segmind holds USD {held:.2f} now ({datetime.now().astimezone():%H:%M %Z}).")


def in_words(one: Day) -> str:
    """What the comparison says of a day."""
    odd = ", ".join(f"USD {known['usd']:.2f} ({known['pair']})" for known in one.passed_over[:SHOWN])
    return _verdict(one) + (
        f"; passed over, as those before and after contradict it: a balance of {odd}" if odd else ""
    )


def _verdict(one: Day) -> str:
    some = ", ".join(f"{known['pair']} ({known['why']})" for known in one.candidates[:SHOWN])
    some += ", …" if len(one.candidates) > SHOWN else ""
    match one.verdict:
        case "candidates":
            return f"USD {one.unexplained:.2f} more than booked: perhaps for {some}"
        case "others":
            besides = f", besides what may be for {some}" if some else ""
            return f"others have moved USD {one.by_others:.2f}{besides}, or the price has risen"
    return "agrees" + (f"; not charged, it seems: {some}" if some else "")
