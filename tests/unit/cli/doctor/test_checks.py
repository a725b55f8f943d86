"""What `kontext doctor` says of things that the embedded cloud does not have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kontext_cli.doctor import checks


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
    inspection: Any = SimpleNamespace(
        client=lambda service: Account(limit),
        ids={name: name for name in checks.FUNCTIONS},
        parameters={"RequestsPerMinute": rate},
        local=False,
    )

    (finding,) = checks.functions(inspection)

    assert finding.state == state


class Formation:
    """CloudFormation, as the client of a stack whose resources are compared for ever, or are as they were made."""

    def __init__(self, detection: str) -> None:
        self.detection = detection

    def detect_stack_drift(self, StackName: str) -> dict[str, str]:  # noqa: N803  CloudFormation's own name
        return {"StackDriftDetectionId": "1"}

    def describe_stack_drift_detection_status(self, StackDriftDetectionId: str) -> dict[str, str]:  # noqa: N803
        return {"DetectionStatus": self.detection, "StackDriftStatus": "IN_SYNC"}


@pytest.mark.parametrize(
    ("status", "state", "remedy"),
    [
        pytest.param("UPDATE_IN_PROGRESS", "note", "Look again when it is done.", id="under way"),
        pytest.param("UPDATE_ROLLBACK_COMPLETE", "wrong", "run `sam deploy` again", id="rolled back"),
        pytest.param("CREATE_FAILED", "wrong", "run `sam deploy` again", id="failed"),
        pytest.param("UPDATE_COMPLETE", "good", "", id="deployed again"),
    ],
)
def test_a_deployment_is_looked_at(status: str, state: str, remedy: str) -> None:
    inspection: Any = SimpleNamespace(description={"StackStatus": status}, target=named("kontext-drop"))

    (finding,) = checks.stack(inspection)

    assert (finding.state, remedy in str(finding.remedy or "")) == (state, True)


def test_a_comparison_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "DRIFT_SECONDS", 0.0)
    formations = iter([Formation("DETECTION_IN_PROGRESS"), Formation("DETECTION_COMPLETE")])
    inspection: Any = SimpleNamespace(client=lambda service: next(formations), target=named("kontext-drop"))

    (first,), (later,) = checks.drift(inspection), checks.drift(inspection)

    assert (first.state, first.remedy) == ("note", "Look at the stack's drift page later.")
    assert later.state == "good"


def named(name: str) -> Any:
    """A target, by its stack's name."""
    return SimpleNamespace(name=name)
