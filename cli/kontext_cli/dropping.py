"""Dropping a pair into a stack and waiting for what becomes of it."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kontext.errors import BadDrop
from kontext.request import parse_request
from kontext_cli.errors import CommandError
from kontext_cli.records import Records, Render
from kontext_cli.target import Target

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")
LOOK_SECONDS = 0.5
RESULTS = ("result.png", "result.jpg")
ERROR = "error.json"
NAME_BYTES = 900
"""Of a drop's name: with what is appended to it, a key of S3 has at most 1024."""


@dataclass(frozen=True)
class Drop:
    """A pair to be dropped under `<name>/`, and the parameters asked for it."""

    name: str
    first: Path
    second: Path
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """The pair's prefix in both buckets."""
        return f"{self.name}/"

    def objects(self) -> Iterator[tuple[str, bytes, str]]:
        """Key, body and content type of each object, in the order to upload them.

        The request goes first, so that the pair never waits for it; in the images' metadata a prompt
        could hold nothing beyond ASCII.
        """
        if self.parameters:
            yield f"{self.prefix}request.json", request_body(self.parameters), "application/json"
        for slot, image in enumerate((self.first, self.second), 1):
            kind = mimetypes.guess_type(image.name)[0] or "application/octet-stream"
            yield f"{self.prefix}{slot}{image.suffix.lower()}", image.read_bytes(), kind


@dataclass(frozen=True)
class Outcome:
    """How a drop ended: with a result object, or with an error as in `error.json`."""

    render: Render | None
    key: str | None = None
    error: dict[str, Any] | None = None


def prepare(first: Path, second: Path, name: str | None, parameters: dict[str, Any]) -> Drop:
    """A drop that has been checked as far as that is possible from here.

    Raises CommandError for files that are not there or not images by name, BadDrop for parameters that are
    not allowed.
    """
    for image in (first, second):
        if not image.is_file():
            raise CommandError(f"{image} is not a file.")
        if image.suffix.lower() not in EXTENSIONS:
            raise CommandError(f"{image} is not named like a picture: {', '.join(EXTENSIONS)} are known.")
    given = {key: value for key, value in parameters.items() if value is not None}
    chosen = checked_name(_unique_name(first, second) if name is None else name)
    if chosen is None:
        raise CommandError("The name of a drop must not be empty.")
    return Drop(chosen, first, second, parse_request(json.dumps(given).encode()) if given else {})


def request_body(parameters: dict[str, Any]) -> bytes:
    """The request.json that asks for these parameters; the same for the same."""
    return json.dumps(parameters, ensure_ascii=False, indent=2, sort_keys=True).encode()


def checked_name(given: Any) -> str | None:
    """A drop's name without slashes around it, None where none is given.

    Raises BadDrop for a name that no key can hold, or no link to it.
    """
    name = str(given or "").strip().strip("/")
    if any(not letter.isprintable() for letter in name) or len(name.encode()) > NAME_BYTES:
        raise BadDrop("invalid_request", "The name holds a character that cannot be printed, or is too long.")
    if name and any(step in ("", ".", "..") for step in name.split("/")):
        raise BadDrop("invalid_request", "The name must not have empty, “.” or “..” steps.")
    return name or None


def _unique_name(first: Path, second: Path) -> str:
    stems = (re.sub(r"[^\w.]+", "-", image.stem).strip("-")[:40] for image in (first, second))
    return "-".join((*stems, secrets.token_hex(3)))


class Desk:
    """Where pairs are dropped and results are picked up: the two buckets and the table of one stack."""

    def __init__(self, target: Target) -> None:
        self.records = Records(target)
        self._s3 = target.client("s3")
        self._inputs, self._outputs = target.output("InputBucket"), target.output("OutputBucket")

    def put(self, drop: Drop) -> None:
        """Upload the drop's objects."""
        for key, body, kind in drop.objects():
            self._s3.put_object(Bucket=self._inputs, Key=key, Body=body, ContentType=kind)

    def delivered_before(self, drop: Drop) -> Outcome | None:
        """The outcome of exactly this drop if it has been delivered already: nothing would happen again."""
        render = self._render(drop)
        if render is None or render.status != "DELIVERED" or not self._has_all(drop):
            return None
        keys = [key for key in self.answers(drop) if not key.endswith(ERROR)]
        return Outcome(render, keys[0]) if keys else None

    def _render(self, drop: Drop) -> Render | None:
        pair = self.records.pair(drop.prefix)
        return next(iter(pair.renders), None) if pair else None

    def _has_all(self, drop: Drop) -> bool:
        """Whether the input bucket holds these very bytes; an ETag is the MD5 of a plain upload."""
        there = {item["Key"]: item["ETag"].strip('"') for item in self._list(self._inputs, drop.prefix)}
        wanted = {key: hashlib.md5(body, usedforsecurity=False).hexdigest() for key, body, _ in drop.objects()}
        return there == wanted

    def answers(self, drop: Drop) -> dict[str, str]:
        """The result and error objects of the drop: key to a mark that changes when it is replaced."""
        keys = {drop.prefix + name for name in (*RESULTS, ERROR)}
        found = self._list(self._outputs, drop.prefix)
        return {item["Key"]: f"{item['ETag']} {item['LastModified']}" for item in found if item["Key"] in keys}

    def _list(self, bucket: str, prefix: str) -> list[Any]:
        return list(self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ()))

    def follow(self, drop: Drop, before: dict[str, str], seconds: float) -> Iterator[Render | Outcome | None]:
        """Look until the drop has ended.

        Yields the render as it stands (None while there is none), and the Outcome at last.
        `before` is what `answers` gave before the drop. Stops without an Outcome after `seconds`.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # The bucket first: what the record then says is at least as new.
            new = {key for key, mark in self.answers(drop).items() if before.get(key) != mark}
            render = self._render(drop)
            if outcome := self._outcome(drop, new, render):
                yield outcome
                return
            yield render
            time.sleep(LOOK_SECONDS)

    def _outcome(self, drop: Drop, new: set[str], render: Render | None) -> Outcome | None:
        if results := [key for key in new if not key.endswith(ERROR)]:
            return Outcome(render, results[0])
        if new:
            return Outcome(render, error=self._error(drop))
        if render and render.status == "UNCERTAIN":
            return Outcome(render, error=render.error or {"message": "the answer to the request never came"})
        return None

    def _error(self, drop: Drop) -> dict[str, Any]:
        body = self._s3.get_object(Bucket=self._outputs, Key=drop.prefix + ERROR)["Body"].read()
        content = json.loads(body)
        error = content.get("error", content)
        return error if isinstance(error, dict) else {"message": str(error)}

    def fetch(self, key: str, path: Path) -> None:
        """Save an object of the output bucket as a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._s3.download_file(self._outputs, key, str(path))


def free_path(name: str, suffix: str) -> Path:
    """A file in the current folder that does not exist yet, named after a drop."""
    stem = name.replace("/", "-")
    candidates = (Path(f"{stem}{number}{suffix}") for number in ("", *(f"-{n}" for n in range(2, 10_000))))
    return next(path for path in candidates if not path.exists())
