"""`kontext explain`: the whole story of one pair, in order, with its times, its cost and where to look further."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape

from kontext.drops import keys
from kontext.drops.waiters import object_key
from kontext.due import UNKNOWN
from kontext.model import Part
from kontext.text import escape_line
from kontext_cli import links, target
from kontext_cli.errors import CommandError
from kontext_cli.read.newest import how_many
from kontext_cli.read.records import Records
from kontext_cli.read.timeline import Step, Timeline
from kontext_cli.read.views import PairView, RenderView, moment
from kontext_cli.status import styled
from kontext_cli.target import Target
from kontext_cli.terminal import print_json, terminal

SOME = 5
"""So many pairs are named where a beginning fits several."""


def run(prefix: str, *, stack: str | None, as_json: bool) -> int:
    """Tell the story of the pair under a prefix, its last separator left out or not; returns the exit code."""
    chosen = target.find(stack)
    explanation = Explanation(chosen, the_pair(chosen, prefix)).document()
    if as_json:
        print_json(explanation)
    else:
        _show(terminal(), explanation)
    return 0


class Explanation:
    """What is known of one pair, from its drops to its end; the page's form of it is in `web/story.py`."""

    def __init__(self, chosen: Target, pair: PairView) -> None:
        self.target = chosen
        self.pair = pair
        self.timeline = Timeline(chosen, pair.prefix)

    def document(self) -> dict[str, Any]:
        """It as a document; `steps` in order, each with the seconds since the first."""
        steps = sorted((*self.drops(), *self.renders()), key=lambda step: step.at)
        return {
            "pair": self.pair.prefix,
            "status": self.pair.status,
            "steps": counted(steps),
            "times": self.times(),
            "cost": sum(render.cost or 0.0 for render in self.pair.renders),
            "now": self.now(),
            "beside": beside(self.target, keys.folder_of(self.pair.prefix)) if "/" in self.pair.prefix else None,
            "links": links.of_render(self.target, self.timeline, self.pair.render) if self.pair.render else {},
        }

    def drops(self) -> list[Step]:
        """When each part came; of a part dropped twice only the last time is known."""
        return [Step(moment(part["at"]), _drop(part)) for part in self.pair.dropped.parts.values()]

    def renders(self) -> list[Step]:
        """What the records and the workflows of all renders and attempts say."""
        steps = []
        for render in self.pair.renders:
            steps += self.timeline.steps_of(render)
        return steps

    def times(self) -> dict[str, float]:
        """Where the time of the current render went, in seconds."""
        render = self.pair.render
        if render is None:
            return {}
        first = min((step.at for step in self.drops()), default=None)
        spans = {
            "from the first drop to the claim": _between(first, render.created_at),
            "from the claim to Segmind": _between(render.created_at, render.submitted_at),
            "in Segmind's queue": render.metrics.get("queue_time"),
            "inference": render.metrics.get("inference_time"),
            "until completion was seen": _lag(render),
            "until it was delivered": _between(render.completed_at, render.delivered_at),
        }
        return {name: round(span, 1) for name, span in spans.items() if span is not None}

    def now(self) -> dict[str, Any]:
        """What the pair's state means, whether anything was charged, and what to do."""
        text, charged, remedy, code = self.pair.meaning
        parked = self.pair.render and self.pair.render.parked
        next_try = f" Next try at about {moment(parked['until']):%H:%M:%S UTC}." if parked and "until" in parked else ""
        named = {"code": code} if code else {}
        return {"means": f"{text}{next_try}", **named, "charged": charged, "remedy": remedy}


def the_pair(chosen: Target, prefix: str) -> PairView:
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
    found = Records(chosen).loose(start)
    if not found:
        return None
    some = "; ".join(f"{escape_line(one.key)} ({one.why})" for one in found[:SOME])
    fit = "object fits" if len(found) == 1 else "objects fit"
    return f"{how_many(len(found))} {fit} no rule of the drop convention: {some}."


def _unknown(chosen: Target, prefix: str) -> str:
    if "prefix" in (Records(chosen).table.get(object_key(prefix)) or {}):
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


def _lag(render: RenderView) -> float | None:
    at_segmind = _between(render.submitted_at, render.completed_at)
    if at_segmind is None or "inference_time" not in render.metrics:
        return None
    return max(0.0, at_segmind - render.metrics.get("queue_time", 0.0) - render.metrics["inference_time"])


def _show(console: Console, story: dict[str, Any]) -> None:
    def line(text: str = "") -> None:
        console.print(text, soft_wrap=True)

    status = story["status"]
    cost = f"  USD {story['cost']:.2f}" if story["cost"] else ""
    line(f"{styled(status)}  {escape(escape_line(story['pair']))}{cost}")
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
