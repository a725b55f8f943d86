"""Writes report.md, report.json and the plots: `python -m bench.report [--only simulate …] [--folder bench]`.

Each module named in `MEASURES` that exists measures one thing and gives back its `Part`; one that is absent, or
not asked for, keeps what an earlier run has written.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.part import Part

MEASURES = ("simulate", "cloud", "calls", "cold_start", "finalize", "layer")
_HEADING = (
    "# What the pipeline adds to a render\n\nWritten by `make bench`; the same figures for machines: `report.json`."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes; prints the summary."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=MEASURES)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
    options = parser.parse_args(arguments)
    sys.path.append(str(Path(__file__).parents[1] / "functions"))  # as in Lambda and under pytest
    for name in options.only:
        if importlib.util.find_spec(f"bench.{name}"):
            write(options.folder, name, importlib.import_module(f"bench.{name}").measure())
    print(json.dumps(read(options.folder)["summary"], indent=2))


def read(folder: Path) -> dict[str, Any]:
    """The report so far, as in report.json."""
    path = folder / "report.json"
    empty: dict[str, Any] = {"summary": {}, "parts": {}, "texts": {}}
    return json.loads(path.read_text()) if path.exists() else empty


def write(folder: Path, name: str, part: Part) -> None:
    """Puts one part into the report, beside what the others have written."""
    folder.mkdir(parents=True, exist_ok=True)
    report = read(folder)
    report["summary"] |= part.summary
    report["parts"][name] = dict(part.figures)
    report["texts"][name] = part.text
    texts = [report["texts"][known] for known in MEASURES if report["texts"].get(known)]
    (folder / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    (folder / "report.md").write_text("\n\n".join([_HEADING, *map(str.strip, texts)]) + "\n")
    for file, image in part.plots.items():
        (folder / file).write_bytes(image)


if __name__ == "__main__":
    main()
