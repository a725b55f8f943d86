"""How `kontext explain` tells what happened more than once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kontext_cli.explain import counted
from kontext_cli.read.timeline import Step, seen

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("letters", "told"),
    [
        pytest.param("", "", id="nothing"),
        pytest.param("abc", "a1 b1 c1", id="once each"),
        pytest.param("abbbc", "a1 b3 c1", id="one step again"),
        pytest.param("dspspspq", "d1 s3 p3 q1", id="a probe and its answer again"),
        pytest.param("spsqsp", "s1 p1 s1 q1 s1 p1", id="something in between"),
    ],
)
def test_what_happens_again_at_once_is_counted(letters: str, told: str) -> None:
    steps = [Step(START + timedelta(seconds=n), letter) for n, letter in enumerate(letters)]

    story = counted(steps)

    assert " ".join(f"{step['what']}{step['times']}" for step in story) == told


def test_a_step_that_is_counted_tells_its_first_and_its_last_time() -> None:
    steps = [Step(START + timedelta(seconds=n), letter) for n, letter in enumerate("dspsp")]

    story = counted(steps)

    parked = story[-1]
    assert parked["after_seconds"] == 2.0
    assert (parked["at"], parked["last_at"]) == (START + timedelta(seconds=2), START + timedelta(seconds=4))


def test_a_workflow_that_gives_up_says_so() -> None:
    event = {"type": "TaskStateEntered", "stateEnteredEventDetails": {"name": "GiveUp", "input": "{}"}}

    assert seen(event) == "the workflow gives up delivering, and sees to it that this is told"


REFUSED = {"__type": "TooManyRequestsException", "message": "Rate Exceeded"}


@pytest.mark.parametrize(
    ("details", "told"),
    [
        pytest.param(
            {"error": "RuntimeError", "cause": json.dumps({"errorMessage": "no memory"})},
            "a function crashed, and is called again: no memory",
            id="a crash",
        ),
        pytest.param(
            {"error": "Lambda.TooManyRequestsException", "cause": "Rate Exceeded."},
            "Lambda had no room for a function, and calls it again",
            id="no room, as AWS says it",
        ),
        pytest.param(
            {"error": "Lambda.Unknown", "cause": json.dumps(REFUSED)},
            "Lambda had no room for a function, and calls it again",
            id="no room, as the embedded cloud says it",
        ),
    ],
)
def test_a_step_of_the_workflow_that_failed_says_what_came_of_it(details: dict[str, Any], told: str) -> None:
    assert seen({"type": "TaskFailed", "taskFailedEventDetails": details}) == told
