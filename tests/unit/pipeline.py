"""The functions and the real workflow on virtual time, where any call can raise what nobody has thought of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import httpx

import finalize
import poll
import submit
import sweep
from kontext.clock import Clock
from kontext.connections import Connections
from kontext.due import LINE, TIMER
from kontext.dynamodb import Table
from kontext.model import Render
from kontext.renders.record import render_of
from kontext.stores import Stores
from simulation.aws import Secrets
from simulation.dynamodb import DynamoDB
from simulation.s3 import S3
from simulation.template import Template
from tests.unit.strikes import StandingClock, Strike, Watch, Watched

Json = dict[str, Any]

PREFIX = "taj/"
REQUEST_ID = "3f2c8f5e-8f5e-4b7a-9d6e-0123456789ab"
RENDER_SECONDS = 22.0


FUNCTIONS = {"Submit": submit, "Sweep": sweep, "Poll": poll, "Finalize": finalize}


@dataclass
class Execution:
    """An execution of the workflow, and how it ended."""

    given: Json
    began: float
    status: str = "RUNNING"
    error: str = ""
    cause: str = ""
    seconds: float = 0.0


@dataclass
class Message:
    """A message of the upload queue."""

    due: float
    message_id: str
    body: str
    sent_at: float
    receives: int = 0


class Seams(Connections):
    """A function's connections, all of them watched."""

    def __init__(self, environment: Mapping[str, str], world: World) -> None:
        super().__init__(environment, world.clock, world.network)
        self.world = world

    def client(self, service: str) -> Any:
        return Watched(service, self.world.services[service], self.world.watch)

    def inner(self, name: str) -> Any:
        """A connection itself, whose calls nobody sees."""
        return super().__getattribute__(name)

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        return Watched(name, value, self.world.watch) if name in SEAMS else value


SEAMS = {
    name
    for owner in (Stores, Connections)
    for name, member in vars(owner).items()
    if isinstance(member, cached_property) and name not in ("s3", "defaults")
}


class Network(httpx.BaseTransport):
    """Segmind, which ends each job with a `status` after so many `seconds`, and its file host with the `file`.

    `refusals`: the HTTP statuses of the first answers to a POST, `trace`: what these say beside their error.
    `failures`: what is said of the first jobs, which fail. `credits`: what a GET says that the account holds.
    `slow`: seconds from taking a job to saying so, with the status `taken_with`.
    """

    def __init__(
        self,
        world: World,
        status: str,
        file: bytes,
        seconds: float = RENDER_SECONDS,
        refusals: tuple[int, ...] = (),
        credits: float = 100.0,
        failures: tuple[Json, ...] = (),
        slow: float = 0.0,
        taken_with: int = 200,
        trace: Json | None = None,
    ) -> None:
        self.world, self.status, self.file, self.seconds = world, status, file, seconds
        self.refusals, self.credits, self.failures = list(refusals), credits, failures
        self.slow, self.taken_with, self.trace = slow, taken_with, trace or {}
        self.posts: list[float] = []
        """When a job was taken."""

    @property
    def request_id(self) -> str:
        """The id of the newest job."""
        jobs = len(self.posts)
        return REQUEST_ID if jobs < 2 else f"{REQUEST_ID[:-2]}{jobs:02}"

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        name = f"network.{request.method} {request.url.host}"
        answer: httpx.Response = self.world.watch.call(name, lambda: self._answer(request))
        return answer

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and self.refusals:
            return httpx.Response(self.refusals.pop(0), json={"error": "Not now.", **self.trace})
        if request.method == "POST":
            self.posts.append(self.world.clock.now())
            self.world.clock.sleep(self.slow)
            said = {"request_id": self.request_id} | ({"status": "QUEUED"} if self.taken_with == 200 else {})
            return httpx.Response(self.taken_with, json=said)
        if request.url.path.endswith("/get-user-credits"):
            return httpx.Response(200, json={"credits": self.credits})
        if request.url.host == "images.segmind.com":
            return httpx.Response(200, content=self.file)
        if REQUEST_ID[:-2] not in request.url.path:
            return httpx.Response(404, json={"error": "Request not found"})
        jobs = len(self.posts)
        done = self.world.clock.now() - self.posts[min(jobs - 1, len(self.failures))] >= self.seconds
        if done and jobs <= len(self.failures):
            return httpx.Response(422, json={"status": "FAILED", **self.failures[jobs - 1]})
        answer = {"status": self.status, "images": [{"url": "https://images.segmind.com/a.png"}]}
        return httpx.Response(200, json=answer if done else {"status": "PROCESSING"})


