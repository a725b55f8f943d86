"""What a run has left behind, with what belongs together brought together: the promises are held against it."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar, cast

from kontext.clock import day
from kontext.drops.pairs import Pair, pair_of
from kontext.model import Render, RenderInput
from kontext_local.segmind.jobs import Job
from kontext_local.segmind.ledger import Poll
from kontext_local.segmind.padded_file import padded
from simulation.decisions import Decide
from simulation.dynamodb import DynamoDB
from simulation.outside import SERVER_ERRORS, Outside
from simulation.s3 import linked
from simulation.schedule import DroppedObject
from simulation.scheduler import BEGINNING
from simulation.vendor import picture
from simulation.world import World

Thing = TypeVar("Thing")
Broken = Iterator[str]
"""What breaks a promise, in words."""
HALF_AN_HOUR, A_QUARTER, A_WHILE = 1800.0, 1000.0, 45.0
"""So long a pair may stand still for no reason that can be seen: whatever went wrong; where all that goes wrong is part
of a story; and where AWS does all that it should."""
ENDED = ("DELIVERED", "FAILED", "UNCERTAIN")
KINDS = {"delivered": "rendered", "failed": "failed", "uncertain": "uncertain"}
"""What an event calls the end of a render."""


class Evidence:
    """A world at rest, with what belongs together brought together.

    `ends`: how pairs may end; `patience`: for how many seconds one may wait for no reason that can be seen.
    """

    def __init__(self, world: World, ends: Mapping[str, set[str]], patience: float | None = None) -> None:
        self.world = world
        self.outside = Outside(world)
        self.ends = ends
        self.patience = patience or (A_WHILE if self.outside.aws_is_well else A_QUARTER)
        table = world.table
        items = {place: table.get({"pk": place[0], "sk": place[1]}) or {} for place in world.dynamodb.items}
        self.pairs = {item["prefix"]: pair_of(item) for (_, sk), item in items.items() if sk == "pair"}
        live = [cast("Render", item) for (_, sk), item in items.items() if sk.startswith("render#")]
        forgotten = self._forgotten()
        self._forgotten_ids = {id(render) for render in forgotten}
        self.all_renders = live + forgotten
        self.renders = [render for render in self.all_renders if "inputs" in render]
        self.ledger = [item for (_, sk), item in items.items() if sk.startswith("ledger#")]

    def _forgotten(self) -> list[Render]:
        found = []
        for item in self.world.dynamodb.expired:
            key, past = {"pk": item["pk"]["S"], "sk": item["sk"]["S"]}, DynamoDB()
            past.items[key["pk"], key["sk"]] = item
            found.append((key["sk"], past.table().get(key)))
        return [cast("Render", item) for sk, item in found if sk.startswith("render#")]

    def is_forgotten(self, render: Render) -> bool:
        """Whether the record has expired."""
        return id(render) in self._forgotten_ids

    def jobs_of(self, render: Render) -> list[Job]:
        """The vendor's jobs for a render, told by what was asked."""
        return self._jobs[_record(render)]

    @property
    def jobs_of_nobody(self) -> list[Job]:
        """The vendor's jobs that no render asks for."""
        return self._jobs[""]

    @cached_property
    def _jobs(self) -> dict[str, list[Job]]:
        renders = defaultdict(list)
        for render in sorted(self.renders, key=lambda one: str(one["created_at"])):
            renders[self.asked_by(render)].append(render)
        jobs = defaultdict(list)
        for job in self.world.vendor.ledger.jobs.values():
            begun = [one for one in renders[self._asked_of(job)] if unix(one["created_at"]) <= job.accepted_at]
            jobs[_record(begun[-1]) if begun else ""].append(job)
        return jobs

    @cached_property
    def events(self) -> dict[str, list[dict[str, Any]]]:
        """What was published, by the event's id."""
        events = defaultdict(list)
        for _, message, _ in self.world.topic.published:
            event = json.loads(message)
            events[event["id"]].append(event)
        return events

    @cached_property
    def first_told(self) -> dict[str, float]:
        """When each event was published first, by its id."""
        first: dict[str, float] = {}
        for at, message, _ in self.world.topic.published:
            first.setdefault(json.loads(message)["id"], at)
        return first

    @cached_property
    def told_of(self) -> dict[str, list[float]]:
        told = defaultdict(list)
        for name, at in self.first_told.items():
            if name.endswith(".delivery_delayed"):  # no end
                continue
            told[name.partition(".")[0]].append(at)
        return told

    def ever_deployed(self, parameter: str) -> set[str]:
        """All values that a parameter of the template ever had."""
        return {template.parameters[parameter] for _, template in self.world.deployed}

    def deployed(self, parameter: str, since: float = BEGINNING, until: float = math.inf) -> list[float]:
        """The values that a parameter of the template had in that time."""
        values = [(at, float(template.parameters[parameter])) for at, template in self.world.deployed]
        ends = [*(at for at, _ in values[1:]), math.inf]
        return [value for (at, value), end in zip(values, ends, strict=True) if at <= until and end > since]

    def prices(self, render: Render) -> list[float]:
        """What may have been reserved for a render: the price when it was claimed, and whatever it became; in USD."""
        return self.deployed("PricePerRender", self.begun(render))

    @staticmethod
    def begun(render: Render) -> float:
        """When a render was claimed, in unix seconds."""
        return unix(render["created_at"])

    def stepped_aside(self, render: Render) -> bool:
        """Whether a render's own requests have failed so often that others go first."""
        prompt = render.get("parameters", {}).get("prompt")
        return self.outside.failed_often(prompt)

    def hidden(self, render: Render) -> list[Job]:
        """The jobs of a render that were taken although its POST was answered by a server error, which does not name
        them."""
        return [job for job in self.jobs_of(render) if job.request_id in self._hidden]

    @cached_property
    def _hidden(self) -> set[str | None]:
        posts = (post for post in self.world.vendor.ledger.posts if not post.names_job)
        return {post.request_id for post in posts if post.status in SERVER_ERRORS}

    @cached_property
    def polls(self) -> dict[str, list[Poll]]:
        """What was asked about each job, in order."""
        return grouped(self.world.vendor.ledger.polls, lambda poll: poll.request_id)

    def told_done(self, job: Job) -> bool:
        """Whether the vendor has told us that a job is done."""
        return any(poll.told == "COMPLETED" for poll in self.polls.get(job.request_id, ()))

    def drops_of(self, prefix: str) -> list[DroppedObject]:
        """What was dropped under a prefix, in order."""
        bucket = self.world.bucket
        return sorted(drop for key in bucket.keys_of(prefix) for drop in bucket.drops.get(key, ()))

    def paid_anew(self, prefix: str) -> int:
        """How often a person has said that a pair may be paid again: now, or when it is dropped again, which it was."""
        given_up = self.outside.decided(Decide(prefix, "give-up"))
        dropped_again = [drop for drop in self.drops_of(prefix) if given_up and drop.at > given_up[0]]
        repeated = len(self.outside.decided(Decide(prefix, "resubmit"))) + self._said_again(prefix)
        return repeated + min(len(given_up), len(dropped_again))

    def _said_again(self, prefix: str) -> int:
        """How often a person wanted the same once more: a command that died is given once more, and pays once more."""
        times = len(self.outside.decided(Decide(prefix, "again")))
        died = sum(call.process == "operator" for _, call in self.world.injector.injected)
        return times + (died if times else 0)

    def sent_jobs(self) -> Iterator[tuple[Render, Job]]:
        """Every job with its render."""
        yield from ((render, job) for render in self.renders for job in self.jobs_of(render))

    def running_jobs(self) -> Iterator[tuple[Render, Job]]:
        """Every job that has not failed, with its render; of nobody's, with none."""
        nobodys: Render = {}
        jobs = [*self.sent_jobs(), *((nobodys, job) for job in self.jobs_of_nobody)]
        yield from ((render, job) for render, job in jobs if job.state != "FAILED")

    @cached_property
    def counted(self) -> Counter[str]:
        """What the spend limit counts on each day: jobs, and lost answers of renders that end so and have no job."""
        sent = Counter(day(job.accepted_at) for _, job in self.running_jobs())
        return sent + Counter(render["updated_at"][:10] for render in self._lost_without_a_job())

    def _lost_without_a_job(self) -> Iterator[Render]:
        for render in self.all_renders:
            if render["status"] == "UNCERTAIN" and all(job.state == "FAILED" for job in self.jobs_of(render)):
                yield render

    def current(self, pair: Pair) -> Render | None:
        """The render that speaks for a pair."""
        if pair.rejected_drop > pair.current_drop:
            return self._rejected[pair.prefix, pair.rejected_drop]
        return self._by_id.get(pair.current)

    @cached_property
    def _rejected(self) -> dict[tuple[str, int], Render]:
        rejected = [render for render in self.all_renders if "inputs" not in render]
        return {(render["prefix"], render["drop_id"]): render for render in reversed(rejected)}

    @cached_property
    def _by_id(self) -> dict[str | None, Render]:
        return {render["render_id"]: render for render in reversed(self.renders)}

    @cached_property
    def _by_prefix(self) -> dict[str, list[Render]]:
        return grouped(self.renders, lambda render: render["prefix"])

    @cached_property
    def by_candidate(self) -> dict[str, list[Render]]:
        """The renders for which a job was found whose id came in a broken answer alone, by this id."""
        renders = defaultdict(list)
        for render in self.renders:
            for found in {entry["candidate_id"] for entry in render["history"] if "candidate_id" in entry}:
                renders[found].append(render)
        return renders

    def ends_of(self, prefix: str) -> list[tuple[float, str]]:
        """When the attempts of a pair's renders ended, in order, and the ids of the events that tell it."""
        ends = []
        for render in self._by_prefix.get(prefix, ()):
            attempt = 1
            for entry in render["history"]:
                attempt = entry.get("attempt", attempt)
                if entry["what"] in KINDS:
                    ends.append((unix(entry["at"]), f"{render['render_id']}.{attempt}.{KINDS[entry['what']]}"))
        return sorted(ends)

    def end(self, prefix: str) -> str:
        """How a pair ended, in a word or two."""
        pair = self.pairs.get(prefix)
        render = self.current(pair) if pair else None
        if render is None:
            return "INCOMPLETE"
        return f"FAILED {render['error']['code']}" if render["status"] == "FAILED" else str(render["status"])

    def made_for(self, render: Render) -> list[bytes]:
        """The pictures that the vendor has made for a render."""
        return [self.picture_of(job) for job in self.jobs_of(render) if job.state == "COMPLETED"]

    def picture_of(self, job: Job) -> bytes:
        """The bytes that the vendor makes for a job."""
        small = picture(vars(job.parameters))
        return b"".join(padded(small, job.override.output_bytes)) if job.override.output_bytes else small

    def _asked_of(self, job: Job) -> str:
        asked = job.parameters
        links = [self._linked(link) for link in (asked.input_image_1, asked.input_image_2)]
        return _words(asked.prompt, asked.aspect_ratio, asked.output_format, asked.safety_tolerance, links)

    def _linked(self, link: str) -> str:
        key, version_id = linked(link)
        version = self.world.s3.written.get(("InputBucket", key, version_id))
        return f"{key} {version.digest}" if version else link

    def content(self, given: RenderInput) -> str:
        """What a render's input is made of: the same, however it was uploaded."""
        version = self.world.s3.written.get(("InputBucket", given.get("key", ""), given.get("version_id", "")))
        return version.digest if version else str(given.get("url"))

    def asked_by(self, render: Render) -> str:
        """All that a render is made of and by, in one text."""
        asked = render["parameters"]
        links = [given.get("url") or f"{given['key']} {self.content(given)}" for given in render["inputs"]]
        return _words(asked["prompt"], asked["aspect_ratio"], asked["output_format"], asked["safety_tolerance"], links)


def grouped(things: Iterable[Thing], key: Callable[[Thing], str]) -> dict[str, list[Thing]]:
    """What has the same key together, in order."""
    groups = defaultdict(list)
    for thing in things:
        groups[key(thing)].append(thing)
    return groups


def _record(render: Render) -> str:
    """A record's name: one that expired, and what was rendered anew, are two."""
    return f"{render['render_id']} {render['created_at']}"


def _words(*asked: Any) -> str:
    return json.dumps(asked)


def unix(text: str) -> float:
    """Seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


Promise = Callable[[Evidence], Broken]
