"""What the functions hold on to between invocations: settings read once, and each client made when first needed."""

import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kontext.clock import Clock
from kontext.stores import Stores

if TYPE_CHECKING:
    from kontext.drops.input_bucket import InputBucket
    from kontext.drops.pairs import Defaults
    from kontext.drops.reads import Reads
    from kontext.drops.redelivery import Redelivery
    from kontext.hints import Hints
    from kontext.renders.workflow import Workflow
    from kontext.results.cloudevents import Topic
    from kontext.results.copy import Delivery
    from kontext.results.hosts import Allowed
    from kontext.results.output_bucket import OutputBucket
    from kontext.segmind.api_key import ApiKey
    from kontext.segmind.client import Segmind


class Connections(Stores):
    """The outside world of a function, by the names in its environment: the table, and what is beside it.

    `transport`: another way to Segmind and its file host, for tests.
    """

    def __init__(self, environment: Mapping[str, str], clock: Clock | None = None, transport: Any = None) -> None:
        super().__init__(environment, clock)
        self.transport = transport

    @cached_property
    def hints(self) -> "Hints":
        from kontext.hints import Hints

        return Hints(self.client("sqs"), self.environment["UPLOAD_QUEUE_URL"])

    @cached_property
    def redelivery(self) -> "Redelivery":
        from kontext.drops.redelivery import Redelivery

        queue, dead_letters = self.environment["UPLOAD_QUEUE_URL"], self.environment["DEAD_LETTER_QUEUE_URL"]
        return Redelivery(self.client("sqs"), queue, dead_letters, self.table, self.clock)

    @cached_property
    def inputs(self) -> "InputBucket":
        from kontext.drops.input_bucket import InputBucket
        from kontext.drops.references import References
        from kontext.images.image import Limits

        bucket = self.environment["INPUT_BUCKET"]
        limits = Limits(
            megabytes=float(self.environment["MAX_INPUT_MEGABYTES"]),
            megapixels=float(self.environment["MAX_INPUT_MEGAPIXELS"]),
        )
        references = References.of_stack(self.environment["SHARED_PREFIXES"], bucket, self.environment["OUTPUT_BUCKET"])
        return InputBucket(self.s3, bucket, limits, references)

    @cached_property
    def reads(self) -> "Reads":
        from kontext.drops.reads import Reads

        return Reads(self.table, self.inputs, self.clock)

    @cached_property
    def outputs(self) -> "OutputBucket":
        from kontext.results.output_bucket import OutputBucket

        return OutputBucket(self.s3, self.environment["OUTPUT_BUCKET"])

    @cached_property
    def delivery(self) -> "Delivery":
        from kontext.results.copy import Delivery

        return Delivery(self.outputs, self.allowed, self.transport)

    @cached_property
    def allowed(self) -> "Allowed":
        from kontext.results.hosts import Allowed

        return Allowed.parse(self.environment["RESULT_HOSTS"])

    @cached_property
    def topic(self) -> "Topic":
        from kontext.results.cloudevents import Topic

        return Topic(self.client("sns"), self.environment["RENDER_TOPIC_ARN"], self.environment["EVENT_SOURCE"])

    @cached_property
    def segmind(self) -> "Segmind":
        from kontext.segmind.client import Segmind

        url, model = self.environment["SEGMIND_URL"], self.environment["SEGMIND_MODEL"]
        return Segmind(url, model, self.api_key.current, self.transport, self.api_key.previous)

    @cached_property
    def api_key(self) -> "ApiKey":
        from kontext.segmind.api_key import ApiKey

        return ApiKey(self.secrets, self.environment["SEGMIND_SECRET"])

    @cached_property
    def secrets(self) -> Any:
        from aws_lambda_powertools.utilities.parameters import SecretsProvider

        return SecretsProvider(boto3_client=self.client("secretsmanager"))

    @cached_property
    def s3(self) -> Any:
        return self.client("s3")

    @cached_property
    def workflow(self) -> "Workflow":
        from kontext.renders.workflow import Workflow

        return Workflow(self.client("stepfunctions"), self.environment["RENDER_WORKFLOW_ARN"])

    @cached_property
    def defaults(self) -> "Defaults":
        from kontext.drops.pairs import Defaults

        return Defaults(
            parameters={
                "aspect_ratio": self.environment["DEFAULT_ASPECT_RATIO"],
                "output_format": self.environment["DEFAULT_OUTPUT_FORMAT"],
                "safety_tolerance": int(self.environment["DEFAULT_SAFETY_TOLERANCE"]),
            },
            prompt=self.environment["DEFAULT_PROMPT"].strip(),
            hold_seconds=float(self.environment["HOLD_SECONDS"]),
            prompt_wait_seconds=float(self.environment["PROMPT_WAIT_SECONDS"]),
        )


_connections: list[Connections] = []


def connect() -> Connections:
    """This process's connections."""
    if not _connections:
        _connections.append(Connections(os.environ))
    return _connections[0]


def prepare(*names: str) -> None:
    """Make these connections now if this is Lambda, which gives a whole processor only until the first invocation."""
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        for name in names:
            getattr(connect(), name)
