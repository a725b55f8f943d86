"""What the functions take while the embedded cloud runs them: processor time and memory, read from /proc."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_PROC = Path("/proc")
_EVERY_SECONDS = 0.2
_START_SECONDS = 3.0
"""A worker's imports, its clients and its first call lie within; they are the cold start's."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Worker:
    """One process of a function: seconds of the processor at the end of its start, and by now."""

    function: str
    at_start: float = 0.0
    by_now: float = 0.0
    peak_mb: float = 0.0
    seen_at: float = field(default_factory=time.monotonic)


class Workers(threading.Thread):
    """Watches the worker processes of the cloud at `endpoint` while its `with` block lasts; without /proc sees none."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(daemon=True)
        self._port = f":{endpoint.rpartition(':')[2]}"
        self._known: dict[str, Worker | None] = {}
        self._over = threading.Event()

    def __enter__(self) -> Workers:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Look at all processes, several times a second."""
        while not self._over.wait(_EVERY_SECONDS):
            for process in _PROC.glob("[0-9]*"):
                with suppress(OSError, ValueError, IndexError):
                    self._see(process)

    def _see(self, process: Path) -> None:
        if process.name not in self._known:
            self._known[process.name] = self._worker(process)
        worker = self._known[process.name]
        if worker is None:
            return
        worker.by_now = _processor_seconds(process)
        if time.monotonic() - worker.seen_at <= _START_SECONDS:
            worker.at_start = worker.by_now
        worker.peak_mb = _peak_mb(process)

    def _worker(self, process: Path) -> Worker | None:
        lines = (process / "environ").read_text().split("\0")
        variables = dict(line.split("=", 1) for line in lines if "=" in line)
        function = variables.get("AWS_LAMBDA_FUNCTION_NAME")
        mine = variables.get("AWS_ENDPOINT_URL", "").endswith(self._port)
        return Worker(function) if function and mine else None

    def taken(self, invocations: Mapping[str, int]) -> dict[str, dict[str, float]]:
        """By function: `processor_s` of a warm invocation, of so many in all, and `peak_mb` of a worker."""
        found = {}
        for function, count in invocations.items():
            workers = [worker for worker in self._known.values() if worker and function in worker.function]
            if workers:
                warm = sum(worker.by_now - worker.at_start for worker in workers) / max(1, count - len(workers))
                found[function] = {"processor_s": warm, "peak_mb": max(worker.peak_mb for worker in workers)}
        return found


def _processor_seconds(process: Path) -> float:
    after_name = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS


def _peak_mb(process: Path) -> float:
    return int((process / "status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
