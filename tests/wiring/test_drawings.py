"""The drawings show what is deployed today."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from scripts import draw_architecture as drawing

Json = dict[str, Any]
NAMES = "{http://www.w3.org/2000/svg}text[@class='name']"


def _named(svg: str) -> set[str]:
    """The names of the boxes of a drawing."""
    return {str(text.text) for text in ElementTree.fromstring(svg).iterfind(f".//{NAMES}")}


@pytest.mark.parametrize(("name", "draw"), drawing.DRAWINGS.items())
def test_a_drawing_is_the_one_that_the_script_draws_of_the_template_now(name: str, draw: Callable[[], str]) -> None:
    committed = (drawing.IMAGES / name).read_text()

    assert committed == draw(), "draw it anew: make drawings"


def test_every_function_queue_bucket_table_and_topic_is_drawn(resources: Json) -> None:
    deployed = {name for name, resource in resources.items() if resource["Type"] in drawing.KINDS}

    assert len(deployed) > 9
    assert deployed <= _named(drawing.architecture())


def test_every_state_and_every_way_between_two_is_drawn(workflow: Json) -> None:
    ways = re.findall(r'"(?:Next|Default)": "([^"]+)"', (drawing.ROOT / "workflow.asl.json").read_text())

    drawn = drawing.workflow()

    assert workflow["States"].keys() <= _named(drawn)
    assert drawn.count("<polyline") == len(ways)
