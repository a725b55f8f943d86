"""The promises of the design, held against a world at rest: its table, buckets, topic, queue and the vendor's ledger.

Each promise yields what breaks it, in words.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from kontext.errors import CODES
from kontext.images import identify
from kontext.model import Render, RenderInput
from kontext_local.segmind.jobs import Job
from simulation.brakes import BRAKES
from simulation.evidence import ENDED, Broken, Evidence, Promise
from simulation.oracle import dropped, is_prompt_gone, prefixes
from simulation.outside import ASIDE_SECONDS, SERVER_ERRORS
from simulation.schedule import DroppedObject
from simulation.uncertainty import UNCERTAINTY

_MOST_REPEATS = 4
"""After a server error: three, one more once another render was accepted, and then one every 45 minutes."""
_SYNC_SECONDS = 2.0
"""Two objects of one sync come no further apart."""
_SPEAKS = ("result.png", "result.jpg", "error.json")
"""The names of what stands for a pair."""
_PAID = ("COMPLETED", "DELIVERED")
_PAID_FOR_NOTHING = ("delivery", "no_result")


def at_most_one_paid_job_per_render(seen: Evidence) -> Broken:
    """1. At most one paid job per render, but for what hid behind server errors, whose repeats are few."""
    for render in seen.renders:
        jobs = seen.jobs_of(render)
        paid = [job.request_id for job in jobs if job.charged]
        allowed = 1 + seen.paid_anew(render["prefix"]) + _repeated(seen.hidden(render))
        if len(paid) > allowed:
            yield f"{render['prefix']} was paid {len(paid)} times: {', '.join(paid)}"
        running = [job for job in jobs if job.state != "FAILED"]
        if len(running) > allowed:
            yield f"{render['prefix']} was accepted {len(running)} times"
    for job in seen.jobs_of_nobody:
        yield f"no record knows the job {job.request_id} ({job.parameters.prompt})"


def what_is_dropped_once_is_paid_once(seen: Evidence) -> Broken:
    """1. A pair that was dropped once and together is not paid for twice, whatever its messages do."""
    hidden = {job.request_id for render in seen.renders for job in seen.hidden(render)}
    jobs = ((render["prefix"], job) for render in seen.renders for job in seen.jobs_of(render))
    paid = Counter(prefix for prefix, job in jobs if job.charged and job.request_id not in hidden)
    for prefix, times in paid.items():
        allowed = 1 + seen.paid_anew(prefix)
        if times > allowed and _at_once(seen, seen.drops_of(prefix)):
            yield f"{prefix} was dropped once, and paid for {times} times"


def _repeated(hidden: Sequence[Job]) -> int:
    """How often a render may have been sent again because of jobs that hid behind server errors."""
    lasted = hidden[-1].accepted_at - hidden[0].accepted_at if hidden else 0.0
    return min(len(hidden), _MOST_REPEATS + int(lasted / ASIDE_SECONDS))


def _at_once(seen: Evidence, drops: Sequence[DroppedObject]) -> bool:
    """Whether objects were dropped as one pair: by one sync, or images and in time the prompt they wait for."""
    if len({drop.key for drop in drops}) < len(drops):
        return False
    synced = all(later.at - earlier.at <= _SYNC_SECONDS for earlier, later in pairwise(drops))
    waited = drops[-1].at - drops[0].at < float(seen.world.template.parameters["PromptWaitSeconds"])
    return synced or (waited and not any(drop.has_prompt for drop in drops[:-1]))


def nothing_is_lost(seen: Evidence) -> Broken:
    """2. Every complete pair ends DELIVERED, FAILED (said so) or UNCERTAIN (said so)."""
    for prefix in prefixes(seen.world):
        of_drops = {dropped(seen.world, prefix).end}
        allowed: set[str | None] = {*seen.ends.get(prefix, ())} or of_drops
        end = seen.end(prefix)
        if (
            seen.outside.lost_at < math.inf
        ):  # the vendor is well since, and a later drop may find the render still at work
            allowed = allowed | of_drops | _failed_jobs(seen, prefix)
            allowed |= {"DELIVERED"} if dropped(seen.world, prefix).content else set()
        if end.partition(" ")[0] not in ENDED and end not in allowed and None not in allowed:
            continue  # it stands still, which is said below
        if end not in allowed and end != "UNCERTAIN" and None not in allowed:
            yield f"{prefix} ended {end}, not {' or '.join(sorted(map(str, allowed)))}"


def failed_only_if_it_did(seen: Evidence) -> Broken:
    """2. A render FAILED only if it did, and the record says the truth about the money."""
    for render in seen.renders:
        if render["status"] != "FAILED":
            continue
        code, jobs = render["error"]["code"], seen.jobs_of(render)
        told = f"{render['prefix']} FAILED with {code}"
        paid = any(job.charged for job in jobs)
        if code == "superseded" and seen.current(seen.pairs[render["prefix"]]) is render:
            yield f"{told}, but nothing newer is there"
        if code == "render_failed" and not any(job.state == "FAILED" for job in jobs):
            yield f"{told}, but no job of it has failed"
        if render["error"]["charged"] == "unknown" and any(seen.told_done(job) for job in jobs):
            yield f"{told} and charged: unknown, but the vendor had said that the job is done"
        if {"yes": not paid, "no": paid, "unknown": False}[render["error"]["charged"]] and not _said(render, "expired"):
            yield f"{told} and charged: {render['error']['charged']}, but it {'was' if paid else 'was not'}"


def the_newest_drop_speaks(seen: Evidence) -> Broken:
    """3. What stands for a pair is made of what was dropped last."""
    for prefix, pair in seen.pairs.items():
        render, content = seen.current(pair), dropped(seen.world, prefix).content
        if render is None or "inputs" not in render or content is None:
            continue
        for given, newest in zip(render["inputs"], content, strict=True):
            own = given.get("key", "").startswith(prefix)
            if seen.content(given) != newest and (own or seen.content(given) not in _ever_stood(seen, given)):
                yield f"{prefix} is made of another {given.get('key')} than was dropped last"
        said = dropped(seen.world, prefix).asked
        if "prompt" not in said and is_prompt_gone(seen.world, prefix):
            continue  # that asks for no new picture
        prompts = {said["prompt"]} if "prompt" in said else seen.ever_deployed("DefaultPrompt")
        other = {name: value for name, value in said.items() if render["parameters"].get(name) != value}
        if other or render["parameters"]["prompt"] not in prompts:
            yield f"{prefix} is {render['parameters']}, asked was {other or prompts}"


def _ever_stood(seen: Evidence, given: RenderInput) -> set[str]:
    """What ever stood under the key of a named image: a newer one asks for no new picture."""
    return {one.version.digest for one in seen.world.bucket.stood.get(given.get("key", ""), ()) if one.version}


def each_pair_has_its_one_result(seen: Evidence) -> Broken:
    """3. A delivered pair has exactly one current result, with the right bytes; any other has its error.json."""
    for prefix, pair in seen.pairs.items():
        render = seen.current(pair)
        if render is None or render["status"] not in ENDED:
            continue
        there = {key for name in _SPEAKS if seen.world.s3.newest("OutputBucket", key := f"{prefix}{name}")}
        if render["status"] != "DELIVERED":
            yield from _error_file(seen, prefix, render, there)
            continue
        made = seen.made_for(render)
        result = f"{prefix}result.{'jpg' if made and identify.kind_of(made[-1]) == 'jpeg' else 'png'}"
        if there != {result}:
            yield f"{prefix}: delivered, and there are {sorted(there)}"
        elif (found := seen.world.s3.newest("OutputBucket", result)) and found.body not in made:
            yield f"{prefix}: the result is another picture"


def overtaken_pictures_are_kept(seen: Evidence) -> Broken:
    """3. A paid picture that a newer drop has overtaken stands beside the pair's result."""
    for render in seen.renders:
        result = render.get("result") or {}
        if render["status"] == "DELIVERED" and result.get("superseded"):
            found = seen.world.s3.newest("OutputBucket", result["key"])
            if found is None or found.body not in seen.made_for(render):
                yield f"{render['prefix']}: the overtaken picture is not at {result['key']}"


