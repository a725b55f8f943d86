"""What the three functions hold on to between invocations: settings read once, and each client made when first
needed."""

import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kontext.clock import Clock
from kontext.dynamodb import Table
from kontext.log import logger

if TYPE_CHECKING:
    from botocore.config import Config

    from kontext.drops.input_bucket import InputBucket
    from kontext.drops.loose import LooseObjects
    from kontext.drops.pairs import Defaults
    from kontext.drops.reads import Reads
    from kontext.drops.redelivery import Redelivery
    from kontext.drops.store import Drops
    from kontext.drops.waiters import Waiters
    from kontext.due import DueIndex
    from kontext.hints import Hints
    from kontext.polling.history import PollHistory
    from kontext.renders.claims import Claims
    from kontext.renders.deliveries import Deliveries
    from kontext.renders.store import Renders
    from kontext.renders.workflow import Workflow
    from kontext.results.cloudevents import Topic
    from kontext.results.copy import Delivery
    from kontext.results.hosts import Allowed
    from kontext.results.output_bucket import OutputBucket
    from kontext.segmind.client import Segmind
    from kontext.throttle.line import Line
    from kontext.throttle.rate_limiter import Rate
    from kontext.throttle.throttle import Throttle


ANSWER_SECONDS = 5.0
TRIES = 3
"""An AWS call without an answer is given up after fifteen seconds and a little: the function must live to deal with it.
botocore's own time-outs are 60 s, and it asks five or ten times: longer than any function lives."""


def config(service: str) -> "Config":
    """How long a client waits for an AWS service, and how often it asks. S3 moves megabytes: it may take longer."""
    from botocore.config import Config

    waits = Config(
        connect_timeout=2.0,
        read_timeout=ANSWER_SECONDS,
        retries={"mode": "standard", "total_max_attempts": TRIES},
    )
    if service != "s3":
        return waits
    return waits.merge(
        Config(read_timeout=4 * ANSWER_SECONDS, signature_version="s3v4", s3={"addressing_style": "virtual"})
    )


class Connections:
    """The outside world of a function, by the names that `template.yaml` gives in its environment.

    Each property raises KeyError with the variable's name if the function was not given it. `transport`:
    another way to Segmind and its file host, for tests.
    """

    def __init__(self, environment: Mapping[str, str], clock: Clock | None = None, transport: Any = None) -> None:
        self.environment = environment
        self.clock = clock or Clock()
        self.transport = transport
        self._last_key: str | None = None

    def client(self, service: str) -> Any:
        """A client of an AWS service."""
        import boto3

        return boto3.client(service, config=config(service))  # type: ignore[call-overload]

    @cached_property
    def table(self) -> Table:
        return Table(self.client("dynamodb"), self.environment["RENDERS_TABLE"])

    @cached_property
    def due(self) -> "DueIndex":
        from kontext.due import DueIndex

        return DueIndex(self.table)

    @cached_property
    def drops(self) -> "Drops":
        from kontext.drops.store import Drops

        return Drops(self.table)

    @cached_property
    def loose(self) -> "LooseObjects":
        from kontext.drops.loose import LooseObjects

        return LooseObjects(self.table)

    @cached_property
    def waiters(self) -> "Waiters":
        from kontext.drops.waiters import Waiters

        return Waiters(self.table)

    @cached_property
    def renders(self) -> "Renders":
        from kontext.renders.store import Renders

        return Renders(
            self.table,
            price=float(self.environment["PRICE_PER_RENDER"]),
            daily_limit=float(self.environment["DAILY_SPEND_LIMIT"]),
            retention_days=float(self.environment["RECORD_RETENTION_DAYS"]),
        )

    @cached_property
    def deliveries(self) -> "Deliveries":
        from kontext.renders.deliveries import Deliveries

        return Deliveries(self.renders)

    @cached_property
    def claims(self) -> "Claims":
        from kontext.renders.claims import Claims

        return Claims(self.renders)

    @cached_property
    def poll_history(self) -> "PollHistory":
        from kontext.polling.history import PollHistory

        return PollHistory(
            self.table,
            self.clock,
            poll_cost=float(self.environment["POLL_COST_SECONDS"]),
        )

    @cached_property
    def rate(self) -> "Rate":
        from kontext.throttle.rate_limiter import Rate

        return Rate(float(self.environment["REQUESTS_PER_MINUTE"]))

    @cached_property
    def throttle(self) -> "Throttle":
        from kontext.throttle.throttle import Throttle

        return Throttle(self.table, self.rate)

    @cached_property
    def line(self) -> "Line":
        from kontext.throttle.line import Line

        return Line(self.table, self.rate.interval)

    def chain(self) -> int:
        """Which invocation of its chain of messages this one is: Lambda writes it into the trace of each."""
        from kontext.hints import chain_of

        return chain_of(os.environ.get("_X_AMZN_TRACE_ID", ""))

    @cached_property
    def hints(self) -> "Hints":
        from kontext.hints import Hints

        return Hints(self.client("sqs"), self.environment["UPLOAD_QUEUE_URL"], self.chain)

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

        return Allowed.named(self.environment["RESULT_HOSTS"])

    @cached_property
    def topic(self) -> "Topic":
        from kontext.results.cloudevents import Topic

        return Topic(self.client("sns"), self.environment["RENDER_TOPIC_ARN"], self.environment["EVENT_SOURCE"])

    @cached_property
    def segmind(self) -> "Segmind":
        from kontext.segmind.client import Segmind

        url, model = self.environment["SEGMIND_URL"], self.environment["SEGMIND_MODEL"]
        return Segmind(url, model, self.api_key, self.transport, self.previous_api_key)

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

    @cached_property
    def secrets(self) -> Any:
        from aws_lambda_powertools.utilities.parameters import SecretsProvider

        return SecretsProvider(boto3_client=self.client("secretsmanager"))

    def api_key(self, fresh: bool = False) -> str:
        """Segmind's API key, remembered for five minutes; `fresh`: as it is now. While nobody gives it, the last one
        known is used on: it is for Segmind to refuse it."""
        try:
            key = self.secrets.get(self.environment["SEGMIND_SECRET"], max_age=300, force_fetch=fresh)
        except Exception:
            if self._last_key is None:
                raise
            logger.exception("the last known API key is used on")
            return self._last_key
        self._last_key = str(key).strip()
        return self._last_key

    def previous_api_key(self) -> str | None:
        """The API key before the one that is in force; None if there was none."""
        client = self.client("secretsmanager")
        asked = {"SecretId": self.environment["SEGMIND_SECRET"], "VersionStage": "AWSPREVIOUS"}
        try:
            return str(client.get_secret_value(**asked)["SecretString"]).strip()
        except client.exceptions.ResourceNotFoundException:
            return None


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
