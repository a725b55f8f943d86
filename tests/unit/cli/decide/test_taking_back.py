"""What `kontext cancel`, `again` and `forget` do, and what they refuse."""

from __future__ import annotations

import json
from typing import Unpack

import pytest

from kontext.drops.pairs import Pair
from kontext.drops.reads import read_key
from kontext.drops.store import Drops
from kontext.dynamodb import Table
from kontext.model import ObjectRead, Parameters, Render, Status
from kontext_cli.decide import forget, taking_back
from kontext_cli.decide.operate import Operator
from kontext_cli.errors import CommandError
from kontext_cli.target import Target
from tests.aws import Aws

READ: ObjectRead = {"etag": "e", "parameters": {}}
AT = "2026-11-27T00:00:00.000Z"


@pytest.fixture
def shop(aws: Aws, target: Target) -> Target:
    """A stack with two versioned buckets and the pair taj/, whose render was delivered."""
    aws("s3").create_bucket(Bucket="photographs")
    for bucket in ("photographs", "pictures"):
        aws("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for key in ("taj/1.png", "taj/1.png", "taj/2.png", "taj/request.json", "taj/notes.txt", "taj/more/1.png"):
        aws("s3").put_object(Bucket="photographs", Key=key, Body=b"photograph")
    aws("s3").delete_object(Bucket="photographs", Key="taj/2.png")
    for key in ("taj/result.png", "taj/result.png", "taj/more/result.png"):
        aws("s3").put_object(Bucket="pictures", Key=key, Body=b"picture")
    chosen = Target("shop", target.outputs | {"InputBucket": "photographs"}, target.client)
    table = Table(aws("dynamodb"), target.output("RendersTable"))
    drops = Drops(table)
    for slot in ("1", "2"):
        drops.record("taj/", slot, READ | {"key": f"taj/{slot}.png"}, "1", 1.0)
    drops.record("taj/more/", "1", READ | {"key": "taj/more/1.png"}, "1", 1.0)
    table.update(read_key("taj/1.png"), "SET #read = :read", read=READ)
    render(table, Status.DELIVERED)
    return chosen


def render(table: Table, status: Status, **parameters: Unpack[Parameters]) -> None:
    """The pair's render, in a state."""
    item: Render = {"prefix": "taj/", "render_id": "r", "status": status, "attempt": 1, "drop_id": 2, "revision": 1}
    item |= {"created_at": AT, "updated_at": AT, "history": [{"at": AT, "what": "claimed"}]}
    item["parameters"] = parameters
    item["inputs"] = [{"key": "taj/1.png"}, {"key": "shared/logo.png"}]
    key = {"pk": "pair#taj/", "sk": "render#r"}
    table.update(key, "SET " + ", ".join(f"#{name} = :{name}" for name in item), **item)
    table.update({"pk": "pair#taj/", "sk": "pair"}, "SET #current = :r, #current_count = :two", r="r", two=2)


def kept(chosen: Target, bucket: str) -> set[str]:
    """The keys of which any version is kept."""
    listed = chosen.client("s3").list_object_versions(Bucket=bucket)
    return {one["Key"] for one in (*listed.get("Versions", ()), *listed.get("DeleteMarkers", ()))}


def records(chosen: Target) -> set[tuple[str, str]]:
    items = Table(chosen.client("dynamodb"), chosen.output("RendersTable")).scan()
    return {(item["pk"], item["sk"]) for item in items}


def test_a_pair_that_is_forgotten_leaves_nothing_behind_and_others_alone(
    shop: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    before = kept(shop, "photographs")

    said = [forget.forget(Operator(shop), "taj", delete=False, as_json=True), json.loads(capsys.readouterr().out)]
    untouched = kept(shop, "photographs")
    forget.forget(Operator(shop), "taj", delete=True, as_json=False)

    assert said[0] == 0
    assert (len(said[1]["objects"]), said[1]["named"], said[1]["deleted"]) == (7, ["shared/logo.png"], False)
    assert untouched == before
    assert kept(shop, "photographs") == {"taj/notes.txt", "taj/more/1.png"}
    assert kept(shop, "pictures") == {"taj/more/result.png"}
    assert records(shop) == {("pair#taj/more/", "pair")}
    assert "shared/logo.png" in capsys.readouterr().out


@pytest.mark.parametrize("status", ["CLAIMED", "SUBMITTING", "QUEUED", "COMPLETED", "UNCERTAIN"])
def test_a_pair_whose_render_has_not_ended_is_not_forgotten(shop: Target, status: str) -> None:
    render(Operator(shop).table, Status(status))

    with pytest.raises(CommandError, match=status):
        forget.Forgetting(Operator(shop), "taj/")

    assert "taj/1.png" in kept(shop, "photographs")


@pytest.mark.parametrize("status", ["SUBMITTING", "QUEUED", "PROCESSING", "COMPLETED", "DELIVERED", "UNCERTAIN"])
def test_only_what_waits_can_be_cancelled(shop: Target, status: str) -> None:
    render(Operator(shop).table, Status(status))

    with pytest.raises(CommandError, match=status):
        taking_back.take_back(Operator(shop), "taj/")


def test_a_pair_that_waits_is_cancelled_and_told(shop: Target) -> None:
    operator = Operator(shop)
    render(operator.table, Status.CLAIMED, prompt="p")

    ended = taking_back.take_back(operator, "taj")

    assert (ended["status"], ended["error"]["code"], ended["error"]["charged"]) == ("FAILED", "cancelled", "no")
    assert "taj/error.json" in kept(shop, "pictures")


def test_what_was_dropped_last_is_cancelled_though_another_render_was_made_later(shop: Target) -> None:
    operator = Operator(shop)
    render(operator.table, Status.CLAIMED, prompt="p")
    later: Render = {"prefix": "taj/", "render_id": "later", "status": Status.DELIVERED, "attempt": 1, "drop_id": 1}
    later |= {"created_at": "2026-11-28T00:00:00.000Z", "updated_at": AT, "history": []}
    names = ", ".join(f"#{name} = :{name}" for name in later)
    operator.table.update({"pk": "pair#taj/", "sk": "render#later"}, f"SET {names}", **later)

    ended = taking_back.take_back(operator, "taj")

    assert (ended["render_id"], ended["error"]["code"]) == ("r", "cancelled")
    pair = operator.drops.get("taj/")
    assert isinstance(pair, Pair)
    assert pair.current == "r"


@pytest.mark.parametrize(
    ("status", "said"),
    [("CLAIMED", "on its way"), ("UNCERTAIN", "kontext resolve"), ("DELIVERED", "not in the input bucket any more")],
)
def test_what_cannot_be_rendered_once_more_says_why(shop: Target, status: str, said: str) -> None:
    render(Operator(shop).table, Status(status))

    with pytest.raises(CommandError, match=said):
        taking_back.ended(Operator(shop), "taj/")


def test_the_price_of_once_more_is_said_before_it_is_paid(shop: Target, capsys: pytest.CaptureFixture[str]) -> None:
    shop.client("s3").put_object(Bucket="photographs", Key="shared/logo.png", Body=b"photograph")

    taking_back.repeat(Operator(shop), "taj", send=False, as_json=False)
    dry = capsys.readouterr().out
    before = Operator(shop).renders.get("taj/", "r")
    taking_back.repeat(Operator(shop), "taj", send=True, as_json=False)
    after = Operator(shop).renders.get("taj/", "r")

    assert "USD 0.05" in dry
    assert before is not None
    assert after is not None
    assert (before["status"], before["attempt"]) == ("DELIVERED", 1)
    assert (after["status"], after["attempt"], after["due_lane"]) == ("CLAIMED", 2, "line")
