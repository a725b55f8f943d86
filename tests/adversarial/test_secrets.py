"""The search for secrets finds them, wherever and however they stand."""

from __future__ import annotations

import pytest

from tests.adversarial.secrets import found

KEY, PROMPT = "SG_0123456789abcdef", "A very private prompt."


@pytest.mark.parametrize(
    ("place", "text"),
    [
        pytest.param("the table", "{'error': 'the key SG_0123456789abcdef'}", id="the key"),
        pytest.param("an event", "https://b.example/1.png?X-Amz-Signature=0a1b", id="a signature"),
        pytest.param("a metric", "https%3A%2F%2Fb.example%3Fx-amz-signature%3D0a1b", id="a signature in another form"),
        pytest.param("a queue", "X-Amz-Security-Token=IQoJ", id="a session"),
        pytest.param("a log", '{"level": "INFO", "message": "A very private prompt."}', id="a prompt in a log"),
    ],
)
def test_a_secret_is_found(place: str, text: str) -> None:
    (words,) = found({"elsewhere": lambda: ["nothing"], place: lambda: ["x" * 500, text]}, KEY, PROMPT)

    assert words.startswith(place)


def test_what_is_no_secret_is_not_found() -> None:
    places = {
        "the table": lambda: ["a render keeps its prompt: A very private prompt."],
        "a log": lambda: ["X-Amz-Signature=…", "X-Amz-Expires=3600", "SG_…"],
    }

    assert list(found(places, KEY, PROMPT)) == []
