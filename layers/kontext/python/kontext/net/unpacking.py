"""The body of an answer, unpacked where it was packed unasked: a gateway may do so.

It comes in small pieces, so that whoever counts them stops a bomb in time: httpx would unpack it before its size can
be seen.
"""

import zlib
from collections.abc import Iterator

import httpx

PIECE_BYTES = 65_536
_KNOWN = ("gzip", "x-gzip", "deflate")


class PackedOtherwise(Exception):
    """The body is packed in a way that is not known, or is not what it says that it is."""


def unpacked(answer: httpx.Response) -> Iterator[bytes]:
    """The body as it comes; what is unpacked, in pieces of at most `PIECE_BYTES`. Raises PackedOtherwise."""
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        yield from answer.iter_bytes()
    elif encoding in _KNOWN:
        yield from _inflated(answer.iter_raw())
    else:
        raise PackedOtherwise


def _inflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        for chunk in chunks:
            yield unpacker.decompress(chunk, PIECE_BYTES)
            while unpacker.unconsumed_tail:
                yield unpacker.decompress(unpacker.unconsumed_tail, PIECE_BYTES)
        while not unpacker.eof and (late := unpacker.decompress(b"", PIECE_BYTES)):
            yield late
    except zlib.error as problem:
        raise PackedOtherwise from problem
