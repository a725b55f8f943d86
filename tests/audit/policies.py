"""Read every policy of the template with parliament: does IAM know its actions, resources and conditions?

Run by `make check`, in the audit's own environment. Roles get their own rules; a resource's policy is read as if its
principals had it, which is how AWS reads it too.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import parliament

from simulation.template import parsed

Json = dict[str, Any]

ARNS = {
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:us-east-1:123456789012:table/{}",
    "AWS::Logs::LogGroup": "arn:aws:logs:us-east-1:123456789012:log-group:{}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
    "AWS::SNS::Topic": "arn:aws:sns:us-east-1:123456789012:{}",
    "AWS::SQS::Queue": "arn:aws:sqs:us-east-1:123456789012:{}",
    "AWS::SecretsManager::Secret": "arn:aws:secretsmanager:us-east-1:123456789012:secret:{}",
    "AWS::Serverless::Function": "arn:aws:lambda:us-east-1:123456789012:function:{}",
    "AWS::Serverless::StateMachine": "arn:aws:states:us-east-1:123456789012:stateMachine:{}",
}
PSEUDO = {"AWS::AccountId": "123456789012", "AWS::Partition": "aws", "AWS::Region": "us-east-1"}


def main() -> int:
    """Print every finding; the number of policies that have one."""
    resources = parsed()["Resources"]
    wrong = 0
    for name, document in policies(resources):
        findings = parliament.analyze_policy_string(json.dumps(resolved(document, resources))).findings
        wrong += bool(findings)
        for finding in findings:
            print(f"{name}: {finding.issue} {finding.detail} {finding.location}")
    return wrong


def policies(resources: Json) -> Iterator[tuple[str, Json]]:
    """Every policy document with the name of its resource; without its principals."""
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        for policy in properties.get("Policies", ()):
            yield name, policy["PolicyDocument"]
        if resource["Type"].endswith("Policy"):
            document = properties["PolicyDocument"]
            yield name, {**document, "Statement": [without_principal(one) for one in document["Statement"]]}


def without_principal(statement: Json) -> Json:
    """The statement in whichever branch a condition of the template chooses."""
    chosen = statement["If"][1] if "If" in statement else statement
    return {key: value for key, value in chosen.items() if key != "Principal"}


def resolved(node: Any, resources: Json) -> Any:
    """A part of a policy with ARNs as AWS would make them."""
    if isinstance(node, list):
        return [resolved(each, resources) for each in node]
    if not isinstance(node, dict):
        return node
    match node:
        case {"Ref": name}:
            return named(name, resources)
        case {"If": [_, _, own]}:
            return resolved(own, resources)
        case {"GetAtt": attribute}:
            return named(attribute.partition(".")[0], resources)
        case {"Sub": text}:
            return re.sub(r"\$\{([^}.]+)[^}]*\}", lambda found: named(found[1], resources), text)
    return {key: resolved(value, resources) for key, value in node.items()}


def named(name: str, resources: Json) -> str:
    return PSEUDO[name] if name in PSEUDO else ARNS[resources[name]["Type"]].format(name)


if __name__ == "__main__":
    sys.exit(main())
