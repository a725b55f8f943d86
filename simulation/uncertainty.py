"""When a render may be uncertain: only if an answer was lost; and in an outage only a few, since the others wait."""

from __future__ import annotations

from collections.abc import Iterator

from kontext.model import Render
from kontext_local.segmind.jobs import Job
from simulation.evidence import Broken, Evidence, Promise
from simulation.fault_injection import EVERYTHING_LOST, Call, Fault
from simulation.outside import is_unheard

_HELD_UP_SECONDS = 60.0
_FEW_UNCERTAIN, _PROBE_SECONDS = 5, 3000.0
"""Those on their way and three in a row that tell an outage; then whoever finds out whether it is over."""


def uncertain_only_if_an_answer_was_lost(seen: Evidence) -> Broken:
    """2. A render is UNCERTAIN only if its request was, or may have been, sent and no answer was recorded."""
    uncertain = [render["prefix"] for render in seen.renders if render["status"] == "UNCERTAIN"]
    injected, calls = seen.world.injector.injected, seen.world.injector.calls
    lost = sum(_lost_answers(fault, call, calls) for fault, call in injected)
    unheard = [post for post in seen.world.vendor.ledger.posts if is_unheard(post)]
    if len(uncertain) > lost + len(unheard) + len(list(_caught_by_an_outage(seen))):
        yield f"{', '.join(uncertain)}: UNCERTAIN, though no answer was lost"


def an_outage_is_not_decided_pair_by_pair(seen: Evidence) -> Broken:
    """2. Answers that do not come, one after the other, are an outage: renders wait, and few ask for a person."""
    unheard = [post.at for post in seen.world.vendor.ledger.posts if is_unheard(post)]
    uncertain = [render["prefix"] for render in seen.renders if _said_uncertain(render)]
    probes = (unheard[-1] - unheard[0]) / _PROBE_SECONDS if unheard else 0.0
    if len(uncertain) > _FEW_UNCERTAIN + len(seen.world.schedule.faults) + probes:
        yield f"{len(uncertain)} of {len(seen.renders)} renders asked for a person's decision"


def _said_uncertain(render: Render) -> bool:
    return any(entry["what"] == "uncertain" for entry in render["history"])


def _lost_answers(fault: Fault, injected: Call, calls: list[Call]) -> int:
    """How many answers a fault may have lost: that of the process which it struck, or of all that it ended."""
    moved = {call.process: call for call in calls if call.at <= injected.at and _moves(call)}
    struck = moved if fault.kind == EVERYTHING_LOST else {injected.process} & moved.keys()
    return sum(_loses_an_answer(moved[process], injected) for process in struck if process.startswith("submit"))


def _loses_an_answer(last: Call, injected: Call) -> bool:
    """Whether a process whose last move this was had said that it would send a request, and had not yet recorded what
    came of it."""
    return _moves(last) == "SUBMITTING" or last is injected


def _caught_by_an_outage(seen: Evidence) -> Iterator[Job]:
    """The jobs that were at the vendor when the table, or all functions, ceased to answer."""
    for (began, ended), outage in seen.outside.outages:
        if {"dynamodb", "lambda"} & set(outage.services):
            for job in seen.world.vendor.ledger.jobs.values():
                if job.accepted_at < began + _HELD_UP_SECONDS and (job.ended_at or ended) > began - _HELD_UP_SECONDS:
                    yield job


def _moves(call: Call) -> str:
    """The status that a call gives to a render, if it does."""
    writes = call.asked.get("TransactItems", [{"Update": call.asked}]) if call.service == "dynamodb" else []
    values = [write["Update"].get("ExpressionAttributeValues", {}) for write in writes]
    return "".join(value[":status"]["S"] for value in values if ":status" in value)


UNCERTAINTY: tuple[Promise, ...] = (uncertain_only_if_an_answer_was_lost, an_outage_is_not_decided_pair_by_pair)
