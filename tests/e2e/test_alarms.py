"""Each alarm of the template rings: its real condition is caused, and what the stack then really measures crosses it.

CloudWatch itself is emulated without embedded metrics, dimensions and periods. So each proof goes in three steps:
cause the condition on a deployed stack; compare the measure, as emitted, with the alarm's definition, and its
values with the threshold; then feed it to the embedded CloudWatch and see the alarm notify its topic.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from operator import ge, lt
from statistics import mean
from typing import Any

import pytest

from kontext.drops.pairs import pair_key
from kontext.due import SET_DUE, STUCK_AFTER, TIMER
from kontext.dynamodb import Item
from kontext.hints import MAX_DELAY_SECONDS
from kontext.model import Render
from kontext.renders.overdue import DELAY_SECONDS
from kontext.renders.record import render_key, render_of
from kontext_cli.checks import Finding, StackInspection
from kontext_cli.doctor import examine
from kontext_cli.explain import Story, the_pair
from kontext_cli.subscriber import Subscriber
from tests.e2e.conftest import Eventually
from tests.e2e.scene import Measured, Scene, keeps_to_the_contract

Json = dict[str, Any]

STATISTICS: dict[str, Callable[[list[float]], float]] = {"Sum": sum, "Average": mean, "Minimum": min, "Maximum": max}
COMPARISONS = {"GreaterThanOrEqualToThreshold": ge, "LessThanThreshold": lt}
LOW_CREDITS = 5.0


@pytest.fixture
def operator(scene: Scene) -> Iterator[Subscriber]:
    """Somebody who is called when an alarm rings."""
    with Subscriber(scene.target, "AlarmTopicArn") as called:
        yield called


def wrong_key(scene: Scene, eventually: Eventually) -> list[Measured]:
    scene.tell("settings", {"keys": ["SG_0000000000000000"]})

    scene.drop("wrong-key")

    return eventually(lambda: scene.measured(None, "AccountRefused"), "the refusal")


def no_credits(scene: Scene, eventually: Eventually) -> list[Measured]:
    scene.tell("settings", {"credits": 0.01})

    scene.drop("no-credits")

    return eventually(lambda: scene.measured(None, "AccountRefused"), "the refusal")


def forbidden(scene: Scene, eventually: Eventually) -> list[Measured]:
    scene.tell("settings", {"models": {"multi-image-kontext-pro": "forbidden"}})

    scene.drop("forbidden")

    return eventually(lambda: scene.measured(None, "AccountRefused"), "the refusal")


def spend_limit(scene: Scene, eventually: Eventually) -> list[Measured]:
    scene.tell("settings", {"spend_limit": 0.0})

    scene.drop("spend-limit")

    return eventually(lambda: scene.measured(None, "AccountRefused"), "the refusal")


def revoked_key(scene: Scene, eventually: Eventually) -> list[Measured]:
    scene.rule("revoked", on="submit", inference=20.0)
    scene.drop("revoked")
    eventually(lambda: scene.measured("revoked", "Submitted"), "the submit")

    scene.tell("settings", {"keys": ["SG_0000000000000000"]})

    return eventually(lambda: scene.measured("revoked", "AccountRefused"), "a refused look")


def low_credits(scene: Scene, eventually: Eventually) -> list[Measured]:
    scene.tell("settings", {"credits": LOW_CREDITS})

    scene.drop("low-credits")

    return eventually(lambda: scene.measured("low-credits", "RemainingCredits"), "the completed job")


def segmind_down(scene: Scene, eventually: Eventually) -> list[Measured]:
    for call in ("submit", "credits"):
        scene.tell("script", {"on": call, "times": None, "status": 503, "body": {"error": "temporarily unavailable"}})

    scene.drop("down")

    # The next probe meets the outage too, and says so again.
    eventually(lambda: scene.measured("down", "ParkedOutage"), "the park")
    scene.sweep()
    eventually(lambda: len(scene.measured(None, "ParkedOutage")) >= 2, "the second park")
    return scene.measured("down", "ParkedOutage")[:1]


def lost_answer(scene: Scene, eventually: Eventually) -> list[Measured]:
    scene.rule("lost", on="submit", accept=True, drop=True)

    scene.drop("lost")

    return eventually(lambda: scene.measured("lost", "Uncertain"), "the loss")


def strange_cost(scene: Scene, eventually: Eventually) -> list[Measured]:
    scene.rule("strange-cost", on="result", patch={"metrics": {"cost": 5}})

    scene.drop("strange-cost")

    return eventually(lambda: scene.measured("strange-cost", "StrangeCost"), "the cost")


def others_spend(scene: Scene, eventually: Eventually) -> list[Measured]:
    scene.drop("before-others")
    eventually(lambda: scene.measured("before-others", "UnexplainedUsd"), "a balance")

    scene.tell("settings", {"credits": 60.0})
    scene.drop("after-others")

    return eventually(lambda: scene.measured("after-others", "UnexplainedUsd"), "the balance")


def renders_fail(scene: Scene, eventually: Eventually) -> list[Measured]:
    scene.rule("blocked", on="submit", fail="content blocked")

    scene.drop("blocked")
    scene.drop("good")

    failed = eventually(lambda: scene.measured("blocked", "Failed"), "the failure")
    delivered = eventually(lambda: scene.measured("good", "Failed"), "the delivery")
    return [*failed, *delivered]


def undelivered(scene: Scene, eventually: Eventually) -> list[Measured]:
    scene.rule("elsewhere", on="submit", output_url="https://elsewhere.example/picture.png")

    scene.drop("elsewhere")

    def put_off() -> Render | None:
        items = scene.table.query("pair#elsewhere/")
        return next((render_of(item) for item in items if "undelivered" in item), None)

    render = eventually(put_off, "a picture put off")
    completed_at = render["completed_at"] - DELAY_SECONDS
    key = render_key(render["prefix"], render["render_id"])
    scene.table.update(key, "SET #completed_at = :then, #due_at = :now", then=completed_at, now=0.0)
    scene.sweep()

    return eventually(lambda: scene.measured("elsewhere", "Undelivered"), "the end")


def drops_fail(scene: Scene, eventually: Eventually) -> list[Measured]:
    iam, role, sid = scene.running.client("iam"), scene.ids["SubmitRole"], "ReadDropsAndLinkToTheirVersions"
    policy = iam.get_role_policy(RoleName=role, PolicyName="submit")["PolicyDocument"]
    blind = {**policy, "Statement": [one for one in policy["Statement"] if one["Sid"] != sid]}
    iam.put_role_policy(RoleName=role, PolicyName="submit", PolicyDocument=json.dumps(blind))

    scene.drop("unreadable")

    try:
        return eventually(lambda: scene.measured(None, "Retried"), "the retry")
    finally:
        iam.put_role_policy(RoleName=role, PolicyName="submit", PolicyDocument=json.dumps(policy))


def dead_letter(scene: Scene, eventually: Eventually) -> list[Measured]:
    sqs, outputs = scene.running.client("sqs"), scene.running.outputs
    name, upload = "VisibilityTimeout", outputs["UploadQueueUrl"]
    before = sqs.get_queue_attributes(QueueUrl=upload, AttributeNames=[name])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=upload, Attributes={name: "1"})

    sqs.send_message(QueueUrl=upload, MessageBody="this is no message")

    try:
        dead = eventually(lambda: _visible(sqs, outputs["DeadLetterQueueUrl"]), "the death")
    finally:
        sqs.set_queue_attributes(QueueUrl=upload, Attributes=before)
    return [scene.of_queue("DeadLetterQueue", "ApproximateNumberOfMessagesVisible", dead)]


def stopped_submitter(scene: Scene, eventually: Eventually) -> list[Measured]:
    client, sqs = scene.running.client("lambda"), scene.running.client("sqs")
    (mapping,) = client.list_event_source_mappings(FunctionName=scene.ids["SubmitFunction"])["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)

    scene.drop("stopped")

    url = scene.running.outputs["UploadQueueUrl"]
    eventually(lambda: _visible(sqs, url) == 3, "three messages that nobody takes")
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
    # Nobody waits for half an hour here: a message that stays is so old after it.
    return [scene.of_queue("UploadQueue", "ApproximateAgeOfOldestMessage", 1800.0)]


def poll_crashes(scene: Scene, eventually: Eventually) -> list[Measured]:
    return _without_its_policy(scene, eventually, "Poll")


def finalize_crashes(scene: Scene, eventually: Eventually) -> list[Measured]:
    return _without_its_policy(scene, eventually, "Finalize")


def submit_throttled(scene: Scene, eventually: Eventually) -> list[Measured]:
    # The embedded cloud's queue calls no function that may not run, as AWS's does: somebody else calls it.
    return _throttled(scene, eventually, "SubmitFunction", lambda function: _call_in_vain(scene, function))


def poll_throttled(scene: Scene, eventually: Eventually) -> list[Measured]:
    return _throttled(scene, eventually, "PollFunction", lambda _: scene.drop("throttled"))


def stuck(scene: Scene, eventually: Eventually) -> list[Measured]:
    # Nobody waits for three and a half hours here: it has been looked at nine times, and nobody can read what it is.
    key = pair_key("stuck/")
    looked_at: Item = {"due_lane": TIMER, "due_at": 0, "sent": STUCK_AFTER - 1, "torn": "no parts"}
    scene.table.update(key, f"SET {SET_DUE}, #dispatches = :sent, #parts = :torn", **looked_at)

    scene.sweep()
    eventually(lambda: (scene.table.get(key) or {})["dispatches"] == STUCK_AFTER, "the tenth look")
    scene.sweep()

    return eventually(lambda: scene.measured(None, "Stuck")[:1], "the measure")


def no_sweep(scene: Scene, eventually: Eventually) -> list[Measured]:
    scene.schedule("DISABLED")
    scene.shorten("SweepSilentAlarm", 10)
    key = pair_key("nobody/")
    scene.table.update(key, f"SET {SET_DUE}", due_lane=TIMER, due_at=0)
    began = time.monotonic()

    # The schedule calls once a minute.
    eventually(lambda: time.monotonic() - began > 75, "more than a minute", 150)

    assert "dispatched_until" not in (scene.table.get(key) or {})
    return [Measured("AWS/Lambda", "Invocations", {"FunctionName": scene.ids["SweepFunction"]}, "Count", [0.0])]


PROOFS: dict[str, tuple[Callable[[Scene, Eventually], list[Measured]], ...]] = {
    "AccountRefusedAlarm": (wrong_key, no_credits, forbidden, spend_limit, revoked_key),
    "LowCreditsAlarm": (low_credits,),
    "SegmindDownAlarm": (segmind_down,),
    "UncertainAlarm": (lost_answer,),
    "StrangeCostAlarm": (strange_cost,),
    "UnexplainedSpendAlarm": (others_spend,),
    "RendersFailingAlarm": (renders_fail,),
    "UndeliveredAlarm": (undelivered,),
    "DeadLettersAlarm": (dead_letter,),
    "DropsFailingAlarm": (drops_fail,),
    "UploadQueueOldAlarm": (stopped_submitter,),
    "PollFailingAlarm": (poll_crashes,),
    "FinalizeFailingAlarm": (finalize_crashes,),
    "SubmitThrottledAlarm": (submit_throttled,),
    "PollThrottledAlarm": (poll_throttled,),
    "SweepSilentAlarm": (no_sweep,),
    "StuckAlarm": (stuck,),
}
"""For each alarm what makes it ring. A new alarm needs a line here."""

DIAGNOSES: dict[Callable[..., list[Measured]], tuple[str, str, str | None]] = {
    wrong_key: ("API key", "aws secretsmanager put-secret-value --secret-id arn:", "wrong-key"),
    no_credits: ("credits", "Top the account up", "no-credits"),
    forbidden: ("circuit breaker", "Have the model allowed", "forbidden"),
    spend_limit: ("circuit breaker", "raise the stack's DailySpendLimit", "spend-limit"),
    segmind_down: ("circuit breaker", "go on by themselves when Segmind answers again", "down"),
    lost_answer: ("renders", "`kontext resolve PREFIX`", "lost"),
    undelivered: ("renders", "`kontext redeliver --all`", "elsewhere"),
    dead_letter: ("dead letters", "`kontext redrive`", None),
    submit_throttled: ("throttles", "Ask AWS for more concurrent executions", None),
    poll_throttled: ("throttles", "Ask AWS for more concurrent executions", None),
    no_sweep: ("schedule", "Enable it in EventBridge Scheduler", None),
    stuck: ("stuck", "then goes on by itself", None),
}
"""What `kontext doctor` finds while the cause lasts and advises, and the pair whose story says it too."""


def test_every_alarm_of_the_stack_is_proved(scene: Scene) -> None:
    alarms = {name for name in scene.ids if name.endswith("Alarm")}

    assert alarms == PROOFS.keys()


@pytest.mark.parametrize(
    ("alarm", "cause"), [pytest.param(a, c, id=f"{a}-{c.__name__}") for a, causes in PROOFS.items() for c in causes]
)
def test_an_alarm_rings(
    scene: Scene, operator: Subscriber, eventually: Eventually, alarm: str, cause: Callable[..., list[Measured]]
) -> None:
    measured = cause(scene, eventually)

    defined = scene.alarm(alarm)
    assert {(one.namespace, one.name) for one in measured} == {(defined["Namespace"], defined["MetricName"])}
    assert [one.dimensions for one in measured] == [_by_name(defined["Dimensions"])] * len(measured)
    assert {one.unit for one in measured} <= {defined.get("Unit", one.unit) for one in measured}
    assert _crosses(defined, [value for one in measured for value in one.values])
    call = eventually(lambda: _call(scene, operator, measured, defined), "the call")
    assert call["NewStateValue"] == "ALARM"
    assert f"docs/operations.md#{alarm.lower()}" in call["AlarmDescription"]
    if diagnosis := DIAGNOSES.get(cause):
        assert_that_one_step_leads_to_the_remedy(scene, eventually, *diagnosis)


def assert_that_one_step_leads_to_the_remedy(
    scene: Scene, eventually: Eventually, check: str, remedy: str, pair: str | None
) -> None:
    wrong = _wrong(scene)
    assert [one for one in wrong if one.check == check and remedy in str(one.remedy)], wrong
    if pair:  # what rang may have been another pair, which was mended and went before
        eventually(lambda: _says_the_same(scene, pair), f"the same advice in the story of {pair}/")


def _wrong(scene: Scene) -> list[Finding]:
    return [one for one in examine(StackInspection(scene.target)) if one.state == "wrong"]


def _says_the_same(scene: Scene, pair: str) -> bool:
    story = Story(scene.target, the_pair(scene.target, pair)).document()
    advice = (story["now"]["remedy"], f"{pair}/")
    return any(told and told in f"{one.says} {one.remedy}" for told in advice for one in _wrong(scene))


def test_a_delivered_pair_rings_nothing(scene: Scene, eventually: Eventually) -> None:
    scene.drop("peaceful")
    eventually(lambda: scene.measured("peaceful", "Delivered"), "the delivery")

    measured = scene.everything_measured("peaceful")

    ours = [scene.alarm(name) for name in PROOFS if scene.alarm(name)["Namespace"] == "kontext-drop"]
    ringing = [a["AlarmName"] for a in ours if (values := measured.get(a["MetricName"])) and _crosses(a, values)]
    assert ringing == []
    assert {name: values for name, values in measured.items() if name in ("Submitted", "Delivered", "CostUsd")} == {
        "Submitted": [1.0],
        "Delivered": [1.0],
        "CostUsd": [0.05],
    }


def test_subscribers_are_told_once_that_all_renders_wait_and_once_that_they_go_on(
    scene: Scene, eventually: Eventually
) -> None:
    policy = {"FilterPolicy": json.dumps({"type": ["kontext.parked", "kontext.resumed"]})}
    with Subscriber(scene.target, attributes=policy) as gate:
        scene.tell("settings", {"credits": 0.01})
        scene.drop("waiting/a")
        scene.drop("waiting/b")
        eventually(lambda: len(scene.measured(None, "ParkedNoCredits")) >= 2, "two parks")
        scene.tell("settings", {"credits": 100.0})
        scene.sweep()
        for pair in ("waiting/a", "waiting/b"):
            eventually(partial(scene.measured, pair, "Delivered"), "the delivery")
        events = sorted(gate.receive(), key=lambda event: event["time"])

    parked, resumed = events
    assert all(map(keeps_to_the_contract, events))
    assert (parked["type"], parked["data"]["error"]["code"]) == ("kontext.parked", "no_credits")
    assert (resumed["type"], resumed["data"]["reason"]) == ("kontext.resumed", "no_credits")
    assert resumed["data"]["since"] == parked["time"] < resumed["time"]


def test_who_is_named_by_the_parameter_is_asked_to_confirm(scene: Scene) -> None:
    topic = scene.running.outputs["AlarmTopicArn"]

    subscriptions = scene.running.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]

    assert ("email", "operators@example.com") in [(one["Protocol"], one["Endpoint"]) for one in subscriptions]


def test_an_alarm_about_an_open_circuit_breaker_does_not_end_between_two_probes(scene: Scene) -> None:
    refused, down = scene.alarm("AccountRefusedAlarm"), scene.alarm("SegmindDownAlarm")

    longest = 120  # between two sweeps

    assert refused["Period"] * refused["EvaluationPeriods"] > longest
    assert down["Period"] >= longest
    assert down["EvaluationPeriods"] > down["DatapointsToAlarm"]


def test_the_hints_of_waiting_renders_are_never_old_enough_to_ring(scene: Scene) -> None:
    url = scene.running.outputs["UploadQueueUrl"]
    asked = scene.running.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
    out_of_sight = int(asked["Attributes"]["VisibilityTimeout"])

    oldest = MAX_DELAY_SECONDS + 2 * out_of_sight  # its function dies once

    assert oldest < scene.alarm("UploadQueueOldAlarm")["Threshold"]


def _crosses(alarm: Json, values: list[float]) -> bool:
    statistic = STATISTICS[alarm["Statistic"]](values)
    return bool(COMPARISONS[alarm["ComparisonOperator"]](statistic, alarm["Threshold"]))


def _call(scene: Scene, operator: Subscriber, measured: list[Measured], alarm: Json) -> Json | None:
    scene.feed(measured, alarm)
    # The embedded CloudWatch ignores dimensions, so that other alarms on a metric of this name call, too.
    return next((call for call in operator.receive() if call["AlarmName"] == alarm["AlarmName"]), None)


def _by_name(dimensions: list[dict[str, str]]) -> dict[str, str]:
    return {one["Name"]: one["Value"] for one in dimensions}


def _sum(measured: list[Measured]) -> float:
    return sum(value for one in measured for value in one.values)


def _visible(sqs: Any, url: str) -> int:
    name = "ApproximateNumberOfMessages"
    return int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])


def _without_its_policy(scene: Scene, eventually: Eventually, name: str) -> list[Measured]:
    """What Lambda measures of a function that may do nothing any more."""
    iam, role = scene.running.client("iam"), scene.ids[f"{name}Role"]
    policy = iam.get_role_policy(RoleName=role, PolicyName=name.lower())["PolicyDocument"]
    iam.delete_role_policy(RoleName=role, PolicyName=name.lower())
    pair, function = f"{name.lower()}-crashes", f"{name}Function"

    scene.drop(pair)

    try:
        eventually(lambda: _sum(scene.crashes(pair, function)) >= 3, "the third crash")
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=name.lower(), PolicyDocument=json.dumps(policy))
    return scene.crashes(pair, function)


def _throttled(scene: Scene, eventually: Eventually, name: str, call: Callable[[str], None]) -> list[Measured]:
    """What Lambda measures of a function that it may not run."""
    client, function = scene.running.client("lambda"), scene.ids[name]
    allowed = client.get_function_concurrency(FunctionName=function).get("ReservedConcurrentExecutions")
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)

    call(function)

    try:
        eventually(lambda: _sum(scene.throttles(name)), "the throttle")
    finally:
        client.delete_function_concurrency(FunctionName=function)
        if allowed is not None:
            client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=allowed)
    return scene.throttles(name)


def _call_in_vain(scene: Scene, function: str) -> None:
    client = scene.running.client("lambda")
    with pytest.raises(client.exceptions.TooManyRequestsException):
        client.invoke(FunctionName=function, Payload=b"{}")
