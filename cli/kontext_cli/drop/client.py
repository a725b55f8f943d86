"""Dropping a pair into a stack and waiting for what becomes of it."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from botocore.exceptions import ClientError

from kontext.drops import request
from kontext.drops.keys import IMAGE_SLOTS, Slot
from kontext.errors import BadDrop
from kontext.images.image import Limits
from kontext.model import Parameters, RenderError, RenderInput, Status
from kontext_cli.drop.input_bucket import GIVE_ANOTHER_NAME, Bucket, PlannedPair, Refused, UploadObject
from kontext_cli.drop.photographs import EXTENSIONS, inspect_file, limits_of
from kontext_cli.drop.upload import check
from kontext_cli.errors import CommandError
from kontext_cli.read.records import Records
from kontext_cli.read.views import RenderView
from kontext_cli.resources import description, parameters
from kontext_cli.target import Target

LOOK_SECONDS = 0.5
ERROR = "error.json"
TOLD_SECONDS = 60.0
"""After this long the stack has noted what was dropped, if it was told."""
NAME_BYTES = 900
"""Of a drop's name: with what is appended to it, a key of S3 has at most 1024."""


@dataclass(frozen=True)
class Drop:
    """A pair to be dropped under `<name>/`, and the parameters asked for it."""

    name: str
    first: Path
    second: Path
    parameters: Parameters = field(default_factory=Parameters)

    @property
    def prefix(self) -> str:
        """The pair's prefix in both buckets."""
        return f"{self.name}/"

    @property
    def pair(self) -> PlannedPair:
        """The pair with its objects, in the order to upload them.

        The request goes first, so that the pair never waits for it; in the images' metadata a prompt
        could hold nothing beyond ASCII.
        """
        made = (UploadObject(f"{self.prefix}request.json", "request", made=request_body(self.parameters)),)
        images = (
            UploadObject(f"{self.prefix}1{self.first.suffix.lower()}", "1", self.first),
            UploadObject(f"{self.prefix}2{self.second.suffix.lower()}", "2", self.second),
        )
        uploads = (*made, *images) if self.parameters else images
        return PlannedPair(self.prefix, self.prefix, uploads, self.parameters, is_whole=True)


@dataclass(frozen=True)
class Outcome:
    """How a drop ended: with a result object, or with an error as in `error.json`."""

    render: RenderView | None
    key: str | None = None
    error: RenderError | dict[str, Any] | None = None


def prepare(
    first: Path, second: Path, name: str | None, parameters: dict[str, Any], *, mark: str | None = None
) -> Drop:
    """A drop that has been checked as far as that is possible from here.

    Without a name it gets one that ends with `mark`, or with one of its own. Raises CommandError for files that are
    not there or not images by name, BadDrop for parameters that are not allowed.
    """
    for image in (first, second):
        if not image.is_file():
            raise CommandError(f"{image} is not a file.")
        if image.suffix.lower() not in EXTENSIONS:
            raise CommandError(f"{image} is not named like a picture: {', '.join(EXTENSIONS)} are known.")
    given = {key: value for key, value in parameters.items() if value is not None}
    chosen = checked_name(_unique_name(first, second, mark) if name is None else name)
    if chosen is None:
        raise CommandError("The name of a drop must not be empty.")
    return Drop(chosen, first, second, request.parse_request(json.dumps(given).encode()) if given else {})


def _check_images(drop: Drop, limits: Limits) -> None:
    for image in (drop.first, drop.second):
        try:
            inspect_file(image, limits)
        except ValueError as problem:
            raise BadDrop("invalid_image", str(problem)) from problem


def request_body(parameters: Parameters) -> bytes:
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


def _unique_name(first: Path, second: Path, mark: str | None) -> str:
    stems = (re.sub(r"[^\w.]+", "-", image.stem).strip("-")[:40] for image in (first, second))
    return "-".join((*stems, mark or secrets.token_hex(3)))


class Errand:
    """A drop that may be uploaded: `uploads` are what has to be, none if its render stands or is on its way already."""

    def __init__(self, drop: Drop, bucket: Bucket, uploads: tuple[UploadObject, ...]) -> None:
        self.drop = drop
        self.bucket = bucket
        self.uploads = uploads
        self.uploaded: list[UploadObject] = []
        self._digests = {
            upload.slot: hashlib.sha256(upload.body).hexdigest()
            for upload in drop.pair.uploads
            if upload.slot in IMAGE_SLOTS
        }

    def upload(self) -> None:
        """Upload the objects; `uploaded` are those that are there for sure. Raises what `Bucket.upload` raises."""
        for upload in self.bucket.upload(self.drop.prefix, self.uploads):
            self.uploaded.append(upload)

    def is_of(self, render: RenderView) -> bool:
        """Whether a render is of the very content that the drop has."""
        asked = request.merge(self.drop.parameters)
        same_images = [self._is(slot, image) for slot, image in zip(IMAGE_SLOTS, render.inputs, strict=False)]
        return same_images == [True, True] and asked.items() <= render.parameters.items()

    def _is(self, slot: Slot, image: RenderInput) -> bool:
        """Whether an image of a render has the content of one of the drop; of an old record the ETag tells it."""
        if sha256 := image.get("sha256"):
            return sha256 == self._digests.get(slot)
        return image.get("etag") == self.bucket.etag(self.drop.prefix, slot)