def the_ledger_agrees(seen: Evidence) -> Broken:
    """4. The day's ledger, the records and the vendor's ledger agree to the cent.

    It counts what may have been charged, never less than the price for a picture, whatever the vendor states. What was
    reserved for a request that was answered by a server error may have been kept.
    """
    total = Counter[str]()
    for entry in seen.ledger:
        total.update({name: value for name, value in entry.items() if name not in ("pk", "sk")})
    paid = [render for render in seen.renders if render["status"] in _PAID or _error(render) in _PAID_FOR_NOTHING]
    unsure = [render for render in seen.renders for _ in range(_unsettled(render))]
    expired = [render for render in seen.renders for _ in range(_expired(render))]
    prices = [seen.prices(render) for render in (*unsure, *expired)]
    costs = [(render, render["cost"]) for render in paid]
    costs += [(render, cost) for render in seen.renders for cost in _paid_before(render)]
    cost = sum(cost for _, cost in costs)
    submitted = total["not_charged"] + len(costs) + len(unsure) + len(expired)
    least, most = (sum(max(cost, price(seen.prices(render))) for render, cost in costs) for price in (min, max))
    kept = sum(post.status in SERVER_ERRORS for post in seen.world.vendor.ledger.posts) + _server_errors(seen)
    dearest = max((max(seen.prices(render)) for render in seen.renders), default=0.0)
    expected = {
        "submitted": (submitted, submitted + kept),
        "completed": (len(costs), len(costs)),
        "cost": (cost, cost),
        "reserved": (least + sum(map(min, prices)), most + sum(map(max, prices)) + dearest * kept),
    }
    for name, (low, high) in expected.items():
        if not low - 1e-6 < total[name] < high + 1e-6:
            yield f"the ledger's {name} is {total[name]}, should be {low}" + (f" to {high}" if high > low else "")
    priced = [(min(seen.prices(render)), job) for render, job in seen.running_jobs() if render]
    taken = sum(price for price, _ in priced)
    charged = sum(job.charged if seen.told_done(job) else min(job.charged, price) for price, job in priced)
    if total["reserved"] < max(charged, taken) - 1e-6:
        yield f"the ledger counts {total['reserved']:.2f} USD: jobs for {taken:.2f} were taken, {charged:.2f} charged"


