"""What must not happen while something is away or a person has paused, and what one invocation must not do."""

from __future__ import annotations

from itertools import pairwise

from kontext_local.segmind.ledger import Post
from simulation.evidence import Broken, Evidence, Promise
from simulation.outside import is_unheard
from simulation.scheduler import BEGINNING

_HELD_UP_SECONDS = 60.0
"""A request that was on its way may reach the vendor so late."""
_A_COMMAND_SECONDS = 120.0
_ACCOUNT = (401, 402, 403, 404, 406, 410)
_BETWEEN_PROBES_SECONDS = 4.0
_IN_AN_HOUR, _HOUR_SECONDS = 10, 3600.0
_ON_THEIR_WAY = 5
"""As many may go at once, and be on their way when the first is refused."""
_LONGEST_CHAIN = 4
"""A drop, a page of those who wait for it, a pair that settles, a permit. Lambda stops a function at about sixteen:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html"""
_LARGEST_ITEM = 100 * 1024
"""A quarter of what DynamoDB takes, in bytes."""
_NEEDED = ("dynamodb", "stepfunctions")
"""Without these a paid job cannot be finished."""


def a_pause_holds(seen: Evidence) -> Broken:
    """5. Between `pause` and `resume` nothing is sent, apart from what was on its way."""
    repeated = sum(call.process == "operator" for _, call in seen.world.injector.injected)
    held_up = _HELD_UP_SECONDS + _A_COMMAND_SECONDS * repeated
    for paused, resumed in seen.outside.pauses:
        sent = [post for post in seen.world.vendor.ledger.posts if paused + held_up < post.at < resumed]
        if sent:
            yield f"{len(sent)} requests were sent {sent[0].at - paused:.0f} s after the pause and later"


def one_probe_at_a_time(seen: Evidence) -> Broken:
    """5. While the account is refused, one request at a time finds out whether it still is, seconds after the last."""
    posts = sorted((post for post in seen.world.vendor.ledger.posts), key=lambda post: post.at)
    refused = [post.outcome == "refused" and post.status in _ACCOUNT for post in posts]
    stops = sum(now and not before for before, now in pairwise([False, *refused]))
    soon = [
        other.at
        for (one, before), (other, now) in pairwise(zip(posts, refused, strict=True))
        if before and now and other.at - one.at < _BETWEEN_PROBES_SECONDS
    ]
    if len(soon) > _ON_THEIR_WAY * stops + len(seen.world.schedule.faults):
        yield f"{len(soon)} requests were refused just after another one, first at {soon[0] - BEGINNING:.0f} s"


def an_outage_costs_few_requests(seen: Evidence) -> Broken:
    """5. While answers do not tell whether a job was accepted, at most ten requests an hour go to find out."""
    doubtful = sorted(post.at for post in seen.world.vendor.ledger.posts if _is_outage(post))
    many = _IN_AN_HOUR + len(seen.world.schedule.faults)
    for first, last in zip(doubtful, doubtful[many:], strict=False):
        if last - first < _HOUR_SECONDS:
            yield f"{many + 1} requests went in {last - first:.0f} s, and no answer told what became of them"
            return


def _is_outage(post: Post) -> bool:
    return (post.status in (502, 503) and not post.names_job) or is_unheard(post)


def nothing_is_paid_that_cannot_be_finished(seen: Evidence) -> Broken:
    """5. Once the table or Step Functions has not answered, nothing more is paid until it does."""
    for (began, ended), outage in seen.outside.outages:
        for service in set(outage.services) & set(_NEEDED):
            noticed = min(
                (call.at for call in seen.world.injector.calls if call.service == service and began <= call.at < ended),
                default=ended,
            )
            jobs = seen.world.vendor.ledger.jobs.values()
            paid = [job for job in jobs if noticed + _HELD_UP_SECONDS < job.accepted_at < ended]
            if paid:
                yield f"{len(paid)} jobs were paid after {service} had not answered at {noticed - BEGINNING:.0f} s"


def no_invocation_is_cut_off(seen: Evidence) -> Broken:
    """11. What one message may do is bounded: no function reaches its time limit, unless it was held up for longer than
    the clients wait for an answer."""
    struck = {call.process for fault, call in seen.world.injector.injected if not fault.kind.startswith("time-out")}
    hanging = [period for period, outage in seen.outside.outages if outage.hangs]
    for at, process in seen.world.scheduler.timed_out:
        held_up = any(began <= at <= ended + _A_COMMAND_SECONDS for began, ended in hanging)
        if process not in struck and not held_up:
            yield f"{process} was cut off by its time limit at {at - BEGINNING:.0f} s"


def nothing_grows_without_bound(seen: Evidence) -> Broken:
    """11. What one message leads to, and what stands in one item of the table, is bounded."""
    chain, item = seen.world.queue.longest_chain, seen.world.dynamodb.largest_item
    if chain > _LONGEST_CHAIN:
        yield f"a chain of {chain} invocations, one by the other's message"
    if item > _LARGEST_ITEM:
        yield f"an item of {item} bytes"


BRAKES: tuple[Promise, ...] = (
    nothing_grows_without_bound,
    a_pause_holds,
    one_probe_at_a_time,
    an_outage_costs_few_requests,
    nothing_is_paid_that_cannot_be_finished,
    no_invocation_is_cut_off,
)
