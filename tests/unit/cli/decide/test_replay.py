"""`kontext replay` and what `kontext doctor` says of the bucket: what lies there and the table does not know."""

from __future__ import annotations

import functools
import json
import math
import time
from typing import Any, Unpack

import pytest
from botocore.exceptions import EndpointConnectionError

from kontext.drops import messages
from kontext.drops.loose import LooseObjects
from kontext.drops.pairs import Defaults, Pair, Ready, decide, pair_key
from kontext.drops.store import Drops
from kontext.drops.waiters import Waiters
from kontext.dynamodb import Table
from kontext.model import ObjectRead, Parameters
from kontext.renders.record import render_key
from kontext_cli.decide.replay import Replay, carry_out, run
from kontext_cli.doctor import standstill_checks
from kontext_cli.doctor.checks import StackInspection
from kontext_cli.errors import INTERRUPTED, UNFINISHED, CommandError, Unfinished
from kontext_cli.explain import the_pair
from kontext_cli.read.unrecorded import Comparison
from kontext_cli.target import Target
from tests.aws import Aws


class Described:
    """A CloudFormation client that knows one stack."""

    def describe_stacks(self, **asked: str) -> dict[str, Any]:
        settings = {"PricePerRender": "0.05", "DefaultPrompt": "Together."}
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in settings.items()]
        return {"Stacks": [{**asked, "Parameters": given}]}


class Breaks:
    """An SQS client that takes one message, and then `problem`."""

    def __init__(self, problem: BaseException) -> None:
        self.problem = problem
        self.taken = 0

    def send_message(self, **asked: Any) -> None:
        if self.taken:
            raise self.problem
        self.taken += 1


class Shop:
    """A stack whose bucket nobody has told of what was put into it."""

    def __init__(self, aws: Aws, bucket: str, table: str) -> None:
        self.s3, self.sqs, self.bucket = aws("s3"), aws("sqs"), bucket
        queue = self.sqs.create_queue(QueueName="uploads")["QueueUrl"]
        outputs = {"InputBucket": bucket, "RendersTable": table, "UploadQueueUrl": queue}
        self.clients: dict[str, Any] = {"cloudformation": Described()}
        client = functools.cache(lambda name: self.clients.get(name) or aws(name))
        self.target = Target("shop", outputs, client)
        self.table = Table(aws("dynamodb"), table)

    def put(self, *keys: str, body: bytes = b"x") -> None:
        for key in keys:
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def record(
        self, key: str, sequencer: str = "0A", at: float | None = None, **parameters: Unpack[Parameters]
    ) -> None:
        """Let the table know what stands under a key, and what it asks for."""
        prefix, _, name = key.rpartition("/")
        slot = {"1": "1", "2": "2", "r": "request"}[name[0]]
        there = self.s3.head_object(Bucket=self.bucket, Key=key)
        read: ObjectRead = {
            "key": key,
            "version_id": there["VersionId"],
            "etag": there["ETag"].strip('"'),
            "parameters": parameters,
        }
        Drops(self.table).record(f"{prefix}/", slot, read, sequencer, time.time() if at is None else at)

    def unrecorded(self, prefix: str = "") -> list[str]:
        return [one.key for one in Comparison(self.target).unrecorded(prefix)]

    def told(self) -> list[str]:
        """What the upload queue was told of, in no order."""
        url = self.target.output("UploadQueueUrl")
        answers = [self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10) for _ in range(3)]
        received = [message["Body"] for answer in answers for message in answer.get("Messages", ())]
        return sorted(event.key for body in received for event in messages.object_events(messages.parse(body)))


@pytest.fixture
def shop(aws: Aws, bucket: str, renders_table: str) -> Shop:
    return Shop(aws, bucket, renders_table)


def test_what_the_table_has_recorded_is_not_told_again(shop: Shop) -> None:
    shop.put("taj/1.png", "fort/1.png")
    shop.record("taj/1.png")

    assert shop.unrecorded() == ["fort/1.png"]


def test_a_version_that_came_since_is_told(shop: Shop) -> None:
    shop.put("taj/1.png")
    shop.record("taj/1.png")
    shop.put("taj/1.png", body=b"y")

    assert shop.unrecorded() == ["taj/1.png"]


def test_what_was_deleted_and_what_is_nobodys_drop_is_not_told(shop: Shop) -> None:
    shop.put("taj/1.png", "taj/error.json", "taj/._1.png", "taj/Thumbs.db")
    shop.put("taj/", body=b"")
    shop.s3.delete_object(Bucket=shop.bucket, Key="taj/1.png")

    assert shop.unrecorded() == []


def test_of_two_objects_for_one_place_only_the_newer_counts(shop: Shop) -> None:
    shop.put("taj/1.png", "taj/1.jpg")
    shop.record("taj/1.png", at=time.time() - 3600)
    newer = shop.unrecorded()
    shop.record("taj/1.jpg", "0B", at=time.time() + 60)

    assert newer == ["taj/1.jpg"]
    assert shop.unrecorded() == []


