"""What a drop onto a name that exists would pay: `kontext drop`, `kontext backfill` and the page ask the same code."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from kontext.drops.keys import Slot
from kontext.dynamodb import Table
from kontext.model import Parameters
from kontext_cli.drop.input_bucket import Bucket, PlannedPair, Refused, UploadObject
from kontext_cli.drop.upload import Job, check
from kontext_cli.target import Target
from tests.aws import Aws

Put = Callable[..., None]

NOW = time.time()
Bodies = Mapping[Slot, bytes]
"""What the parts of a pair hold."""
TEXTS: dict[Slot, bytes] = {"request": b'{"prompt": "A cat."}', "1": b"cat", "2": b"cup"}
WHOLE = {"request.json": TEXTS["request"], "1.png": b"cat", "2.png": b"cup"}


@pytest.fixture
def target(aws: Aws, renders_table: str) -> Target:
    aws("s3").create_bucket(Bucket="inputs")
    return Target("test", {"InputBucket": "inputs", "RendersTable": renders_table}, functools.cache(aws))


@pytest.fixture
def put(target: Target) -> Put:
    """Puts objects of the pair `x/`: `put({"1.png": b"cat"})`."""

    def objects(bodies: dict[str, bytes], **metadata: str) -> None:
        for name, body in bodies.items():
            target.client("s3").put_object(Bucket="inputs", Key=f"x/{name}", Body=body, Metadata=metadata)

    return objects


def see(target: Target, slot: str, body: bytes, at: float = NOW, **more: Any) -> None:
    """The stack has seen a part of `x/`."""
    name = {"request": "request.json", "prompt": "prompt.txt"}.get(slot, f"{slot}.png")
    part = {"key": f"x/{name}", "etag": hashlib.md5(body).hexdigest(), "sequencer": "1", "at": at, **more}
    table = Table(target.client("dynamodb"), target.output("RendersTable"))
    table.update({"pk": "pair#x/", "sk": "pair"}, f"SET #prefix = :p, #part_{slot} = :part", p="x/", part=part)


def planned(bodies: Bodies, *, is_whole: bool = True) -> PlannedPair:
    """The pair `x/` of these parts."""
    names: Mapping[Slot, str] = {"request": "request.json", "prompt": "prompt.txt"}
    uploads = tuple(UploadObject(f"x/{names.get(slot, f'{slot}.png')}", slot, made=bodies[slot]) for slot in bodies)
    parameters: Parameters = {"prompt": "A cat."} if {"request", "prompt"} & bodies.keys() else {}
    return PlannedPair("x/", "x/", uploads, parameters, is_whole=is_whole)


def checked(target: Target, pair: PlannedPair) -> Job:
    bucket = Bucket(target)
    bucket.load([pair])
    return check(bucket, pair, "Bring them together.")


def names(job: Job) -> list[str]:
    return [upload.name for upload in job.uploads]


@pytest.mark.parametrize(
    ("there", "dropped", "kind", "uploaded"),
    [
        pytest.param({}, {}, "new", ["request.json", "1.png", "2.png"], id="a new name"),
        pytest.param(WHOLE, {}, "same", [], id="the same content"),
        pytest.param(WHOLE, {"1": b"dog"}, "changed", ["1.png"], id="one photograph"),
        pytest.param(WHOLE, {"request": b'{"prompt": "A dog."}'}, "changed", ["request.json"], id="another prompt"),
        pytest.param({"request.json": TEXTS["request"]}, {}, "new", ["1.png", "2.png"], id="interrupted early"),
        pytest.param({**WHOLE, "2.png": None}, {}, "new", ["2.png"], id="interrupted late"),
        pytest.param({"1.png": b"cat"}, {}, "new", ["request.json", "2.png"], id="half of it by hand"),
        pytest.param(
            {"request.json": TEXTS["request"], "1.PNG": b"cat", "2.JPEG": b"cup"}, {}, "same", [], id="other letters"
        ),
    ],
)
def test_a_drop_that_is_one_picture_at_most_uploads_what_differs(
    target: Target, put: Put, there: dict[str, Any], dropped: Bodies, kind: str, uploaded: list[str]
) -> None:
    put({name: body for name, body in there.items() if body is not None})

    job = checked(target, planned({**TEXTS, **dropped}))

    assert (job.kind, names(job)) == (kind, uploaded)


@pytest.mark.parametrize(
    ("there", "dropped", "parts"),
    [
        pytest.param(WHOLE, {"1": b"dog", "2": b"mug"}, ["1.png", "2.png"], id="both photographs"),
        pytest.param(
            WHOLE, {"request": b"{}", "1": b"dog"}, ["request.json", "1.png"], id="the prompt and a photograph"
        ),
        pytest.param(
            WHOLE, {"request": b"{}", "1": b"dog", "2": b"mug"}, ["request.json", "1.png", "2.png"], id="all of it"
        ),
        pytest.param(
            {"1.jpg": b"dog", "2.jpg": b"mug"},
            {},
            ["request.json", "1.png", "2.png"],
            id="other photographs with another extension",
        ),
        pytest.param({"1.PNG": b"dog", "2.png": b"cup"}, {}, ["request.json", "1.png"], id="in other letters"),
        pytest.param({"1.png": b"dog"}, {}, ["request.json", "1.png", "2.png"], id="one half, and another one"),
        pytest.param(
            {"prompt.txt": b"A dog."}, {}, ["request.json", "1.png", "2.png"], id="a prompt that it overrules"
        ),
    ],
)
def test_a_drop_whose_parts_would_be_paid_one_by_one_is_refused(
    target: Target, put: Put, there: dict[str, bytes], dropped: Bodies, parts: list[str]
) -> None:
    put(there)

    with pytest.raises(Refused) as refused:
        checked(target, planned({**TEXTS, **dropped}))

    assert [part.name for part in refused.value.parts] == parts
    assert f"{len(parts)} x USD 0.05" in refused.value.priced(0.05)


def test_a_prompt_in_the_metadata_of_a_photograph_that_waits_is_not_overruled_by_two_uploads(
    target: Target, put: Put
) -> None:
    put({"1.png": b"cat"}, prompt="A dog.")

    with pytest.raises(Refused, match="2 parts of it"):
        checked(target, planned(TEXTS))


@pytest.mark.parametrize(
    ("there", "metadata", "what"),
    [
        pytest.param(WHOLE, {}, "request.json", id="a request"),
        pytest.param({"1.png": b"cat", "2.png": b"cup", "prompt.txt": b"A dog."}, {}, "prompt.txt", id="a prompt"),
        pytest.param({"1.png": b"cat"}, {"prompt": "A dog."}, "the metadata of 1.png", id="metadata"),
    ],
)
def test_what_was_asked_before_and_is_not_asked_now_is_not_paid_by_accident(
    target: Target, put: Put, there: dict[str, bytes], metadata: dict[str, str], what: str
) -> None:
    put(there, **metadata)

    with pytest.raises(Refused, match=f"x/ has {what} from before, which would still count"):
        checked(target, planned({"1": b"cat", "2": b"cup"}))


def test_a_folder_may_leave_out_what_the_bucket_has(target: Target, put: Put) -> None:
    put({"prompt.txt": b"A dog."})

    job = checked(target, replace(planned({"1": b"cat", "2": b"cup"}), is_whole=False))

    assert names(job) == ["1.png", "2.png"]


def test_photographs_that_have_expired_still_count_for_the_stack(target: Target) -> None:
    for slot, body in TEXTS.items():
        see(target, slot, body)

    same = checked(target, planned(TEXTS))

    assert same.kind == "same"
    with pytest.raises(Refused, match="3 parts of it"):
        checked(target, planned({**TEXTS, "1": b"dog"}))


def test_a_photograph_that_came_later_and_was_deleted_still_counts_for_the_stack(target: Target, put: Put) -> None:
    put(WHOLE)
    see(target, "1", b"dog", at=NOW + 3600)

    job = checked(target, planned(TEXTS))

    assert (job.kind, names(job)) == ("changed", ["1.png"])


def test_what_the_stack_has_not_been_told_of_yet_is_told_by_the_bucket(target: Target, put: Put) -> None:
    for slot in TEXTS:
        see(target, slot, b"before", at=NOW - 3600)
    put(WHOLE)

    assert checked(target, planned(TEXTS)).kind == "same"


def test_of_two_objects_of_the_same_second_neither_is_taken_for_the_newer(target: Target, put: Put) -> None:
    bucket, pair = Bucket(target), planned(TEXTS)
    put({**WHOLE, "1.jpg": b"dog"})
    bucket.load([pair])
    bucket.objects["x/1.jpg"]["LastModified"] = bucket.objects["x/1.png"]["LastModified"]
    bucket.newest.clear()
    bucket._sort_out()

    assert [upload.name for upload in check(bucket, pair, "").uploads] == ["1.png"]
