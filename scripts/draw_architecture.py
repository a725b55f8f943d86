"""Draws docs/images/architecture.svg and workflow.svg: `.venv/bin/python -m scripts.draw_architecture`.

What there is comes from template.yaml and workflow.asl.json; only where it stands on the page is said here. A state
without a place is a KeyError, a resource that nobody drew fails a test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from samcli.yamlhelper import yaml_parse

from scripts.svg import Box, Point, arrow, group, label, picture

Json = dict[str, Any]

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"

KINDS = {
    "AWS::S3::Bucket": ("S3", "#3f8624"),
    "AWS::SQS::Queue": ("SQS", "#c925d1"),
    "AWS::Serverless::Function": ("Lambda", "#ed7100"),
    "AWS::DynamoDB::Table": ("DynamoDB", "#4d72f3"),
    "AWS::SNS::Topic": ("SNS", "#dd344c"),
}
"""What is drawn of the template: what AWS calls it, and a colour."""

PLACES = {
    "InputBucket": (30, 60, 140),
    "UploadQueue": (265, 60, 140),
    "SubmitFunction": (450, 60, 150),
    "OutputBucket": (1000, 60, 150),
    "DeadLetterQueue": (255, 170, 160),
    "RendersTable": (445, 170, 130),
    "RenderTopic": (1000, 170, 120),
    "SweepFunction": (30, 290, 140),
    "AlarmTopic": (265, 340, 140),
    "PollFunction": (830, 290, 130),
    "FinalizeFunction": (1005, 290, 150),
}
"""Left, top and width of each resource."""

SEGMIND = Box("Segmind", "multi-image-kontext-pro", 705, 60, 180, accent="#8250df")


@cache
def resources() -> Json:
    """The resources of the template."""
    return dict(yaml_parse((ROOT / "template.yaml").read_text())["Resources"])


@cache
def definition() -> Json:
    """The state machine of the workflow."""
    return dict(json.loads((ROOT / "workflow.asl.json").read_text()))


def states() -> Json:
    """The states of the workflow."""
    return dict(definition()["States"])


def architecture() -> str:
    """The way of a pair through the stack."""
    boxes = {name: _resource(name) for name in PLACES}
    wait = Box(definition()["StartAt"], "learned wait", 670, 290, 120, accent=COLOURS["Wait"])
    description = (
        "A dropped object goes from the input bucket over a queue to Submit, which sends the request to Segmind. "
        "A workflow waits, polls and finalizes: the picture goes to the output bucket, an event to the topic. "
        "Once a minute Sweep sends what is due in the table to the queue."
    )
    parts = [
        group("RenderWorkflow · Step Functions", 655, 272, 515, 130),
        *_arrows(boxes, wait),
        *(box.drawn() for box in (*boxes.values(), SEGMIND, wait)),
        *_words(),
    ]
    return picture(1185, 420, "kontext-drop: from a drop to a picture", description, parts)


def _resource(name: str) -> Box:
    resource = resources()[name]
    service, colour = KINDS[resource["Type"]]
    left, top, width = PLACES[name]
    return Box(name, _caption(name, service, resource), left, top, width, accent=colour)


def _caption(name: str, service: str, resource: Json) -> str:
    if service == "Lambda":
        return f"Lambda · {resource['Properties']['Handler'].partition('.')[0]}.py"
    if name == "AlarmTopic":
        alarms = sum(one["Type"] == "AWS::CloudWatch::Alarm" for one in resources().values())
        return f"{service} · {alarms} alarms"
    return service


def _arrows(boxes: dict[str, Box], wait: Box) -> Iterator[str]:
    for first, second in (("InputBucket", "UploadQueue"), ("UploadQueue", "SubmitFunction")):
        yield _across(boxes[first], boxes[second])
    yield _across(boxes["SubmitFunction"], SEGMIND)
    yield _across(wait, boxes["PollFunction"])
    yield _across(boxes["PollFunction"], boxes["FinalizeFunction"])
    yield arrow([(345, 112), (345, 170)])  # to the dead letters
    yield arrow([(500, 112), (500, 170)], both=True)  # Submit and the table
    yield arrow([(588, 112), (588, 316), (670, 316)])  # the workflow is started
    yield arrow([(655, 350), (545, 350), (545, 222)], both=True)  # Poll, Finalize and the table
    yield arrow([(490, 222), (490, 316), (170, 316)])  # what is due
    yield arrow([(100, 290), (100, 142), (285, 142), (285, 112)])  # … is sent to the queue
    yield arrow([(895, 342), (895, 362), (730, 362), (730, 342)])  # not yet
    yield arrow([(845, 290), (845, 112)], both=True)  # polls
    yield arrow([(870, 112), (870, 240), (1025, 240), (1025, 290)])  # the picture is fetched
    yield arrow([(1065, 290), (1065, 222)])
    yield arrow([(1138, 290), (1138, 112)])


def _across(first: Box, second: Box) -> str:
    return arrow([(first.right, first.middle[1]), (second.left, second.middle[1])])


def _words() -> Iterator[str]:
    at: dict[str, Point] = {
        "you drop two images and a prompt": (125, 46),
        "ObjectCreated": (215, 78),
        "POST, once": (652, 78),
        "claim": (500, 146),
        "start": (622, 308),
        "record": (595, 354),
        "what is due": (330, 308),
        "each minute": (100, 282),
        "poll": (845, 205),
        "the picture": (945, 232),
        "not yet": (812, 357),
        "done": (982, 308),
        "the result": (1075, 46),
        "the event": (1065, 258),
    }
    yield from (label(words, point, over_line=True) for words, point in at.items())


class Transition(NamedTuple):
    """From one state to the next: `when` a choice reads this, or when an error is `caught` after every retry."""

    source: str
    target: str
    when: str = ""
    caught: bool = False


CELLS = {
    "WaitToPoll": (0, 1),
    "Poll": (1, 1),
    "IsFinished?": (2, 1),
    "Finalize": (3, 1),
    "IsDelivered?": (4, 1),
    "Delivered": (5, 1),
    "WaitToDeliver": (4, 0),
    "Unannounced": (2, 2),
    "GiveUp": (3, 2),
    "RenderFailed": (5, 2),
}
"""Column and row of each state."""
COLUMN, ROW = 209, 105
COLOURS = {"Task": "#ed7100", "Wait": "#4d72f3", "Choice": "#8250df", "Succeed": "#3f8624", "Fail": "#dd344c"}


def workflow() -> str:
    """The state machine."""
    boxes = {name: _state(name, state) for name, state in states().items()}
    ways = [way for name, state in states().items() for way in transitions(name, state)]
    parts = [
        *(arrow(_route(boxes, way), dashed=way.caught) for way in ways),
        *(box.drawn() for box in boxes.values()),
        *(label(way.when, _beside(_route(boxes, way)), over_line=True) for way in ways if way.when),
        label("dashed: after every retry has failed", (140, 275)),
    ]
    description = "; ".join(f"{way.source} to {way.target} {way.when}".strip() for way in ways)
    return picture(1223, 325, "RenderWorkflow: the states of a render that is paid for", description, parts)


def _state(name: str, state: Json) -> Box:
    column, row = CELLS[name]
    return Box(name, _about(state), 15 + column * COLUMN, 20 + row * ROW, 148, accent=COLOURS[state["Type"]])


def _about(state: Json) -> str:
    if state["Type"] != "Task":
        return str(state["Type"])
    function = state["Resource"].strip("${}").removesuffix("FunctionArn").lower()
    return f"{function}.py · {state['Retry'][0]['MaxAttempts']} retries"


def transitions(name: str, state: Json) -> Iterator[Transition]:
    """Every way out of a state."""
    for choice in state.get("Choices", ()):
        yield Transition(name, choice["Next"], choice["StringEquals"])
    if "Default" in state:
        yield Transition(name, state["Default"], "else")
    if "Next" in state:
        yield Transition(name, state["Next"])
    for catch in state.get("Catch", ()):
        yield Transition(name, catch["Next"], caught=True)


def _route(boxes: dict[str, Box], way: Transition) -> list[Point]:
    """Straight to a neighbour; along the row above to what came before; along the row below to what comes later."""
    source, target = boxes[way.source], boxes[way.target]
    (column, row), (to_column, to_row) = CELLS[way.source], CELLS[way.target]
    (x, y), (to_x, to_y) = source.middle, target.middle
    if row == to_row and abs(column - to_column) == 1:
        return [(source.right, y), (target.left, y)] if column < to_column else [(source.left, y), (target.right, y)]
    if column == to_column:
        return [(x, source.bottom), (x, target.top)] if row < to_row else [(x, source.top), (x, target.bottom)]
    if row == to_row:
        back, aside = to_column < column, 30
        edge, to_edge = (source.top, target.top) if back else (source.bottom, target.bottom)
        lane = edge - aside if back else edge + aside
        return [(x, edge), (x, lane), (to_x - aside, lane), (to_x - aside, to_edge)]
    if row == 0:
        return [(source.left, y), (to_x, y), (to_x, target.top)]
    if to_row < row:
        return [(source.right, y), (to_x - 30, y), (to_x - 30, target.bottom)]
    return [(x + 30, source.bottom), (x + 30, to_y), (target.left, to_y)]


def _beside(route: list[Point]) -> Point:
    """The middle of a way's longest stretch."""
    (x, y), (to_x, to_y) = max(pairwise(route), key=lambda pair: _length(*pair))
    return (x + to_x) / 2, (y + to_y) / 2 - (6 if y == to_y else -4)


def _length(start: Point, end: Point) -> float:
    return abs(start[0] - end[0]) + abs(start[1] - end[1])


DRAWINGS = {"architecture.svg": architecture, "workflow.svg": workflow}


def main() -> None:
    """Draw everything anew."""
    for name, draw in DRAWINGS.items():
        (IMAGES / name).write_text(draw())


if __name__ == "__main__":
    main()
