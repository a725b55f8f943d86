"""What people and programs are told of a day's drops: events, error files, logs, and stories by `kontext explain`."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

from examples.https_endpoint import Endpoint, server
from kontext import events as published
from kontext_cli.errors import CommandError
from kontext_cli.explain import Story, the_pair
from kontext_cli.subscriber import Subscriber
from kontext_local import stack
from tests.e2e.scene import LOGS, Scene

Json = dict[str, Any]
Eventually = Callable[..., Any]

CONTRACT = jsonschema.Draft7Validator(
    json.loads((Path(published.__file__).parent / "schemas" / "event.v1.json").read_text())
)
POLICIES: dict[str, tuple[Json, Callable[[Json], bool]]] = {
    "a type": ({"type": ["kontext.rendered"]}, lambda event: event["type"] == "kontext.rendered"),
    "a folder": ({"folder": ["other"]}, lambda event: event["subject"].startswith("other/")),
    "an error code": ({"error_code": ["render_failed"]}, lambda event: _code(event) == "render_failed"),
    "any error": ({"error_code": [{"anything-but": ["none"]}]}, lambda event: _code(event) != "none"),
    "two attributes": (
        {"error_code": ["none"], "folder": ["told"]},
        lambda event: _code(event) == "none" and event["subject"].startswith("told/"),
    ),
}
"""Filter policies on each attribute, and what each should let through."""


def _code(event: Json) -> str:
    return str((event["data"]["error"] or {}).get("code", "none"))


@dataclass
class Day:
    """A stack, and everything that its subscribers were told.

    `events`: by a queue; `filtered`: by queues with a filter policy; `acted`: what the example web server has acted on.
    """

    scene: Scene
    endpoint: Endpoint
    function: str
    acted: list[Json]
    events: list[Json] = field(default_factory=list)
    filtered: dict[str, list[Json]] = field(default_factory=dict)

    def hear(self, everything: Subscriber, chosen: dict[str, Subscriber]) -> set[tuple[str, str]]:
        """Take what has come; gives the (type, subject) of all events so far."""
        self.events.extend(_drained(everything))
        for name, queue in chosen.items():
            self.filtered.setdefault(name, []).extend(_drained(queue))
        return {(event["type"].removeprefix("kontext."), event["subject"]) for event in self.events}


def _drained(queue: Subscriber) -> Iterator[Json]:
    while events := queue.receive():
        yield from events


@pytest.fixture(scope="module")
def day(scene_stack: stack.LocalStack, samples: Path, eventually: Eventually) -> Iterator[Day]:
    """One of each kind of drop has ended, or waits for what it lacks."""
    acted: list[Json] = []
    with ExitStack() as opened:
        client = opened.enter_context(httpx.Client(base_url=f"{scene_stack.segmind_url}/_emulator/", trust_env=False))
        scene = Scene(scene_stack, client, samples)
        # The embedded cloud's signature is not real: its check is proved with a certificate of the unit tests.
        endpoint = Endpoint(lambda _: None, acted.append, lambda url: httpx.get(url, trust_env=False).content)
        opened.enter_context(_subscribed(scene, "http", opened.enter_context(_served(endpoint)), eventually))
        function = _example_function(scene)
        opened.enter_context(_subscribed(scene, "lambda", function, eventually))
        chosen = {
            name: opened.enter_context(Subscriber(scene.target, attributes={"FilterPolicy": json.dumps(policy)}))
            for name, (policy, _) in POLICIES.items()
        }
        everything = opened.enter_context(Subscriber(scene.target))  # the last one, so the others have heard it, too
        today = Day(scene, endpoint, function, acted)
        _drop_all(scene, eventually)
        ends = {("rendered", "told/good/"), ("failed", "other/blocked/"), ("uncertain", "told/lost/")}
        ends |= {("failed", "told/poison/"), ("failed", "told/corrected/"), ("rendered", "told/corrected/")}
        eventually(lambda: ends <= today.hear(everything, chosen), "the end of each drop")
        eventually(lambda: {"told/good/", "told/corrected/"} <= {one["subject"] for one in acted}, "the posts")
        yield today
        scene.mend()


def _drop_all(scene: Scene, eventually: Eventually) -> None:
    scene.rule("other/blocked", on="submit", fail="content blocked")
    scene.rule("told/lost", on="submit", accept=True, drop=True)
    astronaut, coffee = ((scene.samples / name).read_bytes() for name in ("astronaut.png", "coffee.png"))
    scene.put("told/holiday.png", b"x")
    scene.put("told/half/1.png", astronaut)
    scene.put("told/poison/1.png", b"x")
    scene.put("told/poison/2.png", coffee)
    scene.put("told/corrected/request.json", b'{"prompt": "p", "aspect_ratio": "7:5"}')
    scene.put("told/corrected/1.png", astronaut)
    scene.put("told/corrected/2.png", coffee)
    for pair in ("told/good", "other/blocked", "told/lost"):
        scene.drop(pair)
    wrong = {"told/corrected/error.json", "told/poison/error.json", "told/holiday.png.error.json"}
    eventually(lambda: wrong <= scene.written("told/"), "the error files")
    scene.put("told/corrected/request.json", b'{"prompt": "scene corrected", "aspect_ratio": "4:3"}')


@contextmanager
def _served(endpoint: Endpoint) -> Iterator[str]:
    with server(endpoint, 0) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_address[1]}/"
        finally:
            serving.shutdown()
            thread.join()


@contextmanager
def _subscribed(scene: Scene, protocol: str, to: str, eventually: Eventually) -> Iterator[None]:
    sns = scene.running.client("sns")
    sns.subscribe(TopicArn=scene.running.outputs["RenderTopicArn"], Protocol=protocol, Endpoint=to)
    arn = eventually(lambda: _confirmed(scene, to), "the confirmation")
    try:
        yield
    finally:
        sns.unsubscribe(SubscriptionArn=arn)


def _confirmed(scene: Scene, endpoint: str) -> str | None:
    """The ARN of a subscription, once it is confirmed."""
    sns = scene.running.client("sns")
    listed = sns.list_subscriptions_by_topic(TopicArn=scene.running.outputs["RenderTopicArn"])["Subscriptions"]
    arn = next(one["SubscriptionArn"] for one in listed if one["Endpoint"] == endpoint)
    attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    return None if attributes.get("PendingConfirmation") == "true" else str(arn)


def told(scene: Scene, prefix: str) -> Json:
    """The story of a pair."""
    return Story(scene.target, the_pair(scene.target, prefix)).told()


def keeps_to_the_contract(event: Json) -> bool:
    """Whether an event is one by our schema and by the CloudEvents SDK."""
    message = HTTPMessage({"content-type": "application/cloudevents+json"}, json.dumps(event).encode())
    return CONTRACT.is_valid(event) and from_structured_event(message).get_id() == event["id"]


def test_every_event_keeps_to_the_contract(day: Day) -> None:
    assert [event for event in day.events if not keeps_to_the_contract(event)] == []


def test_no_event_is_told_twice_in_a_good_day(day: Day) -> None:
    ids = [event["id"] for event in day.events]

    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", POLICIES)
def test_a_filter_policy_on_each_attribute_lets_through_what_it_names(day: Day, name: str) -> None:
    _, fits = POLICIES[name]

    expected = sorted(event["id"] for event in day.events if fits(event))

    assert sorted(event["id"] for event in day.filtered[name]) == expected
    assert 0 < len(expected) < len(day.events)


def test_a_web_server_acts_once_on_an_event_that_is_posted_twice(day: Day, eventually: Eventually) -> None:
    sns, topic = day.scene.running.client("sns"), day.scene.running.outputs["RenderTopicArn"]
    event = next(one for one in day.acted if one["subject"] == "told/good/")

    for repeated in (event, event | {"id": "the last one"}):
        sns.publish(TopicArn=topic, Message=json.dumps(repeated))

    eventually(lambda: "the last one" in day.endpoint.told, "the last event")
    assert [one["id"] for one in day.acted].count(event["id"]) == 1


def test_a_function_acts_once_on_an_event_that_is_told_twice(day: Day, eventually: Eventually) -> None:
    running = day.scene.running
    dynamodb, event = running.client("dynamodb"), next(one for one in day.events if one["subject"] == "told/good/")

    def item(key: str) -> Json | None:
        return dynamodb.get_item(TableName="pictures", Key={"id": {"S": key}}).get("Item")  # type: ignore[no-any-return]

    before = eventually(lambda: item("pair#told/good/"), "the function's item")
    repeated = event | {"data": event["data"] | {"output": {"bucket": "b", "key": "k"}}}
    record = {"Records": [{"Sns": {"Message": json.dumps(repeated)}}]}
    running.client("lambda").invoke(FunctionName=day.function, Payload=json.dumps(record).encode())

    assert before["object"] == {"S": f"s3://{running.outputs['OutputBucket']}/told/good/result.png"}
    assert item("pair#told/good/") == before


def test_subscribers_are_told_once_that_all_renders_wait_and_once_that_they_go_on(
    scene: Scene, eventually: Eventually
) -> None:
    gate: list[Json] = []
    policy = {"FilterPolicy": json.dumps({"type": ["kontext.parked", "kontext.resumed"]})}
    with Subscriber(scene.target, attributes=policy) as subscribed:
        scene.tell("settings", {"credits": 0.01})
        for pair in ("waiting/a", "waiting/b"):
            scene.drop(pair)
        eventually(lambda: len(scene.measured(None, "ParkedNoCredits")) >= 2, "two parks")
        waits = told(scene, "waiting/a")["now"]
        scene.tell("settings", {"credits": 100.0})
        for pair in ("waiting/a", "waiting/b"):
            eventually(lambda pair=pair: scene.measured(pair, "Delivered"), "the delivery")
        eventually(lambda: gate.extend(_drained(subscribed)) or len(gate) >= 2, "both events")

    parked, resumed = sorted(gate, key=lambda event: event["time"])
    assert (parked["type"], parked["data"]["error"]["code"]) == ("kontext.parked", "no_credits")
    assert (resumed["type"], resumed["data"]["reason"]) == ("kontext.resumed", "no_credits")
    assert resumed["data"]["since"] == parked["time"] < resumed["time"]
    assert all(map(keeps_to_the_contract, gate))
    assert "holds less than a picture costs" in waits["means"]
    assert waits["remedy"] == parked["data"]["error"]["remedy"]


def test_one_id_finds_everything_in_the_logs_and_no_secret_is_in_them(day: Day) -> None:
    logs = {log: day.scene.lines(log) for log in LOGS}

    render_id = next(json.loads(line)["render_id"] for line in logs["FinalizeLog"] if '"pair":"told/good/"' in line)
    found = {log: [json.loads(line) for line in lines if render_id in line] for log, lines in logs.items()}
    assert all(found.values())
    requests = {one.get("request_id") for log in ("PollLog", "FinalizeLog") for one in found[log]}
    assert requests == {found["FinalizeLog"][0]["request_id"]}
    text = "\n".join(line for lines in logs.values() for line in lines)
    assert "scene told/good" not in text
    assert str(day.scene.running.emulator_key) not in text
    assert "X-Amz-Signature" not in text


def test_each_line_about_a_drop_names_its_pair(day: Day) -> None:
    lines = [json.loads(line) for line in day.scene.lines("SubmitLog") if "the pair is not complete" in line]

    (line,) = [line for line in lines if line["pair"] == "told/half/"]
    assert "image 2" in str(line["missing"])


def test_an_error_file_goes_when_a_later_drop_succeeds(day: Day) -> None:
    assert day.scene.written("told/corrected/") == {"told/corrected/result.png"}


def test_the_story_of_a_delivered_pair_is_whole_and_in_order(day: Day, eventually: Eventually) -> None:
    eventually(lambda: "workflow succeeded" in str(told(day.scene, "told/good")), "the end of the workflow")

    story = told(day.scene, "told/good")

    steps = [step["what"] for step in story["steps"]]
    chapters = (
        "dropped told/good/prompt.txt",
        "claimed",
        "submitting",
        "QUEUED",
        "COMPLETED",
        "DELIVERED",
        "workflow suc",
    )
    firsts = [next(n for n, what in enumerate(steps) if what.startswith(chapter)) for chapter in chapters]
    assert firsts == sorted(firsts)
    assert story["steps"][0]["after_seconds"] == 0.0
    assert (story["status"], story["cost"]) == ("DELIVERED", 0.05)
    assert story["times"]["inference"] > 0
    assert story["now"] == {
        "means": "The picture is in the output bucket as told/good/result.png.",
        "charged": "yes",
        "remedy": None,
    }


@pytest.mark.parametrize(
    ("pair", "status", "means", "remedy"),
    [
        pytest.param("other/blocked", "FAILED", "content blocked", "drop the pair again", id="failed"),
        pytest.param("told/poison", "FAILED", "1.png: it is not a PNG", "Drop a PNG, JPEG or WebP", id="no picture"),
        pytest.param("told/lost", "UNCERTAIN", "answer did not arrive", "kontext resolve", id="uncertain"),
        pytest.param("told/half", "WAITING", "image 2: told/half/2.", "Drop what is missing", id="half a pair"),
    ],
)
def test_the_story_of_a_pair_in_trouble_says_what_to_do(
    day: Day, pair: str, status: str, means: str, remedy: str
) -> None:
    story = told(day.scene, pair)

    assert story["status"] == status
    assert means in story["now"]["means"]
    assert remedy in story["now"]["remedy"]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("told/holiday.png", r"fits no rule of the drop convention\. Images are named"),
        ("never/dropped", "`kontext doctor` says why"),
        ("told/", "pairs begin with 'told/': name one of them"),
    ],
)
def test_what_has_no_story_is_said_in_words(day: Day, key: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        the_pair(day.scene.target, key)


def _example_function(scene: Scene) -> str:
    """The ARN of a function made of the example, with a table and a role of its own."""
    statement = {"Effect": "Allow", "Action": ["dynamodb:TransactWriteItems", "dynamodb:PutItem"], "Resource": "*"}
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam, client = scene.running.client("iam"), scene.running.client("lambda")
    scene.running.client("dynamodb").create_table(
        TableName="pictures",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    role = iam.create_role(RoleName="pictures", AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName="pictures", PolicyName="pictures", PolicyDocument=_policy(statement))
    made = client.create_function(
        FunctionName="pictures",
        Runtime="python3.13",
        Handler="lambda_handler.handler",
        Role=role,
        Code={"ZipFile": _zipped(Path("examples/lambda_handler.py"))},
        Environment={"Variables": {"PICTURES_TABLE": "pictures"}},
        Timeout=60,
    )
    return str(made["FunctionArn"])


def _policy(statement: Json) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _zipped(path: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.write(path, path.name)
    return file.getvalue()
