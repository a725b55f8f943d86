"""What each pair should become: read straight from the input bucket, by none of the pipeline's own code."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulation.s3 import Version
from simulation.schedule import Stood
from simulation.stories.story import FAILS, REFUSED
from simulation.world import World

_IMAGES = ("png", "jpg")
_PARTS = (*(f"{slot}.{kind}" for slot in "12" for kind in _IMAGES), "request.json", "prompt.txt")
_HIDDEN_EXTENSION = ".txt"
"""What Windows puts behind the name of a text, and does not show."""
_LITTER = ("/Thumbs.db", "/desktop.ini")


@dataclass(frozen=True)
class Dropped:
    """A pair as its newest objects are; `asked`: what they say of the picture themselves."""

    asked: Mapping[str, Any]
    images: tuple[Version | None, Version | None]
    wrong: str | None
    keys: tuple[str, ...]
    """Of both images."""

    @property
    def content(self) -> tuple[str, str] | None:
        """What both images are made of; None if the pair is not whole."""
        one, two = self.images
        return (one.digest, two.digest) if one and two and not self.wrong else None

    @property
    def end(self) -> str | None:
        """How the pair must end; None if it does not have to."""
        if self.wrong:
            return f"FAILED {self.wrong}"
        if self.content is None:
            return None
        ends = {FAILS: "FAILED render_failed", REFUSED: "FAILED refused"}
        return next((end for words, end in ends.items() if words in self.asked.get("prompt", "")), "DELIVERED")


def prefixes(world: World) -> list[str]:
    """The prefixes under which there are parts."""
    keys = world.s3.keys("InputBucket")
    return sorted({key.removesuffix(part) for key in keys for part in _PARTS if key.endswith(f"/{part}")})


def stood(world: World, key: str, at: float = math.inf) -> Version | None:
    """What stands under a key of the input bucket, or stood there at some time."""
    return _state(world, key, at).version


def _state(world: World, key: str, at: float) -> Stood:
    before = Stood(-math.inf, None)
    return next((one for one in reversed(world.bucket.stood.get(key, ())) if one.since <= at), before)


def _newest(world: World, keys: Sequence[str], at: float) -> str | None:
    """Under which of these keys the newest object stands."""
    there = [key for key in keys if stood(world, key, at)]
    return max(there, key=lambda key: _state(world, key, at).since, default=None)


def _part(world: World, prefix: str, name: str, at: float) -> Version | None:
    """The newest object that is this part of a pair, in whatever letters its name is spelt."""
    names = (f"{prefix}{name}".lower(), f"{prefix}{name}{_HIDDEN_EXTENSION}".lower())
    keys = [key for spelt in names for key in world.bucket.spellings.get(spelt, ()) if key.startswith(prefix)]
    key = _newest(world, keys, at)
    return stood(world, key, at) if key else None


def dropped(world: World, prefix: str, at: float = math.inf) -> Dropped:
    """What was dropped last under a prefix, by now or by some time."""
    newest = _part(world, prefix, "request.json", at)
    request = json.loads(_text(newest) or "{}")
    wrong_request = not isinstance(request.get("prompt", ""), str) or _names_anothers(world, prefix, newest)
    own = {f"input_image_{slot}": f"/{_own_image(world, prefix + slot, at)}" for slot in "12"}
    keys = _keys_named(prefix, own if wrong_request else own | request)
    one, two = (stood(world, key, at) for key in keys)
    prompts = [request.get("prompt"), _text(_part(world, prefix, "prompt.txt", at))]
    prompts += [image.metadata.get("prompt") for image in (one, two) if image]
    prompt = next(({"prompt": prompt} for prompt in prompts if prompt), {})
    asked = {name: value for name, value in request.items() if not name.startswith("input_image_")} | prompt
    wrong_image = any(image and not _can_be_used(image) for image in (one, two))
    wrong = "invalid_request" if wrong_request else "invalid_image" if wrong_image else None
    return Dropped(asked, (one, two), wrong, tuple(keys))


def is_prompt_gone(world: World, prefix: str) -> bool:
    """Whether something that can hold a pair's prompt was taken away."""
    texts = (key for key in world.bucket.keys_of(prefix) if key.endswith((".json", ".txt")))
    return any(stood(world, key) is None for key in texts)


def _own_image(world: World, start: str, at: float) -> str:
    """The key of an image under the pair's own name."""
    return _newest(world, [f"{start}.{kind}" for kind in _IMAGES], at) or f"{start}.{_IMAGES[0]}"


def is_litter(key: str) -> bool:
    """Whether a key is one under which systems leave something lying, and nobody drops anything."""
    return "/." in key or key.endswith(_LITTER)


def _can_be_used(image: Version) -> bool:
    """Whether an image is one of ours, whole, alone, and given to the stack."""
    body = image.body or b""
    return not image.closed and body.startswith(b"\x89PNG") and body.endswith(b"IEND\xaeB`\x82")


def _keys_named(prefix: str, request: Mapping[str, Any]) -> list[str]:
    """The keys that a request names as its images."""
    names = [str(request[name]) for name in ("input_image_1", "input_image_2") if name in request]
    return [name[1:] if name.startswith("/") else f"{prefix.rpartition('/')[0]}/{name}" for name in names]


def _names_anothers(world: World, prefix: str, request: Version | None) -> bool:
    """Whether a request names what lies neither in its first folder nor, when it was dropped, below a shared prefix."""
    given = [template for at, template in world.deployed if request and at <= request.at]
    shared = given[-1].parameters["SharedPrefixes"].split(",") if given else []
    allowed = (f"{prefix.partition('/')[0]}/", *(one.strip() for one in shared))
    named = _keys_named(prefix, json.loads(_text(request) or "{}"))
    return "*" not in allowed and not all(key.startswith(allowed) for key in named)


def loose_objects(world: World) -> tuple[set[str], set[str]]:
    """Of the objects that are no part of a pair: those that are there and no request has ever named, and those that the
    request of a whole pair names now."""
    endings = tuple(f"/{part}{more}" for part in _PARTS for more in ("", _HIDDEN_EXTENSION))
    loose = {key for key in world.bucket.stood if not key.lower().endswith(endings) and not is_litter(key)}
    ever, now = set[str](), set[str]()
    for key, versions in world.bucket.stood.items():
        if key.endswith("/request.json"):
            prefix = key.removesuffix("request.json")
            named = [
                []
                if _names_anothers(world, prefix, one.version)
                else _keys_named(prefix, json.loads(_text(one.version) or "{}"))
                for one in versions
            ]
            ever |= {name for names in named for name in names}
            now |= set(named[-1]) if dropped(world, prefix).content else set()
    there = {key for key in loose if stood(world, key)}
    return there - ever, loose & now


def _text(version: Version | None) -> str | None:
    return version.body.decode() if version and version.body else None
