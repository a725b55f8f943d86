"""The one seam to the picture: from Segmind's file host into the output bucket, in a stream, as often as it
takes.

Which hosts it is fetched from says `hosts`; every redirect is judged anew. Whatever the host does or sends
ends as a DeliveryError; what S3 raises is passed on.
"""

import contextlib
import hashlib
import logging
import re
import time
from collections.abc import Generator, Iterator
from io import BytesIO

import httpx

from kontext.errors import DeliveryError
from kontext.images import identify
from kontext.images.verify import CorruptImage, Reader, TooLarge
from kontext.model import Result
from kontext.net.transport import BoundedTransport, answered, request
from kontext.results.hosts import Allowed
from kontext.results.output_bucket import PART_BYTES, Condition, OutputBucket

MAX_PICTURE_BYTES = 200 * 1024 * 1024
MAX_MEGAPIXELS = 200.0
COPY_SECONDS = 120.0
"""For a whole picture with all redirects, however slowly it drips."""
_MAX_REDIRECTS = 3
_PIECE_BYTES = 65_536
_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
_TRIES_OF_BAD_BYTES = 4
_TRIES_OF_AN_OUTAGE = 9

_KINDS = {"png": ("png", "image/png"), "jpg": ("jpeg", "image/jpeg")}

_logger = logging.getLogger(__name__)


class Delivery:
    """Copies pictures into the output bucket. `transport`: another way to the network, for tests."""

    def __init__(self, outputs: OutputBucket, allowed: Allowed, transport: httpx.BaseTransport | None = None) -> None:
        self.outputs = outputs
        self.allowed = allowed
        self._way = transport or BoundedTransport(httpx.create_ssl_context(trust_env=False), allowed.addresses)

    def close(self) -> None:
        """Close what connections are kept."""
        self._way.close()

    def copy(self, url: str, key: str, output_format: str, metadata: dict[str, str], condition: Condition) -> Result:
        """Copy a picture to a key; returns the object as events tell of it.

        Memory is bounded by the size of a part, not of the picture.

        Raises:
            DeliveryError: the host is not allowed, or what it gave is not the whole picture that was asked for.
            Overtaken: `condition` does not hold any more.
        """
        kind, content_type = _KINDS[output_format]
        digest, size, reader = hashlib.sha256(), 0, None
        with self.outputs.upload(key, content_type, metadata, condition) as upload:
            for part in _parts(self._stream(url)):
                reader = reader or _expect(part, kind)
                _follow(reader, part)
                digest.update(part)
                size += len(part)
                upload.add(part)
            if reader is None or reader.image is None or not reader.is_whole():
                raise DeliveryError("the picture is not complete", tries=_TRIES_OF_BAD_BYTES)
            written = upload.finish()
        return {
            "bucket": self.outputs.bucket,
            "key": key,
            "version_id": written.get("VersionId"),
            "etag": written["ETag"].strip('"'),
            "content_type": content_type,
            "bytes": size,
            "sha256": digest.hexdigest(),
            "width": reader.image.width,
            "height": reader.image.height,
        }

    def look(self, url: str, output_format: str) -> None:
        """See that a picture of this format begins there, and keep nothing. Raises DeliveryError as `copy` does."""
        with contextlib.closing(self._stream(url)) as stream:
            _expect(next(stream, b""), _KINDS[output_format][0])

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
    if answer.status_code != 200:
        raise DeliveryError(f"the result's host answers HTTP {answer.status_code}")
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise DeliveryError("the result's host packs the picture, unasked", tries=_TRIES_OF_BAD_BYTES)
    stated = answer.headers.get("content-length", "")
    size = int(stated) if re.fullmatch(r"[0-9]{1,18}", stated) else 0
    if size > MAX_PICTURE_BYTES:
        raise DeliveryError(f"the picture is larger than {MAX_PICTURE_BYTES} bytes", final=True)
    size = 0
    for chunk in answer.iter_bytes(_PIECE_BYTES):
        size += len(chunk)
        if size > MAX_PICTURE_BYTES:
            raise DeliveryError(f"the picture is larger than {MAX_PICTURE_BYTES} bytes", final=True)
        yield chunk


def _parts(chunks: Iterator[bytes]) -> Iterator[bytes]:
    part = BytesIO()
    for chunk in chunks:
        part.write(chunk)
        if part.tell() >= PART_BYTES:
            yield part.getvalue()  # shares the memory: a second copy of each part would be a third of what we hold
            part = BytesIO()
    if part.tell():
        yield part.getvalue()


def _expect(head: bytes, kind: str) -> Reader:
    found = identify.kind_of(head)
    if found is None:
        raise DeliveryError("what the result's host gave is not a picture", tries=_TRIES_OF_BAD_BYTES)
    if found != kind:
        raise DeliveryError(f"the picture is a {found}, asked for was a {kind}", tries=_TRIES_OF_BAD_BYTES)
    return Reader(kind, MAX_MEGAPIXELS)


def _follow(reader: Reader, part: bytes) -> None:
    try:
        for at in range(0, len(part), _PIECE_BYTES):  # the reader joins what it is given to what it has left
            reader.feed(part[at : at + _PIECE_BYTES])
    except TooLarge as problem:
        raise DeliveryError(f"the picture is too large: {problem}", final=True) from problem
    except CorruptImage as problem:
        raise DeliveryError(f"the picture is damaged: {problem}", tries=_TRIES_OF_BAD_BYTES) from problem
    except Exception as unknown:
        _logger.exception("an exception that nobody has thought of")
        raise DeliveryError("the picture cannot be read", tries=_TRIES_OF_BAD_BYTES) from unknown
