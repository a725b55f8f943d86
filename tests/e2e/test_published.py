"""What people and programs are told of a day's drops: events, error files, logs, and stories by `kontext explain`."""

from __future__ import annotations

import io
import json
import secrets
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.https_endpoint import Endpoint, server
from kontext_cli.demo.subscriber import Subscriber
from kontext_cli.errors import CommandError
from kontext_cli.explain import Explanation, the_pair
from kontext_local import stack
from tests.e2e.conftest import Eventually
from tests.e2e.scene import LOGS, Scene, keeps_to_the_contract

Json = dict[str, Any]


def _code(event: Json) -> str:
    return str((event["data"]["error"] or {}).get("code", "none"))


def _is_in(folder: str, event: Json) -> bool:
    return bool(event["subject"].startswith(f"{folder}/"))


POLICIES: dict[str, tuple[Callable[[str, str], Json], Callable[[str, str, Json], bool]]] = {
    "a type": (
        lambda told, other: {"type": ["kontext.rendered"], "folder": [told, other]},
        lambda told, other, event: event["type"] == "kontext.rendered",
    ),
    "a folder": (lambda told, other: {"folder": [other]}, lambda told, other, event: _is_in(other, event)),
    "an error code": (
        lambda told, other: {"error_code": ["render_failed"], "folder": [told, other]},
        lambda told, other, event: _code(event) == "render_failed",
    ),
    "any error": (
        lambda told, other: {"error_code": [{"anything-but": ["none"]}], "folder": [told, other]},
        lambda told, other, event: _code(event) != "none",
    ),
    "no error in a folder": (
        lambda told, other: {"error_code": ["none"], "folder": [told]},
        lambda told, other, event: _code(event) == "none" and _is_in(told, event),
    ),
}
"""Filter policies on each attribute, for the two folders of a day, and what each should let through."""


@dataclass
class Day:
    """What was dropped into two folders of the shared stack, and what subscribers were told of that.

    `events`: by a queue; `filtered`: by queues with a filter policy; `acted`: what the example web server has acted on.
    """

    scene: Scene
    endpoint: Endpoint
    acted: list[Json]
    mark: str = field(default_factory=lambda: secrets.token_hex(3))
    events: list[Json] = field(default_factory=list)
    filtered: dict[str, list[Json]] = field(default_factory=dict)

    @property
    def folders(self) -> tuple[str, str]:
        """Its own: other tests, and the same ones in another process, use the stack at the same time."""
        return f"told-{self.mark}", f"other-{self.mark}"

    def hear(self, everything: Subscriber, chosen: dict[str, Subscriber]) -> set[tuple[str, str]]:
        """Take what has come; gives the (type, subject) of all events so far."""
        self.events.extend(_drained(everything))
        for name, queue in chosen.items():
            self.filtered.setdefault(name, []).extend(_drained(queue))
        return {(event["type"].removeprefix("kontext."), event["subject"]) for event in self.events}

    def event_of(self, subject: str) -> Json:
        """The event of a pair of which only one was told."""
        (event,) = [event for event in self.events if event["subject"] == subject]
        return event


def _drained(queue: Subscriber) -> Iterator[Json]:
    while events := queue.receive():
        yield from events


def _filter(policy: Json) -> dict[str, str]:
    return {"FilterPolicy": json.dumps(policy)}


@pytest.fixture(scope="module")
def day(local: stack.LocalStack, samples: Path, eventually: Eventually) -> Iterator[Day]:
    """One of each kind of drop has ended, or waits for what it lacks."""
    acted: list[Json] = []
    with ExitStack() as opened:
        client = opened.enter_context(local.emulator())
        scene = Scene(local, client, samples)
        # The embedded cloud's signature is not real: its check is proved with a certificate of the unit tests.
        endpoint = Endpoint(lambda _: None, acted.append, lambda url: httpx.get(url, trust_env=False).content)
        today = Day(scene, endpoint, acted)
        told, other = today.folders
        ours = _filter({"folder": [told, other]})
        opened.enter_context(_subscribed(scene, "http", opened.enter_context(_served(endpoint)), ours, eventually))
        opened.enter_context(_subscribed(scene, "lambda", _example_function(today), ours, eventually))
        chosen = {
            name: opened.enter_context(Subscriber(scene.target, attributes=_filter(policy(told, other))))
            for name, (policy, _) in POLICIES.items()
        }
        everything = opened.enter_context(Subscriber(scene.target, attributes=ours))  # the last one to hear
        _drop_all(scene, told, other, eventually)
        ends = {("rendered", f"{told}/good/"), ("failed", f"{other}/blocked/"), ("uncertain", f"{told}/lost/")}
        ends |= {(end, f"{told}/corrected/") for end in ("failed", "rendered")} | {("failed", f"{told}/poison/")}
        eventually(lambda: ends <= today.hear(everything, chosen), "the end of each drop")
        eventually(lambda: f"{told}/good/" in {one["subject"] for one in acted}, "the post")
        yield today


