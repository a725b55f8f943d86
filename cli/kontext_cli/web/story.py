"""Everything that happened to one pair: its drops, and each of its renders step by step."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from botocore.exceptions import ClientError

from kontext.drops import pairs
from kontext.model import JobMetrics, Part, Result
from kontext_cli.read.records import Records
from kontext_cli.read.timeline import Step, Timeline
from kontext_cli.read.views import PairView, RenderView
from kontext_cli.target import Target
from kontext_cli.web import cards

TIMES = {"queue_time": "queued", "inference_time": "inference", "total_time": "at Segmind"}


def story(target: Target, records: Records, prefix: str) -> dict[str, Any] | None:
    """The story of the pair under exactly this prefix, the render that speaks for it first; None if there is none."""
    pair = records.pair(prefix)
    if pair is None:
        return None
    return {
        "pair": asdict(cards.card_of(pair)),
        "drops": [_drop(slot, part) for slot, part in pair.dropped.parts.items()],
        "renders": list(_renders(Timeline(target, prefix), pair)),
    }


def _drop(slot: str, part: Part) -> dict[str, Any]:
    size = f"{part['width']} × {part['height']}" if "width" in part else None
    facts = (part.get("kind", "").upper(), size, _bytes(part.get("bytes")))
    what = f"dropped {part['key'].rpartition('/')[2]} ({', '.join(fact for fact in facts if fact)})"
    problem = part.get("problem", {}).get("message")
    return {"slot": slot, "at": part["at"], "what": f"{what}: {problem}" if problem else what}


def _renders(timeline: Timeline, pair: PairView) -> Iterable[dict[str, Any]]:
    """Each render; of the one that speaks for the pair also what its workflow did, if that is ours to see."""
    for render in pair.renders:
        steps = timeline.noted(render)
        if render is pair.render:
            with suppress(ClientError):
                steps = timeline.steps_of(render)
        yield _render(render, pair.dropped, steps)


def _render(render: RenderView, dropped: pairs.Pair, steps: list[Step]) -> dict[str, Any]:
    notice = cards.notice_of(render)
    return {
        "render_id": render.render_id,
        "request_id": render.request_id,
        "attempt": render.attempt,
        "status": render.status,
        "label": render.label,
        "parameters": render.parameters,
        "inputs": cards.inputs_of(render, dropped),
        "result": _result(render.result),
        "cost": render.cost,
        "seconds": render.seconds,
        "times": _times(render.metrics),
        "credits": render.metrics.get("remaining_credits"),
        "notice": asdict(notice) if notice else None,
        "steps": [{"at": step.at.timestamp(), "what": step.what} for step in steps],
    }


def _result(result: Result | None) -> dict[str, Any] | None:
    if result is None:
        return None
    names = ("bucket", "key", "content_type", "bytes", "width", "height", "sha256", "superseded")
    return {"version": result.get("version_id")} | {name: result.get(name) for name in names}


def _times(metrics: JobMetrics) -> list[tuple[str, Any]]:
    return [(words, metrics.get(name)) for name, words in TIMES.items() if name in metrics]


def _bytes(count: float | None) -> str | None:
    if count is None:
        return None
    if count < 1e3:
        return f"{count} bytes"
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
