"""What a stack is made of, as CloudFormation knows it."""

from __future__ import annotations

from typing import Any

from kontext_cli.target import LOCAL, Target


def stack_name(target: Target) -> str:
    """The name of the CloudFormation stack."""
    from kontext_local.deploy import STACK

    return STACK if target.name == LOCAL else target.name


def description(target: Target) -> dict[str, Any]:
    """CloudFormation's own description of the stack: its status, its parameters, its last drift detection."""
    (found,) = target.client("cloudformation").describe_stacks(StackName=stack_name(target))["Stacks"]
    return found  # type: ignore[no-any-return]


def parameters(described: dict[str, Any]) -> dict[str, str]:
    """The value of each parameter of a stack, by its name in the template."""
    given = described.get("Parameters", ())
    return {one["ParameterKey"]: one.get("ParameterValue", "") for one in given}


def physical_ids(target: Target) -> dict[str, str]:
    """The physical id of each resource, by its name in the template."""
    answer = target.client("cloudformation").describe_stack_resources(StackName=stack_name(target))
    return {one["LogicalResourceId"]: one.get("PhysicalResourceId", "") for one in answer["StackResources"]}
