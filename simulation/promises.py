"""The promises of the design, held against a world at rest: its table, buckets, topic, queue and the vendor's ledger.

Each promise yields what breaks it, in words.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

from kontext.clock import day
from kontext.drops import Pair, pair_of
from kontext.errors import CODES
from kontext_local.segmind.jobs import Job
from kontext_local.segmind.ledger import Post
from kontext_local.segmind.padding import padded
from simulation.actions import Decide
from simulation.fault_injection import Call, Fault
from simulation.oracle import dropped, prefixes
from simulation.vendor import picture
from simulation.world import KEY, World

Broken = Iterator[str]
Render = dict[str, Any]
ENDED = ("DELIVERED", "FAILED", "UNCERTAIN")
_HELD_UP_SECONDS = 60.0
_REFUSALS_A_MINUTE = 17
"""Those on their way when the first is refused, and a probe every five seconds."""


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


def at_most_one_paid_job_per_render(seen: Evidence) -> Broken:
    """1. At most one paid job per render; only a failure known to lie before acceptance leads to another POST."""
    for render in seen.renders:
        jobs = seen.jobs[render["render_id"]]
        paid = [job.request_id for job in jobs if job.charged]
        allowed = 1 + _said(render, "expired") + seen.decided(Decide(render["prefix"], "resubmit"))
        if len(paid) > allowed:
            yield f"{render['prefix']} was paid {len(paid)} times: {', '.join(paid)}"
        running = [job for job in jobs if job.state != "FAILED"]
        if len(running) > allowed:
            yield f"{render['prefix']} was accepted {len(running)} times"
    for job in seen.jobs[""]:
        yield f"no record knows the job {job.request_id} ({job.parameters.prompt})"


def what_is_dropped_once_is_paid_once(seen: Evidence) -> Broken:
    """1. A pair whose parts and prompt were each dropped once, and together, is not paid for twice, whatever its
    messages do."""
    settle = float(seen.world.template.parameters["SettleSeconds"])
    paid = Counter(r["prefix"] for r in seen.renders for job in seen.jobs[r["render_id"]] if job.charged)
    for prefix, times in paid.items():
        drops = [drop for drop in seen.world.drops if drop.key.startswith(prefix)]
        once = len({drop.key for drop in drops}) == len(drops) and sum(drop.has_prompt for drop in drops) <= 1
        allowed = 1 + seen.decided(Decide(prefix, "resubmit"))
        if times > allowed and once and max(drops).at - min(drops).at < settle:
            yield f"{prefix} was dropped once, and paid for {times} times"


def nothing_is_lost(seen: Evidence) -> Broken:
    """2. Every complete pair ends DELIVERED, FAILED (said so) or UNCERTAIN (said so); what was parked has resumed."""
    for prefix in prefixes(seen.world):
        allowed, end = seen.ends.get(prefix) or {dropped(seen.world, prefix).end}, seen.end(prefix)
        if end not in allowed and end != "UNCERTAIN" and None not in allowed:
            yield f"{prefix} ended {end}, not {' or '.join(sorted(allowed, key=str))}"
    for render in seen.all_renders:
        if render["status"] not in ENDED:
            yield f"{render['prefix']} stays {render['status']} {render.get('parked', {}).get('reason', '')} for ever"
    if seen.world.problem:
        yield seen.world.problem


def uncertain_only_if_an_answer_was_lost(seen: Evidence) -> Broken:
    """2. A render is UNCERTAIN only if its request was, or may have been, sent and no answer was recorded."""
    uncertain = [render["prefix"] for render in seen.renders if render["status"] == "UNCERTAIN"]
    injected, calls = seen.world.injector.injected, seen.world.injector.calls
    lost = [fault for fault, call in injected if _loses_an_answer(fault, call, calls)]
    unheard = [post for post in seen.world.vendor.ledger.posts if _unheard(post)]
    if len(uncertain) > len(lost) + len(unheard):
        yield f"{', '.join(uncertain)}: UNCERTAIN, though no answer was lost"


def failed_only_if_it_did(seen: Evidence) -> Broken:
    """2. A render FAILED only if it did, and the record says the truth about the money."""
    for render in seen.renders:
        if render["status"] != "FAILED":
            continue
        code, jobs = render["error"]["code"], seen.jobs[render["render_id"]]
        told = f"{render['prefix']} FAILED with {code}"
        paid = any(job.charged for job in jobs)
        if code == "superseded" and seen.pairs[render["prefix"]].current == render["render_id"]:
            yield f"{told}, but nothing newer is there"
        if code == "render_failed" and not any(job.state == "FAILED" for job in jobs):
            yield f"{told}, but no job of it has failed"
        if {"yes": not paid, "no": paid, "unknown": False}[render["error"]["charged"]] and not _said(render, "expired"):
            yield f"{told} and charged: {render['error']['charged']}, but it {'was' if paid else 'was not'}"


def the_newest_drop_speaks(seen: Evidence) -> Broken:
    """3. What stands for a pair is made of what was dropped last."""
    for prefix, pair in seen.pairs.items():
        render, content = seen.current(pair), dropped(seen.world, prefix).content
        if render is None or "inputs" not in render or content is None:
            continue
        made_of = (render["parameters"]["prompt"], *(given.get("etag") for given in render["inputs"]))
        if made_of != content:
            yield f"{prefix} is made of {made_of}, dropped was {content}"


def each_pair_has_its_one_result(seen: Evidence) -> Broken:
    """3. A delivered pair has exactly one current result, with the right bytes; any other has its error.json."""
    for prefix, pair in seen.pairs.items():
        render = seen.current(pair)
        if render is None or render["status"] not in ENDED:
            continue
        there = {key for key in seen.world.s3.keys("OutputBucket") if _speaks(key, prefix)}
        if render["status"] != "DELIVERED":
            yield from _error_file(seen, prefix, render, there)
            continue
        result = f"{prefix}result.{render['parameters']['output_format']}"
        if there != {result}:
            yield f"{prefix}: delivered, and there are {sorted(there)}"
        elif (found := seen.world.s3.newest("OutputBucket", result)) and found.body != seen.picture_of(render):
            yield f"{prefix}: the result is another picture"


def overtaken_pictures_are_kept(seen: Evidence) -> Broken:
    """3. A paid picture that a newer drop has overtaken stands beside the pair's result."""
    for render in seen.renders:
        result = render.get("result") or {}
        if render["status"] == "DELIVERED" and result.get("superseded"):
            found = seen.world.s3.newest("OutputBucket", result["key"])
            if found is None or found.body != seen.picture_of(render):
                yield f"{render['prefix']}: the overtaken picture is not at {result['key']}"


