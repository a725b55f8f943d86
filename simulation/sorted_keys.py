"""Keys in their order, of which those that begin alike are found at once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator


class SortedKeys:
    """Each key once."""

    def __init__(self) -> None:
        self._keys: list[str] = []

    def add(self, key: str) -> None:
        at = bisect_left(self._keys, key)
        if self._keys[at : at + 1] != [key]:
            self._keys.insert(at, key)

    def beginning_with(self, prefix: str) -> Iterator[str]:
        """The keys that begin so, in their order."""
        for number in range(bisect_left(self._keys, prefix), len(self._keys)):
            if not self._keys[number].startswith(prefix):
                return
            yield self._keys[number]
