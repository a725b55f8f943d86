"""What is to be done about the pairs that were read, what it costs, and how they are uploaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kontext.throttle.rate_limiter import WINDOW_SECONDS
from kontext_cli.backfill.plan import Budget
from kontext_cli.backfill.sources import read
from kontext_cli.target import Target
from tests.unit.cli.backfill.pairs import (
    HEAD,
    LIMITS,
    REFERENCES,
    ROW,
    Encoded,
    planned,
    upload,
)


class Foreign:
    """An S3 client whose listings tell ETags that are no MD5 sums."""

    def __init__(self, client: Any, etag: str) -> None:
        self.client = client
        self.etag = etag

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def get_paginator(self, operation: str) -> Foreign:
        self.pages = self.client.get_paginator(operation)
        return self

    def paginate(self, **asked: Any) -> Any:
        for page in self.pages.paginate(**asked):
            for one in page.get("Contents", ()):
                one["ETag"] = f'"{self.etag}"'
            yield page


def test_a_folder_is_read_by_the_drop_convention(target: Target, drop_folder: Callable[..., Path]) -> None:
    root = drop_folder(
        *("taj/1.png", "taj/2.JPG", "cafe_1.png", "cafe_2.webp", "notes.png", ".hidden/1.png"),
        taj__prompt_txt="A selfie.",
        cafe_request_json='{"seed": 7}',
    )

    source = read(root, "summer/", LIMITS, REFERENCES)

    assert upload(target, source) == ["summer/cafe_", "summer/taj/"]
    assert source.ignored == ["summer/notes.png"]
    assert source.wrong == []
    assert [upload.key for upload in source.pairs[1].uploads] == [
        *("summer/taj/prompt.txt", "summer/taj/1.png", "summer/taj/2.JPG")
    ]


def test_the_request_is_uploaded_before_the_images(target: Target, drop_folder: Callable[..., Path]) -> None:
    root = drop_folder("a/1.png", "shared/logo.png", a__request_json='{"input_image_2": "/shared/logo.png"}')

    (job,) = planned(target, read(root, "", LIMITS, REFERENCES)).todo

    assert [upload.key for upload in job.uploads] == ["a/request.json", "a/1.png", "shared/logo.png"]


def test_what_the_bucket_has_already_completes_a_pair(target: Target, drop_folder: Callable[..., Path]) -> None:
    root = drop_folder("a/1.png", a__request_json='{"input_image_2": "/shared/logo.png"}')
    target.client("s3").put_object(Bucket="inputs", Key="shared/logo.png", Body=b"x")

    assert upload(target, read(root, "", LIMITS, REFERENCES)) == ["a/"]


def test_a_second_run_uploads_nothing(target: Target, table: Callable[..., Path]) -> None:
    source = read(table(HEAD, ROW), "", LIMITS, REFERENCES)
    first = upload(target, source)

    plan = planned(target, source)

    assert first == ["shop/cat/"]
    assert [job.kind for job in plan.jobs] == ["same"]
    assert plan.price == 0.0


def test_an_interrupted_run_goes_on_where_it_was(target: Target, table: Callable[..., Path]) -> None:
    source = read(table(HEAD, ROW, "dog,cat.png,cup.jpg,"), "", LIMITS, REFERENCES)
    plan = planned(target, source)
    list(plan.bucket.upload(plan.todo[0].pair.prefix, plan.todo[0].uploads[:2]))

    again = planned(target, source)

    assert [[upload.key for upload in job.uploads] for job in again.todo] == [
        *(["shop/cat/2.jpg"], ["dog/1.png", "dog/2.jpg"])
    ]
    assert [job.kind for job in again.jobs] == ["new", "new"]


def test_an_interrupted_pair_with_named_images_goes_on(target: Target, drop_folder: Callable[..., Path]) -> None:
    root = drop_folder("a/x.png", "a/y.png", a__request_json='{"input_image_1": "x.png", "input_image_2": "y.png"}')
    plan = planned(target, read(root, "", LIMITS, REFERENCES))
    list(plan.bucket.upload(plan.todo[0].pair.prefix, plan.todo[0].uploads[:1]))

    again = planned(target, read(root, "", LIMITS, REFERENCES))

    assert [upload.key for job in again.todo for upload in job.uploads] == ["a/x.png", "a/y.png"]
    assert again.wrong == []


def test_another_prompt_for_a_dropped_pair_is_said_to_be_paid_anew(target: Target, table: Callable[..., Path]) -> None:
    upload(target, read(table(HEAD, ROW), "", LIMITS, REFERENCES))

    plan = planned(target, read(table(HEAD, ROW.replace("A cat.", "A dog.")), "", LIMITS, REFERENCES))

    assert [(job.kind, [upload.key for upload in job.uploads]) for job in plan.jobs] == [
        ("changed", ["shop/cat/request.json"])
    ]
    assert plan.price == pytest.approx(0.05)


def test_a_pair_of_which_each_part_would_be_paid_is_refused(target: Target, table: Callable[..., Path]) -> None:
    upload(target, read(table(HEAD, ROW), "", LIMITS, REFERENCES))

    plan = planned(target, read(table(HEAD, "shop/cat,cup.jpg,cat.png,A dog."), "", LIMITS, REFERENCES))

    assert plan.todo == []
    assert plan.wrong[0].where == "row 2 (shop/cat)"
    assert "3 parts of it (request.json, 1.jpg, 2.png) differ" in plan.wrong[0].why
    assert "3 x USD 0.05 = USD 0.15" in plan.wrong[0].why
    assert "give it another name, or change one part at a time (USD 0.05 each)" in plan.wrong[0].why


def test_an_image_under_another_extension_is_another_content(
    target: Target, table: Callable[..., Path], encoded: Encoded
) -> None:
    upload(target, read(table(HEAD, ROW), "", LIMITS, REFERENCES))
    target.client("s3").put_object(Bucket="inputs", Key="shop/cat/1.webp", Body=encoded("WEBP"))

    plan = planned(target, read(table(HEAD, ROW), "", LIMITS, REFERENCES))

    assert [(job.kind, [upload.key for upload in job.uploads]) for job in plan.jobs] == [
        ("changed", ["shop/cat/1.png"])
    ]


@pytest.mark.parametrize("is_same", [pytest.param(True, id="the same"), pytest.param(False, id="of the same size")])
@pytest.mark.parametrize(
    "etag",
    [
        pytest.param(hashlib.md5(b"encrypted").hexdigest(), id="encrypted"),
        pytest.param("0123-2", id="uploaded in parts by another tool"),
    ],
)
def test_a_photograph_whose_etag_tells_nothing_is_the_same_only_if_its_content_is(
    target: Target, table: Callable[..., Path], etag: str, is_same: bool
) -> None:
    source = read(table(HEAD, ROW), "", LIMITS, REFERENCES)
    (photograph,) = [upload for upload in source.pairs[0].uploads if upload.slot == "1"]
    s3 = target.client("s3")
    s3.put_object(Bucket="inputs", Key=photograph.key, Body=photograph.body if is_same else photograph.body[::-1])
    clients = Target("test", target.outputs, lambda name: Foreign(s3, etag) if name == "s3" else target.client(name))

    plan = planned(clients, source)

    assert plan.bucket.holds(photograph) == is_same


def test_without_any_prompt_nothing_can_be_rendered(target: Target, table: Callable[..., Path]) -> None:
    source = read(table(HEAD, "cat,cat.png,cup.jpg,"), "", LIMITS, REFERENCES)

    assert planned(target, source).without_prompt == 1
    assert "no DefaultPrompt" in planned(target, source, DefaultPrompt="").wrong[0].why


@pytest.mark.parametrize(
    ("pictures", "seconds"),
    [
        pytest.param(0, 0, id="none"),
        pytest.param(100, 100 * WINDOW_SECONDS / 50, id="at the pace"),
        pytest.param(400, 400 * WINDOW_SECONDS / 50, id="all that the day still pays for"),
        pytest.param(401, 3600 + WINDOW_SECONDS / 50, id="one more waits for midnight"),
        pytest.param(901, 3600 + 86_400 + WINDOW_SECONDS / 50, id="and a day later"),
    ],
)
def test_the_time_follows_the_pace_and_the_daily_limit(pictures: int, seconds: float) -> None:
    budget = Budget(price=0.05, daily_limit=25, reserved=5, per_minute=50)

    assert budget.seconds(pictures, 82_800.0) == pytest.approx(seconds)


def test_a_limit_below_the_price_never_ends() -> None:
    assert Budget(price=0.05, daily_limit=0.01, reserved=0, per_minute=50).seconds(1, 0.0) is None


def test_a_name_whose_keys_would_be_too_long_is_one_wrong_row(target: Target, table: Callable[..., Path]) -> None:
    source = read(table(HEAD, f"{'x' * 800},cat.png,cup.jpg,", ROW), "y" * 300, LIMITS, REFERENCES)

    assert [pair.prefix for pair in source.pairs] == [f"{'y' * 300}/shop/cat/"]
    assert "is longer than a key of S3" in source.wrong[0].why


def test_an_upload_whose_first_answer_was_lost_is_known_as_our_own(target: Target, table: Callable[..., Path]) -> None:
    plan = planned(target, read(table(HEAD, ROW), "", LIMITS, REFERENCES))
    request = plan.todo[0].uploads[0]
    target.client("s3").put_object(Bucket="inputs", Key=request.key, Body=request.body)

    assert [job.pair.prefix for job in plan.upload()] == ["shop/cat/"]