def the_ledger_agrees(seen: Evidence) -> Broken:
    """4. The day's ledger, the records and the vendor's ledger agree to the cent."""
    price = float(seen.world.template.parameters["PricePerRender"])
    total = Counter[str]()
    for entry in seen.ledger:
        total.update({name: value for name, value in entry.items() if name not in ("pk", "sk")})
    paid = [render for render in seen.renders if render["status"] == "DELIVERED" or _error(render) == "delivery"]
    unsure = [render for render in seen.renders for _ in range(_unsettled(render))]
    expired = sum(_said(render, "expired") for render in seen.renders)
    cost = sum(render["cost"] for render in paid)
    expected = {
        "submitted": total["not_charged"] + len(paid) + len(unsure) + expired,
        "completed": len(paid),
        "cost": cost,
        "reserved": cost + price * (len(unsure) + expired),
    }
    for name, value in expected.items():
        if abs(total[name] - value) > 1e-6:
            yield f"the ledger's {name} is {total[name]}, should be {value}"
    elsewhere = [
        job
        for render in (*unsure, *seen.renders)
        if _said(render, "expired") or render in unsure
        for job in seen.jobs[render["render_id"]]
        if job.request_id != render.get("request_id")
    ]
    charged = cost + sum({job.request_id: job.charged for job in elsewhere}.values())
    if abs(seen.world.vendor.ledger.spent - charged) > 1e-6:
        yield f"the vendor charged {seen.world.vendor.ledger.spent}, our records say {charged}"


