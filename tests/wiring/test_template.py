"""What the linters and the embedded cloud do not see in `template.yaml` as a whole: names, parameters, outputs."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from kontext.polling.schedule import DEFAULT_POLL_COST
from tests.transformed import listed

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
        yield from listed(value)
