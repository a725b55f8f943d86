"""What makes each alarm ring: its real condition, caused in a stack; returned is what the stack then measured."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from kontext.drops.pairs import pair_key
from kontext.due import SET_DUE, STUCK_AFTER, TIMER
from kontext.dynamodb import Item
from kontext.model import Render
from kontext.renders.overdue import DELAY_SECONDS
from kontext.renders.record import render_key, render_of
from tests.e2e.conftest import Eventually
from tests.e2e.scene import Measured, Scene

LOW_CREDITS = 5.0


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
    # Nobody waits for hours here: it has been looked at nine times, and nobody can read what it is.
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
