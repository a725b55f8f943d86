"""`kontext demo`: two pairs of photographs go through the whole stack while you watch."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image
from rich.markup import escape

from kontext.model import ENDED, Status
from kontext_cli.demo import sheet
from kontext_cli.demo.subscriber import Subscriber
from kontext_cli.drop.client import Drop, DropClient, prepare
from kontext_cli.drop.saving import Destination
from kontext_cli.errors import RENDER_FAILED, CommandError
from kontext_cli.read.timeline import Step, Timeline
from kontext_cli.read.views import RenderView
from kontext_cli.target import LOCAL, Target
from kontext_cli.terminal import Progress, progress
from kontext_local import project, stack

SAMPLES = project.ROOT / "samples"
PAIRS = (
    ("astronaut.png", "grace_hopper.jpg", "The two women take a selfie in front of the Taj Mahal."),
    ("chelsea.png", "coffee.png", "The cat sits behind the cup of coffee on a café table."),
)
LOOK_SECONDS = 0.2
PATIENCE_SECONDS = 120.0
COLOURS = ("cyan", "magenta")


@dataclass
class DemoPair:
    """One of the demo's pairs on its way."""

    drop: Drop
    timeline: Timeline
    colour: str
    dropped_at: datetime
    event: dict[str, Any] | None = None
    shown: set[Step] = field(default_factory=set)

    @property
    def render(self) -> RenderView | None:
        """Its render as last seen."""
        return self.timeline.render

    @property
    def has_arrived(self) -> bool:
        """Whether its end is on the record and a subscriber has heard of it."""
        ended = self.render is not None and self.render.status in ENDED
        return ended and self.event is not None


def run(inference: float, picture: str) -> int:
    """Show the whole way of each pair, and leave a contact sheet at `picture`; returns the exit code."""
    with Destination(picture, "kontext-demo") as destination, progress(stderr=False) as shown:
        shown.line("[bold]kontext-drop[/]: two pairs of photographs through the whole stack, on this machine\n")
        with stack.using(
            project.home(), stack.Options(emulator={"inference": inference}, keep=False), shown.step
        ) as running:
            code = _show(shown, _target(running), destination, inference)
            shown.line(f"\n{escape(invitation(sys.argv[0], runs=running.keep))}")
            shown.spin("stopping the local cloud")
    return code


def invitation(program: str, *, runs: bool) -> str:
    """What to type to look at a stack on a page, where the program was called as `program`."""
    kontext = program if program.startswith(".") else "kontext"
    console = f"`{kontext} console` opens a page that shows every pair and takes your own"
    return f"{console}." if runs else f"`{kontext} up` starts this stack again and leaves it running; {console}."


def _target(running: stack.LocalStack) -> Target:
    if running.emulator_key is None:
        raise CommandError(
            f"The local cloud that runs uses {running.segmind_url}, which may charge: `kontext down` first."
        )
    return Target(LOCAL, running.outputs, running.client)


def _show(shown: Progress, target: Target, destination: Destination, inference: float) -> int:
    client = DropClient(target)
    shown.step("the stack is up; a queue subscribes to its topic, as an app's backend would")
    with Subscriber(target) as subscriber:
        shown.line("\n[dim]seconds since each pair's own drop:[/]")
        pairs = [_drop(shown, target, client, *pair) for pair in zip(PAIRS, COLOURS, strict=True)]
        _watch(shown, pairs, subscriber, inference + PATIENCE_SECONDS)
    _show_event(shown, pairs[0])
    if all(pair.render and pair.render.status == Status.DELIVERED for pair in pairs):
        picture = _draw(client, pairs, destination)
        shown.line(f"\n[bold]{escape(str(picture))}[/] shows each pair beside its result.")
        return 0
    return RENDER_FAILED


def _drop(shown: Progress, target: Target, client: DropClient, pair: tuple[str, str, str], colour: str) -> DemoPair:
    first, second, prompt = pair
    drop = prepare(SAMPLES / first, SAMPLES / second, None, {"prompt": prompt})
    started = datetime.now().astimezone()
    client.put(drop)
    demo_pair = DemoPair(drop, Timeline(target, drop.prefix), colour, started)
    _show_step(shown, demo_pair, Step(datetime.now().astimezone(), f"dropped: {first}, {second} and “{prompt}”"))
    return demo_pair


def _watch(shown: Progress, pairs: list[DemoPair], subscriber: Subscriber, seconds: float) -> None:
    """Print every step as it happens, until all pairs have arrived."""
    deadline = time.monotonic() + seconds
    while not all(pair.has_arrived for pair in pairs):
        if time.monotonic() > deadline:
            raise CommandError(
                f"Not all pairs arrived within {seconds:.0f} s: `kontext status` after `kontext up` may tell."
            )
        _look(shown, pairs)
        for event in subscriber.receive():
            _hear(shown, pairs, event)
        time.sleep(LOOK_SECONDS)
    _look(shown, pairs)


def _look(shown: Progress, pairs: list[DemoPair]) -> None:
    steps = [(step, pair) for pair in pairs for step in pair.timeline.steps() if step not in pair.shown]
    for step, pair in sorted(steps, key=lambda found: found[0].at):
        pair.shown.add(step)
        _show_step(shown, pair, step)
    shown.spin(", ".join(f"{_label(pair)}: {pair.render.status if pair.render else '…'}" for pair in pairs))


def _hear(shown: Progress, pairs: list[DemoPair], event: dict[str, Any]) -> None:
    for pair in pairs:
        if event.get("subject") == pair.drop.prefix and pair.event is None:
            pair.event = event
            _show_step(shown, pair, Step(datetime.now().astimezone(), f"event received: {event.get('type')}"))


def _show_step(shown: Progress, pair: DemoPair, step: Step) -> None:
    seconds = (step.at - pair.dropped_at).total_seconds()
    shown.line(f"[dim]{seconds:6.2f} s[/]  [{pair.colour}]{_label(pair):<10}[/] {escape(step.what)}")


def _label(pair: DemoPair) -> str:
    return pair.drop.first.stem


def _show_event(shown: Progress, pair: DemoPair) -> None:
    shown.line("\nThe event of the first pair, as a queue that subscribes to the topic received it:")
    shown.console.print_json(json.dumps(pair.event), indent=2)


def _draw(client: DropClient, pairs: list[DemoPair], destination: Destination) -> Path:
    with _folder() as folder:
        rows = [_row(client, pair, folder) for pair in pairs]
        note = "made by the emulator of the Segmind API, on this machine"
        return destination.save(".png", lambda file: sheet.draw(rows, file, "kontext-drop", note))


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kontext-demo-") as folder:
        yield Path(folder)


def _row(client: DropClient, pair: DemoPair, folder: Path) -> sheet.Row:
    result = pair.render.result if pair.render else None
    key = str((result or {})["key"])
    file = folder / key.replace("/", "-")
    with file.open("wb") as opened:
        client.fetch(key, opened)
    return sheet.Row(pair.drop.first, pair.drop.second, file, pair.drop.parameters["prompt"], _facts(pair, file))


def _facts(pair: DemoPair, file: Path) -> str:
    with Image.open(file) as opened:
        size = f"{opened.width} × {opened.height}"
    cost = pair.render.cost if pair.render else None
    took = max(step.at for step in pair.shown) - pair.dropped_at
    facts = (f"result{file.suffix}", size, f"{file.stat().st_size / 1e6:.1f} MB", f"{took.total_seconds():.1f} s")
    return " · ".join((*facts, *([f"USD {cost:.2f}"] if cost else [])))
