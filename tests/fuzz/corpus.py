"""The inputs that fuzzing has found to matter: one file for each target, one input a line, in base64."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "corpora"


def read(target: str) -> list[bytes]:
    """The inputs of a target."""
    file = FOLDER / f"{target}.txt"
    return [base64.b64decode(line) for line in file.read_text().splitlines()] if file.exists() else []


def write(target: str, inputs: Iterable[bytes]) -> None:
    """Keep these inputs, the short ones first."""
    lines = [base64.b64encode(one).decode() for one in sorted(set(inputs), key=lambda one: (len(one), one))]
    (FOLDER / f"{target}.txt").write_text("".join(f"{line}\n" for line in lines))
