"""What money is spent on: what was dropped last, each content once, within the limit that is in force."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from kontext.clock import day
from kontext.model import Render
from kontext_local.segmind.jobs import Job
from simulation.decisions import Decide
from simulation.evidence import Broken, Evidence, Promise
from simulation.oracle import dropped, stood
from simulation.s3 import linked

_HELD_UP_SECONDS = 60.0
_EXCHANGE_SECONDS = 15.0
_A_FAULT_SECONDS = 300.0
"""A message that comes back does so within this time."""
_A_FUNCTION_SECONDS = 150.0
"""So long may what began before a deployment still go by what was said before."""


def the_same_content_is_paid_once(seen: Evidence) -> Broken:
    """1. The same images and request are one render, however they were uploaded: it is paid once while it is known."""
    paid: dict[str, list[Job]] = defaultdict(list)
    anew: Counter[str] = Counter()
    for render in seen.renders:
        asked = f"{render['prefix']} {seen.asked_by(render)}"
        hidden = {job.request_id for job in seen.hidden(render)}  # how often these are repeated is said elsewhere
        paid[asked] += [job for job in seen.jobs_of(render) if job.charged and job.request_id not in hidden]
        anew[asked] += seen.is_forgotten(render)
    for asked, jobs in paid.items():
        prefix = asked.partition(" ")[0]
        if len(jobs) > 1 + anew[asked] + seen.paid_anew(prefix):
            yield f"{prefix} was paid for {len(jobs)} times with the same content"


def a_drop_is_one_attempt(seen: Evidence) -> Broken:
    """1. A render that has ended is begun again only if something of its pair is dropped again, or a person says so."""
    given_again = sum(call.process == "operator" for _, call in seen.world.injector.injected)
    for render in seen.renders:
        begun = sum(entry["what"] == "again" for entry in render["history"])
        again = _dropped_again(seen, render)
        if begun > again + seen.outside.decisions_about[render["prefix"]] + given_again:
            yield f"{render['prefix']} was begun again {begun} times, and dropped again {again} times"


def _dropped_again(seen: Evidence, render: Render) -> int:
    """How often objects of a pair were dropped anew, or came back, and images that it names came back."""
    stood, own = seen.world.bucket.stood, seen.world.bucket.keys_of(render["prefix"])
    named = [image["key"] for image in render["inputs"] if "key" in image and image["key"] not in own]
    anew = sum(max(0, sum(one.version is not None for one in stood[key]) - 1) for key in own)
    gone = [
        earlier.version is None and later.version is not None
        for key in named
        for earlier, later in pairwise(stood.get(key, ()))
    ]
    return anew + sum(gone)


def what_is_taken_back_is_not_paid(seen: Evidence) -> Broken:
    """1. No request is sent for what was taken away, or replaced, before."""
    for render, job in seen.sent_jobs():
        if not render or seen.outside.decided(Decide(render["prefix"], "resubmit")):
            continue
        moments = list(_moments(seen, render["prefix"], job))
        for link in (job.parameters.input_image_1, job.parameters.input_image_2):
            if not any(_stood(seen, link, at) for at in moments):
                yield f"{render['prefix']}: {linked(link)[0]} was not there any more when it was paid for"
        prompts = [dropped(seen.world, render["prefix"], at).asked.get("prompt") for at in moments]
        if None not in prompts and job.parameters.prompt not in prompts:
            yield f"{render['prefix']}: {job.parameters.prompt!r} was paid for, asked was {prompts[-1]!r}"


def _moments(seen: Evidence, prefix: str, job: Job) -> Iterator[float]:
    """When a request that was sent for a job may last have looked at what there is: each moment that differs."""
    faults = len(seen.world.injector.injected) + sum(fault.of_message for fault in seen.world.schedule.faults)
    since = job.accepted_at - _HELD_UP_SECONDS - _A_FAULT_SECONDS * faults - seen.outside.away_seconds
    named = [linked(link)[0] for link in (job.parameters.input_image_1, job.parameters.input_image_2)]
    changes = seen.world.bucket.changes(prefix, named)
    yield from (since, *(at for at in changes if since < at <= job.accepted_at))


def _stood(seen: Evidence, link: str, at: float) -> bool:
    """Whether what a link leads to stood there then, in this version or in another one of the same content."""
    key, version_id = linked(link)
    sent = seen.world.s3.written.get(("InputBucket", key, version_id))
    there = stood(seen.world, key, at)
    return sent is None or bool(there and there.digest == sent.digest)


def a_mixture_is_not_paid(seen: Evidence) -> Broken:
    """1. Where both images of a pair are exchanged, what one new and one old image make is not paid."""
    for render, job in seen.running_jobs():
        keys = [linked(link)[0] for link in (job.parameters.input_image_1, job.parameters.input_image_2)]
        exchanged = [_exchanged(seen, key, job.accepted_at) for key in keys]
        if any(before and after for (before, _), (_, after) in (exchanged, exchanged[::-1])):
            yield f"{render.get('prefix')}: paid for the new {keys[0]} with the old {keys[1]}, or the other way round"


def _exchanged(seen: Evidence, key: str, at: float) -> tuple[bool, bool]:
    """Whether an image was replaced by another one just before, and just after a request was sent."""
    versions = [one for one in seen.world.bucket.stood.get(key, ()) if one.version]
    changes = [
        later.since
        for one, later in pairwise(versions)
        if one.version and later.version and one.version.digest != later.version.digest
    ]
    return (
        any(at - _EXCHANGE_SECONDS < change <= at for change in changes),
        any(at < change < at + _EXCHANGE_SECONDS for change in changes),
    )


def the_money_brake_holds(seen: Evidence) -> Broken:
    """5. On no UTC day are more jobs sent than the daily spend limit pays for, as it is at that time."""
    spent: defaultdict[str, float] = defaultdict(float)
    for render, job in sorted(seen.running_jobs(), key=lambda one: one[1].accepted_at):
        at = job.accepted_at
        utc_day = _day_of_money(render, at)
        spent[utc_day] += min(seen.deployed("PricePerRender", at - _A_FUNCTION_SECONDS, at))
        limit = max(seen.deployed("DailySpendLimit", at - _A_FUNCTION_SECONDS, at))
        if spent[utc_day] > limit + 1e-6:
            yield f"{spent[utc_day]:.2f} USD were spent on {utc_day}, the limit is {limit} USD"


def _day_of_money(render: Render, at: float) -> str:
    """The day on which the price was reserved; a request that was held up may reach the vendor just after it."""
    days = {day(at), day(at - _HELD_UP_SECONDS)}
    return str(render["day"]) if render.get("day") in days else day(at)


SPENDING: tuple[Promise, ...] = (
    the_same_content_is_paid_once,
    a_drop_is_one_attempt,
    what_is_taken_back_is_not_paid,
    a_mixture_is_not_paid,
    the_money_brake_holds,
)
