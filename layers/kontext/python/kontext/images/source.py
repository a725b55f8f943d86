"""A stream that is read ahead, counted and hashed. Memory and time are those of its chunks, whatever is in them."""

import hashlib
import re
from collections.abc import Iterable, Iterator

from kontext.images.image import CorruptImage, CutOff

PIECE_BYTES = 65_536
TAIL_BYTES = 65_557
"""A ZIP's directory ends within so many bytes of the file's end, or nobody finds it."""
_MOST_PARTS = 250_000
"""Of segments, chunks and boxes. Each costs microseconds, and no picture has so many."""
_CUT_OFF = "it is cut off; upload the whole file again"
_NOT_ZERO = re.compile(rb"[^\0]")


class Source:
    """The bytes of one file, from the first to the last."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.size = 0
        """How much has come so far."""
        self._chunks = _pieces(chunks)
        self._digest = hashlib.sha256()
        self._data, self._at = b"", 0
        self._tail = bytearray()
        self._parts = 0

    @property
    def position(self) -> int:
        """How much has been read."""
        return self.size - len(self._data) + self._at

    @property
    def sha256(self) -> str:
        """Of what has come so far, in hex digits."""
        return self._digest.hexdigest()

    @property
    def tail(self) -> bytes:
        """The last `TAIL_BYTES` of what has come so far."""
        return bytes(self._tail[-TAIL_BYTES:])

    def count_part(self) -> None:
        """Count a segment, chunk or box. Raises CorruptImage if there are too many."""
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise CorruptImage(f"it consists of more than {_MOST_PARTS} parts")

    def peek(self, count: int) -> bytes:
        """The next bytes, which are not read by that; fewer where the file ends."""
        self._fill(count)
        return self._data[self._at : self._at + count]

    def read(self, count: int) -> bytes:
        """So many bytes. Raises CutOff."""
        if not self._fill(count):
            raise CutOff(_CUT_OFF)
        self._at += count
        return self._data[self._at - count : self._at]

    def pieces(self, count: int) -> Iterator[bytes]:
        """So many bytes, as they come. Raises CutOff."""
        while count > 0:
            if not self.peek(1):
                raise CutOff(_CUT_OFF)
            piece = self._data[self._at : self._at + count]
            self._at += len(piece)
            count -= len(piece)
            yield piece

    def skip(self, count: int) -> None:
        """Pass over so many bytes. Raises CutOff."""
        for _ in self.pieces(count):
            pass

    def rest(self) -> Iterator[bytes]:
        """All that is left, as it comes."""
        while piece := self.peek(1) and self._data[self._at :]:
            self._at = len(self._data)
            yield piece

    def skip_zeros(self) -> None:
        """Pass over bytes of zero, but for the last three: a number may begin with them."""
        while len(zeros := self.peek(4)) == 4 and not any(zeros):
            found = _NOT_ZERO.search(self._data, self._at)
            self._at = (found.start() if found else len(self._data)) - 3

    def before(self, pair: re.Pattern[bytes]) -> Iterator[bytes]:
        """What stands before two bytes of which the first is 0xFF, as it comes; no piece ends between such two.

        The two are read next. Raises CutOff if they do not come.
        """
        while True:
            found = pair.search(self._data, self._at)
            end = found.start() if found else len(self._data) - self._data.endswith(b"\xff")
            if end > self._at:
                piece, self._at = self._data[self._at : end], end
                yield piece
            if found:
                return
            left = len(self._data) - self._at
            if not self._fill(left + 1):
                self.read(left + 1)

    def _fill(self, count: int) -> bool:
        """Whether so many bytes are left, of which as many as have not come yet are waited for."""
        have = len(self._data) - self._at
        if have >= count:
            return True
        parts = [self._data[self._at :]]
        while have < count and (chunk := next(self._chunks, b"")):
            self._note(chunk)
            parts.append(chunk)
            have += len(chunk)
        self._data, self._at = b"".join(parts), 0
        return have >= count

    def _note(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._digest.update(chunk)
        self._tail += chunk
        if len(self._tail) > 4 * TAIL_BYTES:  # seldom: each time costs a copy
            del self._tail[:-TAIL_BYTES]


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for at in range(0, len(chunk), PIECE_BYTES):
            yield chunk[at : at + PIECE_BYTES]
