"""`kontext doctor` on a stack in which something stands still, or an alarm rings or cannot."""

from __future__ import annotations

import time

import pytest

from kontext.drops.pairs import pair_key
from kontext.drops.redelivery import REASON
from kontext.due import LINE, REMOVE_DUE, SET_DUE, STUCK_AFTER, TIMER
from kontext.dynamodb import Item
from kontext.errors import problem
from kontext.model import Render, Status
from kontext_cli.doctor import checks, standstill_checks
from tests.e2e.ward import Ward, assert_well, the_one


def test_a_dead_letter_says_what_it_died_of(ward: Ward) -> None:
    sqs, url = ward.running.client("sqs"), ward.running.outputs["DeadLetterQueueUrl"]
    reason = {"DataType": "String", "StringValue": "the message is no JSON"}
    sqs.send_message(QueueUrl=url, MessageBody="poison", MessageAttributes={REASON: reason})

    found = the_one(ward.find(standstill_checks.dead_letters))

    sqs.purge_queue(QueueUrl=url)
    assert found.says == "1; one is about poison: the message is no JSON"
    assert "kontext redrive" in str(found.remedy)
    assert_well(ward, standstill_checks.dead_letters)


LONG_AGO = time.time() - 3 * 3600


@pytest.mark.parametrize(
    ("status", "more", "says", "remedy"),
    [
        (Status.UNCERTAIN, {}, "1 uncertain renders: uncertain/", "kontext resolve"),
        (
            Status.FAILED,
            {"output_url": "https://x", "error": problem("delivery", "no access")},
            "1 undelivered pictures: failed/",
            "kontext redeliver",
        ),
        (Status.SUBMITTING, {"lease_until": LONG_AGO}, "1 renders that stand still: submitting/", "kontext explain"),
        (Status.PROCESSING, {"submitted_at": LONG_AGO}, "1 renders that stand still: processing/", "kontext explain"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isupper() else "",
)
def test_a_render_that_needs_a_hand(ward: Ward, status: Status, more: Render, says: str, remedy: str) -> None:
    more = {**more, "status": status}
    ward.render(status.lower(), **more)

    found = the_one(ward.find(standstill_checks.stuck_renders))

    ward.render(status.lower(), status=Status.DELIVERED)
    assert found.says == says
    assert remedy in str(found.remedy)
    assert [finding.state for finding in ward.find(standstill_checks.stuck_renders)] == ["good"]


def test_renders_on_their_way_need_no_hand(ward: Ward) -> None:
    ward.render("in-line", status=Status.CLAIMED, due_lane=LINE, due_at=LONG_AGO, waiting_since=LONG_AGO)
    ward.render("at-work", status=Status.PROCESSING, submitted_at=time.time() - 20)
    ward.render("blocked", status=Status.FAILED, error=problem("render_failed", "blocked"))

    findings = ward.find(standstill_checks.stuck_renders)

    assert [finding.state for finding in findings] == ["good"]


def test_a_pair_that_ten_looks_did_not_move(ward: Ward) -> None:
    key = pair_key("stuck/")
    ward.table.update(
        key, f"SET {SET_DUE}, #dispatches = :sent, #dispatched_until = :far", **LOOKED_AT, far=time.time() + 3000
    )

    found = the_one(ward.find(standstill_checks.stuck_items))

    ward.table.update(key, f"REMOVE {REMOVE_DUE}")
    assert found.says == "1 that 10 looks did not move: stuck/"
    assert "`kontext explain PREFIX`" in str(found.remedy)
    assert [finding.state for finding in ward.find(standstill_checks.stuck_items)] == ["good"]


LOOKED_AT: Item = {"due_lane": TIMER, "due_at": LONG_AGO, "sent": STUCK_AFTER}


def test_an_alarm_that_rings_is_told_with_its_remedy(ward: Ward) -> None:
    client, name = ward.running.client("cloudwatch"), ward.inspection().ids["UncertainAlarm"]
    client.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")

    found = the_one(ward.find(checks.alarms))

    client.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="a test")
    assert found.says == f"{name} rings"
    assert "kontext resolve PREFIX" in str(found.remedy)


def test_an_alarm_that_calls_nobody(ward: Ward) -> None:
    client, name = ward.running.client("cloudwatch"), ward.inspection().ids["DeadLettersAlarm"]
    client.disable_alarm_actions(AlarmNames=[name])

    found = the_one(ward.find(checks.alarms))

    client.enable_alarm_actions(AlarmNames=[name])
    assert found.says == f"{name} calls nobody"
    assert_well(ward, checks.alarms)


def test_an_alarm_that_has_been_deleted(ward: Ward) -> None:
    client, name = ward.running.client("cloudwatch"), ward.inspection().ids["UncertainAlarm"]
    known = client.meta.service_model.operation_model("PutMetricAlarm").input_shape.members
    (alarm,) = client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    client.delete_alarms(AlarmNames=[name])

    found = the_one(ward.find(checks.alarms))

    client.put_metric_alarm(**{one: value for one, value in alarm.items() if one in known})  # as the template has it
    assert (found.says, found.remedy) == (f"{name} has been deleted", "Run `sam deploy` again.")
    assert_well(ward, checks.alarms)
