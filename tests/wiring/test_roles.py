"""Each role may do exactly what its functions do: played in process, against the template after the SAM transform."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from simulation.template import Template
from tests.adversarial.play import cases, play
from tests.adversarial.roles import Access, Grant, accesses_of_services, grants, listed, missing, named, unused

Json = dict[str, Any]
ROLES = ("SubmitRole", "SweepRole", "ScheduleRole", "WorkflowRole", "PollRole", "FinalizeRole")
STATEMENTS = [(role, one["Sid"]) for role in ROLES for one in Template().statements(role)]


@cache
def accesses_of_functions() -> frozenset[Access]:
    """What the functions do when everything is dropped that makes them do anything special."""
    usual = cases("roles")
    poison, late = replace(usual[0], sent=("poison",)), replace(usual[0], away=20.0)
    return frozenset(access for case in (*usual, poison, late) for access in play(case).accesses)


@pytest.fixture(scope="module")
def accesses(transformed: Json) -> frozenset[Access]:
    """Everything that is done in the roles' names."""
    return accesses_of_functions() | set(accesses_of_services(transformed["Resources"]))


@pytest.fixture(scope="module")
def granted(transformed: Json) -> set[Grant]:
    """Everything that the roles may do."""
    return {grant for role in ROLES for grant in grants(role, _policy(transformed["Resources"][role]["Properties"]))}


def _policy(role: Json) -> Json:
    (policy,) = role["Policies"]
    statements = policy["PolicyDocument"]["Statement"]
    assert {one["Effect"] for one in statements} == {"Allow"}
    return {"Statement": [{**one, "Resource": [named(r) for r in listed(one["Resource"])]} for one in statements]}


def test_the_transform_adds_no_role_and_no_policy(transformed: Json) -> None:
    resources = transformed["Resources"]

    roles = {name for name, resource in resources.items() if resource["Type"] == "AWS::IAM::Role"}
    policies = [name for name, resource in resources.items() if "Policy" in resource["Type"].rpartition("IAM::")[2]]

    assert roles == set(ROLES)
    assert not any("ManagedPolicyArns" in resources[role]["Properties"] for role in ROLES)
    assert [name for name in policies if resources[name]["Type"].startswith("AWS::IAM::")] == []


def test_whatever_a_role_does_is_granted(granted: set[Grant], accesses: frozenset[Access]) -> None:
    assert missing(granted, accesses) == set()


def test_nothing_is_granted_that_a_role_never_does(granted: set[Grant], accesses: frozenset[Access]) -> None:
    assert unused(granted, accesses) == set()


@pytest.mark.parametrize(("role", "statement"), STATEMENTS)
def test_every_statement_is_needed(granted: set[Grant], accesses: frozenset[Access], role: str, statement: str) -> None:
    rest = {grant for grant in granted if (grant.role, grant.statement) != (role, statement)}

    assert {access.role for access in missing(rest, accesses)} == {role}


@pytest.mark.parametrize(
    "more",
    [
        Grant("SubmitRole", "More", "s3:PutObjectAcl", "OutputBucket/*"),
        Grant("PollRole", "More", "dynamodb:Query", "RendersTable"),
        Grant("SweepRole", "More", "dynamodb:Query", "RendersTable"),
        Grant("FinalizeRole", "More", "s3:GetObject", "InputBucket/*"),
    ],
    ids=lambda grant: grant.action,
)
def test_a_permission_too_many_is_found(granted: set[Grant], accesses: frozenset[Access], more: Grant) -> None:
    assert unused(granted | {more}, accesses) == {more}


def test_every_topic_leaves_it_to_roles_who_may_publish(resources: Json) -> None:
    topics = {name for name, resource in resources.items() if resource["Type"] == "AWS::SNS::Topic"}
    policies = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::SNS::TopicPolicy"]

    publishers = [
        statement["Principal"]
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
        if statement.get("Effect") == "Allow" and "sns:Publish" in listed(statement["Action"])
    ]

    assert {topic["Ref"] for policy in policies for topic in policy["Topics"]} == topics
    assert publishers == [{"Service": "cloudwatch.amazonaws.com"}]


@pytest.mark.parametrize(
    ("kind", "policy", "field"),
    [
        ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket"),
        ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"),
    ],
)
def test_every_bucket_and_every_queue_refuses_plain_http(resources: Json, kind: str, policy: str, field: str) -> None:
    policies = [one["Properties"] for one in resources.values() if one["Type"] == policy]

    refusing = {target["Ref"] for one in policies if "aws:SecureTransport" in str(one) for target in listed(one[field])}

    assert refusing == {name for name, resource in resources.items() if resource["Type"] == kind}
