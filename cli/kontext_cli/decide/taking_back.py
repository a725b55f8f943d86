"""`kontext cancel` and `kontext again`: a pair that waits is taken back, or what was rendered is paid for once more."""

from __future__ import annotations

from contextlib import suppress

from botocore.exceptions import BotoCoreError, ClientError
from rich.markup import escape

from kontext.drops.input_bucket import InputBucket
from kontext.dynamodb import ConditionFailed
from kontext.model import ENDED, Render, Status
from kontext.renders.settle import error_of
from kontext.results.cloudevents import announce
from kontext.results.output_bucket import OutputBucket
from kontext_cli import target
from kontext_cli.decide.operate import Operator, report
from kontext_cli.errors import CommandError
from kontext_cli.terminal import print_json, terminal


def cancel(prefix: str, *, stack: str | None, as_json: bool) -> int:
    """Take a pair back that waits; returns the exit code."""
    report([take_back(Operator(target.find(stack)), prefix)], as_json)
    return 0


def take_back(operator: Operator, prefix: str) -> Render:
    """End the render of a pair that was not sent yet. Raises CommandError if there is none."""
    pair = operator.pair(prefix)
    render = next(iter(operator.renders_of(pair)), None)
    if render is None:
        raise CommandError(f"{pair.prefix!r} waits for no request: delete its objects to take it back.")
    if render["status"] != Status.CLAIMED:
        raise CommandError(
            f"The render of {pair.prefix!r} is {render['status']}: only one that waits can be cancelled."
        )
    error = error_of(render, "cancelled", "an operator cancelled this render before it was sent")
    try:
        render = operator.renders.mark_failed(render, error, operator.clock.now())
    except ConditionFailed as moved:
        raise CommandError(f"{pair.prefix!r} has just moved on; look at it with `kontext status`.") from moved
    # Should nobody be told now, Sweep has it told.
    with suppress(ClientError, BotoCoreError):
        outputs = OutputBucket(operator.chosen.client("s3"), operator.chosen.output("OutputBucket"))
        announce(render, operator.drops, outputs, operator.topic, operator.renders)
    return render


def run_again(prefix: str, *, send: bool, stack: str | None, as_json: bool) -> int:
    """Say what it costs to render a pair's same inputs once more, and with `send` do it; returns the exit code."""
    return repeat(Operator(target.find(stack)), prefix, send=send, as_json=as_json)


def repeat(operator: Operator, prefix: str, *, send: bool, as_json: bool) -> int:
    """The same, for a stack that is found."""
    render, price = ended(operator, prefix), operator.renders.price
    if send:
        report([render_again(operator, render)], as_json)
        return 0
    would = f"{render['prefix']} would be rendered once more, from the same images and prompt, for USD {price:g}"
    terminal(stderr=as_json).print(escape(f"{would}: say --send. Its picture is replaced."), soft_wrap=True)
    if as_json:
        print_json({"prefix": render["prefix"], "render_id": render["render_id"], "price_usd": price, "sent": False})
    return 0


def ended(operator: Operator, prefix: str) -> Render:
    """The render of a pair that may be paid for once more. Raises CommandError if there is none, saying why."""
    pair = operator.pair(prefix)
    render = operator.renders.get(pair.prefix, pair.current) if pair.current else None
    if render is None or not pair.asks_for(render["render_id"]):
        raise CommandError(f"What was dropped last as {pair.prefix!r} was never rendered: there is nothing to repeat.")
    if render["status"] == Status.UNCERTAIN:
        raise CommandError(f"The render of {pair.prefix!r} is UNCERTAIN: `kontext resolve` decides, it may be paid.")
    if render["status"] not in ENDED:
        raise CommandError(f"The render of {pair.prefix!r} is {render['status']}: it is on its way.")
    inputs = InputBucket(operator.chosen.client("s3"), operator.chosen.output("InputBucket"))
    gone = [image["key"] for image in render["inputs"] if "key" in image and inputs.newest(image["key"]) is None]
    if gone:
        raise CommandError(f"{' and '.join(gone)} is not in the input bucket any more: drop it again.")
    return render


def render_again(operator: Operator, render: Render) -> Render:
    """Pay for a new attempt of a render, which waits in line."""
    now = operator.clock.now()
    line_at = operator.line.place(render["prefix"], now)
    try:
        render = operator.renders.new_attempt(render, Status.CLAIMED, render["drop_id"], now, line_at=line_at)
    except ConditionFailed as moved:
        raise CommandError(f"{render['prefix']!r} has just moved on; look at it with `kontext status`.") from moved
    with suppress(ClientError, BotoCoreError):  # the decision is taken, and Sweep hands out permits as well
        operator.hints.send_permits(operator.throttle.join(now).permits, now)
    return render
