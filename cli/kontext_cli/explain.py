"""`kontext explain`: the whole story of one pair, in order, with its times, its cost and where to look further."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape

from kontext.drops import keys, pairs
from kontext.drops.waiters import object_key
from kontext.due import UNKNOWN
from kontext.dynamodb import Item, Table
from kontext.errors import CODES, REASONS
from kontext.model import Part, Status
from kontext.text import escape_line
from kontext_cli import links, target
from kontext_cli.errors import CommandError
from kontext_cli.read.newest import loose_objects
from kontext_cli.read.records import Pair, Records, moment
from kontext_cli.read.timeline import Step, Timeline, describe_entry
from kontext_cli.status import STYLES
from kontext_cli.target import Target
from kontext_cli.terminal import print_json, terminal

UNDECIDED = Status.CLAIMED
SOME = 5
"""So many pairs are named where a beginning fits several."""


def run(prefix: str, *, stack: str | None, as_json: bool) -> int:
    """Tell the story of the pair under a prefix, its last separator left out or not; returns the exit code."""
    chosen = target.find(stack)
    story = Story(chosen, the_pair(chosen, prefix)).document()
    if as_json:
        print_json(story)
    else:
        _show(terminal(), story)
    return 0


class Story:
    """What is known of one pair, from its drops to its end."""

    def __init__(self, chosen: Target, pair: Pair) -> None:
        self.target = chosen
        self.pair = pair
        self.timeline = Timeline(chosen, pair.prefix)
        self.table = Table(chosen.client("dynamodb"), chosen.output("RendersTable"))
        self.items = self.table.query(pairs.pair_key(pair.prefix)["pk"])

    def document(self) -> dict[str, Any]:
        """The story as a document; `steps` in order, each with the seconds since the first."""
        steps = sorted((*self.drops(), *self.renders()), key=lambda step: step.at)
        return {
            "pair": self.pair.prefix,
            "status": self.pair.status,
            "steps": counted(steps),
            "times": self.times(),
            "cost": sum(render.cost or 0.0 for render in self.pair.renders),
            "now": self.now(),
            "beside": beside(self.target, keys.folder_of(self.pair.prefix)) if "/" in self.pair.prefix else None,
            "links": links.of_pair(self.target, self.timeline, self.pair.renders),
        }

    def drops(self) -> list[Step]:
        """When each part came; of a part dropped twice only the last time is known."""
        dropped = pairs.pair_of(next((item for item in self.items if item["sk"] == "pair"), {}))
        return [Step(moment(part["at"]), _drop(part)) for part in dropped.parts.values()]

    def renders(self) -> list[Step]:
        """What the records and the workflows of all renders and attempts say."""
        steps = []
        for render in self.pair.renders:
            steps += [Step(moment(entry["at"]), describe_entry(entry)) for entry in render.history]
            steps += self.timeline.executions(render)
        return steps

    def times(self) -> dict[str, float]:
        """Where the time of the current render went, in seconds."""
        item = next((item for item in self.items if self._is_current(item)), {})
        metrics = item.get("metrics", {})
        first = min((step.at for step in self.drops()), default=None)
        marks: dict[str, datetime] = {
            name: moment(item[name]) for name in ("created_at", "submitted_at", "completed_at") if name in item
        }
        marks |= {"ended_at": moment(item["updated_at"])} if item.get("status") == Status.DELIVERED else {}
        spans = {
            "from the first drop to the claim": _between(first, marks.get("created_at")),
            "from the claim to Segmind": _between(marks.get("created_at"), marks.get("submitted_at")),
            "in Segmind's queue": metrics.get("queue_time"),
            "inference": metrics.get("inference_time"),
            "until completion was seen": _lag(marks, metrics),
            "until it was delivered": _between(marks.get("completed_at"), marks.get("ended_at")),
        }
        return {name: round(span, 1) for name, span in spans.items() if span is not None}

    def now(self) -> dict[str, Any]:
        """What the pair's state means, whether anything was charged, and what to do."""
        if self.pair.status == "WAITING":
            return {"means": f"The pair waits {self.pair.detail}.", "charged": "no", "remedy": "Drop what is missing."}
        if not self.pair.renders:
            return {"means": self.pair.detail, "charged": "no", "remedy": "Correct it and drop it again."}
        render = self.pair.renders[0]
        if render.error:
            return {"means": self._means(render.error), **{k: render.error[k] for k in ("code", "charged", "remedy")}}
        if render.status == UNDECIDED and render.parked:
            known = REASONS[render.parked["reason"]]
            until = render.parked.get("until")
            at = f" Next try at about {moment(until):%H:%M:%S UTC}." if until else ""
            return {"means": f"{known.meaning}{at}", "charged": "no", "remedy": known.remedy}
        if render.status == Status.DELIVERED:
            key = (render.result or {}).get("key")
            return {"means": f"The picture is in the output bucket as {key}.", "charged": "yes", "remedy": None}
        if render.status == Status.COMPLETED:
            return self._is_paid()
        return {"means": f"The render is {render.status}.", "charged": "unknown", "remedy": "Nothing to do yet."}

    def _is_paid(self) -> dict[str, Any]:
        item = next(item for item in self.items if self._is_current(item))
        if "undelivered" not in item:
            return {"means": "The picture is paid, and is being copied.", "charged": "yes", "remedy": None}
        known, why = CODES["delivery_delayed"], item["undelivered"]["last"]
        return {"means": f"The picture is paid and late: {why}.", "charged": known.charged, "remedy": known.remedy}

    def _means(self, error: dict[str, Any]) -> str:
        """What has happened, with Segmind's own answer where that is all that is left of a picture."""
        answer = next((item.get("answer") for item in self.items if self._is_current(item)), None)
        return f"{error['message']}: {answer}" if answer else error["message"]

    def _is_current(self, item: Item) -> bool:
        return bool(self.pair.renders) and item.get("render_id") == self.pair.renders[0].render_id