def every_end_is_told(seen: Evidence) -> Broken:
    """7. Every end is published at least once, under one stable id, and says the same each time; no secret is in it."""
    kinds = {"DELIVERED": "rendered", "FAILED": "failed", "UNCERTAIN": "uncertain"}
    known = {f"{render['render_id']}.{n + 1}" for render in seen.all_renders for n in range(render["attempt"])}
    for render in seen.all_renders:
        if render["status"] in ENDED:
            name = f"{render['render_id']}.{render['attempt']}.{kinds[render['status']]}"
            if name not in seen.events:
                yield f"{render['prefix']} is {render['status']}, and nobody was told"
    for name, told in seen.events.items():
        if any(event != told[0] for event in told):
            yield f"the event {name} says different things"
        if not name.startswith("gate.") and name.rpartition(".")[0] not in known:
            yield f"the event {name} is of no render"
        if "X-Amz-" in json.dumps(told) or KEY in json.dumps(told):
            yield f"the event {name} holds a secret"


def dead_letters_are_poison(seen: Evidence) -> Broken:
    """2. Waiting never uses up a message's receives: nothing but poison is in the dead-letter queue."""
    for letter in seen.world.queue.dead_letters:
        if "poison" not in letter.body:
            yield f"dead letter: {letter.body[:300]}"


def workflows_end_as_their_renders(seen: Evidence) -> Broken:
    """An attempt has one execution, and every one ends: green if it was delivered, red with the error's code if not."""
    inputs = [json.loads(execution.given) for execution in seen.world.executions.by_name.values()]
    attempts = [(given["render_id"], given["attempt"]) for given in inputs]
    yield from (f"{attempts.count(one)} executions for {one}" for one in set(attempts) if attempts.count(one) > 1)
    by_name = {f"{render['render_id']}-{render['attempt']}": render for render in seen.renders}
    for execution in seen.world.executions.by_name.values():
        render = by_name.get("-".join(execution.name.rsplit("-", 2)[-2:]))
        if execution.status == "RUNNING" or (execution.status == "FAILED" and execution.error not in CODES):
            yield f"execution {execution.name} is {execution.status} {execution.error} {execution.cause}"
        elif render and (execution.status == "SUCCEEDED") is not (render["status"] == "DELIVERED"):
            yield f"execution {execution.name} {execution.status}, its render is {render['status']}"


def the_money_brake_holds(seen: Evidence) -> Broken:
    """5. On no UTC day are more jobs sent than the daily spend limit pays for."""
    limit, price = (float(seen.world.template.parameters[name]) for name in ("DailySpendLimit", "PricePerRender"))
    days = Counter(_day_of_money(render, job) for render, job in seen.running_jobs())
    for utc_day, count in days.items():
        if count * price > limit + 1e-6:
            yield f"{count} jobs were sent on {utc_day}, the limit is {limit} USD"


def one_probe_at_a_time(seen: Evidence) -> Broken:
    """5. While the account is refused, one probe goes at a time, not a thousand."""
    posts = seen.world.vendor.ledger.posts
    refused = [post.at for post in posts if post.outcome == "refused" and post.status in (401, 403, 406)]
    for first, last in zip(refused, refused[_REFUSALS_A_MINUTE + len(seen.world.schedule.faults) :], strict=False):
        if last - first < 60:
            yield f"more than {_REFUSALS_A_MINUTE} refused requests within a minute"
            return


