"""`kontext doctor` on a stack that is broken in one way after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kontext.throttle.throttle import Throttle
from kontext_cli.doctor import account_checks, checks, standstill_checks
from tests.e2e.ward import Check, Ward, assert_well, the_one
from tests.existing import existing


@pytest.fixture
def secret(ward: Ward) -> Iterator[Callable[[str], None]]:
    """Puts another text into the stack's secret."""
    client, arn = ward.running.client("secretsmanager"), ward.running.outputs["SegmindSecretArn"]
    before = client.get_secret_value(SecretId=arn)["SecretString"]
    yield lambda text: client.put_secret_value(SecretId=arn, SecretString=text)
    client.put_secret_value(SecretId=arn, SecretString=before)


@pytest.fixture
def emulator(ward: Ward) -> Iterator[Callable[[str, Any], None]]:
    """Sets something at the emulator."""
    yield ward.emulator
    with ward.running.emulator() as client:
        client.delete("script").raise_for_status()
    ward.emulator("settings", {"credits": 100.0, "keys": [ward.running.emulator_key]})


ALL_CHECKS = (
    checks.stack,
    account_checks.api_key,
    account_checks.circuit_breaker,
    checks.event_wiring,
    checks.functions,
    standstill_checks.unknown_drops,
    standstill_checks.dead_letters,
    standstill_checks.stuck_items,
    checks.throttles,
    checks.alarms,
    checks.drift,
)


@pytest.mark.parametrize("check", ALL_CHECKS, ids=lambda check: check.__name__)
def test_a_stack_that_is_well_is_found_well(ward: Ward, check: Check) -> None:
    findings = ward.find(check)

    assert findings
    assert [finding for finding in findings if finding.state != "good"] == []


@pytest.mark.parametrize("text", ["", "put-the-api-key-here"], ids=["empty", "as deployed"])
def test_a_secret_without_a_key(ward: Ward, secret: Callable[[str], None], text: str) -> None:
    secret(text or " ")

    found = the_one(ward.find(account_checks.api_key))

    secret(existing(ward.running.emulator_key))
    assert (found.check, found.says) == ("API key", "the secret holds no API key yet")
    assert_well(ward, account_checks.api_key)
    assert f"put-secret-value --secret-id {ward.running.outputs['SegmindSecretArn']}" in str(found.remedy)


def test_a_wrong_key(ward: Ward, secret: Callable[[str], None]) -> None:
    secret("SG_0000000000000000")

    found = the_one(ward.find(account_checks.api_key))

    assert found.check == "API key"
    assert found.says.startswith("Segmind refuses it")
    assert "put-secret-value" in str(found.remedy)


@pytest.mark.parametrize(
    ("credits", "remedy"),
    [
        pytest.param(-0.04, "Top the account up", id="less than none"),
        pytest.param(0.01, "Top the account up", id="none"),
        pytest.param(4.0, "Top", id="few"),
    ],
)
def test_too_few_credits(ward: Ward, emulator: Callable[[str, Any], None], credits: float, remedy: str) -> None:
    emulator("settings", {"credits": credits})

    found = the_one(ward.find(account_checks.api_key))

    assert found.check == "credits"
    assert found.says.startswith(f"USD {credits:.2f} at Segmind")
    assert remedy in str(found.remedy)


def test_segmind_down(ward: Ward, emulator: Callable[[str, Any], None]) -> None:
    emulator("script", {"on": "credits", "status": 503, "times": None, "body": {"error": "temporarily unavailable"}})

    found = the_one(ward.find(account_checks.api_key))

    assert found.says == f"Segmind does not answer at {ward.running.segmind_url}: temporarily unavailable"
    assert "go on by themselves" in str(found.remedy)


@pytest.mark.parametrize(
    ("stop", "reason", "remedy"),
    [
        pytest.param(
            lambda throttle: throttle.open_breaker("no_credits", time.time()), "no_credits", "Top", id="by the account"
        ),
        pytest.param(lambda throttle: throttle.pause(time.time()), "paused", "kontext resume", id="by a person"),
    ],
)
def test_an_open_circuit_breaker(ward: Ward, stop: Callable[[Throttle], object], reason: str, remedy: str) -> None:
    stop(ward.throttle)

    found = the_one(ward.find(account_checks.circuit_breaker))

    ward.well()
    assert f"({reason})" in found.says
    assert remedy in str(found.remedy)
    assert [finding.state for finding in ward.find(account_checks.circuit_breaker)] == ["good"]