def _drop_all(scene: Scene, told: str, other: str, eventually: Eventually) -> None:
    scene.rule(f"{other}/blocked", on="submit", fail="content blocked")
    scene.rule(f"{told}/lost", on="submit", accept=True, drop=True)
    astronaut, coffee = ((scene.samples / name).read_bytes() for name in ("astronaut.png", "coffee.png"))
    scene.put(f"{told}/holiday.png", b"x")
    scene.put(f"{told}/half/1.png", astronaut)
    scene.put(f"{told}/poison/1.png", b"x")
    scene.put(f"{told}/poison/2.png", coffee)
    scene.put(f"{told}/corrected/request.json", b'{"prompt": "p", "aspect_ratio": "7:5"}')
    scene.put(f"{told}/corrected/1.png", astronaut)
    scene.put(f"{told}/corrected/2.png", coffee)
    for pair in (f"{told}/good", f"{other}/blocked", f"{told}/lost"):
        scene.drop(pair)
    wrong = {f"{told}/{name}error.json" for name in ("corrected/", "poison/", "holiday.png.")}
    eventually(lambda: wrong <= scene.written(f"{told}/"), "the error files")
    scene.put(f"{told}/corrected/request.json", b'{"prompt": "scene corrected", "aspect_ratio": "4:3"}')


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
def _subscribed(
    scene: Scene, protocol: str, to: str, attributes: dict[str, str], eventually: Eventually
) -> Iterator[None]:
    sns, topic = scene.running.client("sns"), scene.running.outputs["RenderTopicArn"]
    sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=to, Attributes=attributes)
    arn = eventually(lambda: _confirmed(sns, topic, to), "the confirmation")
    try:
        yield
    finally:
        sns.unsubscribe(SubscriptionArn=arn)


def _confirmed(sns: Any, topic: str, endpoint: str) -> str | None:
    """The ARN of a subscription, once it is confirmed."""
    listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    arn = next(one["SubscriptionArn"] for one in listed if one["Endpoint"] == endpoint)
    attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    return None if attributes.get("PendingConfirmation") == "true" else str(arn)


def story_of(scene: Scene, pair: str) -> Json:
    """What `kontext explain` tells of a pair."""
    return Explanation(scene.target, the_pair(scene.target, pair)).document()


def test_every_event_keeps_to_the_contract(day: Day) -> None:
    assert [event for event in day.events if not keeps_to_the_contract(event)] == []


def test_no_event_is_told_twice_in_a_good_day(day: Day) -> None:
    ids = [event["id"] for event in day.events]

    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", POLICIES)
def test_a_filter_policy_on_each_attribute_lets_through_what_it_names(day: Day, name: str) -> None:
    _, fits = POLICIES[name]

    expected = sorted(event["id"] for event in day.events if fits(*day.folders, event))

    assert sorted(event["id"] for event in day.filtered[name]) == expected
    assert 0 < len(expected) < len(day.events)


def test_a_web_server_acts_once_on_an_event_that_is_posted_twice(day: Day, eventually: Eventually) -> None:
    event = day.event_of(f"{day.folders[0]}/good/")
    folder = {"folder": {"DataType": "String", "StringValue": day.folders[0]}}
    topic = day.scene.running.outputs["RenderTopicArn"]

    for repeated in (event, event | {"id": "the last one"}):
        message = json.dumps(repeated)
        day.scene.running.client("sns").publish(TopicArn=topic, Message=message, MessageAttributes=folder)

    eventually(lambda: "the last one" in day.endpoint.told, "the last event")
    assert [one["id"] for one in day.acted].count(event["id"]) == 1


def test_a_function_acts_once_on_an_event_that_is_told_twice(day: Day, eventually: Eventually) -> None:
    pair, running = f"{day.folders[0]}/good/", day.scene.running
    event = day.event_of(pair)

    def kept() -> Json | None:
        key = {"id": {"S": f"pair#{pair}"}}
        answer = running.client("dynamodb").get_item(TableName=f"pictures-{day.mark}", Key=key)
        item: Json | None = answer.get("Item")
        return item

    before = eventually(kept, "the function's item")
    repeated = event | {"data": event["data"] | {"output": {"bucket": "b", "key": "k"}}}
    record = {"Records": [{"Sns": {"Message": json.dumps(repeated)}}]}
    running.client("lambda").invoke(FunctionName=f"pictures-{day.mark}", Payload=json.dumps(record).encode())

    assert before["object"] == {"S": f"s3://{running.outputs['OutputBucket']}/{pair}result.png"}
    assert kept() == before


