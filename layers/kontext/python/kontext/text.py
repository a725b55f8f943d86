"""Text that came from outside (keys, prompts, Segmind's messages), made fit to be shown, logged and passed on.

A key is bytes to S3 and is never changed on its way: two spellings of "é" are two keys. What is shown has to be
exact and harmless at once: JSON escapes carry every character, and none that is invisible, turns the direction
of the text or ends a line stands in it as itself.
"""

import json
import re
from typing import Any

_HIDDEN = (
    "\x00-\x09\x0b-\x1f\x7f-\x9f\xad"  # controls; a line feed in JSON is only ever ours
    "\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"  # invisible, bidirectional, line ends
    "\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"  # halves, variants, marks, no characters
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # formats of rare scripts and of music
    "\U000e0000-\U000e0fff"  # tags: text that nobody sees
    "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0x110000, 0x10000))
)
_HIDDEN_IN_JSON = re.compile(f"[{_HIDDEN}]")
_HIDDEN_IN_TEXT = re.compile(f"[{_HIDDEN}\n]")

_SECRETS = (
    (re.compile(r"(https?://[^\s?\"'<>\\]*)\?[^\s\"'<>\\]*", re.IGNORECASE), r"\1?…"),  # a query may hold a signature
    (re.compile(r"(X-Amz-[A-Za-z-]+)(=|%3D)[^\s&\"'<>\\]+", re.IGNORECASE), r"\1\2…"),
    (re.compile(r"\bSG_[0-9A-Za-z]{4,}"), "SG_…"),
)


def dumps(value: Any, indent: int | None = None) -> str:
    """JSON that any parser reads as exactly `value`, and that no character of it can disguise."""
    return _HIDDEN_IN_JSON.sub(_escaped, json.dumps(value, indent=indent, ensure_ascii=False, default=str))


def escape_line(text: str) -> str:
    r"""A text as a line for people: what cannot be seen stands as its escape.

    >>> escape_line("taj\u202egnp.1")
    'taj\\u202egnp.1'
    """
    return _HIDDEN_IN_TEXT.sub(_escaped, text)


def escape_text(text: str) -> str:
    """A text of any number of lines: what else cannot be seen stands as its escape."""
    return _HIDDEN_IN_JSON.sub(_escaped, text)


def is_blank(text: str) -> bool:
    """Whether nothing in a text can be seen."""
    return not _HIDDEN_IN_TEXT.sub("", text).strip()


def summarize_vendor_message(text: str, most: int = 500) -> str:
    """What somebody else's server said, as a line of at most `most` characters, without signatures and keys.

    Its message may repeat our request, and with it the signed links to the images.
    """
    line = escape_line(" ".join(redact(text[: 20 * most]).split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def redact(text: str) -> str:
    """A text without what could be a signature or an API key."""
    for secret, instead in _SECRETS:
        text = secret.sub(instead, text)
    return text


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
