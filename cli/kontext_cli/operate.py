"""What a person decides: `resolve`, `redeliver`, `redrive`, `pause`, `resume`. Nothing here pays unless told to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kontext.clock import Clock
from kontext.drops import keys, pairs
from kontext.drops.pairs import Drops
from kontext.drops.redelivery import REASON, reason_of
from kontext.dynamodb import ConditionFailed, Table
from kontext.errors import problem
from kontext.hints import Hints
from kontext.model import Render, Status
from kontext.renders.store import Renders, render_of
from kontext.renders.workflow import Workflow
from kontext.results.cloudevents import Topic, announce, announce_changes
from kontext.results.output_bucket import OutputBucket
from kontext.throttle.admission import Throttle
from kontext.throttle.line import Line, hand_out_permits
from kontext.throttle.rate_limiter import Rate
from kontext_cli import target
from kontext_cli.console import print_json, progress
from kontext_cli.errors import INTERRUPTED, UNFINISHED, CommandError, Unfinished, explain
from kontext_cli.records import SEPARATORS
from kontext_cli.resources import description, parameters
from kontext_cli.target import Target


class Operator:
    """The stack's own parts, in a person's hands."""

    def __init__(self, chosen: Target, clock: Clock | None = None) -> None:
        self.chosen = chosen
        self.clock = clock or Clock()
        self.table = Table(chosen.client("dynamodb"), chosen.output("RendersTable"))
        self.drops = Drops(self.table)
        given = parameters(description(chosen))
        rate, retention = Rate(float(given["RequestsPerMinute"])), float(given["RecordRetentionDays"])
        # No command reserves or gives back money, so it needs neither price nor limit.
        self.renders = Renders(self.table, price=0.0, daily_limit=0.0, retention_days=retention)
        self.throttle = Throttle(self.table, rate)
        self.line = Line(self.table, rate.interval)
        self.hints = Hints(chosen.client("sqs"), chosen.output("UploadQueueUrl"))
        self.topic = Topic(chosen.client("sns"), chosen.output("RenderTopicArn"), chosen.output("EventSource"))
        self.workflow = Workflow(chosen.client("stepfunctions"), chosen.output("RenderWorkflowArn"))

    def pair(self, prefix: str) -> pairs.Pair:
        """The pair under a prefix, its last separator left out or not. Raises CommandError if there is none."""
        found = (self.drops.get(prefix + separator) for separator in SEPARATORS)
        pair = next((pair for pair in found if pair and pair.parts), None)
        if pair is None:
            raise CommandError(f"There is no pair {prefix!r} in {self.chosen.name}.")
        return pair

    def renders_of(self, prefix: str) -> list[Render]:
        """All renders of a pair, the newest first."""
        items = self.table.query(pairs.pair_key(prefix)["pk"])
        found = [render_of(item) for item in items if item["sk"].startswith("render#")]
        return sorted(found, key=lambda render: render["created_at"], reverse=True)

    def undecided(self, prefix: str) -> Render:
        """The render of a pair that waits for a decision. Raises CommandError if there is none."""
        pair = self.pair(prefix)
        render = next((render for render in self.renders_of(pair.prefix) if _undecided(render)), None)
        if render is None:
            raise CommandError(f"No render of {pair.prefix!r} is uncertain: there is nothing to decide.")
        return render

    def paid(self, prefix: str) -> Render:
        """The newest paid render of a pair. Raises CommandError if there is none."""
        render = next(
            (render for render in self.renders_of(self.pair(prefix).prefix) if render.get("output_url")), None
        )
        if render is None:
            raise CommandError(f"No render of {prefix!r} is paid: there is nothing to deliver.")
        return render

    def resubmit(self, render: Render) -> Render:
        """Pay for a new attempt, which waits in line: only a person may say so."""
        now = self.clock.now()
        line_at = self.line.place(render["prefix"], now)
        render = self.renders.new_attempt(render, Status.CLAIMED, render["drop_id"], now, line_at=line_at)
        with suppress(ClientError, BotoCoreError):  # the decision is taken, and Sweep hands out permits as well
            self.hints.send_permits(self.throttle.join(now).permits, now)
        return render

    def pause(self) -> None:
        """Let nothing more be submitted."""
        self.throttle.look()
        self.throttle.pause(self.clock.now())
        announce_changes(self.throttle, self.topic)

    def resume(self) -> None:
        """End a pause; what the account or the vendor refuses is tried at once."""
        now = self.clock.now()
        self.throttle.look()
        if self.throttle.is_restored():
            raise CommandError("The table was restored to an earlier moment: `kontext reconcile` comes first.")
        self.throttle.resume(now)
        announce_changes(self.throttle, self.topic)
        hand_out_permits(self.line, self.throttle, self.hints, now)
        self.hints.send_due(self.throttle.KEY)

    def adopt(self, render: Render, request_id: str) -> Render:
        """The job that Segmind's console shows is this render's.

        The workflow is told first: should this command die on the way, the first look records it.
        """
        if render["status"] != Status.UNCERTAIN:
            raise CommandError("The render has ended: only an uncertain one can be given a job.")
        now = self.clock.now()
        generation = render.get("generation", 0) + 1
        job: Render = {**render, "request_id": request_id, "submitted_at": now, "generation": generation}
        self.workflow.start(job, wait=0)
        try:
            return self.renders.accepted(render, request_id, now)
        except ConditionFailed as faster:
            return render_of(faster.found) if faster.found else render

    def give_up(self, render: Render) -> Render:
        """End an uncertain render without a picture."""
        error = problem("given_up", "an operator gave this render up")
        if render["status"] == Status.UNCERTAIN:
            render = self.renders.failed(render, error, keys.error_key(render["prefix"]), self.clock.now())
        outputs = OutputBucket(self.chosen.client("s3"), self.chosen.output("OutputBucket"))
        announce(render, self.drops, outputs, self.topic, self.renders)
        return render

    def deliver_again(self, render: Render) -> Render:
        """Copy and tell once more, without paying."""
        now = self.clock.now()
        if render["status"] == Status.COMPLETED:
            render = self.renders.restarted(render, now)
        else:
            render = self.renders.new_attempt(render, Status.COMPLETED, render["drop_id"], now)
        self.workflow.start(render, wait=0)
        return render


def resolve(
    prefix: str, *, resubmit: bool, request_id: str | None, give_up: bool, stack: str | None, as_json: bool
) -> int:
    """Decide about the uncertain render of a pair; returns the exit code."""
    if [resubmit, bool(request_id), give_up].count(True) != 1:
        raise CommandError("Say one of --resubmit (may pay twice), --request-id ID or --give-up.")
    return decide(Operator(target.find(stack)), prefix, resubmit=resubmit, request_id=request_id, as_json=as_json)


def decide(operator: Operator, prefix: str, *, resubmit: bool, request_id: str | None, as_json: bool) -> int:
    """The same, for a stack that is found; without another decision the render is given up."""
    render = operator.undecided(prefix)
    if resubmit:
        with progress() as shown:
            shown.step(_price_of(operator, render))
    try:
        if resubmit:
            render = operator.resubmit(render)
        else:
            render = operator.adopt(render, request_id) if request_id else operator.give_up(render)
    except ConditionFailed as moved:
        raise CommandError("The render has just moved on; look at it again with `kontext status`.") from moved
    except (ClientError, BotoCoreError, KeyboardInterrupt) as broken:
        raise _half_done(render, broken) from broken
    _tell([render], as_json)
    return 0


def _price_of(operator: Operator, render: Render) -> str:
    """What it costs to send a render again, and what may be paid twice."""
    price = f"USD {float(parameters(description(operator.chosen))['PricePerRender']):g}"
    lost = render["status"] == Status.UNCERTAIN
    twice = f"; the request whose answer was lost may be paid as well ({price})" if lost else ""
    return f"{render['prefix']} is sent again for {price}{twice}"


def _half_done(render: Render, broken: BaseException) -> Unfinished:
    why = explain(broken) or "Interrupted"
    again = "the decision may have been taken. The same command may be given again, and sends nothing twice"
    document = {name: render.get(name) for name in ("prefix", "render_id", "status", "attempt")}
    interrupted = isinstance(broken, KeyboardInterrupt)
    return Unfinished(f"{why}: {again}.", document, INTERRUPTED if interrupted else UNFINISHED)


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
        found = (render_of(item) for item in operator.table.scan() if item["sk"].startswith("render#"))
        paid = [render for render in found if _undelivered(render)]
    with progress() as shown:
        for render in paid:
            try:
                operator.deliver_again(render)
            except ConditionFailed:
                shown.step(f"{render['prefix']} has just moved on")
            else:
                shown.step(f"delivering {render['prefix']} again")
    _tell(paid, as_json)
    return 0


def redrive(*, stack: str | None, as_json: bool) -> int:
    """Move dead letters back to the upload queue, telling why each died; returns the exit code."""
    chosen = target.find(stack)
    operator, sqs = Operator(chosen), chosen.client("sqs")
    moved = []
    with progress() as shown:
        for letter in _letters(sqs, chosen.output("DeadLetterQueueUrl")):
            reason = reason_of(operator.table, letter) or "why is not known"
            sqs.send_message(QueueUrl=chosen.output("UploadQueueUrl"), MessageBody=letter["Body"])
            sqs.delete_message(QueueUrl=chosen.output("DeadLetterQueueUrl"), ReceiptHandle=letter["ReceiptHandle"])
            moved.append({"message_id": letter["MessageId"], "about": about(letter["Body"]), "reason": reason})
            shown.line(f"moved back: {moved[-1]['about']} ({reason})", style=None)
        shown.line(f"{len(moved)} dead letters moved back")
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


def _undecided(render: Render) -> bool:
    told = render.get("announced") or render.get("error", {}).get("code") != "given_up"
    return render["status"] == Status.UNCERTAIN or not told


def _undelivered(render: Render) -> bool:
    failed = render["status"] == Status.FAILED and render["error"]["code"] == "delivery"
    return bool(render.get("output_url")) and (failed or render["status"] == Status.COMPLETED)


def _letters(sqs: Any, queue_url: str) -> Iterator[dict[str, Any]]:
    asked = {"MaxNumberOfMessages": 10, "VisibilityTimeout": 60, "MessageAttributeNames": [REASON]}
    while found := sqs.receive_message(QueueUrl=queue_url, **asked).get("Messages"):
        yield from found


def about(body: str) -> str:
    """What a message is about: pairs, objects, or how it begins if it is none of ours."""
    try:
        told = json.loads(body)
        if "permit" in told:
            return "a permit for the line"
        if "waiters" in told:
            return str(told["waiters"])
        if "due" in told:
            return str(told["due"]["pk"]).removeprefix("pair#")
        return ", ".join(record["s3"]["object"]["key"] for record in told["Records"])
    except (ValueError, KeyError, TypeError):
        return body[:80]


def _tell(renders: list[Render], as_json: bool) -> None:
    if as_json:
        print_json([{name: r.get(name) for name in ("prefix", "render_id", "status", "attempt")} for r in renders])
        return
    with progress() as shown:
        for render in renders:
            shown.line(
                f"{render['prefix']}: attempt {render['attempt']} is {render['status']}; `kontext status` follows it."
            )
        if not renders:
            shown.line("Nothing to do.")
