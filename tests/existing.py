"""What a test takes to be there, and says so."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def existing(found: T | None) -> T:
    """What was looked up, and has to exist."""
    assert found is not None
    return found