def test_an_object_that_fits_no_rule_is_told_unless_it_was_reported_or_is_named(shop: Shop) -> None:
    shop.put("notes.txt", "reported.txt", "shared/product.png")
    LooseObjects(shop.table).mark_reported("reported.txt", 0.0)
    LooseObjects(shop.table).mark_referenced("shared/product.png")

    assert shop.unrecorded() == ["notes.txt"]


@pytest.mark.parametrize("key", ["shared/product.png", "taj/2.png"])
def test_an_object_that_somebody_waits_for_who_has_not_seen_it_is_told(shop: Shop, key: str) -> None:
    shop.put(key)
    if key == "taj/2.png":
        shop.record(key)
    etag = shop.s3.head_object(Bucket=shop.bucket, Key=key)["ETag"].strip('"')
    Waiters(shop.table).add(key, "a/", etag, time.time())
    seen = shop.unrecorded()

    Waiters(shop.table).add(key, "b/", "", time.time())

    assert seen == []
    assert shop.unrecorded() == [key]


def test_a_whole_pair_that_was_recorded_and_left_is_told(shop: Shop) -> None:
    shop.put("taj/1.png", "taj/2.png")
    shop.record("taj/1.png")
    half = shop.unrecorded("taj/1")
    shop.record("taj/2.png")
    left = shop.unrecorded()
    Drops(shop.table).settle("taj/", time.time())

    assert half == []
    assert left == ["taj/1.png", "taj/2.png"]
    assert shop.unrecorded() == []


@pytest.mark.parametrize(("status", "expected"), [("DELIVERED", []), ("FAILED", ["taj/1.png", "taj/2.png"])])
def test_a_pair_that_came_back_as_it_was_rendered_is_told_only_if_that_would_try_again(
    shop: Shop, status: str, expected: list[str]
) -> None:
    shop.put("taj/1.png", "taj/2.png")
    shop.record("taj/1.png", prompt="both")
    shop.record("taj/2.png")
    pair = Drops(shop.table).get("taj/")
    assert pair
    decision = decide(pair, {}, Defaults({}, ""), math.inf)
    assert isinstance(decision, Ready)
    name = decision.render_id("taj/")
    shop.table.update(
        pair_key("taj/"), "SET #current = :id, #current_count = :one REMOVE #due_lane, #due_at", id=name, one=1
    )
    shop.table.update(render_key("taj/", name), "SET #status = :status", status=status)

    assert shop.unrecorded() == expected


def test_a_request_whose_image_is_not_waited_for_though_it_could_go_on_is_told(shop: Shop) -> None:
    shop.put("taj/2.png", "taj/request.json", "shared/a.png")
    LooseObjects(shop.table).mark_referenced("shared/a.png")
    shop.record("taj/request.json", prompt="both", input_image_1="/shared/a.png")
    half = shop.unrecorded("taj/r")
    shop.record("taj/2.png")
    left = shop.unrecorded("taj/r")
    Drops(shop.table).wait_for(Pair("taj/"), ("shared/a.png",))

    assert half == []
    assert left == ["taj/request.json"]
    assert shop.unrecorded("taj/r") == []


def test_only_what_is_under_the_prefix_is_compared(shop: Shop) -> None:
    shop.put("taj/1.png", "fort/1.png")

    assert shop.unrecorded("taj/") == ["taj/1.png"]


def test_a_hundred_and_more_objects_are_compared(shop: Shop) -> None:
    shop.put(*(f"p{n:03}/1.png" for n in range(130)))

    assert len(shop.unrecorded()) == 130


