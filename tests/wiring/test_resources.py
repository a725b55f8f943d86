"""What linters and the embedded cloud do not see in the resources of `template.yaml`: what stays, and who may what."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from kontext.polling.schedule import LONGEST_STAY_SECONDS
from kontext.renders.overdue import RESTORE_SECONDS, RESTORING_SECONDS
from kontext.renders.store import LEASE_SECONDS
from kontext.segmind.exchange import ANSWER_SECONDS
from simulation.template import Template
from tests.transformed import listed

Json = dict[str, Any]


@pytest.mark.parametrize("bucket", ["InputBucket", "OutputBucket"])
def test_a_bucket_is_versioned_private_encrypted_and_tidy(resources: Json, bucket: str) -> None:
    properties = resources[bucket]["Properties"]

    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert "BucketEncryption" in properties
    assert "AbortIncompleteMultipartUpload" in properties["LifecycleConfiguration"]["Rules"][0]
    assert properties["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_the_queue_is_not_told_of_old_versions_that_a_rule_deletes() -> None:
    template = Template()

    assert template.tells_queue("LifecycleExpiration:DeleteMarkerCreated")
    assert not template.tells_queue("LifecycleExpiration:Delete")  # a month after each exchange and each removal


@pytest.mark.parametrize("bucket", ["InputBucket", "OutputBucket"])
def test_a_bucket_refuses_plain_http(resources: Json, bucket: str) -> None:
    policies = [
        resource["Properties"]
        for resource in resources.values()
        if resource["Type"] == "AWS::S3::BucketPolicy" and resource["Properties"]["Bucket"] == {"Ref": bucket}
    ]

    (statement,) = policies[0]["PolicyDocument"]["Statement"]

    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [
        {"Fn::GetAtt": [bucket, "Arn"]},
        {"Fn::Sub": f"${{{bucket}.Arn}}/*"},
    ]


@pytest.mark.parametrize("kept", ["InputBucket", "OutputBucket", "RendersTable"])
def test_what_people_own_outlives_the_stack(resources: Json, kept: str) -> None:
    assert resources[kept]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert resources[kept]["UpdateReplacePolicy"] == "Retain"


def test_a_replaced_picture_is_kept_as_long_as_it_may_be_put_back(resources: Json) -> None:
    (rule,) = resources["OutputBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]

    kept = rule["NoncurrentVersionExpiration"]["NoncurrentDays"] * 86_400

    assert kept >= RESTORE_SECONDS + RESTORING_SECONDS


def test_the_table_is_on_demand_and_can_be_restored(resources: Json) -> None:
    properties = resources["RendersTable"]["Properties"]

    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def test_a_message_that_cannot_be_worked_on_goes_to_the_dead_letter_queue(resources: Json) -> None:
    redrive = resources["UploadQueue"]["Properties"]["RedrivePolicy"]

    assert redrive["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
    assert redrive["maxReceiveCount"] >= 3
    assert resources["DeadLetterQueue"]["Properties"]["MessageRetentionPeriod"] == 14 * 86_400


def test_a_submitter_ends_before_its_lease_and_its_lease_before_its_message_returns(
    resources: Json, functions: dict[str, Json]
) -> None:
    timeout = functions["SubmitFunction"]["Timeout"]
    visibility = resources["UploadQueue"]["Properties"]["VisibilityTimeout"]

    # A claim can be made as late as the function lives, and its lease begins then.
    assert timeout < LEASE_SECONDS
    assert timeout + LEASE_SECONDS < visibility


def test_poll_outlives_its_longest_stay_and_a_last_look_whose_answers_drip(functions: dict[str, Json]) -> None:
    longest = LONGEST_STAY_SECONDS + 2 * ANSWER_SECONDS  # the status, and then the result

    assert functions["PollFunction"]["Timeout"] >= longest + 10


def test_the_queue_is_told_which_messages_failed(functions: dict[str, Json]) -> None:
    events = functions["SubmitFunction"]["Events"]

    assert [event["Properties"]["FunctionResponseTypes"] for event in events.values()] == [["ReportBatchItemFailures"]]


def test_lambda_watches_every_loop_and_only_submit_could_run_in_one(transformed: Json) -> None:
    functions = _of_type(transformed, "AWS::Lambda::Function")

    allowed = {name for name, one in functions.items() if one.get("RecursiveLoop", "Terminate") == "Allow"}

    assert allowed == set()
    assert _senders_to_their_own_queue(transformed) == {"SubmitFunction"}


def _senders_to_their_own_queue(transformed: Json) -> set[str]:
    """The functions whose role may send to a queue that calls them."""
    functions, roles = _of_type(transformed, "AWS::Lambda::Function"), _of_type(transformed, "AWS::IAM::Role")
    mappings = _of_type(transformed, "AWS::Lambda::EventSourceMapping").values()
    called_by = [(one["FunctionName"]["Ref"], one["EventSourceArn"]) for one in mappings]
    return {
        name
        for name, queue in called_by
        for policy in roles[functions[name]["Role"]["Fn::GetAtt"][0]]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        if "sqs:SendMessage" in listed(statement["Action"]) and queue in listed(statement["Resource"])
    }


def _of_type(transformed: Json, kind: str) -> dict[str, Json]:
    """The properties of each resource of a type, by logical id."""
    return {name: one["Properties"] for name, one in transformed["Resources"].items() if one["Type"] == kind}


def test_every_function_keeps_its_logs_for_a_stated_time(resources: Json, functions: dict[str, Json]) -> None:
    groups = {name: properties["LoggingConfig"]["LogGroup"]["Ref"] for name, properties in functions.items()}

    assert len(set(groups.values())) == len(groups)
    assert all("RetentionInDays" in resources[group]["Properties"] for group in groups.values())


def test_every_function_is_traced(functions: dict[str, Json]) -> None:
    assert {properties["Tracing"] for properties in functions.values()} == {"Active"}


def test_every_function_has_a_role_of_its_own(functions: dict[str, Json]) -> None:
    roles = [properties["Role"]["Fn::GetAtt"][0] for properties in functions.values()]

    assert len(set(roles)) == len(functions)


def test_no_role_may_do_everything_or_touch_anything(resources: Json) -> None:
    statements = [
        statement
        for resource in resources.values()
        if resource["Type"] == "AWS::IAM::Role"
        for policy in resource["Properties"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]

    broad = [one["Sid"] for one in statements if one["Resource"] == "*"]

    assert set(broad) == {"Trace"}  # X-Ray knows no resources
    assert not any("*" in action for one in statements for action in listed(one["Action"]))


def test_the_workflow_may_call_its_functions(resources: Json) -> None:
    (policy,) = resources["WorkflowRole"]["Properties"]["Policies"]
    allowed = {
        resource["Fn::GetAtt"][0]
        for statement in policy["PolicyDocument"]["Statement"]
        if "lambda:InvokeFunction" in listed(statement["Action"])
        for resource in statement["Resource"]
    }

    called = resources["RenderWorkflow"]["Properties"]["DefinitionSubstitutions"].values()

    assert allowed == {arn["Fn::GetAtt"][0] for arn in called}


def test_every_suppression_of_the_audit_says_why(resources: Json) -> None:
    skipped = [
        skip for one in resources.values() for skip in one.get("Metadata", {}).get("checkov", {}).get("skip", ())
    ]

    assert skipped
    assert [skip["id"] for skip in skipped if len(skip.get("comment", "")) < 40] == []


def test_nothing_is_tied_to_one_partition_or_account(root: Path) -> None:
    files = [root / "template.yaml", root / "workflow.asl.json"]

    assert [line for file in files for line in re.findall(r".*arn:aws.*|.*\b\d{12}\b.*", file.read_text())] == []


def test_every_resource_of_a_stack_is_tagged_so_that_its_cost_can_be_told(root: Path) -> None:
    settings = tomllib.loads((root / "samconfig.toml").read_text())

    assert {settings[kind]["deploy"]["parameters"]["tags"] for kind in ("default", "local")} == {"app=kontext-drop"}


@pytest.mark.parametrize("kind", ["AWS::S3::Bucket", "AWS::DynamoDB::Table"])
def test_no_picture_and_no_record_goes_with_the_stack(resources: Json, kind: str) -> None:
    kept = {name: one.get("DeletionPolicy") for name, one in resources.items() if one["Type"] == kind}

    assert kept
    assert set(kept.values()) == {"RetainExceptOnCreate"}
