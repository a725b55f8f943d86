"""AWS in process, for every test that needs no network."""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator
from typing import cast

import hypothesis
import pytest

from simulation.template import Template
from tests.aws import Aws

# How long an example takes says more about what else runs on the machine.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

REGION = "us-east-1"

GROUPS = {
    "test_doctor_standstill": "test_doctor",
    "test_permissions": "test_gives_up",
    "test_an_alarm_rings[SweepSilentAlarm-no_sweep]": "test_gives_up",
    "test_killed_workers_lose_nothing_and_pay_nothing_twice": "promises that take minutes",
    "test_a_lost_answer_is_never_sent_again_until_a_person_decides": "promises that take minutes",
    "test_what_has_lost_its_message_or_its_execution_is_brought_on_and_paid_once": "promises that take minutes",
}
"""Modules and tests that share the stack of another group than their own, so that all groups take about as long."""
ANYWHERE = ("test_pipeline",)
"""Modules of whole stacks whose tests share the one stack of the run."""
FIRST = ("test_promises", "test_alarms", "test_gives_up", "test_drops", "test_local_cloud_cli", "test_console_live")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits longest, so that the run does not end with it, and keep together what shares a stack."""
    items.sort(key=_rank)
    for item in items:
        name = item.path.stem
        if _is_slow(item) and name not in ANYWHERE and "own_stack" not in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(GROUPS.get(item.name) or GROUPS.get(name, name)))


def pytest_collection_finish() -> None:
    """Let the garbage collector look no more through what has been loaded: it stays for the whole run."""
    gc.collect()
    gc.freeze()


def _is_slow(item: pytest.Item) -> bool:
    return item.path.parent.name in ("e2e", "browser")


def _rank(item: pytest.Item) -> int:
    name = item.path.stem
    if name in ANYWHERE:
        return len(FIRST) + 2
    return FIRST.index(name) if name in FIRST else len(FIRST) + (not _is_slow(item))


@pytest.fixture(scope="session")
def clients() -> Aws:
    """The client of each service, kept for the whole run: to make one takes longer than most tests."""
    import boto3
    import moto  # noqa: F401  has to be there before a client is

    return cast("Aws", functools.cache(boto3.session.Session("test", "test", region_name=REGION).client))


@pytest.fixture
def aws(clients: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """An empty AWS account in process: gives the client of a service."""
    from moto import mock_aws

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield clients


@pytest.fixture
def renders_table(aws: Aws) -> str:
    """The name of a table with the keys and the indexes of the Renders table."""
    aws("dynamodb").create_table(TableName="renders", **Template().table)
    return "renders"
