"""`kontext drop`: put a pair into the input bucket and fetch its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kontext_cli import target
from kontext_cli.console import Progress, print_json, progress
from kontext_cli.dropping import Desk, Drop, Outcome, free_path, prepare
from kontext_cli.errors import RENDER_FAILED, CommandError
from kontext_cli.records import Render, parked


def run(
    images: tuple[Path, Path],
    name: str | None,
    parameters: dict[str, Any],
    *,
    stack: str | None,
    wait: bool,
    seconds: float,
    save_as: Path | None,
    as_json: bool,
) -> int:
    """Drop, wait if asked to, save the result; returns the exit code."""
    drop = prepare(*images, name, parameters)
    desk = Desk(target.find(stack))
    with progress() as shown:
        outcome = desk.delivered_before(drop) or _drop(desk, drop, shown, seconds if wait else 0)
        file = _save(desk, drop, outcome, save_as)
        _tell(shown, drop, outcome, file)
    if as_json:
        print_json(_summary(drop, outcome, file))
    return RENDER_FAILED if outcome and outcome.error else 0


def _drop(desk: Desk, drop: Drop, shown: Progress, seconds: float) -> Outcome | None:
    before = desk.answers(drop)
    desk.put(drop)
    shown.step(f"dropped {drop.first.name} and {drop.second.name} as {drop.prefix}")
    if not seconds:
        return None
    for seen in desk.follow(drop, before, seconds):
        if isinstance(seen, Outcome):
            return seen
        shown.waiting(words(seen))
    raise CommandError(f"No result after {seconds:.0f} s; the pair is not lost: `kontext status {drop.name}` shows it.")


def words(render: Render | None) -> str:
    """What is being waited for."""
    if render is None:
        return "waiting for the pair to be claimed"
    if render.parked:
        return parked(render.parked)
    return render.status


def _save(desk: Desk, drop: Drop, outcome: Outcome | None, save_as: Path | None) -> Path | None:
    if outcome is None or outcome.key is None:
        return None
    file = save_as or free_path(drop.name, Path(outcome.key).suffix)
    desk.fetch(outcome.key, file)
    return file.absolute()


def _tell(shown: Progress, drop: Drop, outcome: Outcome | None, file: Path | None) -> None:
    if outcome is None:
        shown.step(f"`kontext status {drop.name}` shows what becomes of it")
    elif outcome.error:
        shown.step(f"FAILED ({outcome.error.get('code', 'unknown')}): {outcome.error.get('message', '')}")
        shown.step(f"charged: {outcome.error.get('charged', 'unknown')}. {outcome.error.get('remedy', '')}")
    else:
        shown.step(f"result: {outcome.key}")
        shown.step(f"saved as {file}")


def _summary(drop: Drop, outcome: Outcome | None, file: Path | None) -> dict[str, Any]:
    render = outcome.render if outcome else None
    return {
        "name": drop.name,
        "prefix": drop.prefix,
        "status": _status(outcome),
        "render_id": render.render_id if render else None,
        "request_id": render.request_id if render else None,
        "result": {"key": outcome.key, "file": str(file)} if outcome and outcome.key else None,
        "error": outcome.error if outcome else None,
    }


def _status(outcome: Outcome | None) -> str:
    if outcome is None:
        return "DROPPED"
    if outcome.key:
        return "DELIVERED"
    return "UNCERTAIN" if outcome.render and outcome.render.status == "UNCERTAIN" else "FAILED"
