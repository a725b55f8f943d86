"""What is told: every end, every pause, every object that is nobody's; to subscribers, and beside the results."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from simulation.evidence import ENDED, KINDS, Broken, Evidence, Promise, unix
from simulation.oracle import is_litter, loose_objects, stood
from simulation.world import KEY

_SYNC_SECONDS = 2.0
"""Two ends of one pair that come no further apart may be told in any order."""
_ON_ITS_WAY_SECONDS = 30.0
_LATE_SECONDS = 900.0
_ACCOUNT = (401, 402, 403, 406)


def every_end_is_told(seen: Evidence) -> Broken:
    """7. Every end is published at least once, under one stable id, and says the same each time; no secret is in it."""
    known = {f"{render['render_id']}.{n + 1}" for render in seen.all_renders for n in range(render["attempt"])}
    for render in seen.all_renders:
        if render["status"] in ENDED:
            name = f"{render['render_id']}.{render['attempt']}.{KINDS[render['status'].lower()]}"
            if name not in seen.events:
                yield f"{render['prefix']} is {render['status']}, and nobody was told"
    for name, told in seen.events.items():
        if any(event != told[0] for event in told):
            yield f"the event {name} says different things"
        if not name.startswith("gate.") and name.rpartition(".")[0] not in known:
            yield f"the event {name} is of no render"
        if "X-Amz-" in json.dumps(told) or KEY in json.dumps(told):
            yield f"the event {name} holds a secret"


def a_late_picture_is_told(seen: Evidence) -> Broken:
    """6. A paid picture that could not be delivered for a good ten minutes is told to be late, while AWS is well."""
    for render in seen.renders if seen.outside.aws_is_well else ():
        attempt, paid_at = 1, math.inf
        for entry in render["history"]:
            attempt += entry["what"] == "again"
            if entry["what"] in ("completed", "again"):
                paid_at = unix(entry["at"]) if entry["what"] == "completed" else math.inf
            late = entry["what"] in ("delivered", "failed") and unix(entry["at"]) > paid_at + _LATE_SECONDS
            if late and f"{render['render_id']}.{attempt}.delivery_delayed" not in seen.events:
                yield f"{render['prefix']} was delivered late, and nobody was told"


def ends_are_told_in_order(seen: Evidence) -> Broken:
    """7. What SNS did not take is told later, of each pair in the order in which it ended."""
    held_up = any("sns" in outage.services for _, outage in seen.outside.outages)
    for prefix in seen.pairs if held_up else ():
        told = [(ended, name, seen.first_told[name]) for ended, name in seen.ends_of(prefix) if name in seen.first_told]
        for (first, one, one_told), (then, other, other_told) in pairwise(told):
            if one_told > other_told and then - first > _SYNC_SECONDS:
                yield f"{prefix}: {one} was told {one_told - other_told:.0f} s after {other}, which ended later"


def a_stop_is_told(seen: Evidence) -> Broken:
    """7. That all wait for the account's sake is told, unless whoever heard it had no time to; and that they go on."""
    events = [(seen.first_told[name], event["type"]) for name, (event, *_) in seen.events.items()]
    told = sorted((at, kind) for at, kind in events if kind in ("kontext.parked", "kontext.resumed"))
    turns = [kind for _, kind in told]
    posts = seen.world.vendor.ledger.posts
    refused = [post.at for post in posts if post.outcome == "refused" and post.status in _ACCOUNT]
    may_be_lost = 0 if seen.outside.aws_is_well else 1 + len(seen.world.injector.injected)
    if len(refused) > may_be_lost and "kontext.parked" not in turns:
        yield f"{len(refused)} requests were refused for the account's sake, and nobody was told"
    accepted = max((post.at for post in posts if post.outcome == "accepted"), default=0.0)
    heard = not seen.world.injector.injected
    if heard and turns[-1:] == ["kontext.parked"] and accepted > told[-1][0] + _ON_ITS_WAY_SECONDS:
        yield "the account is in order again, and nobody was told"


WRONG_DROPS = ("invalid_request", "invalid_image", "near_miss")
"""What is wrong with a drop before Segmind is asked: what Segmind answers is told for each request."""


def a_problem_is_told_once(seen: Evidence) -> Broken:
    """7. A drop that is wrong is told once, whatever the number of its parts."""
    told: Counter[tuple[str, str]] = Counter()
    for event, *_ in seen.events.values():
        if event["type"] == "kontext.failed" and event["data"]["error"]["code"] in WRONG_DROPS:
            told[event["data"]["pair"], json.dumps(event["data"]["error"])] += 1
    for (prefix, error), times in told.items():
        drops = Counter(drop.key for drop in seen.drops_of(prefix))
        most = max(drops.values(), default=1) + seen.outside.decisions_about[prefix]
        if times > most:
            yield f"{prefix}: {error[:90]} was told {times} times"


def what_is_nobodys_is_told(seen: Evidence) -> Broken:
    """8. Beside the results it is said which objects are no part of a pair and named by none, and of no others."""
    told = {str(said["object"]) for said in _said_of_objects(seen)}
    expected, known = loose_objects(seen.world)
    for key in sorted(told & known):
        yield f"{key} is said to be nobody's, and a request names it"
    for key in sorted(expected - told):
        yield f"{key} is nobody's, and nobody is told"
    for key in sorted(key for key in told if not stood(seen.world, key)):
        yield f"{key} is said to be nobody's, and is not there"
    for key in filter(is_litter, (*told, *seen.world.s3.keys("OutputBucket"))):
        yield f"something is said of {key}, which nobody has dropped"


def _said_of_objects(seen: Evidence) -> Iterator[dict[str, Any]]:
    for key in seen.world.s3.keys("OutputBucket"):
        found = seen.world.s3.newest("OutputBucket", key)
        if key.endswith("error.json") and found and "object" in (said := json.loads(found.body or b"{}")):
            yield said


TELLING: tuple[Promise, ...] = (
    every_end_is_told,
    a_late_picture_is_told,
    ends_are_told_in_order,
    a_stop_is_told,
    a_problem_is_told_once,
    what_is_nobodys_is_told,
)
