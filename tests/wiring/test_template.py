"""What the linters and the embedded cloud do not see in `template.yaml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from kontext.polling.schedule import DEFAULT_POLL_COST, LONGEST_STAY_SECONDS
from kontext.renders.overdue import RESTORE_SECONDS, RESTORING_SECONDS
from kontext.renders.store import LEASE_SECONDS
from kontext.segmind.exchange import ANSWER_SECONDS
from simulation.template import Template

Json = dict[str, Any]

PHYSICAL_NAMES = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::IAM::Role": "RoleName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SecretsManager::Secret": "Name",
    "AWS::Serverless::Function": "FunctionName",
    "AWS::Serverless::LayerVersion": "LayerName",
    "AWS::Serverless::StateMachine": "Name",
}
UNNAMED = {"AWS::S3::BucketPolicy", "AWS::SNS::Subscription", "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy"}


def test_no_resource_has_a_physical_name(resources: Json) -> None:
    named = [
        logical_id
        for logical_id, resource in resources.items()
        if PHYSICAL_NAMES.get(resource["Type"]) in resource.get("Properties", {})
    ]

    assert named == []


def test_the_physical_name_of_every_type_in_use_is_known_to_these_tests(resources: Json) -> None:
    types = {resource["Type"] for resource in resources.values()}

    assert types <= PHYSICAL_NAMES.keys() | UNNAMED


def test_no_function_reserves_concurrency(functions: dict[str, Json]) -> None:
    reserving = [name for name, properties in functions.items() if "ReservedConcurrentExecutions" in properties]

    assert reserving == []


def test_nothing_refers_to_itself_after_the_sam_transform(transformed: Json) -> None:
    graph = {
        name: set(_references(resource)) & transformed["Resources"].keys()
        for name, resource in transformed["Resources"].items()
    }

    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, naming the cycle

    assert {"SubmitFunction", "RenderWorkflow", "InputBucket"} <= set(order)


def test_every_reference_leads_somewhere(transformed: Json) -> None:
    known = transformed["Resources"].keys() | transformed["Parameters"].keys()

    found = {name for name in _references(transformed) if not name.startswith("AWS::")}

    assert found <= known
    assert found


def test_every_parameter_says_what_it_is_for(template: Json) -> None:
    silent = [name for name, parameter in template["Parameters"].items() if len(parameter.get("Description", "")) < 20]

    assert silent == []


def test_every_parameter_is_used(template: Json) -> None:
    body = [template["Resources"], template["Globals"], template["Conditions"], template["Outputs"]]

    used = set(_references(body))

    assert template["Parameters"].keys() - used == set()


def test_sams_guide_takes_enter_for_every_parameter(template: Json) -> None:
    # sam offers no default for what is not to be shown, and asks until something is typed.
    unanswerable = [
        name
        for name, parameter in template["Parameters"].items()
        if "Default" not in parameter or "NoEcho" in parameter
    ]

    assert unanswerable == []


def test_the_api_key_is_in_no_parameter_and_no_variable(template: Json) -> None:
    named = [*template["Parameters"], *_variables(template["Globals"]["Function"])]
    for resource in template["Resources"].values():
        named += _variables(resource.get("Properties", {}))

    assert [name for name in named if re.search("key|token|password", name, re.IGNORECASE)] == []


def _variables(properties: Json) -> Json:
    variables: Json = properties.get("Environment", {}).get("Variables", {})
    return variables


def test_the_schedule_has_the_defaults_of_the_template(template: Json) -> None:
    defaults = {name: parameter["Default"] for name, parameter in template["Parameters"].items()}

    assert defaults["PollCostSeconds"] == DEFAULT_POLL_COST


def test_every_parameter_stands_in_one_group_of_the_console(template: Json) -> None:
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]

    listed = [name for group in groups for name in group["Parameters"]]

    assert sorted(listed) == sorted(template["Parameters"])


def test_every_condition_is_used(template: Json) -> None:
    text = str(template["Resources"])

    unused = [name for name in template["Conditions"] if f"'{name}'" not in text]

    assert unused == []


def test_every_output_says_what_it_is_for(template: Json) -> None:
    silent = [name for name, output in template["Outputs"].items() if not output.get("Description")]

    assert silent == []


def test_every_resource_that_can_says_what_it_is_for(transformed: Json) -> None:
    silent = [
        name
        for name, resource in transformed["Resources"].items()
        if "Description" in _properties_of(resource["Type"])
        if len(str(resource["Properties"].get("Description", ""))) < 10
    ]

    assert silent == []


def _properties_of(kind: str) -> Json:
    """The properties that a type of resource has in CloudFormation's own schema."""
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER  # takes seconds, which other tests need not wait

    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    properties: Json = schema["properties"]
    return properties


def test_the_local_deployment_sets_only_parameters_that_exist(root: Path, template: Json) -> None:
    settings = (root / "samconfig.toml").read_text()

    set_there = re.findall(r"(\w+)=", "".join(re.findall(r'parameter_overrides = "([^"]*)"', settings)))

    assert set_there
    assert set(set_there) <= template["Parameters"].keys()


def test_a_local_deployment_is_set_up_like_one_on_aws_but_for_plain_http(root: Path) -> None:
    settings = tomllib.loads((root / "samconfig.toml").read_text())

    on_aws, local = (settings[kind]["deploy"]["parameters"] for kind in ("default", "local"))

    assert local == on_aws | {"parameter_overrides": "TlsOnly=false"}


def test_no_deployment_is_written_down_in_the_settings(root: Path) -> None:
    settings = tomllib.loads((root / "samconfig.toml").read_text())

    given = settings["default"]["deploy"]["parameters"].keys() | settings["default"]["global"]["parameters"].keys()

    assert given & {"parameter_overrides", "region", "profile", "s3_bucket", "role_arn"} == set()


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
        if "sqs:SendMessage" in _listed(statement["Action"]) and queue in _listed(statement["Resource"])
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
    assert not any("*" in action for one in statements for action in _listed(one["Action"]))


def test_the_workflow_may_call_its_functions(resources: Json) -> None:
    (policy,) = resources["WorkflowRole"]["Properties"]["Policies"]
    allowed = {
        resource["Fn::GetAtt"][0]
        for statement in policy["PolicyDocument"]["Statement"]
        if "lambda:InvokeFunction" in _listed(statement["Action"])
        for resource in statement["Resource"]
    }

    called = resources["RenderWorkflow"]["Properties"]["DefinitionSubstitutions"].values()

    assert allowed == {arn["Fn::GetAtt"][0] for arn in called}


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _references(node: Any) -> Iterator[str]:
    """The logical names that a part of a template refers to."""
    if isinstance(node, list):
        for each in node:
            yield from _references(each)
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _named(key, value)
            yield from _references(value)


def _named(key: str, value: Any) -> Iterator[str]:
    if key == "Ref":
        yield value
    elif key == "Fn::GetAtt":
        yield value.partition(".")[0] if isinstance(value, str) else value[0]
    elif key == "Fn::Sub":
        text = value if isinstance(value, str) else value[0]
        yield from (name.partition(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", text))
    elif key == "DependsOn":
        yield from _listed(value)


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
