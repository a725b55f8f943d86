"""The drop convention: object key ⇄ part of a pair.

A key is a sequence of bytes to S3. It is compared and kept as it is, never normalised: two spellings of "é" are
two prefixes.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

Slot = Literal["1", "2", "request", "prompt"]
IMAGE_SLOTS: tuple[Slot, Slot] = ("1", "2")
SLOTS: tuple[Slot, ...] = (*IMAGE_SLOTS, "request", "prompt")

SPELLINGS: dict[Slot, tuple[str, ...]] = {
    "request": ("request.json", "request.json.txt", "Request.json", "REQUEST.JSON", "Request.JSON"),
    "prompt": ("prompt.txt", "prompt.txt.txt", "Prompt.txt", "PROMPT.TXT", "Prompt.TXT"),
}
"""How people and tools spell the names of the parts that may hold a prompt."""

# The prefix ends with the last "/", "_" or "-" before the slot; it is empty at the root of the bucket.
_PART = re.compile(
    r"(?P<prefix>(?:.*[/_-])?)"
    r"(?:(?P<image>[12])(?:\.(?:png|jpe?g|jpe|jfif|webp)){1,2}"
    # Who does not see that a name has an extension gives it one more.
    r"|(?P<request>request)\.json(?:\.txt|\.json)?|(?P<prompt>prompt)\.txt(?:\.txt)?)",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)

RESULT_FORMATS = ("png", "jpg", "webp")
"""The extensions of results: one can be asked for as PNG or JPEG, and is what Segmind has made of it."""

# What this pipeline writes. A tool that copies the output bucket into the input bucket must not start it again.
_ERROR_FILE = re.compile(r".*(?:^|[/_.-])error\.json", re.DOTALL)
_RESULT = re.compile(rf"(?:.*[/_-])?(?:result|superseded/[0-9a-f]{{24}})\.(?:{'|'.join(RESULT_FORMATS)})", re.DOTALL)

_LITTER = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
_LITTER_FOLDERS = frozenset(
    {
        *("__macosx", ".appledouble", ".documentrevisions-v100", ".fseventsd", ".spotlight-v100", ".temporaryitems"),
        *("$recycle.bin", "system volume information", "lost+found", ".thumbnails"),
        *("@eadir", "#recycle", "@recycle", ".recycle", "#snapshot", ".snapshot", ".snapshots", ".zfs"),
        *(".stversions", ".stfolder", ".sync", ".dropbox.cache", ".tmp.drivedownload", ".tmp.driveupload", ".~tmp~"),
    }
)
"""What systems, network drives and sync tools keep beside people's files: bins and older versions above all, whose
pictures have the names that they had before they were deleted."""

_MISSED = tuple(
    (re.compile(shape, re.IGNORECASE | re.DOTALL), why)
    for shape, why in (
        (r".*/", "a folder is no file"),
        (_RESULT.pattern, "it is named like a result of this stack"),
        (r"(?:.*[/_-])?[12]\.(?:png|jpe?g|jpe|jfif|webp)\s+", "behind its extension stands a blank; name it without"),
        (r"(?:.*[/_-])?[12]\.(?:heic|heif|avif|gif|tiff?|bmp)", "an image is a PNG, JPEG or WebP; export it as JPEG"),
        (r"(?:.*[/_-])?[12]\.[^./]+", "an image is a PNG, JPEG or WebP"),
        (r".*[12](?: ?\(\d+\)| ?-? ?copy)\.[^./]+", "it is named like a copy; an image is named 1 or 2 alone"),
        (r".*[^/_-][12]\.(?:png|jpe?g|jpe|jfif|webp)", "before the 1 or 2 stands '/', '_' or '-'"),
        (r".*(?:request|prompt)[^/]*", "a request is named request.json, a prompt prompt.txt, behind '/', '_' or '-'"),
        (
            r".*\.(?:png|jpe?g|jpe|jfif|webp|gif|heic|heif|avif|tiff?|bmp)",
            "an image is named 1 or 2, or by a request.json",
        ),
        (
            r".*\.(?:csv|tsv|xlsx?|ods)",
            "a table of pairs is for `kontext backfill`, which uploads what the table names",
        ),
        (r".*", "it is neither an image nor a request.json or prompt.txt"),
    )
)

MAX_KEY_BYTES = 1024
"""S3's limit. A key of ours that would be longer is cut, and a hash takes the place of what is left out."""

IMAGE_EXTENSIONS = "<png|jpg|jpeg|webp>"
"""As it is told; `.jpe` and `.jfif` are taken, too."""
RULE = (
    f"Images are named <prefix>1.{IMAGE_EXTENSIONS} and <prefix>2.<…>, the optional files <prefix>request.json and "
    "<prefix>prompt.txt; the prefix ends with '/', '_' or '-'. A request.json may name images under any other name."
)


