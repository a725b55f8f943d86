"""Parts of a pair, and pairs, made by hand."""

from __future__ import annotations

from typing import Unpack

from kontext.drops.pairs import Defaults, Pair, Ready
from kontext.model import Parameters, Part

NOW = 1000.0
SETTLE = 20.0
TUNED: Parameters = {"aspect_ratio": "1:1", "output_format": "png", "safety_tolerance": 2}
DEFAULTS = Defaults(TUNED, prompt="Together.", prompt_wait_seconds=SETTLE)
NO_PROMPT = Defaults(TUNED, prompt="", prompt_wait_seconds=SETTLE)


def image(slot: str, **parameters: Unpack[Parameters]) -> Part:
    return part(f"taj/{slot}.png", etag=f"e{slot}", kind="png", width=4, height=3, parameters=parameters)


def asked(**parameters: Unpack[Parameters]) -> Part:
    return part("taj/request.json", parameters=parameters)


def prompt(text: str) -> Part:
    return part("taj/prompt.txt", parameters={"prompt": text})


def part(key: str, /, **more: Unpack[Part]) -> Part:
    return {"key": key, "version_id": "v", "etag": "e", "sequencer": "01", "at": NOW, **more}


def pair(**parts: Part) -> Pair:
    """A pair of some parts; `one` and `two` are its images."""
    names = {"one": "1", "two": "2"}
    return Pair("taj/", {names.get(name, name): content for name, content in parts.items()})


def complete(decision: object) -> Ready:
    assert isinstance(decision, Ready)
    return decision
