"""What was probably meant for a pair, and lies in the bucket under a name that belongs to none.

A prompt is looked for where people put it by mistake before the default one is paid: in the pair's folder without the
pair's name, and behind the pair's name with another separator. Two spellings of "é" look the same and are two
prefixes.
"""

import re
from collections.abc import Iterator
from unicodedata import normalize

from kontext.drops import keys

WORDS = ("request", "prompt", "Request", "Prompt", "REQUEST", "PROMPT")
_SEPARATORS = "/_-. "
# What follows a folder or a pair's name in the key of what was meant as its request.json or prompt.txt; behind the
# pair's name also a caption, as data sets have it beside each image.
_PROMPT = re.compile(
    r"[\s._/-]*(?:request|prompt)[^/]*|(?:[\s._/-]+[12])?\.(?:txt|json|md|rtf|docx?|odt|pages)",
    re.IGNORECASE | re.DOTALL,
)
_NO_TEXT = re.compile(
    r".*\.(?:png|jpe?g|jpe|jfif|webp|gif|heic|heif|avif|tiff?|bmp|zip|pdf)", re.IGNORECASE | re.DOTALL
)


def twins(prefix: str) -> tuple[str, ...]:
    """The prefixes that look the same: those with accents written as letters of their own, or not (NFD and NFC)."""
    return tuple(sorted({normalize("NFC", prefix), normalize("NFD", prefix)} - {prefix}))


def places(prefix: str) -> Iterator[str]:
    """How the keys begin of what may have been meant as the pair's prompt."""
    folder = keys.folder_of(prefix)
    for one in (prefix, *twins(prefix)):
        stem = one.rstrip("/_-")
        yield from (stem + separator for separator in _SEPARATORS if stem)
    yield from (folder + word for word in WORDS)


def looks_like_a_prompt(key: str, prefix: str) -> bool:
    """Whether a key names what may have been meant as the prompt of the pair under a prefix."""
    if keys.is_litter(key) or keys.is_error_file(key) or _NO_TEXT.fullmatch(key):
        return False
    stems = (one.rstrip("/_-") for one in (prefix, *twins(prefix)))
    starts = {keys.folder_of(prefix), *stems}
    return any(key.startswith(start) and _PROMPT.fullmatch(key[len(start) :]) for start in starts)
