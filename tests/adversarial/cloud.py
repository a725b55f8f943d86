"""The corpus, the roles and the secrets on the embedded cloud: the same template, `sam deploy`, and IAM enforced."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import partial

from kontext.drops.keys import first_folder_of
from kontext.due import SET_DUE, TIMER
from kontext.dynamodb import Key
from simulation.world import KEY
from tests import transformed
from tests.adversarial.deployed_stack import ENDS, DeployedStack, eventually
from tests.adversarial.oracle import HIDDEN
from tests.adversarial.play import Case, case, cases
from tests.adversarial.roles import Access, Grant, accesses_of_services, missing, unused
from tests.unit.photographs import CORPUS

ROLES = ("SubmitRole", "SweepRole", "ScheduleRole", "WorkflowRole", "PollRole", "FinalizeRole")
LONGEST_SECONDS = 600.0
SWEEP_SECONDS = 60.0
FETCHED = 200
WITHOUT_QUESTION = {
    Access("SubmitRole", "s3:ListBucket", "InputBucket"),
    Access("SubmitRole", "s3:ListBucket", "OutputBucket"),
    Access("FinalizeRole", "s3:ListBucket", "OutputBucket"),
}
"""What S3 looks at only to tell missing from forbidden, and the embedded cloud never: see `Witness`."""

# What takes long, or is about the vendor's own hosts or a bucket's name in memory, is for virtual time.
_SLOW = re.compile(
    r"segmind\.com|evil\.example|\$API|\$FILES|hang|'drip': \[1, 1|'http': (?:40|429|5\d\d)|169\.254", re.IGNORECASE
)
_STOPS_EVERYBODY = re.compile(r"'http': (?:403|5\d\d)")
"""A refusal of the account, or several doubtful answers in a row, open the circuit breaker for all cases of the stack:
of those whose answer is lost the sample has one."""
_ONLY_IN_MEMORY = re.compile(r"for ever|for long|link to our own")


def sample(every: int) -> list[Case]:
    """What is played in real time: roles, sockets, keys, drops and photographs, and each so-many-th of what else can
    be."""
    sockets = [one for one in cases("sockets") if not _STOPS_EVERYBODY.search(repr(one.answers))]
    always = [*cases("roles"), *sockets, *(one for one in (*cases("keys"), *cases("drops")) if _is_quick(one))]
    sampled = [*[one for one in cases() if one not in always and _is_quick(one)][::every], *always]
    lost = [one for one in sampled if one.end.startswith("UNCERTAIN")]
    return [*(one for one in sampled if one not in lost[1:]), *photographs()]


def photographs() -> list[Case]:
    """What phones, cameras, browsers and editors write, and what only looks like it."""
    return [
        case(
            "photographs",
            {
                "name": file.name,
                "1": {"photograph": file.name},
                "end": "FAILED invalid_image" if file.refusal else "DELIVERED",
                "says": [file.refusal] if file.refusal else [],
                "good": not file.refusal,
            },
        )
        for file in CORPUS
    ]


def _is_quick(one: Case) -> bool:
    keys = [key for key, _, _ in (*one.drops, *one.later)]
    # Each case is in a folder of its own there, so that no request can name what is in another one.
    start = one.prefix if one.end.startswith("FILE") else first_folder_of(one.prefix)
    fits = all(key.startswith(start) and len(key.encode()) < 900 for key in keys)
    ends = one.end.startswith((*ENDS, "FILE")) and one.within <= 3600 and not _ONLY_IN_MEMORY.search(one.name)
    return fits and ends and not one.parameters and not _SLOW.search(repr(one.answers))


def play_all(deployed: DeployedStack, sampled: list[Case]) -> Iterator[str]:
    """Drop the cases all at once; tells what is wrong with what became of them."""
    dropped = list(zip(deployed.drop(sampled), sampled, strict=True))
    ends_at = time.monotonic() + LONGEST_SECONDS
    for prefix, one in dropped:
        yield from (f"{one.name}: {words}" for words in _wrong(deployed, prefix, one, ends_at - time.monotonic()))
    yield from (f"a request went to {stray}" for stray in deployed.vendor.strays)
    if letters := deployed.dead_letters():
        yield f"{letters} dead letters"


def _wrong(deployed: DeployedStack, prefix: str, one: Case, seconds: float) -> Iterator[str]:
    end, said = _end(deployed, prefix, one, seconds)
    vendor = deployed.vendor_of(prefix)
    if end != one.end:
        yield f"ended {end} ({said}), not {one.end}"
    for words in one.says:
        if words not in said:
            yield f"said {said!r}, without {words!r}"
    if one.posts is not None and vendor.posts != one.posts:
        yield f"{vendor.posts} jobs were asked for, not {one.posts}"
    if vendor.accepted > one.jobs:
        yield f"{vendor.accepted} jobs were accepted"
    fetched = deployed.vendor.fetched.get(vendor.job, [])
    if set(fetched) - {FETCHED}:
        yield f"the links to its images were answered with {fetched}"
    if any(KEY in seen.path or (KEY in str(seen.headers)) != (seen.kind != "file") for seen in vendor.requests):
        yield "the key went where it should not"
    yield from _wrongly_told(deployed, prefix, end, said)


def _end(deployed: DeployedStack, prefix: str, one: Case, seconds: float) -> tuple[str, str]:
    if one.end.startswith("FILE"):
        eventually(lambda: deployed.written(prefix), seconds)
        return deployed.end(prefix, 0)
    if one.end == "FAILED delivery":  # which would take a week
        why = deployed.put_off(prefix, seconds)
        return (one.end, why) if why else deployed.end(prefix, 0)
    if one.later or one.removed:  # it may have ended before
        eventually(lambda: deployed.end(prefix, 0)[0] == one.end, seconds)
    return deployed.end(prefix, seconds)


def _wrongly_told(deployed: DeployedStack, prefix: str, end: str, said: str) -> Iterator[str]:
    written = deployed.written(prefix)
    explained = [body.decode() for key, body in written.items() if key.endswith("error.json")]
    if bool(explained) != (end not in ("DELIVERED", "FAILED delivery")):
        yield f"{end}, and there are {sorted(written)}"
    if any(HIDDEN.search(text) for text in (said, *explained)):
        yield "what is said holds a character that cannot be seen"
    if end.startswith(ENDS) and end != "FAILED delivery" and not eventually(lambda: _events(deployed, prefix), 20):
        yield "nobody was told"


def _events(deployed: DeployedStack, prefix: str) -> list[object]:
    return [event for event in deployed.receive_published() if event["data"].get("pair") == prefix]


def refuse(deployed: DeployedStack) -> Iterator[str]:
    """A role without a statement: what it may not do does not happen, and goes on once it may."""
    (case,) = (one for one in cases("roles") if one.again)
    with deployed.without("SubmitRole", "ReadDropsAndLinkToTheirVersions"):
        (prefix,) = deployed.drop([case])
        if not eventually(lambda: deployed.accesses("SubmitRole", allowed=False), 60):
            yield "SubmitRole reads without its permission"
        if deployed.vendor_of(prefix).requests:
            yield "a pair was submitted that nobody could read"
    end, said = deployed.end(prefix, 120)
    if end != case.end:
        yield f"{case.name}: ended {end} ({said}), not {case.end}"


def bring_on(deployed: DeployedStack) -> Iterator[str]:
    """What is due is found by the next sweep, and looked at: a pair, and an end that perhaps was not told."""
    items = deployed.table.scan()
    pair = next(item for item in items if item["sk"] == "pair")
    ended = next(item for item in items if item.get("status") == "DELIVERED")
    keys = [{"pk": item["pk"], "sk": item["sk"]} for item in (pair, ended)]
    for key in keys:
        deployed.table.update(key, f"SET {SET_DUE} REMOVE #announced", due_lane=TIMER, due_at=0)
    for key in keys:
        if not eventually(partial(_has_moved, deployed, key), 2 * SWEEP_SECONDS):
            yield f"nobody has looked at {key}, which was due"


def _has_moved(deployed: DeployedStack, key: Key) -> bool:
    return (deployed.table.get(key) or {}).get("due_lane") != TIMER


def give_up(deployed: DeployedStack) -> Iterator[str]:
    """What nobody can read is a dead letter at once."""
    url = deployed.running.outputs["UploadQueueUrl"]
    deployed.running.client("sqs").send_message(QueueUrl=url, MessageBody="this is no event")
    if not eventually(lambda: deployed.dead_letters() == 1, SWEEP_SECONDS):
        yield "a message that nobody can read is no dead letter"


def proof(deployed: DeployedStack) -> tuple[set[Grant], set[Grant], set[Access]]:
    """What the deployed roles are granted, what of it they never use, and what they do that nobody granted."""
    granted = {grant for role in ROLES for grant in deployed.grants(role)}
    by_aws = set(accesses_of_services(transformed.transformed(transformed.written())["Resources"])) | WITHOUT_QUESTION
    accesses = by_aws | {access for role in ROLES for access in deployed.accesses(role, allowed=True)}
    return granted, unused(granted, accesses), missing(granted, accesses)


def refused(deployed: DeployedStack) -> set[Access]:
    """What the roles wanted to do and were not allowed to."""
    return {access for role in ROLES for access in deployed.accesses(role, allowed=False)}


def remains(deployed: DeployedStack) -> dict[str, Callable[[], list[str]]]:
    """All that the stack has left behind, by where it is."""
    return {
        "a log": deployed.logs,
        "the table": lambda: [str(item) for item in deployed.table.scan()],
        "an execution's history": deployed.histories,
        "an event": lambda: [str(event) for event in deployed.receive_published()],
        "the output bucket": lambda: [f"{key} {body!r}" for key, body in deployed.written("").items()],
        "an object's metadata": deployed.described,
        "a queue": deployed.messages,
        "a metric": deployed.metrics,
        "a function's settings": deployed.settings,
    }
