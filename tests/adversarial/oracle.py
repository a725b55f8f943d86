"""What is wrong with the outcome of a case, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

import kontext
from simulation.world import KEY
from tests.adversarial.play import API, FILES, PROMPT, Case, Outcome, cases, play

Wrong = Iterator[str]
SIGNATURE = re.compile(r"X-Amz-[A-Za-z-]+(?:=|%3D)[0-9A-Za-z]|SG_[0-9a-f]{8}", re.IGNORECASE)
HIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def played(file: str, part: str = "") -> dict[str, list[str]]:
    """What is wrong with the cases of a file of the corpus that have `part` in their names, by name."""
    outcomes = {case.name: wrong(case, play(case)) for case in cases(file) if part in case.name}
    return {name: words for name, words in outcomes.items() if words}


def wrong(case: Case, outcome: Outcome) -> list[str]:
    """Everything that is not as the corpus says, or as it always has to be."""
    checks = (_end, _money, _hosts, _files, _events, _secrets, _logs, _executions)
    return [words for check in checks for words in check(case, outcome)]


def _end(case: Case, outcome: Outcome) -> Wrong:
    if outcome.end != case.end:
        yield f"ended {outcome.end} ({outcome.said}), not {case.end}"
    for words in case.says:
        if words not in outcome.said:
            yield f"said {outcome.said!r}, without {words!r}"
    if outcome.world.problem and not case.end.startswith("PARKED"):
        yield f"{outcome.world.problem}"
    if len(outcome.said) > 8_000 or HIDDEN.search(outcome.said):
        yield f"said {outcome.said!r}"


def _money(case: Case, outcome: Outcome) -> Wrong:
    if case.posts is not None and outcome.vendor.posts != case.posts:
        yield f"{outcome.vendor.posts} jobs were asked for, not {case.posts}"
    if outcome.vendor.accepted > case.jobs:
        yield f"{outcome.vendor.accepted} jobs were accepted"


def _hosts(case: Case, outcome: Outcome) -> Wrong:
    for seen in outcome.vendor.requests:
        if seen.host not in (API, FILES):
            yield f"asked {seen.host}"
        with_key = any(KEY in value for value in seen.headers.values())
        if with_key != (seen.host == API) or KEY in seen.path:
            yield f"the key went to {seen.host}{seen.path}" if with_key else f"no key went to {seen.host}"
        if not seen.path.startswith(("/v2/", "/v1/get-user-credits", "/out/", "/second")):
            yield f"asked for {seen.path}"


def _files(case: Case, outcome: Outcome) -> Wrong:
    written = {key: outcome.world.s3.newest("OutputBucket", key) for key in outcome.world.s3.keys("OutputBucket")}
    errors = {key: version for key, version in written.items() if key.endswith("error.json")}
    results = written.keys() - errors.keys()
    failed = outcome.end.startswith(("FAILED", "FILE", "UNCERTAIN"))
    if bool(errors) != failed or bool(results) != (outcome.end == "DELIVERED"):
        yield f"{outcome.end}, and there are {sorted(written)}"
    for key, version in errors.items():
        text = (version.body or b"").decode() if version else ""
        told = json.loads(text)
        if HIDDEN.search(text) or HIDDEN.search(told["message"]):
            yield f"{key} holds a character that cannot be seen: {text!r}"
        if not (told["code"] and told["message"] and told["remedy"] and told["charged"] in ("yes", "no", "unknown")):
            yield f"{key} does not say enough: {text}"
        if case.posts == 0 and told["charged"] != "no":
            yield f"{key} says charged: {told['charged']}"


def _events(case: Case, outcome: Outcome) -> Wrong:
    for _, message, attributes in outcome.world.topic.published:
        event = json.loads(message)
        jsonschema.validate(event, _schema())
        if HIDDEN.search(message) or any(HIDDEN.search(value["StringValue"]) for value in attributes.values()):
            yield f"an event holds a character that cannot be seen: {message!r}"
        if event["data"].get("pair") not in (None, case.prefix):
            yield f"an event is about {event['data']['pair']!r}"
    if outcome.end.startswith(("FAILED", "DELIVERED", "UNCERTAIN")) and not outcome.world.topic.published:
        yield "nobody was told"


@cache
def _schema() -> Any:
    return json.loads((Path(kontext.__file__).parent / "schemas" / "event.v1.json").read_text())


def _secrets(case: Case, outcome: Outcome) -> Wrong:
    world = outcome.world
    places = {
        "the table": repr(world.dynamodb.items),
        "the topic": repr(world.topic.published),
        "the executions": repr(world.executions.by_name),
        "the output bucket": repr(world.s3.buckets.get("OutputBucket")),
        "a log": outcome.logs,
    }
    for place, content in places.items():
        if KEY in content or SIGNATURE.search(content):
            yield f"{place} holds a secret"
    if PROMPT in outcome.logs:
        yield "a log holds the prompt"


def _logs(case: Case, outcome: Outcome) -> Wrong:
    for line in outcome.logs.splitlines():
        if HIDDEN.search(line):
            yield f"a log line holds a character that cannot be seen: {line!r}"
        told = json.loads(line)
        if told.get("level") in ("ERROR", "CRITICAL") and not case.fails:
            yield f"crashed: {told.get('exception', line)[-600:]}"


def _executions(case: Case, outcome: Outcome) -> Wrong:
    for execution in outcome.world.executions.by_name.values():
        if not re.fullmatch(r"[A-Za-z0-9-]{1,80}", execution.name):
            yield f"an execution is called {execution.name!r}"
        if len(execution.given) > 8_000 or HIDDEN.search(execution.given):
            yield f"an execution is given {execution.given!r}"
        if len(json.dumps(execution.data)) > 20_000 or HIDDEN.search(execution.cause):
            yield f"an execution holds {len(json.dumps(execution.data))} characters"
        if execution.status == "RUNNING":
            yield "an execution still runs"