def dead_letters_are_poison(seen: Evidence) -> Broken:
    """2. Waiting never uses up a message's receives: nothing but poison is in the dead-letter queue."""
    for letter in seen.world.queue.dead_letters:
        if "poison" not in letter.body:
            yield f"dead letter: {letter.body[:300]}"


def workflows_end_as_their_renders(seen: Evidence) -> Broken:
    """A generation has one execution; each ends green if its render was delivered, else red with the error's code."""
    followed = {
        (one["render_id"], one["attempt"], one.get("generation"), one.get("request_id")): one for one in seen.renders
    }
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
    return told["render_id"], told["attempt"], told["generation"], told["request_id"]


PROMISES: tuple[Promise, ...] = (
    at_most_one_paid_job_per_render,
    what_is_dropped_once_is_paid_once,
    nothing_is_lost,
    failed_only_if_it_did,
    the_newest_drop_speaks,
    each_pair_has_its_one_result,
    overtaken_pictures_are_kept,
    the_ledger_agrees,
    dead_letters_are_poison,
    workflows_end_as_their_renders,
    *UNCERTAINTY,
    *BRAKES,
)


def _error(render: Render) -> str:
    return str(render["error"]["code"]) if render["status"] == "FAILED" else ""


def _server_errors(seen: Evidence) -> int:
    """How many requests the network itself has answered so, though the vendor never saw them."""
    kinds = [fault.kind for fault, call in seen.world.injector.injected if call.service == "segmind"]
    return kinds.count("error")


def _said(render: Render, code: str) -> int:
    return sum(entry.get("code") == code for entry in render["history"])


def _expired(render: Render) -> int:
    """How many of its requests have ended without a result, and none was found or taken up when they were looked at
    again."""
    expired, of_this_request = 0, 0
    for entry in render["history"]:
        if entry["what"] == "submitting":
            expired, of_this_request = expired + of_this_request, 0
        elif entry.get("code") == "expired":
            of_this_request = 1
        elif entry["what"] in ("completed", "unlinked") or entry.get("reason") == "reopened":
            of_this_request = 0
    return expired + of_this_request


def _paid_before(render: Render) -> list[float]:
    """What the pictures of a render have cost that a person had made once more."""
    before, cost = [], None
    for entry in render["history"]:
        if entry["what"] == "completed":
            cost = entry["cost"]
        elif entry["what"] == "submitting" and cost is not None:
            before.append(cost)
            cost = None
    return before


def _unsettled(render: Render) -> int:
    """How many of its attempts have ended without anyone knowing whether they were paid."""
    known = ("uncertain", "accepted", "completed", "again")
    said = [entry["what"] for entry in render["history"] if entry["what"] in known]
    return sum(now == "uncertain" and then not in ("accepted", "completed") for now, then in pairwise([*said, ""]))


def _error_file(seen: Evidence, prefix: str, render: Render, there: set[str]) -> Broken:
    found = seen.world.s3.newest("OutputBucket", f"{prefix}error.json")
    told = json.loads(found.body or b"") if found else {}
    if told.get("code") != render["error"]["code"]:
        yield f"{prefix}: {render['status']} {render['error']['code']}, and there are {sorted(there)} saying {told}"


def _failed_jobs(seen: Evidence, prefix: str) -> set[str]:
    """How a pair may end whose render's job has failed."""
    render = seen.current(seen.pairs[prefix]) if prefix in seen.pairs else None
    jobs = seen.jobs_of(render) if render else []
    return {"FAILED render_failed"} if any(job.state == "FAILED" for job in jobs) else set()
