"""What the domain's tests are given: the seams of the outside world, in process."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from PIL import Image

from kontext.drops.pairs import Complete, Drops, Pair, pair_key
from kontext.dynamodb import ConditionFailed, Table
from kontext.renders.store import Renders

Aws = Callable[[str], Any]
PRICE, DAILY_LIMIT = 0.05, 1.0


@pytest.fixture
def table(aws: Aws, renders_table: str) -> Table:
    """An empty Renders table."""
    return Table(aws("dynamodb"), renders_table)


@pytest.fixture
def drops(table: Table) -> Drops:
    return Drops(table)


@pytest.fixture
def renders(table: Table) -> Renders:
    """Renders at 0.05 USD each, 20 a day."""
    return Renders(table, price=PRICE, daily_limit=DAILY_LIMIT, retention_days=400)


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
def pair(table: Table) -> Callable[..., Pair]:
    """A pair of two images as dropped, and counted: `pair("taj/", drop=1)`; a later drop has a greater id."""

    def dropped(prefix: str = "taj/", drop: int = 1, **more: Any) -> Pair:
        with suppress(ConditionFailed):  # a later one was dropped before
            fewer = "attribute_not_exists(#drops) OR #drops < :drop"
            table.update(pair_key(prefix), "SET #drops = :drop", fewer, drop=drop)
        parts = {
            slot: {"key": f"{prefix}{slot}.png", "version_id": f"v{slot}", "etag": f"e{slot}"}
            | {"sequencer": f"{drop:02}", "at": 1000.0, "kind": "png", "width": 4, "height": 3, "parameters": {}}
            for slot in "12"
        }
        return Pair(prefix, parts, drop, **more)

    return dropped


@pytest.fixture
def complete() -> Callable[..., Complete]:
    """What is asked of a complete pair: `complete(pair, prompt="…")`."""

    def asked(pair: Pair, **parameters: Any) -> Complete:
        given = {"prompt": "Two people meet.", "aspect_ratio": "1:1", "output_format": "png", "safety_tolerance": 2}
        return Complete((pair.parts["1"], pair.parts["2"]), given | parameters)

    return asked
