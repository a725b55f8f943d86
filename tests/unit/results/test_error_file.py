"""The explanation that lies beside a pair without a picture, for the one who dropped it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from kontext.clock import iso
from kontext.drops.store import Drops
from kontext.errors import CODES, problem
from kontext.model import Render
from kontext.renders.claims import Claims
from kontext.renders.store import Renders
from kontext.results import error_file
from kontext.results.cloudevents import Topic, announce
from kontext.results.output_bucket import OutputBucket
from tests.aws import Aws
from tests.existing import existing
from tests.unit.life import MakePair, MakeReady
from tests.unit.results.conftest import NOW, Stage

if TYPE_CHECKING:
    pass


def test_an_error_file_says_it_to_the_one_who_dropped(ended: Callable[[str], Render]) -> None:
    render = ended("failed")

    said = json.loads(error_file.content(render))

    assert said == {
        "code": "render_failed",
        "message": "blocked",
        "charged": "no",
        "remedy": CODES["render_failed"].remedy,
        "pair": "taj/",
        "render_id": render["render_id"],
        "request_id": "r-1",
        "at": iso(NOW + 20),
    }
    assert error_file.content(render).count(b"\n") > 5


@pytest.fixture
def tell(drops: Drops, aws: Aws, bucket: str, topic: Topic, renders: Renders) -> Callable[[Render], list[str]]:
    """Tells how a render ended; gives the keys that then stand in the output bucket."""

    def announced(render: Render) -> list[str]:
        announce(render, drops, OutputBucket(aws("s3"), bucket), topic, renders)
        return [item["Key"] for item in aws("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]

    return announced


@pytest.mark.parametrize(
    ("end", "keys"),
    [
        pytest.param("delivered", [], id="delivered"),
        pytest.param("failed", ["taj/error.json"], id="failed"),
        pytest.param("uncertain", ["taj/error.json"], id="uncertain"),
        pytest.param("rejected", ["taj/error.json"], id="rejected"),
        pytest.param("overtaken", [], id="overtaken by a newer drop, which has the word"),
    ],
)
def test_who_gets_no_picture_gets_an_error_file(
    stage: Stage, ended: Callable[[str], Render], tell: Callable[[Render], list[str]], end: str, keys: list[str]
) -> None:
    render = ended(end)

    written = tell(render)

    assert written == keys
    assert existing(stage.renders.get(render["prefix"], render["render_id"]))["announced"] is True


def test_a_failure_of_an_older_drop_does_not_speak_for_the_pair(
    stage: Stage,
    ended: Callable[[str], Render],
    pair: MakePair,
    complete: MakeReady,
    tell: Callable[[Render], list[str]],
) -> None:
    old = ended("failed")
    newer = pair(drop=2)
    Claims(stage.renders).claim(newer, complete(newer, prompt="new"), NOW)

    written = tell(old)

    assert written == []


def test_an_explanation_that_is_written_late_replaces_no_newer_one(
    stage: Stage, pair: MakePair, drops: Drops, tell: Callable[[Render], list[str]], aws: Aws, bucket: str
) -> None:
    old, s3, newer = stage.uncertain(), aws("s3"), pair(drop=2)

    def overtake(**_: object) -> None:
        render = Claims(stage.renders).reject(newer, problem("invalid_request", "no prompt"), "v2", NOW)
        if render:  # once
            tell(render)

    s3.meta.events.register("before-call.s3.PutObject", overtake)
    try:
        error_file.write(old, drops, OutputBucket(s3, bucket), stage.renders)
    finally:
        s3.meta.events.unregister("before-call.s3.PutObject", overtake)

    said = json.loads(s3.get_object(Bucket=bucket, Key="taj/error.json")["Body"].read())
    assert said["code"] == "invalid_request"
