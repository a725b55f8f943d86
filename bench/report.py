"""Writes report.md, report.json and the plots: `python -m bench.report [PART …] [--folder FOLDER]`.

A part that is not asked for keeps what an earlier run has written; each is written as soon as it is measured. In the
end the figures that README and docs state are renewed.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import figures, limits, memory
from bench.part import Part

HERE = Path(__file__).parent
Report = dict[str, Any]


class Measure(NamedTuple):
    """What a part measures, in how many minutes, and whether another busy program spoils it."""

    about: str
    minutes: float
    quiet: bool = False


MEASURES = {
    "simulate": Measure("when to poll: every way to do it, in virtual time", 3),
    "cloud": Measure("sixty renders in real time on the embedded cloud", 3, quiet=True),
    "calls": Measure("calls per pair, from 10 to 1,000 pairs", 1),
    "cold_start": Measure("from process start to a ready handler", 0.5, quiet=True),
    "finalize": Measure("memory and speed of the delivery", 0.5, quiet=True),
    "layer": Measure("how large the layers are", 0.2),
}
_INTRODUCTION = """\
# What the pipeline adds to a render

kontext-drop takes two photographs and a prompt from a bucket, has Segmind make one picture of them (about 23 s,
USD 0.05), and delivers it. Segmind does not say when a picture is ready: one has to ask, which is a *poll*.
This report is about what all of that adds: seconds, dollars, requests, memory. `make bench` has written it;
`make bench PARTS="cloud layer"` renews only some parts, and `report.json` holds the same figures for machines.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes, and prints what is promised. 1 if a part failed, 130 if interrupted."""
    options = _parser().parse_args(arguments)
    sys.path.append(str(Path(__file__).parents[1] / "functions"))  # as in Lambda and under pytest
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        failed = [name for name in options.parts if not _measured(name, options.folder)]
    except KeyboardInterrupt:
        _say(f"interrupted; {options.folder / 'report.md'} has what was measured before")
        return 130
    summary = read(options.folder)["summary"]
    print(limits.table(summary))
    if options.folder == HERE and not failed:
        figures.renew(summary)
    _say(f"written: {options.folder / 'report.md'}" + "".join(f"\n{name} FAILED, see above" for name in failed))
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parts = (
        f"  {name:11} {one.about} ({one.minutes:g} min{'; wants a quiet machine' if one.quiet else ''})"
        for name, one in MEASURES.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m bench.report",
        description="Measures the pipeline's time and cost on this machine.",
        epilog="parts:\n" + "\n".join(parts),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts", nargs="*", type=_part, default=[*MEASURES], metavar="PART", help="all if none is named"
    )
    parser.add_argument("--folder", type=Path, default=HERE, help="where to write the report, if not here")
    return parser


def _part(name: str) -> str:
    if name not in MEASURES:
        raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(MEASURES)}")
    return name


def _measured(name: str, folder: Path) -> bool:
    """Measure one part and write it; False if that failed, which is no reason to lose the others."""
    about, minutes, quiet = MEASURES[name]
    _say(f"{name}: {about}, about {minutes:g} min")
    if quiet and (load := os.getloadavg()[0]) > (os.cpu_count() or 1):
        _say(f"{name}: the machine is busy (load {load:.0f}); these seconds will be too long")
    began = time.monotonic()
    try:
        write(folder, name, importlib.import_module(f"bench.{name}").measure())
    except Exception:  # noqa: BLE001  told below, and by the exit status
        traceback.print_exc()
        return False
    _say(f"{name}: done in {time.monotonic() - began:.0f} s")
    return True


def _say(line: str) -> None:
    print(f"{datetime.datetime.now():%H:%M:%S}  {line}", file=sys.stderr, flush=True)


def read(folder: Path) -> Report:
    """The report so far, as in report.json."""
    path = folder / "report.json"
    empty: Report = {"summary": {}, "runs": {}, "parts": {}, "texts": {}}
    return empty | (json.loads(path.read_text()) if path.exists() else {})


def write(folder: Path, name: str, part: Part) -> None:
    """Puts one part into the report, beside what the others have written."""
    folder.mkdir(parents=True, exist_ok=True)
    report = read(folder)
    report["summary"] |= part.summary
    report["runs"][name] = _here()
    report["parts"][name] = dict(part.figures)
    report["texts"][name] = part.text
    for file, image in part.plots.items():
        (folder / file).write_bytes(image)
    (folder / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    (folder / "report.md").write_text(_text(report))


def _here() -> dict[str, Any]:
    """When and where a part was measured, and how busy the machine was: a load above its processors spoils seconds."""
    return {
        "day": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def _text(report: Report) -> str:
    texts = [report["texts"][name] for name in MEASURES if name in report["texts"]]
    told = [_INTRODUCTION, limits.text(report["summary"]), *texts, memory.text(report["parts"]), _where(report["runs"])]
    return "\n\n".join(text.strip() for text in told if text) + "\n"


def _where(runs: Report) -> str:
    lines = "\n".join(
        f"| {name} | {runs[name]['day']} | {runs[name]['python']} | {runs[name]['system']}, "
        f"{runs[name]['processors']} processors | {runs[name].get('load', '')} |"
        for name in MEASURES
        if name in runs
    )
    return f"## Measured where\n\n| part | day | Python | machine | load |\n|---|---|---|---|--:|\n{lines}"


if __name__ == "__main__":
    sys.exit(main())