def test_a_bucket_that_tells_nobody(ward: Ward) -> None:
    s3, bucket = ward.running.client("s3"), ward.running.outputs["InputBucket"]
    before = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})

    found = the_one(ward.find(checks.event_wiring))

    again = {"QueueConfigurations": before}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=again)
    assert found.says == f"{bucket} does not tell the upload queue of drops"
    assert_well(ward, checks.event_wiring)


def test_a_queue_that_lets_nobody_in(ward: Ward) -> None:
    sqs, url = ward.running.client("sqs"), ward.running.outputs["UploadQueueUrl"]
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})

    found = the_one(ward.find(checks.event_wiring))

    sqs.set_queue_attributes(QueueUrl=url, Attributes=before)
    assert "does not let S3 send" in found.says
    assert_well(ward, checks.event_wiring)


def test_a_function_that_does_not_read_the_queue(ward: Ward) -> None:
    client, function = ward.running.client("lambda"), ward.inspection().ids["SubmitFunction"]
    (mapping,) = client.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)

    found = the_one(ward.find(checks.event_wiring))

    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
    assert found.check == "queue"
    assert mapping["UUID"] in str(found.remedy)
    assert_well(ward, checks.event_wiring)


def test_a_function_that_may_not_run(ward: Ward) -> None:
    client, function = ward.running.client("lambda"), ward.inspection().ids["PollFunction"]
    allowed = client.get_function_concurrency(FunctionName=function)["ReservedConcurrentExecutions"]
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)

    found = the_one(ward.find(checks.functions))

    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=allowed)
    assert "PollFunction may not run" in found.says
    assert function in str(found.remedy)
    assert_well(ward, checks.functions)


def test_a_schedule_that_calls_nobody(ward: Ward) -> None:
    client, name = ward.running.client("scheduler"), ward.inspection().ids["SweepFunctionMinute"]
    known = client.get_schedule(Name=name)
    kept = {one: known[one] for one in ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")}
    client.update_schedule(**kept, State="DISABLED")

    found = the_one(ward.find(checks.schedule))

    client.update_schedule(**kept, State="ENABLED")
    assert "Enable it in EventBridge Scheduler" in str(found.remedy)
    assert_well(ward, checks.schedule)


def test_a_subscription_that_nobody_confirmed(ward: Ward) -> None:
    sns, topic = ward.running.client("sns"), ward.running.outputs["AlarmTopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint="http://127.0.0.1:9/alarms")

    found = the_one(ward.find(checks.subscriptions))

    assert found.says == "http http://127.0.0.1:9/alarms has not confirmed its subscription to alarms"


def test_a_resource_that_somebody_changed(ward: Ward) -> None:
    sqs, url = ward.running.client("sqs"), ward.running.outputs["UploadQueueUrl"]
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "5"})

    found = the_one(ward.find(checks.drift))

    sqs.set_queue_attributes(QueueUrl=url, Attributes=before)
    assert found.says == "changed since the deployment: UploadQueue"
    assert_well(ward, checks.drift)


def test_the_command_says_it_all_in_one_document_and_by_its_exit_code(ward: Ward, tmp_path: Path) -> None:
    ward.throttle.open_breaker("bad_key", time.time() + 600)  # no sweep probes it before the command has looked
    environment = {**os.environ, "KONTEXT_HOME": ward.running.home}
    command = [sys.executable, "-m", "kontext_cli.main", "doctor", "--json"]

    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    ward.well()
    findings = json.loads(answer.stdout)
    assert answer.returncode == 1, answer.stderr
    assert {"circuit breaker"} <= {finding["check"] for finding in findings if finding["state"] == "wrong"}
    assert all(finding["remedy"] for finding in findings if finding["state"] != "good")