def test_one_id_finds_everything_in_the_logs_and_no_secret_is_in_them(day: Day) -> None:
    logs = {log: day.scene.lines(log) for log in LOGS}

    render_id = day.event_of(f"{day.folders[0]}/good/")["data"]["render_id"]
    found = {log: [json.loads(line) for line in lines if render_id in line] for log, lines in logs.items()}
    assert [log for log, lines in found.items() if not lines] == ["SweepLog"]  # nothing stood still
    requests = {one.get("request_id") for log in ("PollLog", "FinalizeLog") for one in found[log]}
    assert requests == {found["FinalizeLog"][0]["request_id"]}
    text = "\n".join(line for lines in logs.values() for line in lines)
    assert f"scene {day.folders[0]}/good" not in text
    assert str(day.scene.running.emulator_key) not in text
    assert "X-Amz-Signature" not in text


def test_each_line_about_a_drop_names_its_pair(day: Day) -> None:
    lines = [json.loads(line) for line in day.scene.lines("SubmitLog") if "the pair is not complete" in line]

    (line,) = [line for line in lines if line["pair"] == f"{day.folders[0]}/half/"]
    assert "image 2" in str(line["missing"])


def test_an_error_file_goes_when_a_later_drop_succeeds(day: Day) -> None:
    pair = f"{day.folders[0]}/corrected/"

    assert day.scene.written(pair) == {f"{pair}result.png"}


def test_the_story_of_a_delivered_pair_is_whole_and_in_order(day: Day, eventually: Eventually) -> None:
    pair = f"{day.folders[0]}/good"
    eventually(lambda: "workflow succeeded" in str(story_of(day.scene, pair)), "the end of the workflow")

    story = story_of(day.scene, pair)

    steps = [step["what"] for step in story["steps"]]
    chapters = ("dropped", "claimed", "submitting", "QUEUED", "COMPLETED", "DELIVERED", "workflow succeeded")
    firsts = [next(n for n, what in enumerate(steps) if what.startswith(chapter)) for chapter in chapters]
    assert firsts == sorted(firsts)
    assert (story["steps"][0]["what"], story["steps"][0]["after_seconds"]) == (f"dropped {pair}/prompt.txt", 0.0)
    assert (story["status"], story["cost"]) == ("DELIVERED", 0.05)
    assert story["times"]["inference"] > 0
    assert story["now"] == {
        "means": f"The picture is in the output bucket as {pair}/result.png.",
        "charged": "yes",
        "remedy": None,
    }


@pytest.mark.parametrize(
    ("folder", "pair", "status", "means", "remedy"),
    [
        pytest.param(1, "blocked", "FAILED", "content blocked", "drop the pair again", id="failed"),
        pytest.param(0, "poison", "FAILED", "1.png: it is not a PNG", "Drop a PNG, JPEG or WebP", id="no picture"),
        pytest.param(0, "lost", "UNCERTAIN", "answer did not arrive", "kontext resolve", id="uncertain"),
        pytest.param(0, "half", "WAITING", "image 2: told-", "Drop told-", id="half a pair"),
    ],
)
def test_the_story_of_a_pair_in_trouble_says_what_to_do(
    day: Day, folder: int, pair: str, status: str, means: str, remedy: str
) -> None:
    story = story_of(day.scene, f"{day.folders[folder]}/{pair}")

    assert story["status"] == status
    assert means in story["now"]["means"]
    assert remedy in story["now"]["remedy"]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("holiday.png", r"fits no rule of the drop convention: .*holiday\.png .*Images are named"),
        ("never/dropped", "`kontext doctor` says why"),
        ("", "pairs begin with 'told-.*name one of them"),
    ],
)
def test_what_has_no_story_is_said_in_words(day: Day, key: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        the_pair(day.scene.target, f"{day.folders[0]}/{key}")


def _example_function(day: Day) -> str:
    """The ARN of a function made of the example, with a table and a role of its own."""
    running, name = day.scene.running, f"pictures-{day.mark}"
    statement = {"Effect": "Allow", "Action": ["dynamodb:TransactWriteItems", "dynamodb:PutItem"], "Resource": "*"}
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    running.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    iam = running.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=_policy(statement))
    made = running.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler="lambda_handler.handler",
        Role=role,
        Code={"ZipFile": _zipped(Path("examples/lambda_handler.py"))},
        Environment={"Variables": {"PICTURES_TABLE": name}},
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
