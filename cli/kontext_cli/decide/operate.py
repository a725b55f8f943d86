"""The stack in a person's hands, and its simple commands: `redeliver`, `redrive`, `pause`, `resume`. None pays."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from kontext.clock import Clock
from kontext.drops import messages, pairs
from kontext.drops.redelivery import REASON, reason_of
from kontext.due import TIMER
from kontext.dynamodb import ConditionFailed
from kontext.hints import Hints
from kontext.model import IN_FLIGHT, Render, Status
from kontext.renders.claims import speaking_first
from kontext.renders.overdue import RECORD_SECONDS
from kontext.renders.record import renders_among
from kontext.renders.workflow import Workflow
from kontext.results.cloudevents import Topic, announce_changes
from kontext.results.copy import Delivery
from kontext.results.hosts import Allowed
from kontext.results.output_bucket import OutputBucket
from kontext.segmind.client import Segmind
from kontext.stores import Stores
from kontext.throttle.line import hand_out_permits
from kontext_cli import target
from kontext_cli.errors import CommandError
from kontext_cli.read.newest import renders_in
from kontext_cli.read.records import SEPARATORS, name_of
from kontext_cli.resources import description, parameters
from kontext_cli.target import Target
from kontext_cli.terminal import print_json, progress

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef


SETTINGS = {
    "REQUESTS_PER_MINUTE": "RequestsPerMinute",
    "PRICE_PER_RENDER": "PricePerRender",
    "RECORD_RETENTION_DAYS": "RecordRetentionDays",
}
"""What a person's work with the table needs of a function's environment, by the parameter that it is made of."""


class Operator(Stores):
    """The stack's own parts, in a person's hands."""

    def __init__(self, chosen: Target, clock: Clock | None = None, transport: Any = None) -> None:
        self.chosen = chosen
        self.transport = transport
        self.parameters = parameters(description(chosen))
        settings = {variable: self.parameters[name] for variable, name in SETTINGS.items()}
        super().__init__({"RENDERS_TABLE": chosen.output("RendersTable"), **settings}, clock)
        self.hints = Hints(chosen.client("sqs"), chosen.output("UploadQueueUrl"))
        self.topic = Topic(chosen.client("sns"), chosen.output("RenderTopicArn"), chosen.output("EventSource"))
        self.workflow = Workflow(chosen.client("stepfunctions"), chosen.output("RenderWorkflowArn"))

    def client(self, service: str) -> Any:
        """A client of an AWS service, with the person's own credentials."""
        return self.chosen.client(service)

    @cached_property
    def segmind(self) -> Segmind:
        """Segmind, with the stack's own key: to ask, never to send."""
        return Segmind(self.parameters["SegmindUrl"], self.parameters["SegmindModel"], self._api_key, self.transport)

    def _api_key(self, _: bool) -> str:
        secret = self.chosen.client("secretsmanager").get_secret_value(SecretId=self.chosen.output("SegmindSecretArn"))
        return str(secret["SecretString"]).strip()

    @cached_property
    def delivery(self) -> Delivery:
        """The way to the hosts that the stack fetches pictures from."""
        outputs = OutputBucket(self.chosen.client("s3"), self.chosen.output("OutputBucket"))
        return Delivery(outputs, Allowed.parse(self.parameters["ResultHosts"]), self.transport)

    def close(self) -> None:
        """Close what connections to Segmind and its file host are kept."""
        for name in ("segmind", "delivery"):
            if name in vars(self):
                vars(self)[name].close()

    def pair(self, prefix: str) -> pairs.Pair:
        """The pair under a prefix, its last separator left out or not. Raises CommandError if there is none."""
        found = (self.drops.get(prefix + separator) for separator in SEPARATORS)
        pair = next((pair for pair in found if pair and (pair.parts or pair.current)), None)
        if pair is None:
            raise CommandError(f"There is no pair {prefix!r} in {self.chosen.name}.")
        return pair

    def renders_of(self, pair: pairs.Pair) -> list[Render]:
        """All renders of a pair, the one that speaks for it first."""
        return speaking_first(pair, self.renders.of_pair(pair.prefix))

    def all_renders(self) -> list[Render]:
        """Every render, which reads the whole table. What is left of one without its history is passed over."""
        return [render for render in renders_among(self.table.scan()) if "history" in render]

    def paid(self, prefix: str) -> Render:
        """The newest render of a pair whose job may have a picture. Raises CommandError if there is none."""
        renders, now = self.renders_of(self.pair(prefix)), self.clock.now()
        render = next((render for render in renders if _may_have_picture(render, now)), None)
        if render is None:
            raise CommandError(f"No render of {prefix!r} is paid: there is nothing to deliver.")
        return render

    def pause(self) -> None:
        """Let nothing more be submitted."""
        self.throttle.read()
        self.throttle.pause(self.clock.now())
        announce_changes(self.throttle, self.topic)

    def resume(self) -> None:
        """End a pause; what the account or the vendor refuses is tried at once."""
        now = self.clock.now()
        self.throttle.read()
        if self.throttle.is_restored():
            raise CommandError("The table was restored to an earlier moment: `kontext reconcile` comes first.")
        self.throttle.resume(now)
        announce_changes(self.throttle, self.topic)
        hand_out_permits(self.line, self.throttle, self.hints, now)
        self.hints.send_due(self.throttle.KEY)

    def deliver_again(self, render: Render) -> Render:
        """Copy and tell once more, without paying; where no picture was seen, look at the job once more."""
        now = self.clock.now()
        if render["status"] in (*IN_FLIGHT, Status.COMPLETED):
            render = self.jobs.mark_restarted(render, now)
        else:
            status = Status.COMPLETED if render.get("output_url") else Status.QUEUED
            render = self.renders.new_attempt(render, status, render["drop_id"], now, stays_delivered=True)
        self.workflow.start(render, wait=0)
        return render


