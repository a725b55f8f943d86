"""What a picture costs to read: time in proportion to its bytes and memory that does not grow, whatever is in them."""

from __future__ import annotations

import pytest

from bench.pictures import CASES, PIECE_BYTES, peak_bytes, seconds

SMALL, LARGE = 125_000, 1_000_000
HELD_AT_ONCE, BEYOND = 500_000, 250_000
"""More of a file than is ever held at once, and how much comes after it."""
ENOUGH_SECONDS = 0.0125
"""Less is noise."""


@pytest.mark.parametrize("name", CASES)
def test_eight_times_the_bytes_take_no_more_than_about_eight_times_as_long(name: str) -> None:
    small, large = (CASES[name](size) for size in (SMALL, LARGE))

    taken = min(seconds(large) for _ in range(2))

    assert taken < 2.5 * 8 * max(ENOUGH_SECONDS / 8, min(seconds(small) for _ in range(2)))


@pytest.mark.parametrize("name", CASES)
def test_memory_does_not_grow_with_the_file(name: str) -> None:
    peaks = peak_bytes(CASES[name](HELD_AT_ONCE + BEYOND))

    assert peaks[-1] < peaks[: HELD_AT_ONCE // PIECE_BYTES + 1][-1] + BEYOND / 4
    assert peaks[-1] < 3_500_000
