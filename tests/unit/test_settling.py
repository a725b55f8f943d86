"""What is dropped together is one render: how long a pair waits after its newest part, and for what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kontext.drops.pairs import AwaitingMore, Defaults, Pair, Ready, decide
from kontext.model import Part

NOW = 1_800_000_000.0
HOLD, PROMPT_WAIT = 3.0, 20.0
DEFAULTS = Defaults({}, "Together.", hold_seconds=HOLD, prompt_wait_seconds=PROMPT_WAIT)
PROMPT = {"prompt": "both"}


def part(name: str, content: str = "", **parameters: Any) -> Part:
    return {"key": f"taj/{name}", "etag": f"{name} {content}", "parameters": parameters, "sequencer": "1", "at": NOW}  # type: ignore[typeddict-item]


def whole(claimed: tuple[str, str] | None = None, **parts: Part) -> Pair:
    """A pair of two images and what else is given; `claimed`: what its images were when it was claimed last."""
    filled = {"1": part("1.png"), "2": part("2.png"), **parts}
    return Pair("taj/", filled, current="a" * 24 if claimed else None, claimed_images=claimed or ())


CLAIMED = ("1.png ", "2.png ")


@pytest.mark.parametrize(
    ("pair", "seconds"),
    [
        pytest.param(whole(request=part("request.json", **PROMPT)), 0.0, id="new, and its request holds a prompt"),
        pytest.param(whole(request=part("request.json", seed=7), prompt=part("prompt.txt", **PROMPT)), HOLD, id="new"),
        pytest.param(whole(**{"1": part("1.png", **PROMPT)}), HOLD, id="a prompt in the image's metadata"),
        pytest.param(whole(), PROMPT_WAIT, id="no prompt"),
        pytest.param(whole(CLAIMED, request=part("request.json", **PROMPT)), HOLD, id="another request"),
        pytest.param(
            whole(CLAIMED, request=part("request.json", **PROMPT), **{"1": part("1.png", "new")}),
            PROMPT_WAIT,
            id="one image was replaced",
        ),
        pytest.param(
            whole(
                CLAIMED,
                request=part("request.json", **PROMPT),
                **{"1": part("1.png", "new"), "2": part("2.png", "new")},
            ),
            HOLD,
            id="both images were replaced",
        ),
        pytest.param(
            whole(CLAIMED, request=part("request.json", **PROMPT, input_image_1="https://example.com/a.png")),
            HOLD,
            id="the request names another image",
        ),
        pytest.param(
            replace(whole(request=part("request.json", **PROMPT)), dropped_again=frozenset("1")),
            PROMPT_WAIT,
            id="one image was replaced before the pair was claimed",
        ),
        pytest.param(
            replace(whole(request=part("request.json", **PROMPT)), dropped_again=frozenset("12")),
            0.0,
            id="both images were replaced before the pair was claimed",
        ),
    ],
)
def test_a_pair_waits_after_its_newest_part_for_what_belongs_to_it(pair: Pair, seconds: float) -> None:
    before, after = (decide(pair, {}, DEFAULTS, NOW + at) for at in (seconds - 0.1, seconds))

    assert before == AwaitingMore(NOW + seconds)
    assert isinstance(after, Ready)