def redeliver(prefix: str | None, *, everything: bool, stack: str | None, as_json: bool) -> int:
    """Copy paid pictures again and tell of them again; returns the exit code."""
    if bool(prefix) == everything:
        raise CommandError("Name one pair, or say --all for every picture that is paid and not delivered.")
    return deliver(Operator(target.find(stack)), prefix, as_json=as_json)


def deliver(operator: Operator, prefix: str | None, *, as_json: bool) -> int:
    """The same, for a stack that is found; without a prefix every picture that is paid and not delivered."""
    if prefix:
        paid = [operator.paid(prefix)]
    else:
        found = (render for lane in (TIMER, Status.FAILED) for render in renders_in(operator.table, lane))
        paid = [render for render in found if _undelivered(render, operator.clock.now())]
    with progress() as shown:
        for render in paid:
            try:
                operator.deliver_again(render)
            except ConditionFailed:
                shown.step(f"{render['prefix']} has just moved on")
            else:
                shown.step(f"delivering {render['prefix']} again")
    report(paid, as_json)
    return 0


def redrive(*, stack: str | None, as_json: bool) -> int:
    """Move dead letters back to the upload queue, telling why each died; returns the exit code."""
    return move_back(Operator(target.find(stack)), as_json=as_json)


def move_back(operator: Operator, *, as_json: bool) -> int:
    """The same, for a stack that is found. What comes meanwhile stays: what nobody can read is there again at once, and
    would go round for ever."""
    chosen, sqs, began = operator.chosen, operator.chosen.client("sqs"), operator.clock.now()
    moved, later = [], set()
    with progress() as shown:
        for letter in _letters(sqs, chosen.output("DeadLetterQueueUrl")):
            if int(letter["Attributes"]["SentTimestamp"]) > began * 1000:
                later.add(letter["MessageId"])
                continue
            reason = reason_of(operator.table, letter) or "why is not known"
            sqs.send_message(QueueUrl=chosen.output("UploadQueueUrl"), MessageBody=letter["Body"])
            sqs.delete_message(QueueUrl=chosen.output("DeadLetterQueueUrl"), ReceiptHandle=letter["ReceiptHandle"])
            moved.append({"message_id": letter["MessageId"], "about": about(letter["Body"]), "reason": reason})
            shown.line(escape(f"moved back: {moved[-1]['about']} ({reason})"))
        shown.line(f"{len(moved)} dead letters moved back")
        if later:
            shown.line(f"{len(later)} have come since, and stay: `kontext doctor` tells what one of them died of")
    if as_json:
        print_json(moved)
    return 0


def pause(*, stack: str | None) -> int:
    """Let nothing more be submitted; returns the exit code."""
    Operator(target.find(stack)).pause()
    with progress() as shown:
        shown.line(
            "Paused: drops are taken and wait; what Segmind has already is still delivered. `kontext resume` ends it."
        )
    return 0


def resume(*, stack: str | None) -> int:
    """End a pause, and try at once what the account or the vendor refuses; returns the exit code."""
    Operator(target.find(stack)).resume()
    with progress() as shown:
        shown.line(
            "Resumed: those who wait go on now, at the stack's rate; if the account is still refused, they wait on."
        )
    return 0


def _may_have_picture(render: Render, now: float) -> bool:
    """Whether there is a picture, or a job to ask for it: also of one that failed, as long as Segmind knows it."""
    if render["status"] == Status.FAILED and render["error"]["charged"] == "no":
        return "request_id" in render and now - render.get("submitted_at", 0.0) < RECORD_SECONDS
    return "request_id" in render or "output_url" in render


def _undelivered(render: Render, now: float) -> bool:
    """Whether a picture is paid and not there, or one may be found yet."""
    if render["status"] == Status.COMPLETED:
        return True
    code = render["error"]["code"] if render["status"] == Status.FAILED else ""
    known = now - render.get("submitted_at", 0.0) < RECORD_SECONDS
    return code == "delivery" or (code in ("expired", "no_result") and known)


def _letters(sqs: Any, queue_url: str) -> Iterator[MessageTypeDef]:
    """The dead letters, each of which is out of sight for a minute then."""
    asked = {"MaxNumberOfMessages": 10, "VisibilityTimeout": 60, "MessageAttributeNames": [REASON]}
    asked["AttributeNames"] = ["SentTimestamp"]
    while found := sqs.receive_message(QueueUrl=queue_url, **asked).get("Messages"):
        yield from found


def about(body: str) -> str:
    """What a message is about: pairs, objects, or how it begins if it is none of ours."""
    try:
        told = messages.parse(body)
        if "permit" in told:
            return "a permit for the line"
        if "waiters" in told:
            return str(told["waiters"])
        if "due" in told:
            return name_of(messages.due_key(told))
        return ", ".join(event.key for event in messages.object_events(told))
    except (messages.Unreadable, KeyError, TypeError):
        return body[:80]


def how_far(render: Render) -> str:
    """How far a render is now, in rich's markup."""
    return escape(
        f"{render['prefix']}: attempt {render['attempt']} is {render['status']}; `kontext status` follows it."
    )


def report(renders: list[Render], as_json: bool) -> None:
    """Say how far renders are now."""
    if as_json:
        print_json([{name: r.get(name) for name in ("prefix", "render_id", "status", "attempt")} for r in renders])
        return
    with progress() as shown:
        for render in renders:
            shown.line(how_far(render))
        if not renders:
            shown.line("Nothing to do.")
