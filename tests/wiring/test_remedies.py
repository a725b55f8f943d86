"""Whatever people are told to do is done by a test, and helps.

A remedy is told by an `error.code`, a reason to wait, an alarm, a finding of `kontext doctor`, or a command of
`docs/operations.md`. `CARRIED_OUT` names for each who carries it out: a story, which is played on virtual time and
comes to the end that it ought to, or a test.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kontext.errors import CODES, REASONS
from simulation.evidence import Evidence
from simulation.explore import play
from simulation.stories import STORIES
from simulation.stories.remedies import REMEDIES
from simulation.stories.story import Story

Json = dict[str, Any]

E2E, UNIT = "tests/e2e/", "tests/unit/"
AUDIT = f"{UNIT}cli/test_audit.py::"
STANDSTILL = f"{E2E}test_doctor_standstill.py::"
RESOLVE, TABLES = f"{UNIT}cli/decide/test_resolve.py::", f"{UNIT}cli/decide/test_tables.py::"
DOCTOR, PROMISES, ALARMS = f"{E2E}test_doctor.py::", f"{E2E}test_promises.py::", f"{E2E}test_alarms.py::"

_OWN_LIMIT = "the spend limit is raised while a pair waits for the next day"
_TEAMS_LIMIT = "the team's spend limit is reached, and then raised"
_HOST = "the host of the picture is allowed, and it is delivered again"
_ADOPT = "the answer is lost, and the operator says: request-id"
_RESUBMIT = "the answer is lost, and the operator says: resubmit"
_GIVE_UP = "the request is lost, and the operator gives it up"
_MODEL = "the model is not offered any more, and another one is named"
_NO_ROOM = "fifty minutes in which Lambda has no room"
_REDRIVE = "a drop is a dead letter after an hour without S3, and is moved back"
_REPLAY = "the queue is purged with drops in it, and they are replayed"
_REDELIVER = "a picture that could not be copied is delivered again when the file host is well"
_RESTORED = "tests/unit/cli/decide/test_reconcile.py::test_a_restored_table_pays_nothing_twice_and_loses_nothing"
_AS_AWS_RESTORES = "tests/unit/cli/decide/test_reconcile.py::test_a_table_that_aws_has_restored_starts_paused"
_UNCERTAIN = (_ADOPT, _RESUBMIT, _GIVE_UP)

CARRIED_OUT: dict[str, tuple[str, ...]] = {
    "code unknown_drop": (
        "a photograph under a wrong name, and under a right one",
        "a name of no part is explained later",
    ),
    "code invalid_request": ("a wrong request, corrected",),
    "code invalid_image": ("a wrong image, and a right one under its name",),
    "code near_miss": ("a prompt lies beside a pair under a copy's name, and then under its own",),
    "code refused": ("a request that Segmind refused, corrected",),
    "code render_failed": ("dropped again after it failed",),
    "code server_error": ("given up after server errors, and dropped again",),
    "code expired": ("aborted by hand, and dropped again when the job is forgotten",),
    "code cancelled": ("a pair that was taken back while it waits for credits comes again",),
    "code inputs_expired": ("a pair that has expired while it waits for credits comes again",),
    "code delivery": (_REDELIVER, "delivered by another drop"),
    "code no_result": (
        "the link to the picture is not there",
        f"{UNIT}cli/decide/test_operate.py::test_what_was_not_seen_within_its_hour_is_looked_at_again_and_not_paid",
    ),
    "code delivery_delayed": ("the file host answers 503 for an hour", _HOST),
    "code superseded": ("changed while parked",),
    "code uncertain": _UNCERTAIN,
    "code given_up": ("the request is lost, the render is given up, and its pair dropped again",),
    "reason pace": ("the rate is raised while pairs are in line",),
    "reason rate_limited": ("the rate is lowered while pairs are in line",),
    "reason no_credits": ("no credits",),
    "reason bad_key": ("wrong key",),
    "reason forbidden": ("the model is forbidden, and then allowed",),
    "reason spend_limit": ("spend limit until midnight", _OWN_LIMIT, _TEAMS_LIMIT),
    "reason configuration": (_MODEL,),
    "reason unknown_refusal": ("406 in words that nobody knows",),
    "reason workflow": ("stepfunctions away for 10 minutes",),
    "reason outage": ("outage",),
    "reason paused": ("goes on soon after the operator resumes",),
    "alarm AccountRefusedAlarm": (
        "wrong key",
        "no credits",
        "the model is forbidden, and then allowed",
        _OWN_LIMIT,
        _TEAMS_LIMIT,
    ),
    "alarm LowCreditsAlarm": ("no credits",),
    "alarm SegmindDownAlarm": ("outage",),
    "alarm UncertainAlarm": _UNCERTAIN,
    "alarm RendersFailingAlarm": (_MODEL, "dropped again after it failed"),
    "alarm UndeliveredAlarm": (
        _HOST,
        f"{PROMISES}test_a_picture_that_could_not_be_copied_is_redelivered_without_paying",
    ),
    "alarm DeadLettersAlarm": (_REDRIVE,),
    "alarm DropsFailingAlarm": ("an hour without S3, and nobody moves the dead letters back",),
    "alarm UploadQueueOldAlarm": (_NO_ROOM, f"{DOCTOR}test_a_function_that_does_not_read_the_queue"),
    "alarm PollFailingAlarm": ("the workflow hears no answer for ten minutes",),
    "alarm FinalizeFailingAlarm": ("the picture kills Finalize five times", _REDELIVER),
    "alarm SubmitThrottledAlarm": (_NO_ROOM, f"{DOCTOR}test_a_function_that_may_not_run"),
    "alarm PollThrottledAlarm": ("Lambda has no room for ten minutes while a job is at the vendor",),
    "alarm SweepSilentAlarm": (f"{DOCTOR}test_a_schedule_that_calls_nobody",),
    "alarm StrangeCostAlarm": (
        "costs are stated in cents",
        f"{AUDIT}test_a_cost_that_cannot_be_makes_its_render_a_candidate",
    ),
    "alarm UnexplainedSpendAlarm": (f"{AUDIT}test_what_the_stack_may_have_been_charged_for_is_named_with_its_day",),
    "command kontext audit": (f"{AUDIT}test_the_audit_of_a_stack_reads_its_table_and_asks_for_the_balance_alone",),
    "command kontext resolve --file": (f"{TABLES}test_a_table_is_carried_out_row_by_row_and_says_what_was_done",),
    "command kontext resolve --output-url": (
        f"{RESOLVE}test_the_link_of_a_picture_is_delivered_from_and_booked_at_the_price",
    ),
    "alarm StuckAlarm": ("nobody can be told for five hours",),
    "doctor stack: 'Look again when it is done.'": (
        f"{UNIT}cli/doctor/test_checks.py::test_a_deployment_is_looked_at",
    ),
    "doctor stack: remedy": (f"{UNIT}cli/doctor/test_checks.py::test_a_deployment_is_looked_at",),
    "doctor event_wiring: deploy": (
        f"{DOCTOR}test_a_bucket_that_tells_nobody",
        f"{DOCTOR}test_a_queue_that_lets_nobody_in",
    ),
    "doctor _mapping: 'Run `sam deploy` again.'": (f"{DOCTOR}test_a_function_that_does_not_read_the_queue",),
    "doctor _mapping: enable": (f"{DOCTOR}test_a_function_that_does_not_read_the_queue",),
    "doctor functions: allow": (f"{DOCTOR}test_a_function_that_may_not_run",),
    "doctor functions: ask": (
        f"{UNIT}cli/doctor/test_checks.py::test_the_accounts_concurrency_is_compared_with_the_stacks_rate",
    ),
    "doctor throttles: REMEDY_THROTTLED": (_NO_ROOM, f"{DOCTOR}test_a_function_that_may_not_run"),
    "doctor schedule: enable": (f"{DOCTOR}test_a_schedule_that_calls_nobody",),
    "doctor subscriptions: confirm": (f"{DOCTOR}test_a_subscription_that_nobody_confirmed",),
    "doctor subscriptions: subscribe": (f"{ALARMS}test_who_is_named_by_the_parameter_is_asked_to_confirm",),
    "doctor alarms: alarm['AlarmDescription']": (f"{ALARMS}test_an_alarm_rings",),
    "doctor alarms: 'Run `sam deploy` again.'": (f"{STANDSTILL}test_an_alarm_that_has_been_deleted",),
    "doctor alarms: enable": (f"{STANDSTILL}test_an_alarm_that_calls_nobody",),
    "doctor drift: 'Run `sam deploy` again, or bring the change into the template.'": (
        f"{DOCTOR}test_a_resource_that_somebody_changed",
    ),
    'doctor drift: "Look at the stack\'s drift page later."': (
        f"{UNIT}cli/doctor/test_checks.py::test_a_comparison_that_takes_long",
    ),
    "doctor api_key: remedy": ("wrong key", f"{DOCTOR}test_a_secret_without_a_key"),
    "doctor api_key: fix": ("wrong key", "the model is forbidden, and then allowed"),
    "doctor api_key: 'If it is down, wait: renders go on by themselves. Check SegmindUrl.'": ("outage",),
    "doctor _credits: REASONS['no_credits'].remedy": ("no credits",),
    "doctor _credits: 'Top the account up at Segmind.'": ("no credits",),
    "doctor circuit_breaker: REMEDY_RESTORED": (_RESTORED,),
    "doctor circuit_breaker: known.remedy + probe": ("goes on soon after the operator resumes", "no credits"),
    "doctor unknown_drops: REMEDY_UNKNOWN": (_REPLAY,),
    "doctor loose_objects: REMEDY_LOOSE": ("a photograph under a wrong name, and under a right one",),
    "doctor unknown_drops: rest": (f"{UNIT}cli/decide/test_replay.py::test_a_hundred_and_more_objects_are_compared",),
    "doctor dead_letters: REMEDY_DEAD": (_REDRIVE, f"{STANDSTILL}test_a_dead_letter_says_what_it_died_of"),
    "doctor stuck_items: REMEDY_STUCK": ("nobody can be told for five hours",),
    "doctor stuck_renders: REMEDY_UNCERTAIN": _UNCERTAIN,
    "doctor stuck_renders: REMEDY_UNDELIVERED": (_HOST, _REDELIVER),
    "doctor stuck_renders: REMEDY_STILL": ("everything is lost while a slow job is at the vendor", _REDELIVER),
    "command aws secretsmanager put-secret-value": ("wrong key", f"{DOCTOR}test_a_secret_without_a_key"),
    "command sam deploy": (_OWN_LIMIT,),
    "command kontext pause": (_RESTORED,),
    "command kontext reconcile": (_RESTORED,),
    "command aws dynamodb restore-table-to-point-in-time": (_AS_AWS_RESTORES,),
    "command aws dynamodb describe-table": (_AS_AWS_RESTORES,),
    "command aws dynamodb update-time-to-live": (_AS_AWS_RESTORES,),
    "command aws dynamodb update-continuous-backups": (_AS_AWS_RESTORES,),
    "command kontext resume": ("goes on soon after the operator resumes",),
    "command kontext resolve": _UNCERTAIN,
    "command kontext resolve --request-id": (_ADOPT,),
    "command kontext resolve --resubmit": (_RESUBMIT,),
    "command kontext resolve --give-up": (_GIVE_UP,),
    "command kontext redeliver --all": (
        f"{UNIT}cli/decide/test_operate.py::test_all_that_is_paid_and_not_delivered_is_delivered_again",
    ),
    "command kontext redrive": (_REDRIVE,),
    "command kontext replay": (_REPLAY,),
    "command kontext replay --all --send": (
        _REPLAY,
        f"{UNIT}cli/decide/test_replay.py::test_what_may_be_rendered_is_told_only_for_a_price_that_was_said",
    ),
}
"""A remedy, and who carries it out. A new code, reason, alarm, finding or command needs a line here."""

LOOKING = frozenset({"explain", "status", "console", "doctor"})
"""Commands that change nothing."""
KNOWN = STORIES | {story.name: story for story in REMEDIES}


def test_every_remedy_is_carried_out_by_a_test(root: Path, resources: Json) -> None:
    told = {
        *(f"code {code}" for code in CODES),
        *(f"reason {reason}" for reason in REASONS),
        *(f"alarm {name}" for name, one in resources.items() if one["Type"] == "AWS::CloudWatch::Alarm"),
        *(f"doctor {finding}" for path in root.glob("cli/kontext_cli/doctor/*checks.py") for finding in findings(path)),
        *(f"command {command}" for command in commands((root / "docs" / "operations.md").read_text())),
    }

    assert told == CARRIED_OUT.keys()


def test_who_carries_a_remedy_out_is_there(root: Path) -> None:
    for who in sorted({name for names in CARRIED_OUT.values() for name in names}):
        path, _, test = who.partition("::")
        if test:
            assert f"def {test}(" in (root / path).read_text(), who
        else:
            assert who in KNOWN, f"no story that keeps its promises: {who}"


@pytest.mark.parametrize("story", [pytest.param(story, id=story.name) for story in REMEDIES])
def test_what_people_are_told_to_do_helps(story: Story) -> None:
    played = play(story)

    assert played.violations == ()
    assert [Evidence(played.world, {}).end("taj/")] == ["DELIVERED"]


def findings(path: Path) -> Iterator[str]:
    """What the checks in a file advise: the function, and its remedy as it is written there."""
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    for function in functions:
        for call in ast.walk(function):
            if not isinstance(call, ast.Call) or getattr(call.func, "id", "") not in ("Finding", "_renders"):
                continue
            if len(call.args) > 2 and function.name != "_renders" and ast.unparse(call.args[1]) != "'good'":
                yield f"{function.name}: {ast.unparse(call.args[-1])}"


def commands(page: str) -> Iterator[str]:
    """The commands of a page that change something, each with its options; a deployment is one, whatever it sets."""
    typed = [*re.findall(r"`([^`\n]+)`", page), *page.splitlines()]
    for line in typed:
        if found := re.match(r"kontext (\w+)|aws \w+ [\w-]+|sam deploy", line):
            options = re.findall(r"(?<= )--(?!stack\b)[\w-]+", line) if found[1] else []
            if found[1] not in LOOKING:
                yield " ".join([found[0], *options])