def test_what_costs_nothing_is_told_at_once(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.put("taj/1.png", "notes.txt")

    code = carry_out(shop.target, "", send=False, as_json=False)

    said = capsys.readouterr().out
    assert code == 0
    assert shop.told() == ["notes.txt", "taj/1.png"]
    assert "2 objects told again" in said
    assert "price" not in said


def test_what_may_be_rendered_is_told_only_for_a_price_that_was_said(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.put("taj/1.png", "taj/2.png", "fort/2.png", "far/1.png")
    shop.record("fort/2.png")
    shop.put("fort/1.png")

    carry_out(shop.target, "", send=False, as_json=False)
    asked, before = capsys.readouterr().out, shop.told()
    carry_out(shop.target, "", send=True, as_json=False)

    assert "price: at most USD 0.10 (2 pairs at USD 0.05 may be rendered)" in asked
    assert "Nothing has been told: --send does it." in asked
    assert before == []
    assert shop.told() == ["far/1.png", "fort/1.png", "taj/1.png", "taj/2.png"]


def test_pairs_that_wait_for_an_object_count_in_the_price(shop: Shop) -> None:
    for prefix in ("a/", "b/"):
        Waiters(shop.table).add("shared/product.png", prefix, "", time.time())
    shop.put("shared/product.png")

    replay = Replay(shop.target, "")

    assert replay.pairs == 2
    assert replay.price == pytest.approx(0.1)


def test_requests_are_told_before_images(shop: Shop) -> None:
    shop.put("taj/1.png", "taj/2.png", "taj/request.json", "taj/prompt.txt")

    told = [one.key for one in Replay(shop.target, "").notify()]

    assert told == ["taj/prompt.txt", "taj/request.json", "taj/1.png", "taj/2.png"]


def test_programs_are_told_what_was_found(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.put("taj/1.png", "taj/2.png")

    carry_out(shop.target, "", send=False, as_json=True)

    document = json.loads(capsys.readouterr().out)
    assert [one["key"] for one in document["unrecorded"]] == ["taj/1.png", "taj/2.png"]
    assert {name: document[name] for name in ("stack", "compared", "pairs", "price_usd", "told")} == {
        "stack": "shop",
        "compared": 2,
        "pairs": 1,
        "price_usd": 0.05,
        "told": 0,
    }


@pytest.mark.parametrize(
    ("problem", "code", "says"),
    [
        (KeyboardInterrupt(), INTERRUPTED, "Stopped after 1 of 2 objects."),
        (EndpointConnectionError(endpoint_url="https://sqs.example"), UNFINISHED, "Stopped after 1 of 2 objects: AWS"),
    ],
    ids=["Ctrl-C", "no network"],
)
def test_whatever_stops_it_says_how_far_it_came(shop: Shop, problem: BaseException, code: int, says: str) -> None:
    shop.put("taj/1.png", "fort/1.png")
    shop.clients["sqs"] = Breaks(problem)

    with pytest.raises(Unfinished) as stopped:
        carry_out(shop.target, "", send=False, as_json=False)

    assert stopped.value.exit_code == code
    assert stopped.value.document["told"] == 1
    assert str(stopped.value).startswith(says)
    assert str(stopped.value).endswith("The same command tells the rest.")


def test_nothing_to_tell_is_said(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert carry_out(shop.target, "", send=True, as_json=False) == 0
    assert "There is nothing to tell." in capsys.readouterr().out


@pytest.mark.parametrize(("prefix", "everything"), [(None, False), ("taj/", True)])
def test_one_says_what_is_to_be_told(prefix: str | None, *, everything: bool) -> None:
    with pytest.raises(CommandError, match="--all"):
        run(prefix, everything=everything, send=False, stack=None, as_json=False)


@pytest.fixture
def later() -> float:
    """A moment at which what was just put is no news any more."""
    return time.time() + 2 * standstill_checks.FRESH_SECONDS


def found(shop: Shop, now: float, page_size: int = 1000) -> Any:
    (finding,) = standstill_checks.unknown_drops(
        StackInspection(shop.target), lambda: now, listings=1, page_size=page_size
    )
    return finding


def test_doctor_names_what_the_table_does_not_know_and_the_command_that_tells_of_it(shop: Shop, later: float) -> None:
    shop.put("taj/1.png")

    finding = found(shop, later)

    assert finding.state == "wrong"
    assert "taj/1.png" in finding.says
    assert "kontext replay --all" in finding.remedy


def test_doctor_says_nothing_of_what_may_still_be_on_its_way(shop: Shop) -> None:
    shop.put("taj/1.png")

    assert found(shop, time.time()).state == "good"


def test_doctor_says_how_far_it_looked(shop: Shop, later: float) -> None:
    shop.put("a/1.png", "b/1.png", "c/1.png")
    for key in ("a/1.png", "b/1.png"):
        shop.record(key)

    finding = found(shop, later, page_size=2)

    assert finding.state == "note"
    assert "the first 2 objects by name" in finding.says
    assert "kontext replay --all" in finding.remedy


def test_doctor_names_what_fits_no_rule_and_the_rule_that_it_misses(shop: Shop) -> None:
    LooseObjects(shop.table).mark_reported("taj/3.png", 0.0)

    (finding,) = standstill_checks.loose_objects(StackInspection(shop.target))

    assert finding.state == "note"
    assert "taj/3.png (an image is named 1 or 2, or by a request.json)" in finding.says


@pytest.mark.parametrize("start", ["taj", "taj/", "taj/3.png"])
def test_explain_names_what_fits_no_rule_in_a_folder(shop: Shop, start: str) -> None:
    LooseObjects(shop.table).mark_reported("taj/3.png", 0.0)
    LooseObjects(shop.table).mark_reported("fort/4.png", 0.0)

    with pytest.raises(CommandError, match=r"1 object fits no rule .*: taj/3\.png \(an image is named 1 or 2"):
        the_pair(shop.target, start)


def test_explain_still_finds_the_one_pair_of_a_folder_with_something_else_in_it(shop: Shop) -> None:
    shop.put("taj/a/1.png")
    shop.record("taj/a/1.png")
    LooseObjects(shop.table).mark_reported("taj/3.png", 0.0)

    assert the_pair(shop.target, "taj/").prefix == "taj/a/"
