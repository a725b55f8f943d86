"""What the domain's tests are given: the seams of the outside world, in process."""

from __future__ import annotations

import functools
import io
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Unpack

import pytest
from PIL import Image

from kontext.clock import day, iso
from kontext.drops.pairs import Pair, Ready, pair_key
from kontext.drops.store import Drops
from kontext.dynamodb import ConditionFailed, Item, Table
from kontext.model import Parameters, Part, Render, Status
from kontext.renders.ledger import ledger_key
from kontext.renders.store import Renders
from kontext.renders.submissions import Submissions
from kontext_cli.target import Target
from simulation.dynamodb import DynamoDB
from tests.aws import Aws
from tests.unit.life import NOW, Life, MakePair, MakeReady

PRICE, DAILY_LIMIT = 0.05, 1.0


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Table:
    """An empty Renders table: moto's where a test looks at a whole stack, else one in memory, which is ten times as
    fast (`tests/chaos/test_fakes.py` holds it against moto's)."""
    if "aws" in request.fixturenames:
        return Table(request.getfixturevalue("aws")("dynamodb"), request.getfixturevalue("renders_table"))
    return DynamoDB().table("renders")


@pytest.fixture
def drops(table: Table) -> Drops:
    return Drops(table)


@pytest.fixture
def renders(table: Table) -> Renders:
    """Renders at 0.05 USD each."""
    return Renders(table, price=PRICE, retention_days=400)


@pytest.fixture
def submissions(renders: Renders) -> Submissions:
    """Their requests, 20 a day."""
    return Submissions(renders, DAILY_LIMIT)


@pytest.fixture
def bucket(aws: Aws) -> str:
    """The name of an empty, versioned bucket."""
    aws("s3").create_bucket(Bucket="photographs")
    aws("s3").put_bucket_versioning(Bucket="photographs", VersioningConfiguration={"Status": "Enabled"})
    return "photographs"


@pytest.fixture
def encoded() -> Callable[..., bytes]:
    """A picture as bytes: `encoded("PNG", (4, 3))`."""

    def encode(kind: str = "PNG", size: tuple[int, int] = (4, 3), **how: Any) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", size, "red").save(file, kind, **how)
        return file.getvalue()

    return encode


@pytest.fixture
def pair(table: Table) -> MakePair:
    """A pair of two images as dropped, and counted: `pair("taj/", drop=1)`; a later drop has a greater id."""

    def dropped(prefix: str = "taj/", drop: int = 1, **more: Any) -> Pair:
        with suppress(ConditionFailed):  # a later one was dropped before
            fewer = "attribute_not_exists(#drops) OR #drops < :drop"
            table.update(pair_key(prefix), "SET #drops = :drop", fewer, drop=drop)
        return Pair(prefix, {slot: part(prefix, slot, drop) for slot in "12"}, drop, **more)

    def part(prefix: str, slot: str, drop: int) -> Part:
        named: Part = {"key": f"{prefix}{slot}.png", "version_id": f"v{slot}", "etag": f"e{slot}"}
        dropped: Part = {"sequencer": f"{drop:02}", "at": 1000.0}
        return named | dropped | {"kind": "png", "width": 4, "height": 3, "parameters": {}}

    return dropped


@pytest.fixture
def complete() -> MakeReady:
    """What is asked of a complete pair: `complete(pair, prompt="…")`."""

    def asked(pair: Pair, **parameters: Unpack[Parameters]) -> Ready:
        given: Parameters = {"prompt": "Two people meet.", "aspect_ratio": "1:1", "output_format": "png"}
        given["safety_tolerance"] = 2
        return Ready((pair.parts["1"], pair.parts["2"]), given | parameters, given | parameters)

    return asked


class Described:
    """A CloudFormation client that knows one stack."""

    def describe_stacks(self, **asked: str) -> dict[str, Any]:
        settings = {"RecordRetentionDays": "400", "PricePerRender": "0.05", "RequestsPerMinute": "50"}
        settings |= {"SegmindUrl": "https://api.segmind.com", "SegmindModel": "m", "ResultHosts": "images.segmind.com"}
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in settings.items()]
        return {"Stacks": [{**asked, "Parameters": given}]}


@pytest.fixture
def target(aws: Aws, renders_table: str) -> Target:
    """A stack as its operators' commands find it."""
    queue = aws("sqs").create_queue(QueueName="uploads")["QueueUrl"]
    topic = aws("sns").create_topic(Name="renders")["TopicArn"]
    secret = aws("secretsmanager").create_secret(Name="key", SecretString="SG_0123456789abcdef")["ARN"]
    outputs = dict.fromkeys(("EventSource", "RenderWorkflowArn"), "x")
    outputs |= {"RendersTable": renders_table, "UploadQueueUrl": queue, "RenderTopicArn": topic}
    outputs |= {"SegmindSecretArn": secret, "OutputBucket": "pictures"}
    aws("s3").create_bucket(Bucket="pictures")
    return Target("shop", outputs, functools.cache(lambda name: Described() if name == "cloudformation" else aws(name)))


def add_uncertain(table: Table, prefix: str, /, **more: Unpack[Render]) -> str:
    """A pair whose answer was lost, just now."""
    part: Part = {"key": f"{prefix}1.png", "etag": "e", "sequencer": "1", "at": 1}
    values: Item = {"prefix": prefix, "current": f"of {prefix}", "part_1": part}
    table.update({"pk": f"pair#{prefix}", "sk": "pair"}, "SET " + ", ".join(f"#{n} = :{n}" for n in values), **values)
    when = iso(time.time())
    item: Render = {"prefix": prefix, "render_id": f"of {prefix}", "status": Status.UNCERTAIN, "attempt": 1}
    item |= {"drop_id": 1, "revision": 1, "created_at": when, "updated_at": when, "day": when[:10]}
    item["history"] = [{"at": when, "what": "submitting"}, {"at": when, "what": "uncertain"}]
    item |= {"reserved": PRICE, "parameters": {"prompt": "both", "output_format": "png"}}
    item.update(more)
    key = {"pk": f"pair#{prefix}", "sk": f"render#of {prefix}"}
    table.update(key, "SET " + ", ".join(f"#{n} = :{n}" for n in item), **item)
    return prefix


@pytest.fixture
def uncertain(table: Table) -> str:
    """The prefix of a pair whose answer was lost."""
    return add_uncertain(table, "a cat/")


@pytest.fixture
def life(submissions: Submissions, pair: MakePair, complete: MakeReady) -> Life:
    """The render of one pair, to be taken from stage to stage."""
    return Life(submissions, pair(), complete(pair()))


@pytest.fixture
def ledger(table: Table) -> Callable[[], dict[str, Any]]:
    """The day's money: what stands in the ledger."""

    def read() -> dict[str, Any]:
        item = table.get(ledger_key(day(NOW))) or {}
        return {name: value for name, value in item.items() if name not in ("pk", "sk", "accepted_at")}

    return read
