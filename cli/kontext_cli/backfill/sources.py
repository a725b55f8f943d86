"""Many pairs to drop at once: what a table (CSV) or a folder on this machine holds, and what is wrong with it."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kontext.drops import keys, request
from kontext.drops.references import References
from kontext.errors import BadDrop
from kontext.images.image import Limits
from kontext.model import INTEGERS, TUNABLE, Parameters
from kontext_cli.drop.client import checked_name, request_body
from kontext_cli.drop.input_bucket import PlannedPair, UploadObject
from kontext_cli.drop.photographs import inspect_file
from kontext_cli.errors import CommandError, explain

COLUMNS = ("name", "image_1", "image_2", *TUNABLE)
_DELIMITER = re.compile(r"\s*\"?sep=(.)\"?[ \t]*(?:\r\n?|\n)", re.IGNORECASE)
"""The line with which Excel is told what stands between cells."""
ORDER = ("request", "prompt", "1", "2", None)
"""The images last, so that no pair is complete before what is asked of it is known."""


@dataclass(frozen=True)
class Rejection:
    """A pair that cannot be dropped as it stands, and why."""

    where: str
    why: str


@dataclass(frozen=True)
class Source:
    """What was read; `ignored` are files that fit no rule of the drop convention, `unknown_columns` those of a
    table that mean nothing."""

    pairs: list[PlannedPair] = field(default_factory=list)
    wrong: list[Rejection] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    unknown_columns: list[str] = field(default_factory=list)


def read(path: Path, under: str, limits: Limits, references: References) -> Source:
    """Read a table or a folder; `under`: where in the bucket its pairs go, empty for the root. `references`: what the
    stack lets a request name.

    Raises CommandError if it is neither, BadDrop for an `under` that no key can begin with.
    """
    start = f"{name}/" if (name := checked_name(under)) else ""
    if path.is_dir():
        return Folder(path, start, limits, references).read()
    if path.is_file():
        return _table(path, start, limits, references)
    raise CommandError(f"{path} is neither a folder nor a table (CSV).")


def _table(path: Path, under: str, limits: Limits, references: References) -> Source:
    columns, rows = _cells(path)
    source = Source(unknown_columns=[title for title in columns if title and title not in COLUMNS])
    seen: dict[str, str] = {}
    for number, cells in rows:
        row = dict(zip(columns, cells, strict=False))
        where = f"row {number} ({row['name'].strip()})" if row.get("name") else f"row {number}"
        try:
            pair = _row(where, row, path.parent, under, limits)
            references.check(pair.prefix, pair.parameters)
            if len(cells) > len(columns):
                raise ValueError(f"it has {len(cells)} cells, and the table {len(columns)} columns")
            if pair.prefix in seen:
                raise ValueError(f"it has the name of {seen[pair.prefix]}")
        except (BadDrop, ValueError) as problem:
            source.wrong.append(Rejection(where, str(problem).removeprefix("request.json: ")))
        else:
            seen[pair.prefix] = where
            source.pairs.append(pair)
    return source


def _cells(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The names of the columns, and the rows that are not empty with their numbers as a spreadsheet counts them."""
    rows = _rows(path)
    _, titles = next(rows, (1, []))
    columns = [_column(title) for title in titles]
    twice = [title for title in columns if title in COLUMNS and columns.count(title) > 1]
    if twice or not {"name", "image_1", "image_2"} <= set(columns):
        known = ", ".join(name.replace("_", " ") for name in COLUMNS)
        named = f"the column {twice[0]!r} twice" if twice else "a first row without name, image 1 and image 2"
        raise CommandError(f"{path} has {named}; the columns are: {known}.")
    return columns, rows


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, with their numbers as a spreadsheet counts them."""
    body = path.read_bytes()
    try:
        text = body.decode("utf-16" if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError as problem:
        raise CommandError(f"{path} is not UTF-8 text: save the table as “CSV UTF-8”.") from problem
    said = _DELIMITER.match(text)
    first = text.lstrip().partition("\n")[0]
    delimiter = said[1] if said else max(",;\t", key=first.count)  # spreadsheets write what their language has
    table = text[said.end() :] if said else text
    try:
        for number, cells in enumerate(
            csv.reader(io.StringIO(table, newline=""), delimiter=delimiter), 2 if said else 1
        ):
            if any(map(str.strip, cells)):
                yield number, cells
    except csv.Error as problem:
        raise CommandError(f"{path} is no table (CSV): {problem}.") from problem


def _column(title: str) -> str:
    return "_".join(title.lower().replace("_", " ").replace("-", " ").split()).removeprefix("input_")


def _row(where: str, cells: dict[str, str], folder: Path, under: str, limits: Limits) -> PlannedPair:
    given = {column: cell.strip() for column, cell in cells.items() if cell.strip()}
    name = checked_name(given.get("name"))
    if name is None:
        raise ValueError("it has no name")
    prefix, shots = f"{under}{name}/", []
    asked = {column: _value(column, given[column]) for column in TUNABLE if column in given}
    for slot in ("1", "2"):
        if not (image := given.get(f"image_{slot}")):
            raise ValueError(f"it has no image {slot}")
        if image.lower().startswith("https://"):
            asked[f"input_image_{slot}"] = image
        else:
            shots.append(_photograph(folder / image, prefix, slot, limits))
    parameters = request.parse_request(json.dumps(asked).encode()) if asked else {}
    made = [UploadObject(f"{prefix}request.json", "request", made=request_body(parameters))] if parameters else []
    _check_keys(*made, *shots)
    return PlannedPair(where, prefix, (*made, *shots), parameters, is_whole=True)


def _value(column: str, cell: str) -> Any:
    return int(cell) if column in INTEGERS and cell.removeprefix("-").isdecimal() else cell


def _photograph(file: Path, prefix: str, slot: Any, limits: Limits) -> UploadObject:
    extension = inspect_file(file, limits).image.kind.replace("jpeg", "jpg")
    return UploadObject(f"{prefix}{slot}.{extension}", slot, file)


def _check_keys(*uploads: UploadObject) -> None:
    for upload in uploads:
        if len(upload.key.encode()) > keys.MAX_KEY_BYTES:
            raise ValueError(f"{upload.key[:80]}… is longer than a key of S3 ({keys.MAX_KEY_BYTES} bytes)")


class Folder:
    """A folder whose files are named by the drop convention."""

    def __init__(self, root: Path, under: str, limits: Limits, references: References) -> None:
        self.limits = limits
        self.references = references
        found = [(path.relative_to(root), path) for path in sorted(root.rglob("*")) if path.is_file()]
        shown = [(name, path) for name, path in found if not any(step.startswith(".") for step in name.parts)]
        files = {name.as_posix(): path for name, path in shown}
        self.files = {under + name: path for name, path in files.items() if not keys.is_litter(name)}
        self.used: set[str] = set()

    def read(self) -> Source:
        """Its pairs, what is wrong with some, and the files that belong to none."""
        source = Source()
        found: dict[str, list[UploadObject]] = {}
        for key, file in self.files.items():
            if part := keys.parse(key):
                found.setdefault(part.prefix, []).append(UploadObject(key, part.slot, file))
                self.used.add(key)
        for prefix, uploads in found.items():
            try:
                source.pairs.append(self._pair(prefix, uploads))
            except (BadDrop, ValueError, OSError) as problem:
                source.wrong.append(Rejection(prefix, explain(problem) or str(problem)))
        source.ignored.extend(sorted(set(self.files) - self.used))
        return source

    def _pair(self, prefix: str, uploads: list[UploadObject]) -> PlannedPair:
        slots = {upload.slot: upload for upload in uploads}
        if len(slots) < len(uploads):
            double = next(upload.slot for upload in uploads if slots[upload.slot] is not upload)
            raise ValueError(f"two files claim to be {'image ' if double in ('1', '2') else ''}{double}")
        parameters = self._parameters(slots)
        self.references.check(prefix, parameters)
        asked = (("1", parameters.get("input_image_1")), ("2", parameters.get("input_image_2")))
        named = {slot: name for slot, name in asked if name is not None}
        referenced = [keys.resolve_name(prefix, name) for name in named.values() if "://" not in name]
        loose = [
            UploadObject(key, None, self.files[key]) for key in referenced if key in self.files and not keys.parse(key)
        ]
        _check_keys(*uploads, *loose)
        for upload in (*uploads, *loose):
            if upload.file and upload.slot in ("1", "2", None):
                inspect_file(upload.file, self.limits)
        self.used |= {upload.key for upload in loose}
        return PlannedPair(
            prefix,
            prefix,
            tuple(sorted((*uploads, *loose), key=lambda upload: ORDER.index(upload.slot))),
            parameters,
            filled=tuple(slot for slot in "12" if slot not in slots and slot not in named),
            there=tuple(key for key in referenced if key not in self.files),
        )

    def _parameters(self, slots: dict[Any, UploadObject]) -> Parameters:
        asked = request.parse_request(slots["request"].body) if "request" in slots else {}
        return request.merge(asked, request.parse_prompt(slots["prompt"].body) if "prompt" in slots else {})
