"""One drop is one render, in whatever order and however its files are uploaded, by a plain client of S3.

`make soak` plays every order; `make test` every sixth.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from random import Random
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from PIL import Image

from kontext.drops.pairs import pair_key
from kontext.model import Render
from kontext_cli.decide.operate import Operator
from kontext_cli.target import LOCAL, Target
from kontext_local.stack import LocalStack
from tests.e2e.conftest import Eventually

FILES = ("1.png", "2.png", "prompt.txt", "request.json")
ORDERS = [*permutations(FILES)][:: 1 if int(os.environ.get("KONTEXT_PAIRS", "6")) >= 100 else 6]
MOST_SECONDS = 2.0
"""Between two files of one sync."""
MEGABYTE = 1_000_000


class Customer:
    """Somebody who drops files into a stack of the template's own waits."""

    def __init__(self, local: LocalStack, eventually: Eventually) -> None:
        self.local, self.s3, self.eventually = local, local.client("s3"), eventually
        self.bucket = local.outputs["InputBucket"]
        self.operator = Operator(Target(LOCAL, local.outputs, local.client))

    def put(self, key: str, body: bytes, **more: Any) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, **more)

    def in_parts(self, key: str, body: bytes, megabytes: int) -> None:
        size = megabytes * 1024 * 1024
        config = TransferConfig(multipart_threshold=size, multipart_chunksize=size, use_threads=False)
        self.s3.upload_fileobj(io.BytesIO(body), self.bucket, key, Config=config)

    def has_seen(self, key: str, slot: str) -> bool:
        """Whether the stack knows the newest version of an object as that part of its pair."""
        newest = self.s3.head_object(Bucket=self.bucket, Key=key)["VersionId"]
        pair = self.operator.table.get(pair_key(f"{key.rpartition('/')[0]}/")) or {}
        return bool(pair.get(f"part_{slot}", {}).get("version_id") == newest and pair.get("due_lane") != "timer")

    def delivered(self, prefix: str) -> Render:
        """The one render of a pair, once it is delivered."""

        def find() -> Render | None:
            renders = list(self.operator.renders.of_pair(prefix))
            return renders[0] if [one["status"] for one in renders] == ["DELIVERED"] else None

        return self.eventually(find, f"{prefix} delivered, once")

    def posts(self) -> int:
        with self.local.emulator() as emulator:
            return sum(post["outcome"] == "accepted" for post in emulator.get("ledger").json()["posts"])


@pytest.fixture
def customer(own_stack: Callable[..., LocalStack], eventually: Eventually) -> Customer:
    waits = {"PromptWaitSeconds": "20", "RequestsPerMinute": "3000"}
    return Customer(own_stack(emulator={"workers": 50}, parameters=waits), eventually)


def test_files_of_one_sync_are_one_render_in_every_order_and_however_they_are_uploaded(customer: Customer) -> None:
    photograph = _photograph(3000)
    bodies = {"1.png": photograph, "2.png": photograph, "prompt.txt": b"in words"}
    bodies |= {"request.json": json.dumps({"prompt": "both", "seed": 7}).encode()}

    with ThreadPoolExecutor(len(ORDERS)) as pool:
        prefixes = list(pool.map(lambda number: _sync(customer, number, bodies), range(len(ORDERS))))
    renders = [customer.delivered(prefix) for prefix in prefixes]
    synced = customer.posts()
    uploaded = _uploaded_in_five_ways(customer)

    assert {(render["parameters"]["prompt"], render["parameters"]["seed"]) for render in renders} == {("both", 7)}
    assert synced == len(ORDERS)
    assert len(set(uploaded)) == 5  # to S3 they are five objects
    assert customer.posts() == synced + 1
    print(f"{len(ORDERS)} orders of one sync: {synced} requests; one photograph in five ways: 1")


def _sync(customer: Customer, number: int, bodies: dict[str, bytes]) -> str:
    """Upload the files in one of the orders, each a while after the one before."""
    random = Random(number)
    for name in ORDERS[number]:
        customer.put(f"sync-{number}/{name}", bodies[name])
        time.sleep(random.uniform(0, MOST_SECONDS))
    return f"sync-{number}/"


def _uploaded_in_five_ways(customer: Customer) -> list[tuple[str, str]]:
    """Upload one photograph again and again, each way when the stack has taken in the one before; gives the objects'
    ETags and metadata."""
    large, key = _photograph(11 * MEGABYTE), "ways/1.png"
    customer.put("ways/request.json", b'{"prompt": "both"}')
    customer.put("ways/2.png", _photograph(3000))
    found = []
    ways: tuple[Callable[[], None], ...] = (
        lambda: customer.put(key, large),
        lambda: customer.in_parts(key, large, 5),
        lambda: customer.in_parts(key, large, 6),
        lambda: customer.in_parts(key, large, 8),
        lambda: customer.put(key, large, Metadata={"mtime": "1795780800"}),
    )
    for upload in ways:
        upload()
        customer.eventually(lambda: customer.has_seen(key, "1"), "the upload is taken in")
        customer.delivered("ways/")
        head = customer.s3.head_object(Bucket=customer.bucket, Key=key)
        found.append((head["ETag"], str(head["Metadata"])))
    return found


def _photograph(size: int) -> bytes:
    """A PNG of noise, which is about as large as its pixels."""
    side = int((size / 3) ** 0.5)
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), Random(size).randbytes(3 * side * side)).save(file, "png")
    return file.getvalue()