def paced(seen: Evidence) -> Broken:
    """4. Pacing, not retry storms: no 429 that was not provoked."""
    if seen.world.vendor.ledger.too_many_requests and not seen.world.schedule.provokes_429:
        yield f"{seen.world.vendor.ledger.too_many_requests} answers of 429"


PROMISES: tuple[Callable[[Evidence], Broken], ...] = (
    at_most_one_paid_job_per_render,
    what_is_dropped_once_is_paid_once,
    nothing_is_lost,
    uncertain_only_if_an_answer_was_lost,
    failed_only_if_it_did,
    the_newest_drop_speaks,
    each_pair_has_its_one_result,
    overtaken_pictures_are_kept,
    the_ledger_agrees,
    every_end_is_told,
    dead_letters_are_poison,
    workflows_end_as_their_renders,
    the_money_brake_holds,
    one_probe_at_a_time,
    paced,
)


def broken(world: World, ends: Mapping[str, set[str]]) -> list[str]:
    """All that breaks a promise in a world at rest."""
    seen = Evidence(world, ends)
    return [f"{promise.__name__}: {words}" for promise in PROMISES for words in promise(seen)]


def _asked_by(render: Render) -> str:
    asked = render["parameters"]
    links = [given.get("url") or f"{given['key']} {given['version_id']}" for given in render["inputs"]]
    return _words(asked["prompt"], asked["aspect_ratio"], asked["output_format"], asked["safety_tolerance"], links)


def _words(*asked: Any) -> str:
    return json.dumps(asked)


def _error(render: Render) -> str:
    return str(render["error"]["code"]) if render["status"] == "FAILED" else ""


def _day_of_money(render: Render, job: Job) -> str:
    """The day on which the price was reserved; a request that was held up may reach the vendor just after it."""
    days = {day(job.accepted_at), day(job.accepted_at - _HELD_UP_SECONDS)}
    return str(render["day"]) if render.get("day") in days else day(job.accepted_at)


def _said(render: Render, code: str) -> int:
    return sum(entry.get("code") == code for entry in render["history"])


def _unsettled(render: Render) -> int:
    """How many of its attempts have ended without anyone knowing whether they were paid."""
    said = [entry["what"] for entry in render["history"] if entry["what"] in ("uncertain", "accepted", "again")]
    return sum(now == "uncertain" and then != "accepted" for now, then in pairwise([*said, ""]))


def _speaks(key: str, prefix: str) -> bool:
    return key.startswith(prefix) and key.removeprefix(prefix) in ("result.png", "result.jpg", "error.json")


def _error_file(seen: Evidence, prefix: str, render: Render, there: set[str]) -> Broken:
    found = seen.world.s3.newest("OutputBucket", f"{prefix}error.json")
    told = json.loads(found.body or b"") if found else {}
    if told.get("code") != render["error"]["code"]:
        yield f"{prefix}: {render['status']} {render['error']['code']}, and there are {sorted(there)} saying {told}"


def _loses_an_answer(fault: Fault, injected: Call, calls: list[Call]) -> bool:
    """Whether the process had said that it would send a request, and had not yet recorded what came of it."""
    said = [call for call in calls if call.process == injected.process and call.at <= injected.at and _moves(call)]
    return (
        injected.process.startswith("submit")
        and bool(said)
        and (_moves(said[-1]) == "SUBMITTING" or said[-1] is injected)
    )


def _unheard(post: Post) -> bool:
    """Whether the vendor's answer says nothing of what became of the request."""
    return post.status is None or post.status >= 504 or (post.status == 200 and post.request_id is None)


def _moves(call: Call) -> str:
    """The status that a call gives to a render, if it does."""
    writes = call.asked.get("TransactItems", [{"Update": call.asked}]) if call.service == "dynamodb" else []
    values = [write["Update"].get("ExpressionAttributeValues", {}) for write in writes]
    return "".join(value[":status"]["S"] for value in values if ":status" in value)
