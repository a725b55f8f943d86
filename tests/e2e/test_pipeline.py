"""Pairs of real photographs, dropped with a plain S3 client into the deployed stack, and what their owners see.

Everything that needs no second step is dropped at once, before the first test; each test then looks at its own.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from kontext.drops.pairs import pair_key
from kontext.drops.request import render_id as name_of
from kontext.model import Parameters
from kontext_cli.demo.subscriber import Subscriber
from kontext_cli.target import LOCAL, Target
from kontext_local.deploy import BIN
from kontext_local.stack import LocalStack
from tests.e2e.conftest import Eventually
from tests.e2e.owner import ASKED, CONTRACT, NAMINGS, ORDERS, SECONDS, Json, Owner


@pytest.fixture(scope="module")
def owner(local: LocalStack, samples: Path, eventually: Eventually) -> Iterator[Owner]:
    """Somebody whose pairs are all dropped, and on their way."""
    with Subscriber(Target(LOCAL, local.outputs, local.client)) as subscriber:
        someone = Owner(local, samples, subscriber, eventually)
        someone.drop_everything()
        yield someone


def test_a_pair_becomes_one_picture_as_it_was_asked_for(owner: Owner) -> None:
    event = owner.event("full/")

    answer = owner.output("full/result.jpg")
    body, told = answer["Body"].read(), event["data"]["output"]
    image = Image.open(io.BytesIO(body))
    image.load()
    assert image.format == "JPEG"
    assert image.width * 9 == image.height * 16
    assert answer["ContentType"] == told["content_type"] == "image/jpeg"
    assert (told["width"], told["height"], told["bytes"]) == (*image.size, len(body))
    assert told["sha256"] == hashlib.sha256(body).hexdigest()
    assert (told["key"], told["bucket"]) == (f"{owner.home}full/result.jpg", owner.local.outputs["OutputBucket"])
    assert (told["version_id"], f'"{told["etag"]}"') == (answer["VersionId"], answer["ETag"])
    assert owner.outputs("full/") == ["full/result.jpg"]


def test_the_picture_says_where_it_comes_from(owner: Owner) -> None:
    event = owner.event("full/")

    metadata = owner.output("full/result.jpg")["Metadata"]
    assert metadata["render-id"] == event["data"]["render_id"]
    assert metadata["request-id"] == event["data"]["request_id"]
    assert (metadata["aspect-ratio"], metadata["seed"], metadata["safety-tolerance"]) == ("16:9", "7", "1")


def test_segmind_was_asked_once_and_for_exactly_that(owner: Owner) -> None:
    event = owner.event("full/")

    (post,) = owner.posts(owner.prompt("full"))
    job = owner.job(post["request_id"])
    assert event["data"]["request"] == ASKED | {"prompt": owner.prompt("full")}
    assert {name: job[name] for name in ASKED} == ASKED
    assert event["data"]["request_id"] == post["request_id"]
    assert event["data"]["cost"] == job["charged"] == 0.05


def test_segmind_was_given_links_to_the_versions_that_were_dropped(owner: Owner) -> None:
    event = owner.event("full/")

    job, inputs = owner.job(event["data"]["request_id"]), event["data"]["inputs"]
    for number, given in enumerate(inputs, 1):
        link = httpx.URL(job[f"input_image_{number}"])
        assert link.params["versionId"] == given["version_id"]
        assert link.path.endswith(given["key"])
    assert inputs[0]["etag"] == hashlib.md5(owner.cat).hexdigest()
    assert "Signature" not in json.dumps(event)


def test_the_record_tells_the_whole_story(owner: Owner) -> None:
    event = owner.event("full/")

    (record,) = owner.records("full/")
    asked: Parameters = ASKED | {"prompt": owner.prompt("full")}
    one, two = (hashlib.sha256(body).hexdigest() for body in (owner.cat, owner.admiral))
    assert (record["status"], record["attempt"], record["cost"]) == ("DELIVERED", 1, 0.05)
    assert record["render_id"] == event["data"]["render_id"] == name_of(f"{owner.home}full/", one, two, asked)
    # How it waits depends on how fast the machine is, and on what else goes through this stack.
    steps = [entry["what"] for entry in record["history"] if entry["what"] not in ("parked", "processing")]
    assert steps == ["claimed", "submitting", "accepted", "completed", "delivered"]
    assert record["expires_at"] > time.time() + 399 * 86_400


def test_the_execution_is_green(owner: Owner) -> None:
    owner.event("full/")
    (record,) = owner.records("full/")

    execution = owner.eventually(lambda: _ended(owner.execution(record)), "the end of the execution")

    visited = execution["visited"]
    assert execution["status"] == "SUCCEEDED"
    assert (visited[0], visited[-4:]) == ("WaitToPoll", ["IsFinished?", "Finalize", "IsDelivered?", "Delivered"])
    assert "Poll" in visited


def _ended(execution: Json) -> Json | None:
    return execution if execution["status"] != "RUNNING" else None


def test_a_job_that_fails_is_told_charges_nothing_and_ends_red(owner: Owner) -> None:
    event = owner.event("blocked/")
    error = owner.error("blocked/error.json")

    (record,) = owner.records("blocked/")
    execution = owner.eventually(lambda: _ended(owner.execution(record)), "the end of the execution")
    said = "The request was blocked by the content filter."
    assert (error["code"], error["message"], error["charged"]) == ("render_failed", said, "no")
    assert error["request_id"] == event["data"]["request_id"] == record["request_id"]
    assert (event["type"], event["data"]["status"]) == ("kontext.failed", "FAILED")
    assert event["data"]["error"] == {name: error[name] for name in ("code", "message", "charged", "remedy")}
    assert (execution["status"], execution["visited"][-1]) == ("FAILED", "RenderFailed")
    assert (execution["error"], execution["cause"]) == ("render_failed", said)
    assert owner.outputs("blocked/") == ["blocked/error.json"]
    assert owner.job(record["request_id"])["charged"] == 0


def test_a_request_that_is_not_allowed_is_explained_and_never_sent(owner: Owner) -> None:
    error = owner.error("wrong/error.json")
    event = owner.event("wrong/")

    assert (error["code"], error["charged"], error["request_id"]) == ("invalid_request", "no", None)
    assert "aspect_ratio" in error["message"]
    assert '"16:10"' in error["message"]
    assert "match_input_image, 1:1, 16:9, 9:16" in error["message"]
    assert f"{owner.home}wrong/request.json" in error["message"]
    assert event["data"]["error"]["code"] == "invalid_request"
    assert owner.posts(owner.prompt("wrong")) == []
    assert owner.outputs("wrong/") == ["wrong/error.json"]


@pytest.mark.parametrize("prefix", NAMINGS)
def test_each_style_of_naming_makes_a_pair(owner: Owner, prefix: str) -> None:
    event = owner.event(prefix, prompt=owner.prompt(prefix))

    assert event["data"]["output"]["key"] == f"{owner.home}{prefix}result.png"
    assert owner.picture(f"{prefix}result.png").format == "PNG"


def test_a_pair_at_the_root_of_the_bucket_has_its_result_there(owner: Owner, eventually: Eventually) -> None:
    bucket, prompt = owner.local.outputs["InputBucket"], owner.prompt("root")
    owner.s3.put_object(Bucket=bucket, Key="1.png", Body=owner.cat, Metadata={"prompt": prompt})
    owner.s3.put_object(Bucket=bucket, Key="2.png", Body=owner.coffee)

    def told() -> Json | None:
        owner.received += owner.subscriber.receive()
        return next((one for one in owner.received if one["data"]["request"].get("prompt") == prompt), None)

    event = eventually(told, "the event", SECONDS)
    answer = owner.s3.get_object(Bucket=owner.local.outputs["OutputBucket"], Key="result.png")
    assert (event["data"]["pair"], event["subject"]) == ("", "/")
    assert CONTRACT.is_valid(event)
    assert answer["Metadata"]["render-id"] == event["data"]["render_id"]


def test_spaces_plus_unicode_and_upper_case_are_good_keys(owner: Owner) -> None:
    event = owner.event("a b+c ü%20/")

    assert event["type"] == "kontext.rendered"
    assert [given["key"] for given in event["data"]["inputs"]] == [
        f"{owner.home}a b+c ü%20/1.PNG",
        f"{owner.home}a b+c ü%20/2.Jpeg",
    ]
    assert owner.picture("a b+c ü%20/result.png").format == "PNG"


@pytest.mark.parametrize("order", ORDERS)
def test_the_parts_may_come_in_any_order(owner: Owner, order: str) -> None:
    prefix = f"order-{order}/"

    event = owner.event(prefix, prompt=owner.prompt(order))

    assert event["type"] == "kontext.rendered"
    assert owner.output(f"{prefix}result.png")["Metadata"]["render-id"] == event["data"]["render_id"]
    assert len(owner.posts(owner.prompt(order))) == 1


def test_a_prompt_can_be_a_file_of_its_own(owner: Owner) -> None:
    event = owner.event("text/", prompt=owner.prompt("text"))

    assert event["type"] == "kontext.rendered"


def test_prompt_and_parameters_can_be_metadata_of_either_image(owner: Owner) -> None:
    event = owner.event("metadata/")

    image = owner.picture("metadata/result.png")
    assert event["data"]["request"]["prompt"] == owner.prompt("Kätzchen 🐈")
    assert image.width == image.height


def test_without_a_prompt_the_pair_settles_and_then_takes_the_default(owner: Owner) -> None:
    event = owner.event("settled/")

    heads = [
        owner.s3.head_object(Bucket=owner.local.outputs["InputBucket"], Key=f"{owner.home}settled/{name}")
        for name in ("1.png", "2.jpg")
    ]
    dropped = max(head["LastModified"] for head in heads).timestamp()
    (record,) = owner.records("settled/")
    assert event["data"]["request"]["prompt"].startswith("Bring the subjects of both photographs together")
    assert record["submitted_at"] >= dropped + float(owner.local.parameters["PromptWaitSeconds"])


@pytest.mark.parametrize(
    ("prefix", "inputs"),
    [
        pytest.param("before/", ["shared/product.png", "before/me.jpg"], id="dropped before the request"),
        pytest.param("after/", ["shared/later.png", "after/1.png"], id="dropped after the request"),
    ],
)
def test_a_request_may_name_its_images(owner: Owner, prefix: str, inputs: list[str]) -> None:
    event = owner.event(prefix, prompt=owner.prompt(prefix[:-1]))

    assert [given["key"] for given in event["data"]["inputs"]] == [owner.home + key for key in inputs]
    assert owner.outputs(prefix) == [f"{prefix}result.png"]


def test_an_object_that_a_request_names_is_not_complained_about(owner: Owner) -> None:
    for prefix in ("before/", "after/"):
        owner.event(prefix, prompt=owner.prompt(prefix[:-1]))

    complaints = [key for key in owner.outputs("") if key.startswith(("shared/", "before/me"))]

    assert complaints == []


def test_an_object_that_fits_no_rule_is_explained_beside_it(owner: Owner) -> None:
    error = owner.error("notes.txt.error.json")

    assert error["code"] == "unknown_drop"
    assert error["object"] == f"{owner.home}notes.txt"
    assert "1.<png|jpg|jpeg|webp>" in error["message"]
    assert error["charged"] == "no"


def test_the_explanation_goes_when_a_request_names_the_object_after_all(owner: Owner, eventually: Eventually) -> None:
    owner.put("late/product.png", owner.coffee)
    owner.error("late/product.png.error.json")

    owner.put("late/2.png", owner.cat)
    owner.put("late/request.json", {"prompt": owner.prompt("late"), "input_image_1": "product.png"})

    eventually(lambda: owner.output("late/product.png.error.json") is None, "the end of the explanation", SECONDS)
    assert owner.event("late/")["type"] == "kontext.rendered"


def test_an_empty_folder_object_is_ignored(owner: Owner) -> None:
    owner.error("notes.txt.error.json")  # dropped before it
    owner.error("broken-cut/error.json")  # dropped after it

    assert owner.outputs("holidays") == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("empty", "it is empty (0 bytes)", id="no bytes"),
        pytest.param("page", "not a PNG, JPEG or WebP image", id="a web page"),
        pytest.param("cut", "cut off", id="a truncated image"),
    ],
)
def test_a_file_that_is_no_picture_is_explained_and_never_sent(owner: Owner, name: str, said: str) -> None:
    error = owner.error(f"broken-{name}/error.json")

    assert (error["code"], error["charged"]) == ("invalid_image", "no")
    assert f"{owner.home}broken-{name}/1.png" in error["message"]
    assert said in error["message"]
    assert owner.posts(owner.prompt(name)) == []


def test_half_a_pair_is_no_error_and_says_which_part_is_missing(owner: Owner, eventually: Eventually) -> None:
    def seen() -> list[Json]:
        command = [str(BIN / "kontext"), "status", f"{owner.home}half", "--json"]
        environment = {"KONTEXT_HOME": owner.local.home, "PATH": str(BIN)}
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        pairs: list[Json] = json.loads(answer.stdout)
        return pairs

    (pair,) = eventually(seen, "the half pair", SECONDS)

    assert (pair["prefix"], pair["status"]) == (f"{owner.home}half/", "WAITING")
    assert f"image 1: {owner.home}half/1.<png|jpg|jpeg|webp>" in pair["detail"]
    assert owner.outputs("half") == []


def _drops(owner: Owner, prefix: str) -> set[str]:
    """What tells the drops of a pair that have been worked on from each other."""
    item = owner.table.get(pair_key(owner.home + prefix)) or {}
    return {item[part]["sequencer"] for part in item if part.startswith("part_")}


def test_the_same_content_again_renders_nothing_and_costs_nothing(owner: Owner, eventually: Eventually) -> None:
    owner.event("folder/")
    version, before = owner.output("folder/result.png")["VersionId"], _drops(owner, "folder/")

    owner.pair("folder/", {"prompt": owner.prompt("folder/")})

    eventually(lambda: not before & _drops(owner, "folder/"), "the second drop", SECONDS)
    assert len(owner.posts(owner.prompt("folder/"))) == 1
    assert len(owner.records("folder/")) == 1
    assert owner.output("folder/result.png")["VersionId"] == version
    assert len(owner.events("folder/")) == 1


def test_after_a_failure_the_same_content_is_tried_again(owner: Owner, eventually: Eventually) -> None:
    prompt = owner.prompt("twice")
    owner.script(prompt=prompt, fail="The model stumbled.")
    owner.pair("twice/", {"prompt": prompt})
    owner.error("twice/error.json")

    owner.put("twice/2.jpg", owner.admiral)

    eventually(lambda: owner.output("twice/result.png"), "the result", SECONDS)
    eventually(lambda: len(owner.events("twice/")) == 2, "both events", SECONDS)
    (record,) = owner.records("twice/")
    told = [(event["type"], event["data"]["attempt"]) for event in owner.events("twice/")]
    assert told == [("kontext.failed", 1), ("kontext.rendered", 2)]
    assert (record["status"], record["attempt"]) == ("DELIVERED", 2)
    assert [post["outcome"] for post in owner.posts(prompt)] == ["accepted", "accepted"]
    assert owner.outputs("twice/") == ["twice/result.png"]


def test_other_content_is_a_new_render_that_replaces_the_result(owner: Owner, eventually: Eventually) -> None:
    owner.event("taj_", prompt=owner.prompt("taj_"))
    first = owner.output("taj_result.png")["Metadata"]["render-id"]

    owner.put("taj_request.json", {"prompt": owner.prompt("another"), "output_format": "jpg", "aspect_ratio": "9:16"})

    event = owner.event("taj_", prompt=owner.prompt("another"))
    eventually(lambda: owner.outputs("taj_") == ["taj_result.jpg"], "only the new result", SECONDS)
    image = owner.picture("taj_result.jpg")
    assert event["data"]["render_id"] != first
    assert owner.output("taj_result.jpg")["Metadata"]["render-id"] == event["data"]["render_id"]
    assert (image.format, image.width * 16) == ("JPEG", image.height * 9)


def test_a_wrong_part_that_is_put_right_is_rendered_and_the_error_goes(owner: Owner, eventually: Eventually) -> None:
    owner.error("broken-page/error.json")

    owner.put("broken-page/1.png", owner.cat)

    eventually(lambda: owner.outputs("broken-page/") == ["broken-page/result.png"], "the result alone", SECONDS)
    eventually(lambda: "kontext.rendered" in [event["type"] for event in owner.events("broken-page/")], "its event")
