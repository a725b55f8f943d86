"""Text files as people save them: read as what they plainly are, or refused in words that say how to save them.

Nothing is guessed: a prompt whose letters were guessed wrong would be paid.
"""

import codecs
import json
import re

MAX_BYTES = 65_536
"""A longer text is refused unread."""

SAVE_AS_UTF_8 = "save it as UTF-8 (in Notepad: Save as, Encoding: UTF-8)"

_OTHER_KINDS = (
    (b"{\\rtf", "is Rich Text (RTF); save it as plain text (in TextEdit: Format, Make Plain Text)"),
    (b"PK\x03\x04", "is a Word document, or an archive; save it as plain text, encoded in UTF-8"),
    (b"\xd0\xcf\x11\xe0", "is a Word document; save it as plain text, encoded in UTF-8"),
    (b"%PDF-", "is a PDF; save its text as plain text, encoded in UTF-8"),
)
_CURLY = "“”„‟«»‘’‚‛"


def decode(body: bytes) -> str:
    """A file's text. Raises ValueError where it is none, with what it is and how to save it instead."""
    if len(body) > MAX_BYTES:
        raise ValueError(f"is longer than {MAX_BYTES} bytes")
    for beginning, kind in _OTHER_KINDS:
        if body.removeprefix(codecs.BOM_UTF8).startswith(beginning):
            raise ValueError(kind)
    encoding = json.detect_encoding(body)
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as problem:
        raise ValueError(_not_utf_8(body, problem)) from problem
    if encoding.endswith(("le", "be")) and not text[:2].isascii():  # without a mark, zeros alone speak for it
        raise ValueError(f"is not UTF-8 text; {SAVE_AS_UTF_8}")
    if "\0" in text:
        raise ValueError(f"holds NUL characters, as no text does; {SAVE_AS_UTF_8}")
    return text.lstrip("\ufeff")  # a mark of its order, and of each file that was put before it


def explain_json(text: str, problem: Exception) -> str:
    """Why a text is no JSON, and what to do about the slip if it is a usual one."""
    if isinstance(problem, RecursionError):
        return "nested too deeply"
    said = str(problem).split("\n")[0]
    at = problem.pos if isinstance(problem, json.JSONDecodeError) else 0
    if hint := _hint(text, said, at):
        return f"{said}; {hint}"
    return said


def _hint(text: str, said: str, at: int) -> str | None:
    """A usual slip, by what stands where the parser stopped."""
    here = text[at : at + 2]
    if not text.strip():
        return "the file is empty"
    if not text.lstrip().startswith(("{", "[", '"')):
        return "a prompt alone belongs into prompt.txt"
    if any(quote in text for quote in _CURLY[:6]) or here[:1] in tuple(_CURLY):
        return 'it has curly quotation marks (“ ”), as word processors make them: JSON needs straight ones (")'
    if here[:1] == "'":
        return 'JSON needs double quotation marks (")'
    if "control character" in said:
        return "write a line break within a text as \\n"
    if "escape" in said:
        return "write a backslash twice"
    if here in ("//", "/*") or here[:1] == "#":
        return "JSON has no comments"
    if "trailing comma" in said or re.search(r",\s*$", text[:at]):
        return "take the comma before the closing bracket away"
    return None


def _not_utf_8(body: bytes, problem: UnicodeDecodeError) -> str:
    if problem.encoding != "utf-8":
        return f"is damaged {problem.encoding.upper()} text; {SAVE_AS_UTF_8}"
    odd = sum(byte < 32 and byte not in b"\t\n\r\f" for byte in body)
    if odd:
        return f"is not UTF-8 text, nor any other; {SAVE_AS_UTF_8}"
    byte = f"byte 0x{body[problem.start]:02X} at {problem.start + 1}"
    return f"is not UTF-8 text but an older encoding, such as Windows' ANSI ({byte}); {SAVE_AS_UTF_8}"
