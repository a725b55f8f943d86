"""What `kontext doctor` looks for that does not move: drops that nobody knows, dead letters, pairs and renders."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice

from kontext.drops.redelivery import REASON, reason_of
from kontext.due import STUCK_AFTER, DueIndex
from kontext.model import Render, Status
from kontext.renders.overdue import RECORD_SECONDS
from kontext.renders.store import LEASE_SECONDS
from kontext.text import escape_line
from kontext_cli.decide.operate import about
from kontext_cli.doctor.checks import LOOKED_AT, Finding, StackInspection
from kontext_cli.read import newest
from kontext_cli.read.records import name_of
from kontext_cli.read.unrecorded import Comparison

LISTINGS = 2
"""So many listings of the bucket, of a thousand versions each, are compared with the table: a second or two of work."""
FRESH_SECONDS = 600.0
"""What came since may still be on its way."""


def unknown_drops(
    inspection: StackInspection, now: Callable[[], float] = time.time, listings: int = LISTINGS, page_size: int = 1000
) -> Iterator[Finding]:
    """Whether the table knows what lies in the bucket. Looks at the first objects only."""
    comparison = Comparison(inspection.target)
    found = comparison.unrecorded(listings=listings, page_size=page_size)
    unknown = [one for one in found if one.at < now() - FRESH_SECONDS]
    count = f"{comparison.compared:,} objects"
    looked = f"all {count}" if comparison.is_whole else f"the first {count} by name"
    if unknown:
        some = _some([escape_line(one.key) for one in unknown])
        says = f"of {looked} of the input bucket {len(unknown)} are not known to the table: {some}"
        yield Finding("bucket", "wrong", says, REMEDY_UNKNOWN)
    else:
        says = f"the table knows {looked} of the input bucket"
        rest = "`kontext replay --all` compares the others, too, and says what it finds."
        yield Finding("bucket", "good", says) if comparison.is_whole else Finding("bucket", "note", says, rest)


REMEDY_UNKNOWN = "`kontext replay --all` tells of them again, and says first what that may cost; or name a prefix."


def loose_objects(inspection: StackInspection) -> Iterator[Finding]:
    """Objects that fit no rule: somebody may wait for a picture of them."""
    found = newest.loose_objects(inspection.table)
    if found:
        some = _some([f"{escape_line(one.key)} ({one.why})" for one in found])
        says = f"{newest.how_many(len(found))} of the input bucket's objects fit no rule: {some}"
        yield Finding("names", "note", says, REMEDY_LOOSE)
    else:
        yield Finding("names", "good", "every object that was dropped fits a rule")


REMEDY_LOOSE = "Drop each again under a name of the drop convention, or delete it; `kontext status` lists them."


def dead_letters(inspection: StackInspection) -> Iterator[Finding]:
    """Messages that nobody could work on."""
    count = int(inspection.attribute("DeadLetterQueueUrl", "ApproximateNumberOfMessages") or 0)
    if not count:
        yield Finding("dead letters", "good", "none")
        return
    url = inspection.target.output("DeadLetterQueueUrl")
    asked = {"MaxNumberOfMessages": 1, "VisibilityTimeout": 0, "MessageAttributeNames": [REASON]}
    answer = inspection.client("sqs").receive_message(QueueUrl=url, **asked)
    some = [
        f"; one is about {about(one['Body'])}: {reason_of(inspection.table, one) or 'why is not known'}"
        for one in answer.get("Messages", ())
    ]
    yield Finding("dead letters", "wrong", f"{count}{''.join(some)}", REMEDY_DEAD)


REMEDY_DEAD = (
    "Remove the cause, then `kontext redrive` moves them back. A message that is no drop of ours can be deleted: "
    "purge the dead-letter queue."
)


def stuck_items(inspection: StackInspection, now: Callable[[], float] = time.time) -> Iterator[Finding]:
    """What nobody could bring on, however often it was looked at."""
    overdue = list(islice(DueIndex(inspection.table).over(now(), page_size=newest.MOST), newest.MOST))
    found = sorted({escape_line(name_of(item.key)) for item in overdue if item.is_stuck})
    if found:
        cut = f", of the {newest.MOST:,} longest overdue" if len(overdue) >= newest.MOST else ""
        says = f"{len(found)} that {STUCK_AFTER} looks did not move{cut}: {_some(found)}"
        yield Finding("stuck", "wrong", says, REMEDY_STUCK)
    else:
        yield Finding("stuck", "good", "what stood still has gone on")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def stuck_renders(inspection: StackInspection) -> Iterator[Finding]:
    """Renders that need a person, and renders that should have moved on."""
    findings = [
        _renders("uncertain renders", _in_status(inspection, Status.UNCERTAIN), REMEDY_UNCERTAIN),
        _renders("undelivered pictures", [r for r in inspection.renders if _undelivered(r)], REMEDY_UNDELIVERED),
        _renders("renders that stand still", [r for r in inspection.renders if _stands_still(r)], REMEDY_STILL),
    ]
    yield from (finding for finding in findings if finding)
    if not any(findings):
        yield Finding("renders", "good", "none needs a hand")


REMEDY_UNCERTAIN = (
    "Look for each in Segmind's console, then `kontext resolve PREFIX`: --request-id ID if it is there, else "
    "--resubmit or --give-up."
)
REMEDY_UNDELIVERED = (
    "`kontext explain PREFIX` says why: remove the cause. They are tried again by themselves, at last every six hours; "
    "`kontext redeliver --all` does it now. Nothing is paid again."
)
REMEDY_STILL = (
    "`kontext explain PREFIX` tells how far each came, the functions' logs what fails. Once that is right each goes on "
    "within the hour; `kontext redeliver PREFIX` delivers a picture that is paid at once."
)
REMEDY_STUCK = (
    "The Submit function's log says what fails each time, `kontext explain PREFIX` how far a pair came. Remove the "
    "cause: each is looked at once an hour, and then goes on by itself."
)


def _renders(what: str, found: list[Render], remedy: str) -> Finding | None:
    if not found:
        return None
    some = _some(sorted(escape_line(item["prefix"]) for item in found))
    count = f"{len(found)} or more" if len(found) >= LOOKED_AT else str(len(found))
    return Finding("renders", "wrong", f"{count} {what}: {some}", remedy)


def _in_status(inspection: StackInspection, *statuses: str) -> list[Render]:
    return [item for item in inspection.renders if item["status"] in statuses]


def _undelivered(item: Render) -> bool:
    failed = item["status"] == Status.FAILED and item["error"]["code"] == "delivery"
    late = item["status"] == Status.COMPLETED and "undelivered" in item
    return bool(item.get("output_url")) and (failed or late)


def _stands_still(item: Render) -> bool:
    now = time.time()
    if item["status"] == Status.SUBMITTING:
        return bool(item.get("lease_until", 0) < now - LEASE_SECONDS)
    return (
        item["status"] in (Status.QUEUED, Status.PROCESSING, Status.COMPLETED)
        and "undelivered" not in item
        and item["submitted_at"] < now - 2 * RECORD_SECONDS
    )