def the_pair(chosen: Target, prefix: str) -> Pair:
    """The pair under a prefix, its last separator left out or not. Raises CommandError saying what is known instead."""
    listing = Records(chosen).newest(prefix, SOME)
    found = [pair for pair in listing.pairs if pair.status != UNKNOWN]
    if len(found) == 1 and listing.is_whole:
        return found[0]
    loose = beside(chosen, prefix)
    if found:
        some = ", ".join(escape_line(pair.prefix) for pair in found)
        count = str(len(found)) if listing.is_whole else f"More than {len(found)}"
        said = f"{count} pairs begin with {escape_line(prefix)!r}: name one of them, for example {some}."
        raise CommandError(f"{said} {loose}" if loose else said)
    raise CommandError(f"{loose} {keys.RULE}" if loose else _unknown(chosen, prefix))


def beside(chosen: Target, start: str) -> str | None:
    """The objects whose key begins so and that fit no rule, with the rule that each misses; None if there are none."""
    found = loose_objects(Table(chosen.client("dynamodb"), chosen.output("RendersTable")), start)
    if not found:
        return None
    some = "; ".join(f"{escape_line(one.key)} ({keys.rule_missed(one.key)})" for one in found[:SOME])
    return f"{len(found)} {'object fits' if len(found) == 1 else 'objects fit'} no rule of the drop convention: {some}."


def _unknown(chosen: Target, prefix: str) -> str:
    table = Table(chosen.client("dynamodb"), chosen.output("RendersTable"))
    if "prefix" in (table.get(object_key(prefix)) or {}):
        return (
            f"{escape_line(prefix)} is an object that a request.json names, not a pair: explain the pair that names it."
        )
    return (
        f"Nothing is known of {escape_line(prefix)!r} in {chosen.name}. If it has been dropped into "
        f"{chosen.output('InputBucket')}, it was not worked on: `kontext doctor` says why."
    )


def _drop(part: Part) -> str:
    kind = f" ({part['kind'].upper()} {part['width']}×{part['height']})" if "width" in part else ""
    problem = part.get("problem", {}).get("message", "").removeprefix(f"{escape_line(part['key'])}: ")
    return f"dropped {part['key']}{kind}{f', which cannot be used: {problem}' if problem else ''}"


def counted(steps: list[Step]) -> list[dict[str, Any]]:
    """The steps; what happened again at once, a single step or two in turn, is counted: `times`, and `last_at`."""
    story: list[dict[str, Any]] = []
    while steps:
        again = next((n for n in (1, 2) if _say_the_same(story[-n:], steps[:n])), 0)
        for known, step in zip(story[-again:] if again else (), steps, strict=False):
            known.update(times=known["times"] + 1, last_at=step.at)
        if not again:
            after = round((steps[0].at - (story[0]["at"] if story else steps[0].at)).total_seconds(), 3)
            story.append({**asdict(steps[0]), "after_seconds": after, "times": 1, "last_at": steps[0].at})
        steps = steps[again or 1 :]
    return story


def _say_the_same(known: list[dict[str, Any]], steps: list[Step]) -> bool:
    return len(known) == len(steps) and all(one["what"] == step.what for one, step in zip(known, steps, strict=True))


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return max(0.0, (end - start).total_seconds()) if start and end else None


def _lag(marks: dict[str, datetime], metrics: dict[str, float]) -> float | None:
    at_segmind = _between(marks.get("submitted_at"), marks.get("completed_at"))
    if at_segmind is None or "inference_time" not in metrics:
        return None
    return max(0.0, at_segmind - metrics.get("queue_time", 0.0) - metrics["inference_time"])


def _show(console: Console, story: dict[str, Any]) -> None:
    def line(text: str = "") -> None:
        console.print(text, soft_wrap=True)

    status = story["status"]
    cost = f"  USD {story['cost']:.2f}" if story["cost"] else ""
    line(f"[{STYLES.get(status, 'cyan')}]{escape(status)}[/]  {escape(escape_line(story['pair']))}{cost}")
    for step in story["steps"]:
        after = f"{step['after_seconds']:9.1f} s"
        times = f" ({step['times']} times until {step['last_at']:%H:%M:%S})" if step["times"] > 1 else ""
        line(
            f"  [dim]{step['at'].strftime('%Y-%m-%d %H:%M:%S')} {after}[/]  {escape(escape_line(step['what']))}{times}"
        )
    for name, seconds in story["times"].items():
        line(f"  [dim]{seconds:7.1f} s {name}[/]")
    now = story["now"]
    line(f"\n  {escape(escape_line(now['means']))}")
    line(f"  [dim]charged[/]     {now['charged']}")
    if now["remedy"]:
        line(f"  [dim]what to do[/]  [bold]{escape(now['remedy'])}[/]")
    if story["beside"]:
        line(f"  [dim]beside it[/]   {escape(story['beside'])}")
    for name, link in story["links"].items():
        line(f"  [dim]{name:<11}[/] {escape(link)}")
