"""The links in Segmind's answer about a result, wherever they stand: the vendor promises no shape for it."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

MAX_LINKS = 20
_MAX_DEPTH = 20
_LINK = re.compile(r"[a-z][a-z0-9+.-]{0,20}://[ -~]{1,4000}", re.IGNORECASE)
_OF_ANOTHER_THING = re.compile(
    r"input.*|request.*|parameters|prompt|(status|response|poll|cancel)_url|error.*", re.IGNORECASE
)
"""Fields whose links lead to what was asked for, or to the API."""


def links_in(value: Any, depth: int = _MAX_DEPTH) -> Iterator[str]:
    """The links that stand alone in a text of a JSON value, in its order; `url` before what else an object holds."""
    if isinstance(value, str) and _LINK.fullmatch(value.strip()):
        yield value.strip()
    elif depth and isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        with suppress(ValueError, RecursionError):  # JSON in a text
            yield from links_in(json.loads(value), depth - 1)
    elif depth and isinstance(value, list):
        for each in value:
            yield from links_in(each, depth - 1)
    elif depth and isinstance(value, dict):
        for name in sorted(value, key=lambda name: name != "url"):
            if not _OF_ANOTHER_THING.fullmatch(name):
                yield from links_in(value[name], depth - 1)
