"""What a run has left behind, with what belongs together brought together: the promises are held against it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

from kontext.drops import Pair, pair_of
from kontext_local.segmind.jobs import Job
from kontext_local.segmind.padding import padded
from simulation.actions import Away, Decide, Drop
from simulation.scheduler import BEGINNING
from simulation.vendor import picture
from simulation.world import World

Broken = Iterator[str]
"""What breaks a promise, in words."""
Render = dict[str, Any]
ENDED = ("DELIVERED", "FAILED", "UNCERTAIN")
_A_JOB_SECONDS = 1800


class Evidence:
    """A world at rest, with what belongs together brought together."""

    def __init__(self, world: World, ends: Mapping[str, set[str]]) -> None:
        self.world = world
        self.ends = ends
        table = world.table
        items = {place: table.get({"pk": place[0], "sk": place[1]}) or {} for place in world.dynamodb.items}
        self.pairs = {item["prefix"]: pair_of(item) for (_, sk), item in items.items() if sk == "pair"}
        self.all_renders = [item for (_, sk), item in items.items() if sk.startswith("render#")]
        self.renders = [render for render in self.all_renders if "inputs" in render]
        self.ledger = [item for (_, sk), item in items.items() if sk.startswith("ledger#")]

    @cached_property
    def jobs(self) -> dict[str, list[Job]]:
        """The vendor's jobs by our render_id, told by what was asked; those of nobody under ""."""
        by_request = {_asked_by(render): render["render_id"] for render in self.renders}
        jobs = defaultdict(list)
        for job in self.world.vendor.ledger.jobs.values():
            jobs[by_request.get(self._asked_of(job), "")].append(job)
        return jobs

    @cached_property
    def events(self) -> dict[str, list[dict[str, Any]]]:
        """What was published, by the event's id."""
        events = defaultdict(list)
        for _, message, _ in self.world.topic.published:
            event = json.loads(message)
            events[event["id"]].append(event)
        return events

    def decided(self, decision: Decide) -> int:
        """How often an operator has decided this."""
        return sum(step.action == decision for step in self.world.schedule.steps)

    def running_jobs(self) -> Iterator[tuple[Render, Job]]:
        """Every job that has not failed, with its render; of nobody's, with none."""
        for render in (*self.renders, {"render_id": ""}):
            yield from ((render, job) for job in self.jobs[render["render_id"]] if job.state != "FAILED")

    def current(self, pair: Pair) -> Render | None:
        """The render that speaks for a pair."""
        if pair.rejected_drop > pair.current_drop:
            rejected = (render for render in self.all_renders if render["drop_id"] == pair.rejected_drop)
            return next(render for render in rejected if render["prefix"] == pair.prefix and "inputs" not in render)
        return next((render for render in self.renders if render["render_id"] == pair.current), None)

    @cached_property
    def well_since(self) -> float:
        """From when on nobody outside is the reason for a wait; in unix seconds."""
        ended = [
            BEGINNING + step.at + 60 * (step.action.minutes if isinstance(step.action, Away) else 0.0)
            for step in self.world.schedule.steps
            if not step.action.lasts or isinstance(step.action, Drop)
        ]
        return max(ended, default=BEGINNING)

    def progress(self) -> Iterator[float]:
        """When something happened: to a record, at the vendor, from outside, or that was published."""
        yield from (BEGINNING + step.at for step in self.world.schedule.steps)
        yield from (at for at, _, _ in self.world.topic.published)
        for render in self.all_renders:
            yield from (_unix(entry["at"]) for entry in render["history"])
        for job in self.world.vendor.ledger.jobs.values():
            until = job.ended_at or self.world.scheduler.now
            yield from (job.accepted_at, until, *range(int(job.accepted_at), int(until), _A_JOB_SECONDS))

    def end(self, prefix: str) -> str:
        """How a pair ended, in a word or two."""
        pair = self.pairs.get(prefix)
        render = self.current(pair) if pair else None
        if render is None:
            return "INCOMPLETE"
        return f"FAILED {render['error']['code']}" if render["status"] == "FAILED" else str(render["status"])

    def picture_of(self, render: Render) -> bytes:
        """The bytes that the vendor made for a render."""
        job = self.world.vendor.ledger.jobs[render["request_id"]]
        small = picture(vars(job.parameters))
        return b"".join(padded(small, job.fate.output_bytes)) if job.fate.output_bytes else small

    def _asked_of(self, job: Job) -> str:
        asked = job.parameters
        links = [self._linked(link) for link in (asked.input_image_1, asked.input_image_2)]
        return _words(asked.prompt, asked.aspect_ratio, asked.output_format, asked.safety_tolerance, links)

    def _linked(self, link: str) -> str:
        key, version = self.world.s3.version(link)
        return f"{key} {version.version_id}" if version else link


def _asked_by(render: Render) -> str:
    asked = render["parameters"]
    links = [given.get("url") or f"{given['key']} {given['version_id']}" for given in render["inputs"]]
    return _words(asked["prompt"], asked["aspect_ratio"], asked["output_format"], asked["safety_tolerance"], links)


def _words(*asked: Any) -> str:
    return json.dumps(asked)


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


Promise = Callable[[Evidence], Broken]
