"""Plays a case of the corpus: the real functions and the real workflow between AWS in memory and the hostile vendor."""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import json
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from kontext.model import Render
from kontext.net.transport import DEADLINE
from kontext.renders.overdue import OUTPUT_SECONDS
from kontext.renders.record import render_key, render_of
from kontext.throttle.line import why_parked
from kontext.throttle.shared_state import state_in
from simulation.actions import Drop, Remove
from simulation.aws import Topic
from simulation.fault_injection import EVERYTHING_LOST, Fault
from simulation.input_bucket import InputBucket
from simulation.s3 import S3, error
from simulation.schedule import Schedule
from simulation.scheduler import BEGINNING, NeverRests, Scheduler
from simulation.world import KEY, World
from tests.adversarial.material import WAYS, Description, made
from tests.adversarial.roles import Access, Witness
from tests.adversarial.vendor import Reply, Seen, Vendor
from tests.existing import existing

CORPUS = Path(__file__).parent / "corpus"
PREFIX = "case/"
PROMPT = "A very private prompt."
GOOD: dict[str, Description] = {"1": {"image": "PNG"}, "2": {"image": "JPEG"}}
API, FILES = "https://api.segmind.com", "https://images.segmind.com"
LATER = 600.0
APART = 30.0
"""Seconds between two drops that do not belong together: a pair has settled by then."""
TRIED = 3600.0
"""After so many seconds of vain tries a picture's time is set back, so that Segmind has deleted it."""
USUAL_HEAD = 200
ANSWERED = ("submit", "status", "result", "credits", "file")
MODULES = ("submit", "sweep", "poll", "finalize")


@dataclass(frozen=True)
class Case:
    """One entry of the corpus: what is dropped, what is answered, and what must become of it.

    `drops`: keys (`$P` is the prefix) and contents, in their order; `end`: in words, as `Outcome.end` says them.
    """

    name: str
    drops: tuple[tuple[str, Description, dict[str, str]], ...]
    answers: dict[str, Any]
    end: str
    says: tuple[str, ...]
    posts: int | None
    """How many jobs are asked for; None if that is a matter of time."""
    within: float
    prefix: str
    parameters: dict[str, str]
    good: bool
    later: tuple[tuple[str, Description, dict[str, str]], ...] = ()
    """What is dropped when all that came before has had its effect."""
    removed: tuple[str, ...] = ()
    """What is deleted after that."""
    again: tuple[int, ...] = ()
    """Which messages come back though they were worked on."""
    lost_at: float | None = None
    """When, in memory, all executions and all messages of our own are lost: so many seconds after the first drop."""
    lost_behind: str | None = None
    """Behind which call, in memory, they are lost as well: `finalize publish`, say."""
    fails: str | None = None
    """Which call, in memory, AWS refuses once: `submit start_execution`, say."""
    sent: tuple[str, ...] = ()
    """What, in memory, somebody sends to the upload queue by hand."""
    jobs: int = 1
    """How many contents the pair has one after the other, each of which is a job."""
    away: float = 0.0
    """For how many seconds, in memory, S3 does not answer at the beginning."""

    def __str__(self) -> str:
        return self.name


@cache
def cases(file: str = "*") -> tuple[Case, ...]:
    """The corpus, file by file."""
    found = [case(path.stem, entry) for path in sorted(CORPUS.glob(f"{file}.yaml")) for entry in _entries(path)]
    return tuple(found)


def _entries(path: Path) -> list[dict[str, Any]]:
    """The entries of a file but for those whose JSON is nested deeper than this Python reads: 3.13, the one of Lambda,
    reads ten times as deep as 3.11."""
    whole = yaml.safe_load(path.read_text())
    read = (entry for entry in whole["cases"] if sys.version_info >= tuple(entry.get("python", ())))
    return [{**whole.get("usual", {}), **entry} for entry in read]


def case(file: str, entry: dict[str, Any]) -> Case:
    """An entry of a file of the corpus."""
    prefix = made(entry.get("prefix", PREFIX)).decode()
    end = entry["end"]
    return Case(
        name=f"{file}: {entry['name']}",
        drops=tuple(_drops(entry, prefix)),
        answers={kind: entry[kind] for kind in ANSWERED if kind in entry},
        end=end,
        says=tuple(entry.get("says", ())),
        posts=entry.get("posts", 1 if end.split()[0] in ("DELIVERED", "UNCERTAIN") else 0),
        within=entry.get("within", 2 * TRIED if end == "FAILED delivery" else 3600.0),
        prefix=prefix,
        parameters=entry.get("parameters", {}),
        good=entry.get("good", False),
        later=tuple((key.replace("$P", prefix), content, {}) for key, content in entry.get("later", ())),
        removed=tuple(key.replace("$P", prefix) for key in entry.get("removed", ())),
        again=tuple(entry.get("again", ())),
        lost_at=entry.get("lost_at"),
        lost_behind=entry.get("lost_behind"),
        fails=entry.get("fails"),
        jobs=entry.get("jobs", 1),
    )


