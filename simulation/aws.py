"""The AWS clients that the functions are given: each call through the border, to a service in memory."""

# ruff: noqa: N803  the services' own names

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.parameters.base import ExpirableValue
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError

from kontext.clock import Clock
from simulation import dynamodb, s3
from simulation.fault_injection import EVERYWHERE, FailureModes, FaultInjector
from simulation.scheduler import Scheduler

READS = (
    "get_item",
    "batch_get_item",
    "query",
    "scan",
    "list_object_versions",
    "get_object",
    "head_object",
    "get_secret_value",
    "describe_stacks",
)
_MAX_MESSAGE_BYTES = 262_144
_TROUBLE = {
    "dynamodb": ("InternalServerError", 500),
    "s3": ("SlowDown", 503),
    "sqs": ("ServiceUnavailable", 503),
    "sns": ("InternalError", 500),
    "stepfunctions": ("ThrottlingException", 400),
    "secretsmanager": ("InternalServiceError", 500),
    "cloudformation": ("Throttling", 400),
}


class Client:
    """What `boto3.client` gives: the methods of `service`, with all that can go wrong on the way.

    `config`: how long it waits, and how often it asks, before it gives up.
    """

    def __init__(self, injector: FaultInjector, name: str, service: Any, config: Config) -> None:
        self._injector, self._name, self._service = injector, name, service
        self._patience, self._tries = patience(config, name)
        self.exceptions = getattr(service, "exceptions", None)

    def generate_presigned_url(self, operation: str, **asked: Any) -> Any:
        """Made without a call."""
        return self._service.generate_presigned_url(operation, **asked)

    def get_paginator(self, operation: str) -> dynamodb.Pages:
        """Each page is a call."""
        return dynamodb.Pages(getattr(self, operation))

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        effect = getattr(self._service, operation)

        def call(**asked: Any) -> Any:
            modes = FailureModes(
                _kinds(operation), lambda kind: self._failure(operation, kind, asked), self._patience, self._tries
            )
            effects = _once(effect) if operation == "transact_write_items" else effect
            return self._injector.call(self._name, operation, asked, lambda: effects(**asked), modes)

        setattr(self, operation, call)
        return call

    def _failure(self, operation: str, kind: str, asked: dict[str, Any]) -> Any:
        if kind.startswith("time-out"):
            raise ReadTimeoutError(endpoint_url=f"https://{self._name}.amazonaws.com")
        if kind == "conflict":
            raise _conflict(operation, asked)
        raise s3.error(*_TROUBLE[self._name], operation)


def patience(config: Config, service: str) -> tuple[float, int]:
    """Seconds that a client waits for an answer, and how often it asks: botocore's own where the config is silent.

    https://botocore.amazonaws.com/v1/documentation/api/latest/reference/config.html
    """
    chosen = vars(config)
    retries = chosen["retries"] or {}
    usual = 10 if service == "dynamodb" else 5
    tries = retries.get("total_max_attempts") or 1 + retries.get("max_attempts", usual - 1)
    return float(chosen["read_timeout"]), int(tries)


def _kinds(operation: str) -> tuple[str, ...]:
    if operation in READS:
        return EVERYWHERE
    conflict = ("conflict",) if operation in ("update_item", "transact_write_items") else ()
    return (*EVERYWHERE, "repeated", *conflict)


def _conflict(operation: str, asked: dict[str, Any]) -> ClientError:
    if operation == "transact_write_items":
        others = [{"Code": "None"} for _ in asked["TransactItems"][1:]]
        return dynamodb.cancelled([*others, {"Code": "TransactionConflict"}])
    return s3.error("TransactionConflictException", 400, operation)


def _once(effect: Callable[..., Any]) -> Callable[..., Any]:
    """The SDK sends a token with each transaction, so that a repetition is known as one."""
    answers: list[Any] = []

    def idempotent(**asked: Any) -> Any:
        if not answers:
            answers.append(effect(**asked))
        return answers[0]

    return idempotent


class Topic:
    """SNS: remembers what was published."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.published: list[tuple[float, str, dict[str, Any]]] = []

    def publish(self, *, TopicArn: str, Message: str, MessageAttributes: dict[str, Any]) -> Any:
        if not all(attribute["StringValue"] for attribute in MessageAttributes.values()):
            raise s3.error("InvalidParameterValue", 400, "Publish")
        if len(Message.encode()) > _MAX_MESSAGE_BYTES:
            raise s3.error("InvalidParameter", 400, "Publish")
        self.published.append((self.scheduler.now, Message, MessageAttributes))
        return {"MessageId": str(len(self.published))}


class Secrets:
    """Secrets Manager with the one secret, which remembers the value before."""

    class _Exceptions:
        class ResourceNotFoundException(ClientError):
            """There is no such secret, or no such version of it."""

    exceptions = _Exceptions

    def __init__(self, value: str) -> None:
        self.value = value
        self.previous: str | None = None

    def put_secret_value(self, value: str) -> None:
        """A person puts another value into it."""
        self.value, self.previous = value, self.value

    def get_secret_value(self, *, SecretId: str, VersionStage: str = "AWSCURRENT") -> Any:
        value = self.value if VersionStage == "AWSCURRENT" else self.previous
        if value is None:
            said: Any = {"Error": {"Code": "ResourceNotFoundException", "Message": VersionStage}}
            raise self.exceptions.ResourceNotFoundException(said, "GetSecretValue")
        return {"SecretString": value}


class SecretsProvider(parameters.SecretsProvider):
    """What a function remembers of a secret, on the virtual clock: Powertools looks at the machine's own."""

    def __init__(self, client: Any, clock: Clock) -> None:
        super().__init__(boto3_client=client)
        self._clock = clock

    def has_not_expired_in_cache(self, key: tuple[Any, ...]) -> bool:
        return key in self.store and self.store[key].ttl.timestamp() >= self._clock.now()

    def add_to_cache(self, key: tuple[Any, ...], value: Any, max_age: int) -> None:
        self.store[key] = ExpirableValue(value, datetime.fromtimestamp(self._clock.now() + max_age, UTC))


class CloudFormation:
    """CloudFormation, which knows the stack's parameters."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self.parameters = parameters

    def describe_stacks(self, *, StackName: str) -> Any:
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in self.parameters.items()]
        return {"Stacks": [{"StackName": StackName, "Parameters": given}]}
