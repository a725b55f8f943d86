"""The one seam to the picture: from Segmind's file host into the output bucket, in a stream, as often as it
takes.

Which hosts it is fetched from says `hosts`; every redirect is judged anew. Whatever the host does or sends
ends as a DeliveryError; what S3 raises is passed on.
"""

import contextlib
import logging
import re
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import chain

import httpx

from kontext.errors import DeliveryError
from kontext.images import identify
from kontext.images.image import BadPicture, Limits, TooLarge
from kontext.images.inspection import Picture, inspect
from kontext.model import Result
from kontext.net.transport import BoundedTransport, answered, request
from kontext.net.unpacking import PackedOtherwise, unpacked
from kontext.results.hosts import Allowed
from kontext.results.output_bucket import PART_BYTES, Condition, OutputBucket, Upload

MAX_PICTURE_BYTES = 200 * 1024 * 1024
LIMITS = Limits(megabytes=MAX_PICTURE_BYTES / 1e6, megapixels=200, animated=True)
"""It is paid: one that moves is delivered, too."""
COPY_SECONDS = 120.0
"""For a whole picture with all redirects, however slowly it drips."""
_MAX_REDIRECTS = 3
_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
_TRIES_OF_BAD_BYTES = 4
_TRIES_OF_AN_OUTAGE = 9

_FORMATS = {"png": ("png", "image/png"), "jpeg": ("jpg", "image/jpeg"), "webp": ("webp", "image/webp")}
"""Of each kind of picture: the extension of its key, and its content type."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arriving:
    """A picture that a host has begun to give: its format, as its bytes have it, and all of its bytes."""

    format: str
    content_type: str
    chunks: Iterator[bytes]


class Delivery:
    """Copies pictures into the output bucket. `transport`: another way to the network, for tests."""

    def __init__(self, outputs: OutputBucket, allowed: Allowed, transport: httpx.BaseTransport | None = None) -> None:
        self.outputs = outputs
        self.allowed = allowed
        self._way = transport or BoundedTransport(httpx.create_ssl_context(trust_env=False), allowed.addresses)

    def close(self) -> None:
        """Close what connections are kept."""
        self._way.close()

    @contextlib.contextmanager
    def fetch(self, url: str) -> Iterator[Arriving]:
        """The picture that begins there, as a context. It is paid: which format was asked for is not looked at.

        Raises DeliveryError: the host is not allowed, or what it gives is no picture.
        """
        with contextlib.closing(self._stream(url)) as stream:
            head = _head_of(stream)
            kind = identify.kind_of(head)
            if kind is None:
                raise DeliveryError("what the result's host gave is not a picture", tries=_TRIES_OF_BAD_BYTES)
            yield Arriving(*_FORMATS[kind], chain([head], stream))

    def copy(self, arriving: Arriving, key: str, metadata: dict[str, str], condition: Condition) -> Result:
        """Copy a picture to a key; returns the object as events tell of it.

        Memory is bounded by the size of a part, not of the picture.

        Raises:
            DeliveryError: what the host gave is not a whole picture.
            Overtaken: `condition` does not hold any more.
        """
        with self.outputs.upload(key, arriving.content_type, metadata, condition) as upload:
            picture = _inspected(_uploaded(arriving.chunks, upload))
            written = upload.finish()
        return {
            "bucket": self.outputs.bucket,
            "key": key,
            "version_id": written.get("VersionId"),
            "etag": written["ETag"].strip('"'),
            "content_type": arriving.content_type,
            "bytes": picture.size,
            "sha256": picture.sha256,
            "width": picture.image.width,
            "height": picture.image.height,
        }

    def check(self, url: str) -> None:
        """See that a picture begins there, and keep nothing. Raises DeliveryError as `fetch` does."""
        with self.fetch(url):
            pass

    def _stream(self, url: str) -> Generator[bytes]:
        ends_at = time.monotonic() + COPY_SECONDS
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                asked = self.allowed.check(url)
                left = ends_at - time.monotonic()
                with answered(self._way, request("GET", asked, timeout=_TIMEOUT, seconds=left)) as answer:
                    if not answer.is_redirect:
                        yield from _checked(answer)
                        return
                    url = _next_hop(asked, answer)
        except DeliveryError:
            raise
        except Exception as problem:
            if not isinstance(problem, httpx.HTTPError):
                _logger.exception("an exception that nobody has thought of")
            late = time.monotonic() >= ends_at  # each try of what drips takes all of its time: fewer last as long
            tries = _TRIES_OF_BAD_BYTES if late else _TRIES_OF_AN_OUTAGE
            raise DeliveryError(f"the picture did not arrive: {type(problem).__name__}", tries=tries) from problem
        raise DeliveryError("the result's URL redirects too often", final=True)


def _next_hop(asked: httpx.URL, answer: httpx.Response) -> str:
    try:
        return str(asked.join(answer.headers.get("location", "")))
    except Exception as problem:
        raise DeliveryError("the result's URL redirects to what cannot be read", final=True) from problem


def _checked(answer: httpx.Response) -> Iterator[bytes]:
    if answer.status_code != 200 and not _is_all_of_it(answer):
        raise DeliveryError(f"the result's host answers HTTP {answer.status_code}")
    stated = answer.headers.get("content-length", "")
    size = int(stated) if re.fullmatch(r"[0-9]{1,18}", stated) else 0
    if size > MAX_PICTURE_BYTES:
        raise DeliveryError(f"the picture is larger than {MAX_PICTURE_BYTES} bytes", final=True)
    try:
        yield from unpacked(answer)
    except PackedOtherwise as problem:
        raise DeliveryError(
            "the result's host packs the picture in a way that cannot be unpacked", tries=_TRIES_OF_BAD_BYTES
        ) from problem


def _is_all_of_it(answer: httpx.Response) -> bool:
    """Whether the part of a file that is given, unasked, is the whole file."""
    told = re.fullmatch(r"bytes 0-([0-9]{1,18})/([0-9]{1,18})", answer.headers.get("content-range", ""))
    return answer.status_code == 206 and told is not None and int(told[1]) + 1 == int(told[2])


def _head_of(chunks: Iterator[bytes]) -> bytes:
    """The first of these bytes, as many as tell what they are."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= identify.HEAD_BYTES:
            break
    return head


def _uploaded(chunks: Iterator[bytes], upload: Upload) -> Iterator[bytes]:
    """The same chunks, which are uploaded in parts as they are read."""
    part = BytesIO()
    for chunk in chunks:
        part.write(chunk)
        if part.tell() >= PART_BYTES:
            upload.add(part.getvalue())  # shares the memory, where a copy would be a third of what we hold
            part = BytesIO()
        yield chunk
    if part.tell():
        upload.add(part.getvalue())


def _inspected(chunks: Iterator[bytes]) -> Picture:
    failed: list[Exception] = []

    def watched() -> Iterator[bytes]:
        try:
            yield from chunks
        except Exception as problem:
            failed.append(problem)
            raise

    try:
        return inspect(watched(), LIMITS)
    except TooLarge as problem:
        raise DeliveryError(f"the picture is too large: {problem}", final=True) from problem
    except BadPicture as problem:
        raise DeliveryError(f"the picture cannot be used: {problem}", tries=_TRIES_OF_BAD_BYTES) from problem
    except Exception as unknown:
        if failed:
            raise
        _logger.exception("an exception that nobody has thought of")
        raise DeliveryError("the picture cannot be read", tries=_TRIES_OF_BAD_BYTES) from unknown
