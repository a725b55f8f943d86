"""Plays with deliberate mistakes in our own code: a proof that does not find them proves nothing.

Each mistake of `catalogue` is a change of the text of some files; `hunt` plays stories in a process of its own, with a
copy of the project in front of the real one, until a promise breaks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).parents[2]
SEARCHED = ("functions", "layers/kontext/python", "cli", ".")
COPIED = ("functions", "layers/kontext/python", "cli", "simulation", "template.yaml", "workflow.asl.json")
RUNS = 400
"""So many runs of its stories must be enough to find a mistake."""

Change = tuple[str, str, str]
"""A file, a text in it, and what this becomes."""


@dataclass(frozen=True)
class Mutant:
    """A mistake, and the stories that should find it: without a fault, or with a single one of `kinds` (of any, where
    none is named). `first`: a kind of fault that each of the others comes on top of."""

    name: str
    changes: tuple[Change, ...]
    stories: tuple[str, ...] = ("pair",)
    kinds: tuple[str, ...] = ()
    first: str = ""


def catch(mutant: Mutant) -> str | None:
    """What gave the mistake away, None if nothing did.

    Raises:
        AssertionError: the code has changed, and the mutation must follow it.
        RuntimeError: the stories could not be played.
    """
    with tempfile.TemporaryDirectory(prefix="kontext-mutant-") as folder:
        make(mutant, Path(folder))
        search = [*(str(Path(folder) / place) for place in SEARCHED), str(ROOT)]
        run = subprocess.run(
            [sys.executable, "-m", "tests.chaos.mutants", mutant.first, ",".join(mutant.kinds), *mutant.stories],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(search), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if run.returncode:
        raise RuntimeError(f"{mutant.name}: {run.stderr[-2000:]}")
    caught = [line for line in run.stdout.splitlines() if line.startswith("caught: ")]
    return caught[-1].removeprefix("caught: ") if caught else None


def make(mutant: Mutant, folder: Path) -> None:
    """Copy what can be changed of the project, and change it."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    for file, old, new in mutant.changes:
        text = (folder / file).read_text()
        assert old in text, f"{mutant.name}: {file} has changed; the mutation must follow it"
        (folder / file).write_text(text.replace(old, new))


def hunt(stories: list[str], kinds: list[str], first: str) -> Iterator[str]:
    """Play the stories, all without a fault, then each with every single one of these kinds (after one of the kind
    `first`, if it is named), and yield what breaks."""
    from simulation.explore import next_faults, play
    from simulation.stories import STORIES

    def runs() -> Iterator[str]:
        for story in stories:
            yield from play(STORIES[story]).violations or [""]
        for story in (one for one in stories if not STORIES[one].large):
            before = [(fault,) for fault in next_faults(play(STORIES[story])) if fault.kind == first] if first else [()]
            for faults in before:
                for fault in next_faults(play(STORIES[story], *faults)):
                    if not kinds or fault.kind in kinds:
                        yield from play(STORIES[story], *faults, fault).violations or [""]

    yield from (broken for broken in islice(runs(), RUNS) if broken)


if __name__ == "__main__":
    _, given_first, given_kinds, *given_stories = sys.argv
    for found in hunt(given_stories, [kind for kind in given_kinds.split(",") if kind], given_first):
        print("caught:", found.replace("\n", " ")[:200])
        break