class Queue:
    """The upload queue and its dead-letter queue, as a client of SQS."""

    def __init__(self, clock: StandingClock) -> None:
        self.clock = clock
        self.messages: list[Message] = []
        self.dead: list[Message] = []
        self.sent = 0

    def send_message(self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int = 0, **_: Any) -> None:  # noqa: N803
        self.sent += 1
        now = self.clock.now()
        queue = self.dead if QueueUrl == "DeadLetterQueue" else self.messages
        queue.append(Message(now + DelaySeconds, f"m{self.sent}", MessageBody, now))

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:  # noqa: N803
        """It changes nothing here: every message comes back when the queue's own time is over."""


class States:
    """Step Functions, as a client; executions are played when nothing else is due."""

    class ExecutionAlreadyExists(Exception):
        """The name is taken."""

    exceptions: Any = None

    def __init__(self, clock: StandingClock) -> None:
        self.exceptions = self
        self.clock = clock
        self.executions: dict[str, Execution] = {}

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> None:  # noqa: N803
        if name in self.executions:
            raise States.ExecutionAlreadyExists
        self.executions[name] = Execution(json.loads(input), self.clock.now())


_SPARSE_SECONDS = 600.0
"""Between two sweeps of an outage that lasts for days: one a minute says the same ten times."""


@dataclass
class Topic:
    """SNS, as a client, and when it was told what."""

    clock: Clock
    events: list[Json] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def publish(self, *, TopicArn: str, Message: str, MessageAttributes: Json) -> None:  # noqa: N803
        self.events.append(json.loads(Message))
        self.times.append(self.clock.now())


@dataclass(frozen=True)
class Context:
    """Lambda's context of an invocation."""

    function_name: str
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:f"
    aws_request_id: str = "1"

    def get_remaining_time_in_millis(self) -> int:
        return 120_000


