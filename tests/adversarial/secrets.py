"""What must stand nowhere: the API key, a signature that opens an object, and in the logs a prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

SIGNED = re.compile(r"X-Amz-(?:Signature|Credential|Security-Token)(?:=|%3D)[0-9A-Za-z]", re.IGNORECASE)
AROUND = 60


def found(remains: Mapping[str, Callable[[], Iterable[str]]], key: str, prompt: str) -> Iterator[str]:
    """Every place that holds a secret. `remains`: the texts by the name of the place; logs are called `a log`."""
    for place, read in remains.items():
        texts = list(read())
        yield from (f"{place} holds the key: {_near(text, text.find(key))}" for text in texts if key in text)
        for text in texts:
            if signed := SIGNED.search(text):
                yield f"{place} holds a signature: {_near(text, signed.start())}"
        if place == "a log":
            yield from (f"{place} holds a prompt: {_near(text, text.find(prompt))}" for text in texts if prompt in text)


def _near(text: str, at: int) -> str:
    return text[max(0, at - AROUND) : at + AROUND]