def _drops(entry: dict[str, Any], prefix: str) -> Iterator[tuple[str, Description, dict[str, str]]]:
    for key, content in entry.get("also", ()):
        yield made(key).decode().replace("$P", prefix), content, {}
    for name in ("request.json", "prompt.txt"):
        if name in entry:
            content = entry[name]
            literal = isinstance(content, dict) and not _is_made(content)
            yield f"{prefix}{name}", json.dumps(content) if literal else content, {}
    # The images come last, and the pair goes at once: a prompt is there.
    for slot, good in GOOD.items():
        content = entry.get(slot, good)
        if content is not None:
            metadata = entry.get("metadata", {"prompt": PROMPT}) if slot == "1" else {}
            yield f"{prefix}{entry.get('names', {}).get(slot, f'{slot}.png')}", content, metadata


def _is_made(content: dict[str, Any]) -> bool:
    return bool(content.keys() & WAYS.keys())


@dataclass(frozen=True)
class Outcome:
    """What became of a case: in words, with all that was left behind."""

    end: str
    said: str
    vendor: Vendor
    world: Street
    seconds: float
    logs: str

    @property
    def accesses(self) -> set[Access]:
        """What the roles have done, the reading of those who follow the links to the images included."""
        bodies = [json.loads(seen.body) for seen in self.vendor.requests if seen.kind == "submit"]
        links = [body[name] for body in bodies for name in ("input_image_1", "input_image_2")]
        read = [self.world.s3.version(link)[0] for link in links if urlsplit(link).netloc.startswith("InputBucket.")]
        return self.world.injector.accesses | {
            Access("SubmitRole", "s3:GetObjectVersion", f"InputBucket/{key}") for key in read
        }


class Street(World):
    """A world with the limits that AWS really has."""

    def __init__(self, case: Case) -> None:
        faults = tuple(Fault(message, "again") for message in case.again)
        super().__init__(Schedule((), parameters=case.parameters, faults=faults))
        struck: tuple[Fault, ...] = (Fault(0, EVERYTHING_LOST, case.lost_behind),) if case.lost_behind else ()
        struck += (Fault(0, "error", case.fails),) if case.fails else ()
        self.injector: Witness = Witness(self.scheduler, struck, self._delay, self._around)
        self.s3 = StrictS3(self.clock.now)
        self.bucket = InputBucket(self.s3, self.scheduler, self.notify)
        self.topic = StrictTopic(self.scheduler)
        self.hostile = Vendor(case.answers, KEY, (API, FILES, "https://evil.example"))
        self.transport = Wire(self.scheduler, self.hostile)


class StrictS3(S3):
    """Keys as long as S3 takes them."""

    def get_object(self, *, Bucket: str, Key: str, **asked: Any) -> dict[str, Any]:  # noqa: N803
        return super().get_object(Bucket=Bucket, Key=_key(Key, "GetObject"), **asked)

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        return super().head_object(Bucket=Bucket, Key=_key(Key, "HeadObject"))

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **said: Any) -> dict[str, Any]:  # noqa: N803
        for name, value in said.get("Metadata", {}).items():
            if Bucket == "OutputBucket" and not (value.isascii() and value.isprintable()):
                raise ValueError(f"metadata {name} is {value!r}")
        return super().put_object(Bucket=Bucket, Key=_key(Key, "PutObject"), Body=Body, **said)


def _key(key: str, operation: str) -> str:
    if len(key.encode()) > 1024:
        raise error("KeyTooLongError", 400, operation)
    return key


class StrictTopic(Topic):
    """Messages as SNS and the queues behind it take them."""

    def publish(self, *, TopicArn: str, Message: str, MessageAttributes: dict[str, Any]) -> Any:  # noqa: N803
        for text in (Message, *(attribute["StringValue"] for attribute in MessageAttributes.values())):
            if re.search("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text) or len(text.encode()) > 262_144:
                raise error("InvalidParameter", 400, "Publish")
        return super().publish(TopicArn=TopicArn, Message=Message, MessageAttributes=MessageAttributes)


class Wire(httpx.BaseTransport):
    """The network on virtual time: every request, whatever its host, comes to the vendor."""

    def __init__(self, scheduler: Scheduler, vendor: Vendor) -> None:
        self.scheduler, self.vendor = scheduler, vendor

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.scheduler.pause(0.2)
        host = f"{request.url.scheme}://{request.url.netloc.decode()}"
        seen = Seen(request.method, host, request.url.raw_path.decode(), dict(request.headers), request.read())
        reply = self.vendor.answer(seen)
        patience = min(request.extensions["timeout"]["read"], request.extensions.get(DEADLINE, float("inf")))
        self._wait(reply.hang + _seconds(USUAL_HEAD, reply.slow), patience, request)
        if reply.drop:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)
        return httpx.Response(reply.status, headers=_latin(reply.headers), stream=self._stream(reply, request))

    def _stream(self, reply: Reply, request: httpx.Request) -> httpx.SyncByteStream:
        patience = request.extensions.get(DEADLINE, float("inf"))
        self._wait(_seconds(len(reply.body), reply.drip), patience, request)
        return _Body(reply)

    def _wait(self, seconds: float, patience: float, request: httpx.Request) -> None:
        self.scheduler.pause(min(seconds, patience))
        if seconds > patience:
            raise httpx.ReadTimeout("The read operation timed out", request=request)


