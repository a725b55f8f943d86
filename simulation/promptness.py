"""That nobody waits longer than he has to: for a picture that is made, or for a rate limit that has reset.

Held against the vendor's own ledger, and only where AWS does what it should: what a crash costs is another matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import pairwise

from kontext_local.segmind.jobs import Job
from simulation.evidence import Broken, Evidence, Promise, unix

_LAG_SECONDS = 5.0
_LAG_SHARE = 0.02
"""Polls thin out: the later a job is, the less exactly is its end met."""
_RESET_SECONDS = 20.0
_TRUE = (200, 422, 429)
"""What a vendor in order answers; a 429 is our own doing, unless it is scripted."""


def a_picture_is_soon_seen(seen: Evidence) -> Broken:
    """4. A picture is seen soon after it is made, on the mean, or after its job is known, or the vendor well again."""
    jobs = seen.world.vendor.ledger.jobs.values() if seen.outside.undisturbed else ()
    lags = [lag for job in jobs for lag in _lag(seen, job)]
    if lags and (mean := sum(lags) / len(lags)) > _LAG_SECONDS:
        yield f"pictures are seen {mean:.0f} s after they could have been, {max(lags):.0f} s at most"


def _lag(seen: Evidence, job: Job) -> Iterator[float]:
    polls = seen.polls.get(job.request_id, ())
    found = [poll.at for poll in polls if poll.kind == "result" and poll.told == "COMPLETED"]
    if not found or job.ended_at is None:
        return
    wrong = [poll for poll in polls if poll.at < found[0] and (poll.scripted or poll.status not in _TRUE)]
    free = [job.ended_at, *_known_since(seen, job), *(_reset(poll.resets) or poll.at for poll in wrong)]
    backed_off = 2.0 ** min(6, len(wrong)) if wrong else 0.0
    yield max(0.0, found[0] - max(free) - backed_off - _LAG_SHARE * (job.ended_at - job.accepted_at))


def _known_since(seen: Evidence, job: Job) -> Iterator[float]:
    """When a job was found whose id came in a broken answer alone."""
    for render in seen.by_candidate.get(job.request_id, ()):
        accepted = (entry for entry in render["history"] if entry.get("request_id") == job.request_id)
        yield from (unix(entry["at"]) for entry in accepted)


def a_rate_limit_holds_nobody_longer_than_it_says(seen: Evidence) -> Broken:
    """4. After a 429 the next request goes soon after the limit resets, whatever the vendor's clock says."""
    posts = seen.world.vendor.ledger.posts if seen.outside.undisturbed else []
    for refused, following in pairwise(posts):
        reset = _reset(refused.resets)
        if refused.status == 429 and reset and following.at > reset + _RESET_SECONDS:
            yield f"after a 429 nothing was sent for {following.at - refused.at:.0f} s, not {reset - refused.at:.0f} s"
            return


def _reset(text: str | None) -> float | None:
    if not text:
        return None
    if text.isdigit():
        return float(text)
    read = datetime.fromisoformat if text[:4].isdigit() else parsedate_to_datetime
    return read(text).timestamp()


PROMPTNESS: tuple[Promise, ...] = (a_picture_is_soon_seen, a_rate_limit_holds_nobody_longer_than_it_says)