@dataclass(frozen=True)
class Part:
    """One object of a pair: under which prefix, and which slot it fills."""

    prefix: str
    slot: Slot


def parse(key: str) -> Part | None:
    """The part that an object key names, or None if it fits no rule.

    >>> parse("summer/taj_2.JPG")
    Part(prefix='summer/taj_', slot='2')
    """
    match = _PART.fullmatch(key)
    if match is None or is_litter(key):
        return None
    slot: Slot = match["image"] or ("request" if match["request"] else "prompt")  # type: ignore[assignment]
    return Part(match["prefix"], slot)


def folder_of(prefix: str) -> str:
    """The folder in which a pair's parts lie, with its slash; empty at the root of the bucket."""
    return prefix[: prefix.rfind("/") + 1]


def first_folder_of(prefix: str) -> str:
    """The first folder in which a pair lies, with its slash: all that is in it is one dropper's. Empty at the root."""
    return prefix[: prefix.find("/") + 1]


def is_litter(key: str, size: int | None = None) -> bool:
    """Whether an object is nobody's drop: what systems and tools leave lying, or an empty object that marks a folder.
    A size of None is not known.

    >>> is_litter("taj/._1.jpg"), is_litter("taj/Thumbs.db"), is_litter("taj/1.jpg")
    (True, True, False)
    """
    *folders, name = key.lower().split("/")
    is_hidden = name.startswith(".") and name not in (".", "..")
    left_lying = name in _LITTER or any(folder in _LITTER_FOLDERS or folder.startswith(".trash") for folder in folders)
    return is_hidden or left_lying or (size == 0 and key.endswith(("/", "_$folder$")))


def is_error_file(key: str) -> bool:
    """Whether a key is one under which only this pipeline writes: its explanations are nobody's drop."""
    return _ERROR_FILE.fullmatch(key) is not None


def is_result(key: str) -> bool:
    """Whether a key is named like a result."""
    return _RESULT.fullmatch(key) is not None


def has_steps(key: str) -> bool:
    """Whether a key has "." or ".." steps, which clients take out of the links that lead to it."""
    return any(step in (".", "..") for step in key.split("/"))


def rule_missed(key: str) -> str:
    """Why a key that names no part names none, in a few words.

    >>> rule_missed("taj/3.png")
    'an image is named 1 or 2, or by a request.json'
    """
    return next(why for shape, why in _MISSED if shape.fullmatch(key))


def resolve_name(prefix: str, name: str) -> str:
    """The key that `input_image_1/2` names: relative to the request's folder, or from the root with a leading "/".

    Raises:
        ValueError: the name is empty or too long, climbs with "." or "..", or is litter's or one of our results'.
    """
    key = name[1:] if name.startswith("/") else folder_of(prefix) + name
    if not key or key.endswith("/") or any(step in ("", ".", "..") for step in name.lstrip("/").split("/")):
        raise ValueError("must name an object of the input bucket, without '.' or '..' steps")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"must name an object of the input bucket: a key has {MAX_KEY_BYTES} bytes at most")
    if is_litter(key):
        raise ValueError("is a hidden file, or one of the operating system; give the picture another name")
    if is_result(key):
        raise ValueError("is named like a result; copy the picture to another name to use it as an input")
    return key


def result_key(prefix: str, output_format: str) -> str:
    """Where the picture goes in the output bucket."""
    return _fitting(prefix, "/", f"result.{output_format}")


def superseded_key(prefix: str, render_id: str, output_format: str) -> str:
    """Where a paid picture goes that a newer drop has overtaken."""
    return _fitting(prefix, "/", f"superseded/{render_id}.{output_format}")


def format_of(result_key: str) -> str:
    """The format of the picture under a key of ours: its extension."""
    return result_key.rpartition(".")[2]


def error_key(prefix: str) -> str:
    """Where the reason goes when a pair cannot be rendered."""
    return _fitting(prefix, "/", "error.json")


def unknown_drop_key(key: str) -> str:
    """Where the reason goes when an object fits no rule."""
    return _fitting(key, "", ".error.json")


def _fitting(start: str, joint: str, end: str) -> str:
    if len((start + end).encode()) <= MAX_KEY_BYTES:
        return start + end
    end = f"~{hashlib.sha256(start.encode()).hexdigest()[:16]}{joint}{end}"
    return start.encode()[: MAX_KEY_BYTES - len(end)].decode(errors="ignore") + end