class DropClient:
    """Where pairs are dropped and results are picked up: the two buckets and the table of one stack."""

    def __init__(self, target: Target, clock: Callable[[], float] = time.time) -> None:
        self.target = target
        self.clock = clock
        self.records = Records(target)
        self._s3 = target.client("s3")
        self.outputs = target.output("OutputBucket")
        self.price = 0.0
        """USD for a picture, as of the last `errand`."""

    def errand(self, drop: Drop) -> Errand:
        """See what is to be uploaded.

        Raises Refused if that would pay for more than one picture, BadDrop for an image that the stack would reject.
        """
        settings = parameters(description(self.target))
        _check_images(drop, limits_of(settings))
        self.price = float(settings["PricePerRender"])
        bucket, pair = Bucket(self.target), drop.pair
        bucket.load([pair])
        errand = Errand(drop, bucket, check(bucket, pair, settings["DefaultPrompt"]).uploads)
        if not errand.uploads and not self._is_under_way(errand):
            if any(bucket.lacks(upload) for upload in pair.uploads):
                raise Refused(f"what was dropped as {drop.prefix} is not in the bucket any more", GIVE_ANOTHER_NAME)
            # One of its objects again is one more try for all, but what is wrong is told only of a new version of it.
            errand.uploads = pair.uploads if self._is_rejected(errand) else pair.uploads[-1:]
        return errand

    def _is_under_way(self, errand: Errand) -> bool:
        """Whether a drop that is in the bucket has its picture, or will have it without another upload."""
        render = self._render(errand.drop)
        if render and errand.is_of(render):
            return render.status != Status.FAILED
        if render and render.status == Status.FAILED and errand.bucket.is_told_of(errand.drop.pair):
            return False  # it was rejected before it became a render of its content
        return self.clock() - errand.bucket.changed_at(errand.drop.prefix) < TOLD_SECONDS

    def _is_rejected(self, errand: Errand) -> bool:
        """Whether the stack could not use what was dropped last."""
        render = self._render(errand.drop)
        return render is not None and render.status == Status.FAILED and not render.inputs

    def put(self, drop: Drop) -> None:
        """Upload what is to be uploaded of a drop."""
        self.errand(drop).upload()

    def _render(self, drop: Drop) -> RenderView | None:
        pair = self.records.pair(drop.prefix)
        return pair.render if pair else None

    def error_mark(self, drop: Drop) -> str | None:
        """What changes when another error.json comes for the drop; None if there is none."""
        found = self._s3.list_objects_v2(Bucket=self.outputs, Prefix=drop.prefix + ERROR, MaxKeys=1)
        return next((f"{item['ETag']} {item['LastModified']}" for item in found.get("Contents", ())), None)

    def watch(self, errand: Errand, before: str | None, seconds: float) -> Iterator[RenderView | Outcome | None]:
        """Look until the drop has ended.

        Yields the render as it stands (None while there is none), and the Outcome at last.
        `before` is what `error_mark` gave before the drop. Stops without an Outcome after `seconds`.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # The bucket first: what the record then says is at least as new.
            mark = self.error_mark(errand.drop)
            render = self._render(errand.drop)
            if outcome := self._outcome(errand, render, is_told=mark not in (None, before)):
                yield outcome
                return
            yield render
            time.sleep(LOOK_SECONDS)

    def _outcome(self, errand: Errand, render: RenderView | None, *, is_told: bool) -> Outcome | None:
        """How the drop has ended, if it has; `is_told`: by an error.json that was not there before."""
        if render and errand.is_of(render):
            if render.status == Status.DELIVERED and render.result:
                return Outcome(render, str(render.result["key"]))
            if render.status == Status.UNCERTAIN:
                return Outcome(render, error=render.error or {"message": "the answer to the request never came"})
        if not is_told:
            return None
        error = self._error(errand.drop)
        # An earlier render of the pair may fail while this drop is not claimed yet. A rejection has no parameters.
        is_of_another = render and render.parameters and not errand.is_of(render)
        if render and is_of_another and error.get("render_id") == render.render_id:
            return None
        return Outcome(render, error=error)

    def _error(self, drop: Drop) -> dict[str, Any]:
        body = self._s3.get_object(Bucket=self.outputs, Key=drop.prefix + ERROR)["Body"].read()
        content = json.loads(body)
        error = content.get("error", content)
        return error if isinstance(error, dict) else {"message": str(error)}

    def fetch(self, key: str, file: BinaryIO) -> None:
        """Write an object of the output bucket into a file. Raises CommandError if it is not there."""
        try:
            self._s3.download_fileobj(self.outputs, key, file)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            raise CommandError(
                f"{key} is not in the output bucket any more: for 7 days after the render `kontext redeliver` "
                "copies it again, and pays nothing."
            ) from error
