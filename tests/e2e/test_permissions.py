"""The roles of the template are enforced: what a role may not do does not happen, and is said."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from PIL import Image

from kontext_cli.decide import operate
from kontext_cli.target import LOCAL, Target
from kontext_local.stack import LocalStack
from tests.e2e.conftest import Eventually


def test_a_submitter_that_may_not_read_drops_renders_nothing_until_it_may(
    own_stack: Callable[..., LocalStack], eventually: Eventually
) -> None:
    local = own_stack()
    # A message that fails is soon tried again, rather than in minutes.
    local.client("sqs").set_queue_attributes(
        QueueUrl=local.outputs["UploadQueueUrl"], Attributes={"VisibilityTimeout": "3"}
    )
    role, policy = _policy_of(local, "SubmitRole")
    _put(local, role, _without(policy, "s3:GetObject"))

    for slot in "12":
        local.client("s3").put_object(
            Bucket=local.outputs["InputBucket"], Key=f"taj/{slot}.png", Body=_photograph(), Metadata={"prompt": "both"}
        )
    operator = operate.Operator(Target(LOCAL, local.outputs, local.client))
    eventually(lambda: _said(operator), "a message refused")

    assert "AccessDenied" in _said(operator)
    assert operator.renders.of_pair("taj/") == []

    _put(local, role, policy)
    eventually(
        lambda: [r for r in operator.renders.of_pair("taj/") if r["status"] == "DELIVERED"], "the pair delivered"
    )


def _policy_of(local: LocalStack, logical_id: str) -> tuple[str, dict[str, Any]]:
    resource = local.client("cloudformation").describe_stack_resource(
        StackName="kontext-drop", LogicalResourceId=logical_id
    )
    role = resource["StackResourceDetail"]["PhysicalResourceId"]
    return role, local.client("iam").get_role_policy(RoleName=role, PolicyName="submit")["PolicyDocument"]


def _put(local: LocalStack, role: str, policy: dict[str, Any]) -> None:
    local.client("iam").put_role_policy(RoleName=role, PolicyName="submit", PolicyDocument=json.dumps(policy))


def _without(policy: dict[str, Any], action: str) -> dict[str, Any]:
    assert action in json.dumps(policy)

    def kept(statement: dict[str, Any]) -> dict[str, Any]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        return {**statement, "Action": [each for each in actions if each != action] or ["sts:GetCallerIdentity"]}

    return {**policy, "Statement": [kept(statement) for statement in policy["Statement"]]}


def _said(operator: operate.Operator) -> str:
    # A message that came back before its first try has ended has no reason yet.
    return next((item["reason"] for item in operator.table.scan() if item["sk"] == "letter" and "reason" in item), "")


def _photograph() -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(encoded, "PNG")
    return encoded.getvalue()
