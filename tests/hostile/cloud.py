"""The corpus, the roles and the secrets on the embedded cloud: the same template, `sam deploy`, and IAM enforced."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

from kontext.due import SET_DUE, TIMER
from tests import transformed
from tests.hostile.ground import ENDS, Ground, eventually
from tests.hostile.judge import HIDDEN
from tests.hostile.play import KEY, Case, cases
from tests.hostile.roles import Deed, Grant, deeds_of_services, missing, unused

ROLES = ("SubmitRole", "SweepRole", "ScheduleRole", "WorkflowRole", "PollRole", "FinalizeRole")
LONGEST_SECONDS = 240.0
SWEEP_SECONDS = 60.0
FETCHED = 200
WITHOUT_QUESTION = {
    Deed("SubmitRole", "s3:ListBucket", "InputBucket"),
    Deed("FinalizeRole", "s3:ListBucket", "OutputBucket"),
}
"""What S3 looks at only to tell missing from forbidden, and the embedded cloud never: see `Witness`."""

# What takes long, or is about the vendor's own hosts or a bucket's name in memory, is for virtual time.
_SLOW = re.compile(
    r"segmind\.com|evil\.example|\$API|\$FILES|hang|'drip': \[1, 1|'http': (?:40|429|5\d\d)|169\.254", re.IGNORECASE
)
_ONLY_IN_MEMORY = re.compile(r"for ever|for long|link to our own")


def sample(every: int) -> list[Case]:
    """What is played in real time: roles, sockets and keys, and each so-many-th of what else can be."""
    always = [*cases("roles"), *cases("sockets"), *(one for one in cases("keys") if _is_quick(one))]
    return [*[one for one in cases() if one not in always and _is_quick(one)][::every], *always]


def _is_quick(one: Case) -> bool:
    keys = [key for key, _, _ in (*one.drops, *one.later)]
    fits = all(key.startswith(one.prefix) and len(key.encode()) < 900 for key in keys)
    ends = one.end.startswith((*ENDS, "FILE")) and one.within <= 3600 and not _ONLY_IN_MEMORY.search(one.name)
    return fits and ends and not one.parameters and not _SLOW.search(repr(one.answers))


def play_all(ground: Ground, sampled: list[Case]) -> Iterator[str]:
    """Drop the cases all at once; tells what is wrong with what became of them."""
    dropped = list(zip(ground.drop(sampled), sampled, strict=True))
    ends_at = time.monotonic() + LONGEST_SECONDS
    for prefix, one in dropped:
        yield from (f"{one.name}: {words}" for words in _wrong(ground, prefix, one, ends_at - time.monotonic()))
    yield from (f"a request went to {stray}" for stray in ground.vendor.strays)
    if letters := ground.dead_letters():
        yield f"{letters} dead letters"


def _wrong(ground: Ground, prefix: str, one: Case, seconds: float) -> Iterator[str]:
    end, said = _end(ground, prefix, one, seconds)
    vendor = ground.vendor_of(prefix)
    if end != one.end:
        yield f"ended {end} ({said}), not {one.end}"
    if one.posts is not None and vendor.posts != one.posts:
        yield f"{vendor.posts} jobs were asked for, not {one.posts}"
    if vendor.accepted > 1:
        yield f"{vendor.accepted} jobs were accepted"
    fetched = ground.vendor.fetched.get(vendor.job, [])
    if set(fetched) - {FETCHED}:
        yield f"the links to its images were answered with {fetched}"
    if any(KEY in seen.path or (KEY in str(seen.headers)) != (seen.kind != "file") for seen in vendor.requests):
        yield "the key went where it should not"
    yield from _wrongly_told(ground, prefix, end, said)


def _end(ground: Ground, prefix: str, one: Case, seconds: float) -> tuple[str, str]:
    if one.end.startswith("FILE"):
        eventually(lambda: ground.written(prefix), seconds)
        return ground.end(prefix, 0)
    if one.later:  # it may have ended before
        eventually(lambda: ground.end(prefix, 0)[0] == one.end, seconds)
    return ground.end(prefix, seconds)


def _wrongly_told(ground: Ground, prefix: str, end: str, said: str) -> Iterator[str]:
    written = ground.written(prefix)
    explained = [body.decode() for key, body in written.items() if key.endswith("error.json")]
    if bool(explained) != (end != "DELIVERED"):
        yield f"{end}, and there are {sorted(written)}"
    if any(HIDDEN.search(text) for text in (said, *explained)):
        yield "what is said holds a character that cannot be seen"
    if end.startswith(ENDS) and not eventually(lambda: _events(ground, prefix), 20):
        yield "nobody was told"


def _events(ground: Ground, prefix: str) -> list[object]:
    return [event for event in ground.told() if event["data"].get("pair") == prefix]


def refuse(ground: Ground) -> Iterator[str]:
    """A role without a statement: what it may not do does not happen, and goes on once it may."""
    (case,) = (one for one in cases("roles") if one.again)
    with ground.without("SubmitRole", "ReadDropsAndLinkToTheirVersions"):
        (prefix,) = ground.drop([case])
        if not eventually(lambda: ground.deeds("SubmitRole", allowed=False), 60):
            yield "SubmitRole reads without its permission"
        if ground.vendor_of(prefix).requests:
            yield "a pair was submitted that nobody could read"
    end, said = ground.end(prefix, 120)
    if end != case.end:
        yield f"{case.name}: ended {end} ({said}), not {case.end}"


def bring_on(ground: Ground) -> Iterator[str]:
    """What is due is found by the next sweep, and looked at: a pair, and an end that perhaps was not told."""
    items = ground.table.scan()
    pair = next(item for item in items if item["sk"] == "pair")
    ended = next(item for item in items if item.get("status") == "DELIVERED")
    keys = [{"pk": item["pk"], "sk": item["sk"]} for item in (pair, ended)]
    for key in keys:
        ground.table.update(key, f"SET {SET_DUE} REMOVE #announced", due_lane=TIMER, due_at=0)
    for key in keys:
        if not eventually(lambda key=key: "due_at" not in (ground.table.get(key) or {}), 2 * SWEEP_SECONDS):
            yield f"nobody has looked at {key}, which was due"


def proof(ground: Ground) -> tuple[set[Grant], set[Grant], set[Deed]]:
    """What the deployed roles are granted, what of it they never use, and what they do that nobody granted."""
    granted = {grant for role in ROLES for grant in ground.grants(role)}
    by_aws = set(deeds_of_services(transformed.transformed(transformed.written())["Resources"])) | WITHOUT_QUESTION
    deeds = by_aws | {deed for role in ROLES for deed in ground.deeds(role, allowed=True)}
    return granted, unused(granted, deeds), missing(granted, deeds)


def refused(ground: Ground) -> set[Deed]:
    """What the roles wanted to do and were not allowed to."""
    return {deed for role in ROLES for deed in ground.deeds(role, allowed=False)}


def remains(ground: Ground) -> dict[str, Callable[[], list[str]]]:
    """All that the stack has left behind, by where it is."""
    return {
        "a log": ground.logs,
        "the table": lambda: [str(item) for item in ground.table.scan()],
        "an execution's history": ground.histories,
        "an event": lambda: [str(event) for event in ground.told()],
        "the output bucket": lambda: [f"{key} {body!r}" for key, body in ground.written("").items()],
        "an object's metadata": ground.described,
        "a queue": ground.messages,
        "a metric": ground.metrics,
        "a function's settings": ground.settings,
    }
