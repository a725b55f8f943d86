"""What each pair should become: read straight from the input bucket, by none of the pipeline's own code."""

from __future__ import annotations

import json
from dataclasses import dataclass

from simulation.s3 import Version
from simulation.stories.story import FAILS, REFUSED
from simulation.world import World

_PARTS = ("1.png", "2.png", "request.json", "prompt.txt")


@dataclass(frozen=True)
class Dropped:
    """A pair as its newest objects are."""

    prompt: str
    images: tuple[Version | None, Version | None]
    wrong: str | None

    @property
    def content(self) -> tuple[str, ...] | None:
        """The prompt and both ETags; None if the pair is not whole."""
        one, two = self.images
        return (self.prompt, one.etag, two.etag) if one and two and not self.wrong else None

    @property
    def end(self) -> str | None:
        """How the pair must end; None if it does not have to."""
        if self.wrong:
            return f"FAILED {self.wrong}"
        if self.content is None:
            return None
        ends = {FAILS: "FAILED render_failed", REFUSED: "FAILED refused"}
        return next((end for words, end in ends.items() if words in self.prompt), "DELIVERED")


def prefixes(world: World) -> list[str]:
    """The prefixes under which there are parts."""
    keys = world.s3.keys("InputBucket")
    return sorted({key.removesuffix(part) for key in keys for part in _PARTS if key.endswith(f"/{part}")})


def dropped(world: World, prefix: str) -> Dropped:
    """What was dropped last under a prefix."""
    there = {key: world.s3.newest("InputBucket", key) for key in world.s3.keys("InputBucket")}
    asked = there.get(f"{prefix}request.json")
    request = json.loads(asked.body or b"") if asked else {}
    wrong_request = not isinstance(request.get("prompt", ""), str)
    names = [
        f"/{prefix}{slot}.png" if wrong_request else request.get(f"input_image_{slot}", f"/{prefix}{slot}.png")
        for slot in "12"
    ]
    folder = prefix.rpartition("/")[0]
    one, two = (there.get(name[1:] if name.startswith("/") else f"{folder}/{name}") for name in names)
    prompts = [request.get("prompt"), _text(there.get(f"{prefix}prompt.txt"))]
    prompts += [image.metadata.get("prompt") for image in (one, two) if image]
    prompt = next((prompt for prompt in prompts if prompt), world.template.parameters["DefaultPrompt"])
    wrong_image = any(image and not (image.body or b"").startswith(b"\x89PNG") for image in (one, two))
    wrong = "invalid_request" if wrong_request else "invalid_image" if wrong_image else None
    return Dropped(str(prompt), (one, two), wrong)


def _text(version: Version | None) -> str | None:
    return version.body.decode() if version and version.body else None
