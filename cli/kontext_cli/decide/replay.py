"""`kontext replay`: tell the stack again of objects that it does not know, as S3 would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from kontext.clock import Clock
from kontext.drops import keys, messages
from kontext.text import escape_line
from kontext_cli import target
from kontext_cli.errors import EXIT_USAGE, INTERRUPTED, UNFINISHED, UNREAD, CommandError, Unfinished, Unread, explain
from kontext_cli.read.unrecorded import Comparison, Found
from kontext_cli.resources import description, parameters
from kontext_cli.target import Target
from kontext_cli.terminal import print_json, progress, terminal

SHOWN = 20
_LAST = {"1": 1, "2": 1}
"""Images come after what may hold a prompt."""


class Replay:
    """What is to be told again under a prefix, and what that may cost."""

    def __init__(self, chosen: Target, prefix: str, clock: Clock | None = None) -> None:
        self.chosen = chosen
        self.clock = clock or Clock()
        self.comparison = Comparison(chosen)
        self.price_of_one = float(parameters(description(chosen))["PricePerRender"])
        self.unrecorded = sorted(self.comparison.unrecorded(prefix), key=_order)
        self.told: list[Found] = []

    @property
    def pairs(self) -> int:
        """How many pairs may be rendered: those that may now be whole, and those that wait for one of the objects."""
        slots: dict[str, set[str]] = {}
        for one in self.unrecorded:
            if part := keys.parse(one.key):
                known = self.comparison.known.get(part.prefix, set())
                slots.setdefault(part.prefix, set(known)).add(part.slot)
        whole = sum({"1", "2"} <= filled or "request" in filled for filled in slots.values())
        return whole + sum(one.waiting for one in self.unrecorded)

    @property
    def price(self) -> float:
        """What those pairs cost, in USD."""
        return self.pairs * self.price_of_one

    def notify(self) -> Iterator[Found]:
        """Tell of each object; yields it when that is done."""
        sqs, queue = self.chosen.client("sqs"), self.chosen.output("UploadQueueUrl")
        for one in self.unrecorded:
            told = messages.notification(
                self.comparison.bucket, one.key, one.bytes, one.etag, one.version_id, self.clock.now()
            )
            sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(told))
            self.told.append(one)
            yield one


def run(prefix: str | None, *, everything: bool, send: bool, stack: str | None, as_json: bool) -> int:
    """Compare the bucket with the table and tell of what is missing; returns the exit code."""
    if bool(prefix) == everything:
        raise CommandError("Name a prefix, or say --all for the whole input bucket.")
    return carry_out(target.find(stack), prefix or "", send=send, as_json=as_json)


def carry_out(chosen: Target, prefix: str, *, send: bool, as_json: bool) -> int:
    """The same, for a stack that is found."""
    with progress() as spinner:
        spinner.waiting(f"comparing {chosen.output('InputBucket')} with the table")
        replay = Replay(chosen, prefix)
    console = terminal(stderr=as_json)
    _show(console, replay)
    stopped = _tell(console, replay) if send or not replay.pairs else None
    said = _said(replay, stopped)
    document = {
        "stack": chosen.name,
        "compared": replay.comparison.compared,
        "unrecorded": [asdict(one) for one in replay.unrecorded],
        "pairs": replay.pairs,
        "price_usd": round(replay.price, 6),
        "told": len(replay.told),
    }
    if isinstance(stopped, Unread):
        return UNREAD
    if stopped:
        interrupted = isinstance(stopped, KeyboardInterrupt)
        code = INTERRUPTED if interrupted else UNFINISHED if replay.told else EXIT_USAGE
        raise Unfinished(said, document, code) from stopped
    console.print(escape(said), soft_wrap=True)
    if as_json:
        print_json(document)
    return 0


def _tell(console: Console, replay: Replay) -> BaseException | None:
    """Tell of all objects, or as many as can be until something stops it; returns what did."""
    columns = (TextColumn("telling"), BarColumn(), MofNCompleteColumn(), TextColumn("objects"))
    try:
        with Bar(*columns, console=console, disable=not replay.unrecorded) as bar:
            task = bar.add_task("", total=len(replay.unrecorded))
            for _ in replay.notify():
                bar.advance(task)
    except (KeyboardInterrupt, Exception) as problem:
        if not isinstance(problem, (KeyboardInterrupt, Unread)) and explain(problem) is None:
            raise
        return problem
    return None


def _show(console: Console, replay: Replay) -> None:
    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    say(f"{_count(replay.comparison.compared, 'object')} compared with what {escape(replay.chosen.name)} knows")
    if not replay.unrecorded:
        return
    say(f"  {_count(len(replay.unrecorded), 'object')} that it does not know:")
    for one in replay.unrecorded[:SHOWN]:
        say(f"    {escape(escape_line(one.key))}")
    if len(replay.unrecorded) > SHOWN:
        say(f"    … and {len(replay.unrecorded) - SHOWN} more (--json shows all)")
    if replay.pairs:
        each = f"{_count(replay.pairs, 'pair')} at USD {replay.price_of_one:g}"
        say(f"  price: at most USD {replay.price:.2f} ({each} may be rendered)")


def _said(replay: Replay, stopped: BaseException | None) -> str:
    done, all_of_them = len(replay.told), _count(len(replay.unrecorded), "object")
    if stopped:
        why = f": {explain(stopped)}" if explain(stopped) else "."
        goes_on = " What was told goes on by itself." if done else ""
        return f"Stopped after {done} of {all_of_them}{why}{goes_on} The same command tells the rest."
    if not replay.unrecorded:
        return "There is nothing to tell."
    if not done:
        return "Nothing has been told: --send does it."
    return f"{_count(done, 'object')} told again: `kontext status` shows what becomes of them."


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _order(one: Found) -> Any:
    part = keys.parse(one.key)
    return _LAST.get(part.slot if part else "", 0), one.key
