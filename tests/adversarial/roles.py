"""What each role may do, what was done with it, and what AWS's own services do with it that nobody here sees.

Resources are called by their logical names in the template: `InputBucket/*` for its objects.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from simulation.fault_injection import FailureModes, FaultInjector

Json = dict[str, Any]


class Access(NamedTuple):
    """Something that a role has to do."""

    role: str
    action: str
    resource: str


@dataclass(frozen=True)
class Grant:
    """An action on a resource that a statement of a role's policy allows."""

    role: str
    statement: str
    action: str
    resource: str

    def covers(self, access: Access) -> bool:
        """Whether it is this that allows the access."""
        same = (self.role, self.action) == (access.role, access.action)
        return same and fnmatchcase(access.resource, self.resource)


def grants(role: str, document: Json) -> Iterator[Grant]:
    """What a policy, with resources by name, allows a role."""
    for statement in document["Statement"]:
        for action in listed(statement["Action"]):
            for resource in listed(statement["Resource"]):
                yield Grant(role, statement["Sid"], action, resource)


def listed(value: Any) -> list[Any]:
    """A policy's way of saying one or many."""
    return value if isinstance(value, list) else [value]


def missing(granted: Collection[Grant], accesses: Collection[Access]) -> set[Access]:
    """The accesses that no grant covers."""
    return {access for access in accesses if not any(grant.covers(access) for grant in granted)}


def unused(granted: Collection[Grant], accesses: Collection[Access]) -> set[Grant]:
    """The grants that cover no access."""
    return {grant for grant in granted if not any(grant.covers(access) for access in accesses)}


def accesses_of_services(resources: Json) -> Iterator[Access]:
    """What AWS does in the roles' names, by its documentation, with the resources of a transformed template.

    A function logs (docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html) and is traced
    (…/services-xray.html), its queue is polled (…/services-sqs-configure.html); a schedule calls its function
    (docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html); a workflow calls its tasks and is traced
    (docs.aws.amazon.com/step-functions/latest/dg/lambda-iam.html and …/xray-iam.html).
    """
    for properties in _of_type(resources, "AWS::Lambda::Function"):
        role, log = named(properties["Role"]), named(properties["LoggingConfig"]["LogGroup"])
        yield from (Access(role, f"logs:{what}", log) for what in ("CreateLogStream", "PutLogEvents"))
        yield from (Access(role, f"xray:{what}", "*") for what in ("PutTraceSegments", "PutTelemetryRecords"))
    for properties in _of_type(resources, "AWS::Lambda::EventSourceMapping"):
        function = resources[named(properties["FunctionName"])]["Properties"]
        for what in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
            yield Access(named(function["Role"]), f"sqs:{what}", named(properties["EventSourceArn"]))
    for properties in _of_type(resources, "AWS::Scheduler::Schedule"):
        yield Access(
            named(properties["Target"]["RoleArn"]), "lambda:InvokeFunction", named(properties["Target"]["Arn"])
        )
    for properties in _of_type(resources, "AWS::StepFunctions::StateMachine"):
        role = named(properties["RoleArn"])
        for task in properties["DefinitionSubstitutions"].values():
            yield Access(role, "lambda:InvokeFunction", named(task))
        for what in ("PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules", "GetSamplingTargets"):
            yield Access(role, f"xray:{what}", "*")


def _of_type(resources: Json, kind: str) -> Iterator[Json]:
    return (resource["Properties"] for resource in resources.values() if resource["Type"] == kind)


def named(value: Any) -> str:
    """The logical name in a reference, with what follows it; the stack's own where a parameter may name another."""
    if isinstance(value, str):
        return value
    ((kind, said),) = value.items()
    if kind == "Fn::If":
        return named(said[-1])
    if kind == "Fn::Sub":
        return str(said).replace("${", "").replace(".Arn}", "").replace("}", "")
    return str(said[0] if isinstance(said, list) else said.partition(".")[0])


ROLE_OF = {"submit": "SubmitRole", "sweep": "SweepRole", "poll": "PollRole", "finalize": "FinalizeRole"}
_S3 = {
    "get_object": "s3:GetObject",
    "head_object": "s3:GetObject",
    "put_object": "s3:PutObject",
    "create_multipart_upload": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "delete_object": "s3:DeleteObject",
}
_OTHERS = {
    "list_objects_v2": ("s3:ListBucket", "Bucket"),
    "get_item": ("dynamodb:GetItem", "TableName"),
    "query": ("dynamodb:Query", "TableName"),
    "update_item": ("dynamodb:UpdateItem", "TableName"),
    "delete_item": ("dynamodb:DeleteItem", "TableName"),
    "change_message_visibility": ("sqs:ChangeMessageVisibility", "QueueUrl"),
    "delete_message": ("sqs:DeleteMessage", "QueueUrl"),
    "send_message": ("sqs:SendMessage", "QueueUrl"),
    "publish": ("sns:Publish", "TopicArn"),
    "start_execution": ("states:StartExecution", "stateMachineArn"),
    "get_secret_value": ("secretsmanager:GetSecretValue", "SecretId"),
}


class Witness(FaultInjector):
    """The border between the code and the world, where every access is seen."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.accesses: set[Access] = set()

    def call(self, service: str, name: str, asked: Any, effect: Any, modes: FailureModes) -> Any:
        """Let a call take effect, and remember which permissions it needs. Raises KeyError for an unknown one."""
        process = self.scheduler.running
        role = ROLE_OF[process.name.partition(" ")[0]] if process else ""
        self.accesses |= {Access(role, *needed) for needed in _needed(name, asked)}

        def seen() -> Any:
            try:
                return effect()
            except ClientError as error:
                if service == "s3" and error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    # Without this permission S3 says 403 for what is not there.
                    self.accesses.add(Access(role, "s3:ListBucket", asked["Bucket"]))
                raise

        return super().call(service, name, asked, seen, modes)


def _needed(name: str, asked: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if name == "transact_write_items":
        for item in asked["TransactItems"]:
            ((operation, inner),) = item.items()
            yield f"dynamodb:{operation}Item", inner["TableName"]
    elif "IndexName" in asked:
        yield "dynamodb:Query", f"{asked['TableName']}/index/{asked['IndexName']}"
    elif name in _S3:
        action = "s3:GetObjectVersion" if "VersionId" in asked else _S3[name]
        yield action, f"{asked['Bucket']}/{asked['Key']}"
    else:
        action, resource = _OTHERS[name]
        yield action, asked[resource]