class World:
    """One pair, dropped at once, and all that becomes of it; `network`: what Segmind and its file host give."""

    def __init__(self, picture: bytes, network: Json, strikes: tuple[Strike, ...]) -> None:
        self.clock = StandingClock()
        self.watch = Watch(self.clock, strikes)
        self.network = Network(self, **{"status": "COMPLETED", "file": picture, **network})
        self.queue, self.states, self.topic = Queue(self.clock), States(self.clock), Topic(self.clock)
        self.s3, self.dynamodb = S3(), DynamoDB()
        self.services = {
            "dynamodb": self.dynamodb,
            "s3": self.s3,
            "sqs": self.queue,
            "stepfunctions": self.states,
            "sns": self.topic,
            "secretsmanager": Secrets("SG_0123456789abcdef"),
        }
        template = Template(HoldSeconds="0")  # a pair goes with its last part
        self.workflow = template.workflow
        self.receives = int(template.queue["RedrivePolicy"]["maxReceiveCount"])
        self.out_of_sight = float(template.queue["VisibilityTimeout"])
        self.seams = {name: Seams(template.function(f"{name}Function").environment, self) for name in FUNCTIONS}
        self.picture = picture
        self.drop(PREFIX)

    @property
    def table(self) -> Table:
        """The table, without a call that counts."""
        return self.dynamodb.table()

    @property
    def render(self) -> Render:
        """The pair's one render, as it stands on the record."""
        return self.render_of(PREFIX)

    def render_of(self, prefix: str) -> Render:
        """The one render of a pair, as it stands on the record."""
        items = self.table.query(f"pair#{prefix}")
        (render,) = (item for item in items if item["sk"].startswith("render#"))
        return render_of(render)

    @property
    def files(self) -> list[str]:
        """The keys of the output bucket."""
        return self.s3.keys("OutputBucket")

    @property
    def told(self) -> list[Json]:
        """The events about the render."""
        return [event for event in self.topic.events if event["subject"] == PREFIX]

    def play(self, *, sweeps: bool = True) -> World:
        """Let everything happen until nothing does; without `sweeps`, nobody calls Sweep."""
        self._go_on()
        apart = _SPARSE_SECONDS if any(strike.seconds for strike in self.watch.strikes) else 0.0
        while sweeps and (due := self._next_sweep()) is not None:
            self.clock.time = max(self.clock.time + apart, due)
            self.invoke("Sweep", {})
            self._go_on()
        return self

    def _next_sweep(self) -> float | None:
        return min((self._wanted(item) for item in self.dynamodb.items.values() if _is_due(item)), default=None)

    def _wanted(self, item: Json) -> float:
        """When a sweep has something to do for an item; for what waits in line, the next one may."""
        if item["due_lane"]["S"] == LINE:
            return self.clock.now() + 60.0
        return max(float(item[name]["N"]) for name in ("due_at", "dispatched_until") if name in item)

    def receive(self) -> World:
        """Let each message that is in the queue come once."""
        for message in sorted(self.queue.messages, key=lambda message: message.due):
            self._receive(message)
        return self

    def _go_on(self) -> None:
        while self.queue.messages or any(one.status == "RUNNING" for one in self.states.executions.values()):
            for execution in [one for one in self.states.executions.values() if one.status == "RUNNING"]:
                self._execute(execution)
            if self.queue.messages:
                self._receive(min(self.queue.messages, key=lambda message: message.due))

    def invoke(self, function: str, event: Json) -> Any:
        """Call a function, as Lambda does."""
        self.watch.invoked(function)
        answer = FUNCTIONS[function].handler(json.loads(json.dumps(event)), Context(function), self.seams[function])
        return json.loads(json.dumps(answer))

    def drop(self, prefix: str, prompt: str = "Two people meet.") -> None:
        """Drop a pair; S3 tells the queue."""
        for key in (f"{prefix}1.png", f"{prefix}2.png"):
            self.s3.put_object(Bucket="InputBucket", Key=key, Body=self.picture, Metadata={"prompt": prompt})
            said = {"key": key, "size": len(self.picture), "sequencer": f"{self.queue.sent:04}"}
            record = {
                "eventTime": "2027-01-15T08:00:00.000Z",
                "s3": {"bucket": {"name": "InputBucket"}, "object": said},
            }
            self.queue.send_message(QueueUrl="", MessageBody=json.dumps({"Records": [record]}))

    def _receive(self, message: Message) -> None:
        self.clock.time = max(self.clock.time, message.due)
        self.queue.messages.remove(message)
        message.receives += 1
        sent = str(int(message.sent_at * 1000))
        attributes = {"ApproximateReceiveCount": str(message.receives), "SentTimestamp": sent}
        told = {"messageId": message.message_id, "receiptHandle": "handle", "body": message.body}
        record = {**told, "attributes": attributes}
        if not self._comes_back(record):
            return
        message.due = self.clock.now() + self.out_of_sight
        (self.queue.dead if message.receives == self.receives else self.queue.messages).append(message)

    def _comes_back(self, record: Json) -> bool:
        try:
            return bool(self.invoke("Submit", {"Records": [record]})["batchItemFailures"])
        except Exception:  # noqa: BLE001  then it does
            return True

    def _execute(self, execution: Execution) -> None:
        self.clock.time = max(self.clock.time, execution.began)
        data, name = execution.given, self.workflow["StartAt"]
        while execution.status == "RUNNING":
            state = self.workflow["States"][name]
            match state["Type"]:
                case "Wait":
                    self.clock.sleep(_at(data, state["SecondsPath"]))
                    name = state["Next"]
                case "Task":
                    name = self._attempt(state, data)
                case "Choice":
                    name = _chosen(state, data)
                case "Succeed":
                    execution.status = "SUCCEEDED"
                case "Fail":
                    execution.status = "FAILED"
                    execution.error = state.get("Error") or _at(data, state["ErrorPath"])
                    execution.cause = state.get("Cause") or _at(data, state["CausePath"])
        execution.seconds = self.clock.now() - execution.began

    def _attempt(self, state: Json, data: Json) -> str:
        function = state["Resource"].removesuffix("Function")
        try:
            for wait in (*_waits(state["Retry"][0]), None):
                try:
                    data[state["ResultPath"].removeprefix("$.")] = self.invoke(function, data)
                    return str(state["Next"])
                except Exception:
                    if wait is None:
                        raise
                    self.clock.sleep(wait)
        except Exception as failure:  # noqa: BLE001  the workflow catches all that a function raises
            (catch,) = state["Catch"]
            said = {"Error": type(failure).__name__, "Cause": "{}"}
            data[catch["ResultPath"].removeprefix("$.")] = said
            return str(catch["Next"])
        raise AssertionError("a task goes on or is caught")


def _is_due(item: Json) -> bool:
    return item.get("due_lane", {}).get("S") in (TIMER, LINE)


def _waits(retry: Json) -> Iterator[float]:
    for number in range(retry["MaxAttempts"]):
        yield min(retry["IntervalSeconds"] * retry["BackoffRate"] ** number, retry["MaxDelaySeconds"])


def _chosen(state: Json, data: Json) -> str:
    for choice in state["Choices"]:
        if _at(data, choice["Variable"]) == choice["StringEquals"]:
            return str(choice["Next"])
    return str(state["Default"])


def _at(data: Json, path: str) -> Any:
    for step in path.split(".")[1:]:
        data = data[step]
    return data
