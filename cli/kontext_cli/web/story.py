"""Everything that happened to one pair: its drops, and each of its renders step by step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from botocore.exceptions import ClientError

from kontext.drops import pairs
from kontext.drops.pairs import pair_key
from kontext.dynamodb import Item, Table
from kontext.model import Part
from kontext.throttle.shared_state import state_in
from kontext_cli.read.timeline import Timeline, describe_entry
from kontext_cli.target import Target
from kontext_cli.web import views

TIMES = {"queue_time": "queued", "inference_time": "inference", "total_time": "at Segmind"}


def story(target: Target, prefix: str) -> dict[str, Any] | None:
    """The story of the pair under exactly this prefix, the render that speaks for it first; None if there is none."""
    table = Table(target.client("dynamodb"), target.output("RendersTable"))
    items = table.query(pair_key(prefix)["pk"])
    pair = views.view(items, state_in(table)) if items else None
    if pair is None:
        return None
    dropped = pairs.pair_of(next((item for item in items if item["sk"] == "pair"), {}))
    renders = [item for item in items if item["sk"].startswith("render#")]
    renders.sort(key=lambda render: (render["render_id"] == pair.render_id, render["created_at"]), reverse=True)
    looks = _looks(target, prefix, renders)
    return {
        "pair": asdict(pair),
        "drops": [_drop(slot, part) for slot, part in dropped.parts.items()],
        "renders": [_render(render, dropped, looks) for render in renders],
    }


def _drop(slot: str, part: Part) -> dict[str, Any]:
    size = f"{part['width']} × {part['height']}" if "width" in part else None
    facts = (part.get("kind", "").upper(), size, _bytes(part.get("bytes")))
    what = f"dropped {part['key'].rpartition('/')[2]} ({', '.join(fact for fact in facts if fact)})"
    problem = part.get("problem", {}).get("message")
    return {"slot": slot, "at": part["at"], "what": f"{what}: {problem}" if problem else what}


def _render(render: Item, dropped: pairs.Pair, looks: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    history = [
        {"at": views.seconds_of(entry["at"]), "what": describe_entry(entry)} for entry in render.get("history", [])
    ]
    return {
        "render_id": render["render_id"],
        "request_id": render.get("request_id"),
        "attempt": render.get("attempt", 1),
        "status": render["status"],
        "parameters": render.get("parameters", {}),
        "inputs": views.inputs_of(render, dropped),
        "result": _result(render.get("result")),
        "cost": render.get("cost"),
        "seconds": views.took(render),
        "times": _times(render.get("metrics", {})),
        "credits": render.get("metrics", {}).get("remaining_credits"),
        "notice": views.notice_of(render),
        "steps": looks.get(render["render_id"]) or history,
    }


def _result(result: dict[str, Any] | None) -> dict[str, Any] | None:
    if result is None:
        return None
    names = ("bucket", "key", "content_type", "bytes", "width", "height", "sha256", "superseded")
    return {"version": result.get("version_id")} | {name: result.get(name) for name in names}


def _times(metrics: dict[str, float]) -> list[tuple[str, float]]:
    return [(words, metrics[name]) for name, words in TIMES.items() if name in metrics]


def _looks(target: Target, prefix: str, renders: Iterable[Item]) -> dict[str, list[dict[str, Any]]]:
    """The steps of the render that the journey is about, its workflow's looks included; none if they are not ours
    to see."""
    if not renders:
        return {}
    timeline = Timeline(target, prefix)
    try:
        steps = [{"at": step.at.timestamp(), "what": step.what} for step in timeline.steps()]
    except ClientError:
        return {}
    return {timeline.render.render_id: steps} if timeline.render else {}


def _bytes(count: float | None) -> str | None:
    if count is None:
        return None
    if count < 1e3:
        return f"{count} bytes"
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
