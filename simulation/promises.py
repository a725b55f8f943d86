"""The promises of the design, held against a world at rest: its table, buckets, topic, queue and the vendor's ledger.

Each promise yields what breaks it, in words.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from kontext.clock import day
from kontext.errors import CODES
from kontext_local.segmind.jobs import Job
from kontext_local.segmind.ledger import Post
from simulation.actions import Decide
from simulation.evidence import ENDED, Broken, Evidence, Promise, Render
from simulation.fault_injection import EVERYTHING_LOST, Call, Fault
from simulation.oracle import dropped, prefixes
from simulation.world import KEY, DroppedObject

_HELD_UP_SECONDS = 60.0
_SYNC_SECONDS = 2.0
"""Two objects of one sync come no further apart."""
_REFUSALS_A_MINUTE = 17
"""Those on their way when the first is refused, and a probe every five seconds."""


def at_most_one_paid_job_per_render(seen: Evidence) -> Broken:
    """1. At most one paid job per render; only a failure known to lie before acceptance leads to another POST."""
    for render in seen.renders:
        jobs = seen.jobs[render["render_id"]]
        paid = [job.request_id for job in jobs if job.charged]
        allowed = 1 + seen.decided(Decide(render["prefix"], "resubmit"))
        if len(paid) > allowed:
            yield f"{render['prefix']} was paid {len(paid)} times: {', '.join(paid)}"
        running = [job for job in jobs if job.state != "FAILED"]
        if len(running) > allowed:
            yield f"{render['prefix']} was accepted {len(running)} times"
    for job in seen.jobs[""]:
        yield f"no record knows the job {job.request_id} ({job.parameters.prompt})"


def what_is_dropped_once_is_paid_once(seen: Evidence) -> Broken:
    """1. A pair that was dropped once and together is not paid for twice, whatever its messages do."""
    paid = Counter(r["prefix"] for r in seen.renders for job in seen.jobs[r["render_id"]] if job.charged)
    for prefix, times in paid.items():
        drops = sorted(drop for drop in seen.world.drops if drop.key.startswith(prefix))
        allowed = 1 + seen.decided(Decide(prefix, "resubmit"))
        if times > allowed and _at_once(seen, drops):
            yield f"{prefix} was dropped once, and paid for {times} times"


def _at_once(seen: Evidence, drops: Sequence[DroppedObject]) -> bool:
    """Whether objects were dropped as one pair: by one sync, or images and in time the prompt they wait for."""
    if len({drop.key for drop in drops}) < len(drops):
        return False
    synced = all(later.at - earlier.at <= _SYNC_SECONDS for earlier, later in pairwise(drops))
    waited = drops[-1].at - drops[0].at < float(seen.world.template.parameters["SettleSeconds"])
    return synced or (waited and not any(drop.has_prompt for drop in drops[:-1]))


def nothing_is_lost(seen: Evidence) -> Broken:
    """2. Every complete pair ends DELIVERED, FAILED (said so) or UNCERTAIN (said so)."""
    for prefix in prefixes(seen.world):
        of_drops = {dropped(seen.world, prefix).end}
        allowed, end = seen.ends.get(prefix) or of_drops, seen.end(prefix)
        if _everything_was_lost(seen):  # the vendor is well since, and a later drop may find the render still at work
            allowed = allowed | of_drops | _failed_jobs(seen, prefix)
        if end.partition(" ")[0] not in ENDED and end not in allowed and None not in allowed:
            continue  # it stands still, which is said below
        if end not in allowed and end != "UNCERTAIN" and None not in allowed:
            yield f"{prefix} ended {end}, not {' or '.join(sorted(allowed, key=str))}"


def what_is_taken_back_is_not_paid(seen: Evidence) -> Broken:
    """1. No request is sent for an image that was taken away before."""
    for job in seen.world.vendor.ledger.jobs.values():
        for link in (job.parameters.input_image_1, job.parameters.input_image_2):
            key, _ = seen.world.s3.version(link)
            gone = max(
                (at for at, removed in seen.world.removals if removed == key and at < job.accepted_at), default=None
            )
            back = any(gone and gone < drop.at < job.accepted_at for drop in seen.world.drops if drop.key == key)
            if gone and not back and gone < job.accepted_at - _HELD_UP_SECONDS:
                yield f"{key} was taken away {job.accepted_at - gone:.0f} s before it was paid for"


def uncertain_only_if_an_answer_was_lost(seen: Evidence) -> Broken:
    """2. A render is UNCERTAIN only if its request was, or may have been, sent and no answer was recorded."""
    uncertain = [render["prefix"] for render in seen.renders if render["status"] == "UNCERTAIN"]
    injected, calls = seen.world.injector.injected, seen.world.injector.calls
    lost = sum(_lost_answers(fault, call, calls) for fault, call in injected)
    unheard = [post for post in seen.world.vendor.ledger.posts if _unheard(post)]
    if len(uncertain) > lost + len(unheard):
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
    """A generation has one execution; each ends green if its render was delivered, else red with the error's code."""
    followed = {(one["render_id"], one["attempt"], one.get("generation")): one for one in seen.renders}
    executions = [(_follows(execution.given), execution) for execution in seen.world.executions.all]
    for what, count in Counter(what for what, _ in executions).items():
        if count > 1:
            yield f"{count} executions for {what}"
    for what, execution in executions:
        if execution.status == "RUNNING" or (execution.status == "FAILED" and execution.error not in CODES):
            yield f"execution {execution.name} is {execution.status} {execution.error} {execution.cause}"
        elif execution.status == "ABORTED" or what not in followed:
            continue
        elif (execution.status == "SUCCEEDED") is not (followed[what]["status"] == "DELIVERED"):
            yield f"execution {execution.name} {execution.status}, its render is {followed[what]['status']}"