def _seconds(size: int, drip: tuple[int, float] | None) -> float:
    return size / drip[0] * drip[1] if drip else 0.0


def _latin(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


class _Body(httpx.SyncByteStream):
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __iter__(self) -> Iterator[bytes]:
        body, end = self._reply.body, self._reply.cut_after
        for _ in itertools.count() if self._reply.endless else (0,):
            for at in range(0, len(body[:end]), 65_536):
                yield body[:end][at : at + 65_536]
        if end is not None:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


def play(case: Case) -> Outcome:
    """Drop what the case drops, and let everything happen until nothing does, or for as long as the case may take."""
    world = Street(case)
    for begins, every, drops in ((BEGINNING, 1.0, case.drops), (BEGINNING + LATER, APART, case.later)):
        for number, (key, content, metadata) in enumerate(drops):
            drop = Drop(key, made(content), tuple(metadata.items()))
            world.scheduler.at(begins + every * number, partial(drop.do, world))
    for key in case.removed:
        world.scheduler.at(BEGINNING + 2 * LATER, partial(Remove(key).do, world))
    for body in case.sent:
        world.queue.send(body)
    if case.away:
        world.away("s3", case.away)
    if case.lost_at is not None:
        world.scheduler.at(BEGINNING + case.lost_at, world.lose_everything)
    if case.end == "FAILED delivery":
        world.scheduler.at(BEGINNING + TRIED, partial(_let_days_pass, world))
    with _listening() as logs:
        try:
            world.scheduler.play(BEGINNING + case.within)
        except NeverRests as problem:
            world.problem = str(problem)
        finally:
            world.scheduler.close()
    end, said = _end(world, case)
    return Outcome(end, said, world.hostile, world, world.scheduler.now - BEGINNING, logs.getvalue())


def _let_days_pass(world: World) -> None:
    """Let pictures have been ready for longer than Segmind keeps them: each further try would be like the last ones."""
    for render in _renders(world):
        key = render_key(render["prefix"], render["render_id"])
        then = render["completed_at"] - OUTPUT_SECONDS
        world.table.update(key, "SET #completed_at = :then, #due_at = :now", then=then, now=world.clock.now())


@contextlib.contextmanager
def _listening() -> Iterator[io.StringIO]:
    """What the functions write to their logs, at INFO."""
    heard = io.StringIO()
    handlers = [importlib.import_module(name).logger.registered_handler for name in MODULES]
    before = [handler.setStream(heard) for handler in handlers]
    for name in MODULES:
        importlib.import_module(name).logger.setLevel("INFO")
    with contextlib.redirect_stdout(heard), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield heard
    for handler, stream in zip(handlers, before, strict=True):
        handler.setStream(stream)


def _end(world: World, case: Case) -> tuple[str, str]:
    ours = [render for render in _renders(world) if render["prefix"] == case.prefix]
    if world.queue.dead_letters:
        return "DEAD LETTER", world.queue.dead_letters[0].body
    if ours:
        newest = max(ours, key=lambda render: (render["drop_id"], render["updated_at"]))
        parked = why_parked(newest, state_in(world.table))
        return (f"PARKED {parked['reason']}", "") if parked else ended(newest)
    files = [key for key in world.s3.keys("OutputBucket") if key.endswith("error.json")]
    if files:
        told = json.loads(existing(existing(world.s3.newest("OutputBucket", files[0])).body))
        return f"FILE {told['code']}", told["message"]
    return "WAITING" if any(sk == "pair" for _, sk in world.dynamodb.items) else "NOTHING", ""


def _renders(world: World) -> list[Render]:
    places = [{"pk": pk, "sk": sk} for pk, sk in world.dynamodb.items if sk.startswith("render#")]
    return [render_of(existing(world.table.get(place))) for place in places]


def ended(render: Render) -> tuple[str, str]:
    message = render["error"]["message"] if "error" in render else ""
    if render["status"] == "FAILED":
        return f"FAILED {render['error']['code']}", message
    return render["status"], message
