"""What is told of a render: a contract with its subscribers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event, to_structured_event

from kontext.clock import iso
from kontext.drops.pairs import Ready
from kontext.errors import CODES, problem
from kontext.model import ErrorCode, ObjectRead, Render, Status
from kontext.renders.claims import Claims
from kontext.renders.store import Renders
from kontext.results import cloudevents
from kontext.results.cloudevents import Topic, cloud_event, delay_event
from tests.unit.life import MakePair, MakeReady
from tests.unit.results.conftest import CONTRACT, NOW, RESULT, SCHEMA, SOURCE, Stage, made

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef


def test_the_contract_is_itself_a_schema_of_the_stated_version() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)

    assert SCHEMA["$id"] == cloudevents.SCHEMA == "urn:kontext-drop:schema:event:v1"


def test_every_end_is_told_as_the_contract_says(event: dict[str, Any]) -> None:
    told = json.dumps(event)

    assert [error.message for error in CONTRACT.iter_errors(json.loads(told))] == []
    assert "secret" not in told
    assert "sig=" not in told


def test_every_end_is_a_cloud_event_for_the_cloudevents_sdk(event: dict[str, Any]) -> None:
    message = HTTPMessage({"content-type": "application/cloudevents+json"}, json.dumps(event).encode())

    parsed = from_structured_event(message)

    assert (parsed.get_type(), parsed.get_source(), parsed.get_id()) == (event["type"], SOURCE, event["id"])
    assert parsed.get_data() == event["data"]
    assert json.loads(to_structured_event(parsed).body)["subject"] == "taj/"


def _without(path: str) -> Callable[[dict[str, Any]], object]:
    *way, last = path.split(".")

    def change(event: dict[str, Any]) -> None:
        for step in way:
            event = event[step]
        del event[last]

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda event: event.update(extra=1), id="a field more"),
        pytest.param(lambda event: event["data"].update(extra=1), id="a field more in data"),
        pytest.param(lambda event: event["data"]["output"].update(extra=1), id="a field more in output"),
        pytest.param(_without("id"), id="no id"),
        pytest.param(_without("data.render_id"), id="no render_id"),
        pytest.param(_without("data.output.sha256"), id="no digest"),
        pytest.param(lambda event: event.update(type="kontext.done"), id="another type"),
        pytest.param(lambda event: event.update(type="kontext.failed"), id="another type than the data's"),
        pytest.param(lambda event: event.update(dataschema="urn:kontext-drop:schema:event:v2"), id="another version"),
        pytest.param(lambda event: event.update(time="yesterday"), id="a time in words"),
        pytest.param(lambda event: event["data"].update(output=None), id="rendered, but no output"),
        pytest.param(lambda event: event["data"].update(error=problem("refused", "x")), id="rendered, and an error"),
        pytest.param(lambda event: event["data"].update(inputs=[]), id="rendered out of nothing"),
        pytest.param(lambda event: event["data"].update(cost="0.05"), id="a cost in words"),
    ],
)
def test_the_contract_is_strict(ended: Callable[[str], Render], change: Callable[[dict[str, Any]], object]) -> None:
    event = json.loads(json.dumps(cloud_event(ended("delivered"), SOURCE)))

    change(event)

    assert not CONTRACT.is_valid(event)


def test_a_picture_that_is_late_is_told_the_same_whenever_it_is_told(ended: Callable[[str], Render]) -> None:
    late: Render = {**ended("delivered"), "status": Status.COMPLETED}
    late |= {"undelivered": {"tries": 1, "first": "HTTP 403", "last": "HTTP 403"}}
    later: Render = {
        **late,
        "updated_at": iso(NOW + 900),
        "undelivered": {"tries": 2, "first": "HTTP 403", "last": "x"},
    }

    events = [delay_event(render, SOURCE) for render in (late, later)]

    CONTRACT.validate(events[0])
    assert events[0] == events[1]
    assert events[0]["id"].endswith(".1.delivery_delayed")
    assert events[0]["data"]["error"] == problem("delivery_delayed", "HTTP 403")
    assert events[0]["data"]["output"] is None


def test_a_delivered_render_is_told_with_everything_a_backend_needs(ended: Callable[[str], Render]) -> None:
    render = ended("delivered")

    event = cloud_event(render, SOURCE)

    data = event["data"]
    assert (event["type"], event["subject"], event["time"]) == ("kontext.rendered", "taj/", iso(NOW + 21))
    assert (data["pair"], data["status"], data["request_id"], data["attempt"]) == ("taj/", "DELIVERED", "r-1", 1)
    assert data["output"] == RESULT
    assert data["inputs"][0] == {"key": "taj/1.png", "version_id": "v1", "etag": "e1", "url": None}
    assert data["request"]["seed"] == 7
    assert (data["cost"], data["remaining_credits"], data["error"]) == (0.05, -0.05, None)
    assert data["times"] == {
        "claimed_at": iso(NOW),
        "submitted_at": iso(NOW + 1),
        "completed_at": iso(NOW + 20),
        "ended_at": iso(NOW + 21),
        "queue_seconds": 0.0,
        "inference_seconds": 12,
        "segmind_seconds": 12.0,
    }


def test_telling_again_tells_the_same(stage: Stage, ended: Callable[[str], Render], end: str) -> None:
    first = ended(end)
    stage.renders.mark_announced(first)

    again = stage.renders.get(first["prefix"], first["render_id"])

    assert again is not None
    assert cloud_event(again, SOURCE) == cloud_event(first, SOURCE)


def test_another_attempt_is_another_event(ended: Callable[[str], Render]) -> None:
    render = ended("failed")

    ids = {cloud_event(render | {"attempt": attempt}, SOURCE)["id"] for attempt in (1, 2)}

    assert ids == {f"{render['render_id']}.{attempt}.failed" for attempt in (1, 2)}


def test_the_same_attempt_that_ends_otherwise_after_all_is_another_event(ended: Callable[[str], Render]) -> None:
    render = ended("uncertain")

    told = {cloud_event(render | {"status": status}, SOURCE)["id"] for status in (Status.UNCERTAIN, Status.FAILED)}

    assert len(told) == 2


def test_an_input_named_by_a_url_is_told_without_its_query(renders: Renders, pair: MakePair) -> None:
    given: ObjectRead = {"url": "https://example.com/a.png?X-Amz-Signature=secret#part"}
    render = made(Claims(renders).claim(pair(), Ready((given, given), {"prompt": "p"}, {"prompt": "p"}), NOW))
    failed = renders.mark_failed(render, problem("superseded", "x"), NOW)

    (told, _) = cloud_event(failed, SOURCE)["data"]["inputs"]

    assert told == {"key": None, "version_id": None, "etag": None, "url": "https://example.com/a.png"}


@pytest.mark.parametrize("code", CODES)
def test_every_error_code_says_what_it_means_what_it_cost_and_what_to_do(code: ErrorCode) -> None:
    error = problem(code, "what happened")

    assert set(error) == {"code", "message", "charged", "remedy"}
    assert error["charged"] in ("yes", "no", "unknown")
    assert len(CODES[code].meaning) > 20
    assert len(error["remedy"]) > 20


def test_the_contract_lists_every_code_that_an_event_can_hold() -> None:
    listed = SCHEMA["definitions"]["error"]["properties"]["code"]["examples"]

    assert set(listed) == CODES.keys() - {"unknown_drop"}  # which is no render's


@pytest.mark.parametrize(
    ("end", "attributes"),
    [
        ("delivered", {"type": "kontext.rendered", "folder": "taj", "error_code": "none"}),
        ("failed", {"type": "kontext.failed", "folder": "taj", "error_code": "render_failed"}),
        ("uncertain", {"type": "kontext.uncertain", "folder": "taj", "error_code": "uncertain"}),
    ],
)
def test_subscribers_can_filter_by_type_folder_and_error(
    ended: Callable[[str], Render],
    topic: Topic,
    published: Callable[[], list[MessageTypeDef]],
    end: str,
    attributes: dict[str, str],
) -> None:
    topic.publish(ended(end))

    (message,) = published()
    assert {name: value["StringValue"] for name, value in message["MessageAttributes"].items()} == attributes
    assert json.loads(message["Body"])["type"] == attributes["type"]


@pytest.mark.parametrize(
    ("prefix", "folder"),
    [
        pytest.param("summer/taj/", "summer", id="the first folder of several"),
        pytest.param("summer/taj_", "summer", id="a pair in a folder"),
        pytest.param("taj_", "/", id="a pair at the root, with a prefix"),
        pytest.param("", "/", id="a pair at the root"),
        pytest.param("/taj/", "/", id="a folder without a name"),
        pytest.param("夏/", "夏", id="not ASCII"),
    ],
)
def test_the_folder_of_a_pair_is_the_first_one_of_its_key(
    renders: Renders,
    pair: MakePair,
    complete: MakeReady,
    topic: Topic,
    published: Callable[[], list[MessageTypeDef]],
    prefix: str,
    folder: str,
) -> None:
    dropped = pair(prefix)
    render = made(Claims(renders).claim(dropped, complete(dropped), NOW))
    failed = renders.mark_failed(render, problem("superseded", "x"), NOW)

    topic.publish(failed)

    (message,) = published()
    assert message["MessageAttributes"]["folder"]["StringValue"] == folder
    assert CONTRACT.is_valid(json.loads(message["Body"]))
