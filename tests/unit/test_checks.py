"""What `kontext doctor` says of things that the embedded cloud does not have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kontext_cli import checks


class Account:
    """An AWS account that runs so many functions at once, as Lambda's client."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": {"UnreservedConcurrentExecutions": self.limit}}

    def get_function_concurrency(self, FunctionName: str) -> dict[str, Any]:  # noqa: N803  Lambda's own name
        return {}


@pytest.mark.parametrize(
    ("limit", "rate", "state"),
    [
        pytest.param(10, "5", "good", id="a new account on Segmind's free plan"),
        pytest.param(10, "50", "note", id="a new account on Segmind's Pro plan"),
        pytest.param(1000, "50", "good", id="an older account"),
    ],
)
def test_the_accounts_concurrency_is_compared_with_the_stacks_rate(limit: int, rate: str, state: str) -> None:
    patient: Any = SimpleNamespace(
        client=lambda service: Account(limit),
        ids={name: name for name in checks.FUNCTIONS},
        parameters={"RequestsPerMinute": rate},
        local=False,
    )

    (finding,) = checks.functions(patient)

    assert finding.state == state
