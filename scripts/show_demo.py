"""Runs `kontext demo`, and shows its picture and its words at the top of the README: `make screenshots` does it.

Of the two pairs whose steps the demo prints, the README shows the second's.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "images" / "demo.jpg"
SHOWN = re.compile(r"(?<=<!-- generated: demo -->\n).*?(?=<!-- end -->)", re.DOTALL)
STEP = re.compile(r" *[\d.]+ s  (\w+) +")
WIDTH = 1200


def run(picture: Path) -> str:
    """What the demo prints; it leaves its contact sheet at `picture`."""
    command = [".venv/bin/kontext", "demo", "--picture", str(picture)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def excerpt(printed: str) -> str:
    """The start of the stack and the way of one pair."""
    *_, pair = dict.fromkeys(label for label, _ in _steps(printed))
    start, heading, _ = re.split(r"^(seconds since each .*)$", printed, maxsplit=1, flags=re.MULTILINE)
    starting = [line for line in start.splitlines() if re.match(r" *[\d.]+ s", line)]
    way = [line for label, line in _steps(printed) if label == pair]
    return "\n".join(["```", "$ make demo", *starting, "", heading, *way, "…", "```", ""])


def _steps(printed: str) -> Iterator[tuple[str, str]]:
    """Each step that a pair took: the pair, and the line."""
    _, _, ways = printed.partition("seconds since each")
    for line in ways.splitlines():
        if step := STEP.match(line):
            yield step[1], line.rstrip()


def main() -> int:
    """Photograph the demo and write down what it said."""
    with tempfile.TemporaryDirectory(prefix="kontext-demo-") as folder:
        sheet = Path(folder) / "demo.png"
        printed = run(sheet)
        with Image.open(sheet) as opened:
            small = opened.convert("RGB").resize((WIDTH, round(WIDTH * opened.height / opened.width)))
        small.save(PICTURE, "JPEG", quality=88, optimize=True, progressive=True)
    README.write_text(SHOWN.sub(lambda _: excerpt(printed), README.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