def _follows(given: str) -> tuple[Any, ...]:
    told = json.loads(given)
    return told["render_id"], told["attempt"], told["generation"]


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


PROMISES: tuple[Promise, ...] = (
    at_most_one_paid_job_per_render,
    what_is_dropped_once_is_paid_once,
    what_is_taken_back_is_not_paid,
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


def _failed_jobs(seen: Evidence, prefix: str) -> set[str]:
    """How a pair may end whose render's job has failed."""
    render = seen.current(seen.pairs[prefix]) if prefix in seen.pairs else None
    jobs = seen.jobs[render["render_id"]] if render else []
    return {"FAILED render_failed"} if any(job.state == "FAILED" for job in jobs) else set()


def _everything_was_lost(seen: Evidence) -> bool:
    return any(fault.kind == EVERYTHING_LOST for fault, _ in seen.world.injector.injected)


def _lost_answers(fault: Fault, injected: Call, calls: list[Call]) -> int:
    """How many answers a fault may have lost: that of the process which it struck, or of all that it ended."""
    struck = {injected.process}
    if fault.kind == EVERYTHING_LOST:
        struck |= {call.process for call in calls if call.at <= injected.at}
    return sum(_loses_an_answer(process, injected, calls) for process in struck if process.startswith("submit"))


def _loses_an_answer(process: str, injected: Call, calls: list[Call]) -> bool:
    """Whether a process had said that it would send a request, and had not yet recorded what came of it."""
    said = [call for call in calls if call.process == process and call.at <= injected.at and _moves(call)]
    return bool(said) and (_moves(said[-1]) == "SUBMITTING" or said[-1] is injected)


def _unheard(post: Post) -> bool:
    """Whether the vendor's answer says nothing of what became of the request."""
    return post.status is None or post.status >= 504 or (post.status == 200 and post.request_id is None)


def _moves(call: Call) -> str:
    """The status that a call gives to a render, if it does."""
    writes = call.asked.get("TransactItems", [{"Update": call.asked}]) if call.service == "dynamodb" else []
    values = [write["Update"].get("ExpressionAttributeValues", {}) for write in writes]
    return "".join(value[":status"]["S"] for value in values if ":status" in value)
