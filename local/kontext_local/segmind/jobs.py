"""Jobs and the workers that run them; where a job stands follows from the clock alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kontext_local.segmind.parameters import Parameters


class BadInput(Exception):
    """An input that cannot be fetched or is no image; the message is what the vendor answers."""


@dataclass(frozen=True)
class Picture:
    """A finished image, in memory or in a file."""

    content: bytes | Path
    content_type: str

    def read(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


Draw = Callable[[Parameters], Picture]
"""Makes the picture of a request; raises BadInput."""


@dataclass(frozen=True)
class JobOverride:
    """What a script has in store for a job; the default is a plain success.

    `fail`: the error it fails with. `inference`: seconds on the worker. `output_bytes`: the file is padded
    to this size.
    """

    fail: str | None = None
    inference: float | None = None
    output_shape: str | None = None
    output_bytes: int | None = None
    output_content_type: str | None = None
    output_url: str | None = None


@dataclass
class Job:
    """One accepted POST, sent with `key`. All times are unix seconds and stay None until they are past."""

    request_id: str
    parameters: Parameters
    accepted_at: float
    inference: float
    output_shape: str
    key: str = ""
    override: JobOverride = field(default_factory=JobOverride)
    drawing: Future[Picture] | None = None
    drawn_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    error: str | None = None
    charged: float = 0.0

    @property
    def state(self) -> str:
        """QUEUED, PROCESSING, COMPLETED or FAILED."""
        if self.started_at is None:
            return "QUEUED"
        if self.ended_at is None:
            return "PROCESSING"
        return "FAILED" if self.error else "COMPLETED"

    def draw(
        self,
        start: Callable[[Callable[[], Picture]], Future[Picture]],
        draw: Draw,
        clock: Callable[[], float],
    ) -> None:
        """Have the picture made, at once or in the background."""
        self.drawing = start(lambda: draw(self.parameters))
        self.drawing.add_done_callback(lambda _: setattr(self, "drawn_at", clock()))

    def ends_at(self) -> float | None:
        """When it leaves its worker; None while it waits for one or its picture is still being made."""
        if self.started_at is None:
            return None
        if self.override.fail:
            return self.started_at + self.inference
        if self.drawing is None or self.drawn_at is None:
            return None
        # A bad input is found before the model runs, so it does not hold the worker.
        busy = 0.0 if self.drawing.exception() else self.inference
        return max(self.started_at + busy, self.drawn_at)

    def end(self, at: float) -> None:
        """Leave the worker, with or without a picture."""
        self.ended_at = at
        self.error = self.override.fail or self._drawing_error()

    def _drawing_error(self) -> str | None:
        error = self.drawing.exception() if self.drawing else None
        if error is None or isinstance(error, BadInput):
            return str(error) if error else None
        return f"Model error: {type(error).__name__}"

    def times(self) -> dict[str, float]:
        """`inference_time`, `queue_time` and `total_time` in seconds; of an ended job only."""
        if self.started_at is None or self.ended_at is None:
            return {}
        return {
            "inference_time": round(self.ended_at - self.started_at, 3),
            "queue_time": round(self.started_at - self.accepted_at, 3),
            "total_time": round(self.ended_at - self.accepted_at, 3),
        }

    def picture(self) -> Picture:
        """The picture of a completed job."""
        if self.drawing is None:
            raise ValueError(f"{self.request_id} has no picture")
        return self.drawing.result()

    def as_json(self) -> dict[str, Any]:
        """The job as the ledger shows it."""
        return {
            "request_id": self.request_id,
            "state": self.state,
            "accepted_at": self.accepted_at,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "error": self.error,
            "charged": self.charged,
            **vars(self.parameters),
        }


class Workers:
    """First come, first served: jobs wait in line while every worker is busy."""

    def __init__(self) -> None:
        self._line: deque[Job] = deque()
        self._busy: list[Job] = []

    def add(self, job: Job) -> None:
        self._line.append(job)

    def advance(self, count: int, now: float) -> Iterator[Job]:
        """Play on to `now` with `count` workers: the jobs that ended since, in the order of their ends."""
        self._fill(count, now)
        while (job := self._next_to_end(now)) is not None:
            self._busy.remove(job)
            at = job.ends_at() or now
            job.end(at)
            self._fill(count, at)
            yield job

    def _fill(self, count: int, at: float) -> None:
        while self._line and len(self._busy) < count:
            job = self._line.popleft()
            job.started_at = max(at, job.accepted_at)
            self._busy.append(job)

    def _next_to_end(self, now: float) -> Job | None:
        ends = [(end, job) for job in self._busy if (end := job.ends_at()) is not None and end <= now]
        return min(ends, key=lambda one: one[0])[1] if ends else None
