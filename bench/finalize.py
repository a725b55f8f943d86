"""Finalize's memory and speed: the real handler's delivery, from a file host to S3, both in processes of their own.

Each size is copied in a new process, so that its peak memory is its own: what the process holds most, less what it
held before the copy.
"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, BinaryIO

from bench.part import Part
from kontext_local import cloud
from kontext_local.project import ROOT

MEGABYTES = (1, 5, 10, 20, 40, 60)
RUNS = 3
_BUCKET = "bench-pictures"
_ROW_PIXELS = 2048
_COPY = """
import json, os, resource, sys, time
from pathlib import Path
from kontext.connections import Connections

def peak():
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss has the parent's peak in it
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

delivery = Connections(os.environ).delivery
before, began, cpu = peak(), time.monotonic(), time.process_time()
with delivery.fetch(sys.argv[1]) as arriving:
    done = delivery.copy(arriving, sys.argv[2], {}, {"IfNoneMatch": "*"})
took, cpu = time.monotonic() - began, time.process_time() - cpu
print(json.dumps({"before_mb": before, "peak_mb": peak(), "seconds": took, "cpu_s": cpu, "bytes": done["bytes"]}))
"""


def measure(megabytes: tuple[int, ...] = MEGABYTES, runs: int = RUNS) -> Part:
    """Copies pictures of these sizes, `runs` times each, and gives the medians."""
    with tempfile.TemporaryDirectory() as folder, _places(Path(folder)) as environment:
        found = {size: _copies(Path(folder), size, environment, runs) for size in megabytes}
    growth = found[max(megabytes)]["peak_mb"] - found[min(megabytes)]["peak_mb"]
    return Part(
        summary={"finalize_rss_growth_mb": growth},
        figures={"runs": runs, "by_megabytes": {str(size): figures for size, figures in found.items()}},
        text=_text(found, growth),
    )


def _copies(folder: Path, megabytes: int, environment: Mapping[str, str], runs: int) -> dict[str, float]:
    name = f"{megabytes}.png"
    with (folder / name).open("wb") as file:
        write_noise(file, megabytes)
    copies = [_copy(name, run, environment) for run in range(runs)]
    (folder / name).unlink()
    return {figure: median(copy[figure] for copy in copies) for figure in copies[0]}


def _copy(name: str, run: int, environment: Mapping[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-c", _COPY, f"{environment['PICTURES']}/{name}", f"{run}/{name}"]
    done = subprocess.run(command, env=dict(environment), check=True, stdout=subprocess.PIPE, text=True)
    copied: dict[str, Any] = json.loads(done.stdout)
    return copied


def write_noise(file: BinaryIO, megabytes: int) -> None:
    """A valid PNG of about this size whose pixels are noise, so that it is as large as its pixels."""
    random, packer = Random(megabytes), zlib.compressobj(0)  # noqa: S311  nothing is to be kept secret
    rows = megabytes * 1_000_000 // (3 * _ROW_PIXELS + 1)
    file.write(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", _ROW_PIXELS, rows, 8, 2, 0, 0, 0)))
    for _ in range(rows):
        if packed := packer.compress(b"\0" + random.randbytes(3 * _ROW_PIXELS)):
            file.write(_chunk(b"IDAT", packed))
    file.write(_chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b""))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@contextmanager
def _places(folder: Path) -> Iterator[dict[str, str]]:
    """A file host that serves the folder, the embedded cloud's S3, and the environment that names both."""
    with cloud.start(folder / "cloud.log") as s3, _file_host(folder) as port:
        s3.client("s3").create_bucket(Bucket=_BUCKET)
        yield {
            **s3.account.environment(),
            "PATH": os.defpath,
            "PYTHONPATH": str(ROOT / "functions"),
            "OUTPUT_BUCKET": _BUCKET,
            "RESULT_HOSTS": f"127.0.0.1:{port}",
            "PICTURES": f"http://127.0.0.1:{port}",
        }


@contextmanager
def _file_host(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        said = re.search(r"port (\d+)", server.stdout.readline() if server.stdout else "")
        if said is None:
            raise RuntimeError("the file host did not start")
        yield said[1]
    finally:
        server.terminate()
        server.wait()


def _text(found: Mapping[int, Mapping[str, float]], growth: float) -> str:
    rows = "\n".join(
        f"| {size} | {one['before_mb']:.0f} | {one['peak_mb']:.0f} | {one['seconds']:.2f} | "
        f"{one['bytes'] / 1e6 / one['seconds']:.0f} | {one['cpu_s']:.2f} |"
        for size, one in found.items()
    )
    return (
        "## Finalize\n\nCopies a picture of noise from a file host to S3 on this machine, each in a new process; "
        "every byte is checked and hashed\non the way. The largest takes "
        f"{growth:+.1f} MB against the smallest.\n\n"
        "| MB | MB held before | peak, MB | s | MB/s | processor, s |\n|--:|--:|--:|--:|--:|--:|\n" + rows
    )
