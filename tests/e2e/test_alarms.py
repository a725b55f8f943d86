"""Each alarm of the template rings: its real condition is caused, and what the stack then really measures crosses it.

CloudWatch itself is emulated without embedded metrics, dimensions and periods. So each proof goes in three steps:
cause the condition on a deployed stack; compare the measure, as emitted, with the alarm's definition, and its
values with the threshold; then feed it to the embedded CloudWatch and see the alarm notify its topic.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from operator import ge, lt
from statistics import mean

import pytest

from kontext.hints import MAX_DELAY_SECONDS
from kontext_cli.demo.subscriber import Subscriber
from kontext_cli.doctor.checks import Finding, StackInspection
from kontext_cli.doctor.command import examine
from kontext_cli.explain import Explanation, the_pair
from tests.e2e.causes import DIAGNOSES, PROOFS
from tests.e2e.conftest import Eventually
from tests.e2e.scene import Json, Measured, Scene, keeps_to_the_contract

STATISTICS: dict[str, Callable[[list[float]], float]] = {"Sum": sum, "Average": mean, "Minimum": min, "Maximum": max}
COMPARISONS = {"GreaterThanOrEqualToThreshold": ge, "LessThanThreshold": lt}


@pytest.fixture
def operator(scene: Scene) -> Iterator[Subscriber]:
    """Somebody who is called when an alarm rings."""
    with Subscriber(scene.target, "AlarmTopicArn") as called:
        yield called


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
    story = Explanation(scene.target, the_pair(scene.target, pair)).document()
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
        told = [event for event in gate.receive() if _since(event) >= scene.began]

    assert all(map(keeps_to_the_contract, told))
    events = {event["id"]: event for event in told}  # two renders that park at once may tell it twice, under one id
    parked, resumed = sorted(events.values(), key=lambda event: event["time"])
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


def _since(event: Json) -> float:
    """Since when renders have waited; an earlier test may have caused it, and be told of late."""
    return datetime.fromisoformat(event["data"]["since"]).timestamp()


def _crosses(alarm: Json, values: list[float]) -> bool:
    statistic = STATISTICS[alarm["Statistic"]](values)
    return bool(COMPARISONS[alarm["ComparisonOperator"]](statistic, alarm["Threshold"]))


def _call(scene: Scene, operator: Subscriber, measured: list[Measured], alarm: Json) -> Json | None:
    scene.feed(measured, alarm)
    # The embedded CloudWatch ignores dimensions, so that other alarms on a metric of this name call, too.
    return next((call for call in operator.receive() if call["AlarmName"] == alarm["AlarmName"]), None)


def _by_name(dimensions: list[dict[str, str]]) -> dict[str, str]:
    return {one["Name"]: one["Value"] for one in dimensions}
