"""What is dropped together is one render: how long a pair waits after its newest part, and for what."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, permutations
from random import Random
from typing import Unpack

import pytest

from kontext.drops.pairs import AwaitingMore, Defaults, Pair, Ready, decide
from kontext.model import Parameters, Part
from simulation.actions import Drop, image, request
from simulation.explore import play
from simulation.stories.story import story

FILES = {
    "1.png": image("taj/1.png"),
    "2.png": image("taj/2.png"),
    "prompt.txt": Drop("taj/prompt.txt", b"in words"),
    "request.json": request("taj/", prompt="both", seed=7),
}
NOW = 1_800_000_000.0
HOLD, PROMPT_WAIT = 3.0, 20.0
DEFAULTS = Defaults({}, "Together.", hold_seconds=HOLD, prompt_wait_seconds=PROMPT_WAIT)


def part(name: str, content: str = "", **parameters: Unpack[Parameters]) -> Part:
    return {"key": f"taj/{name}", "etag": f"{name} {content}", "parameters": parameters, "sequencer": "1", "at": NOW}


def whole(claimed: tuple[str, str] | None = None, /, **parts: Part) -> Pair:
    """A pair of two images and what else is given; `claimed`: what its images were when it was claimed last."""
    filled = {"1": part("1.png"), "2": part("2.png"), **parts}
    return Pair("taj/", filled, current="a" * 24 if claimed else None, claimed_images=claimed or ())


CLAIMED = ("1.png ", "2.png ")


@pytest.mark.parametrize(
    ("pair", "seconds"),
    [
        pytest.param(whole(request=part("request.json", prompt="both")), 0.0, id="new, and its request holds a prompt"),
        pytest.param(
            whole(request=part("request.json", seed=7), prompt=part("prompt.txt", prompt="both")), HOLD, id="new"
        ),
        pytest.param(whole(**{"1": part("1.png", prompt="both")}), HOLD, id="a prompt in the image's metadata"),
        pytest.param(whole(), PROMPT_WAIT, id="no prompt"),
        pytest.param(whole(CLAIMED, request=part("request.json", prompt="both")), HOLD, id="another request"),
        pytest.param(
            whole(CLAIMED, request=part("request.json", prompt="both"), **{"1": part("1.png", "new")}),
            PROMPT_WAIT,
            id="one image was replaced",
        ),
        pytest.param(
            whole(
                CLAIMED,
                request=part("request.json", prompt="both"),
                **{"1": part("1.png", "new"), "2": part("2.png", "new")},
            ),
            HOLD,
            id="both images were replaced",
        ),
        pytest.param(
            whole(CLAIMED, request=part("request.json", prompt="both", input_image_1="https://example.com/a.png")),
            HOLD,
            id="the request names another image",
        ),
        pytest.param(
            replace(whole(request=part("request.json", prompt="both")), dropped_again=frozenset("1")),
            PROMPT_WAIT,
            id="one image was replaced before the pair was claimed",
        ),
        pytest.param(
            replace(whole(request=part("request.json", prompt="both")), dropped_again=frozenset("12")),
            0.0,
            id="both images were replaced before the pair was claimed",
        ),
    ],
)
def test_a_pair_waits_after_its_newest_part_for_what_belongs_to_it(pair: Pair, seconds: float) -> None:
    before, after = (decide(pair, {}, DEFAULTS, NOW + at) for at in (seconds - 0.1, seconds))

    assert before == AwaitingMore(NOW + seconds)
    assert isinstance(after, Ready)


@pytest.mark.parametrize("order", list(permutations(FILES)), ids="-".join)
def test_one_sync_is_one_render_in_every_order_with_up_to_two_seconds_between_its_files(order: tuple[str, ...]) -> None:
    for gaps in ((2.0, 2.0, 2.0), *_gaps("-".join(order), 3)):
        steps = zip(accumulate(gaps, initial=0.0), (FILES[name] for name in order), strict=True)
        outcome = play(story("a sync", *steps))

        (job,) = outcome.world.vendor.ledger.jobs.values()
        assert outcome.violations == ()
        assert job.parameters.prompt == "both"


def _gaps(seed: str, count: int) -> list[list[float]]:
    random = Random(seed)
    return [[random.uniform(0.0, 2.0) for _ in range(3)] for _ in range(count)]
