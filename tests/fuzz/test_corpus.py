"""What fuzzing has found stays found: every kept input is put to its target again."""

from __future__ import annotations

import pytest

from tests.fuzz import corpus
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_every_kept_input_is_dealt_with(target: str) -> None:
    inputs = corpus.read(target)

    for content in inputs:
        TARGETS[target](content)

    assert inputs
