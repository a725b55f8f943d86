"""A table that is restored to an earlier moment, in the middle of renders, as `docs/operations.md` says to do it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from kontext.dynamodb import Table
from kontext.throttle.admission import Admit, Wait
from kontext.throttle.rate_limiter import Rate
from kontext.throttle.shared_state import state_in
from kontext.throttle.throttle import Throttle
from kontext_cli.decide.reconcile import Reconciliation
from kontext_cli.errors import CommandError
from simulation.actions import vendor
from simulation.decisions import Decide, PauseOrResume, Replay
from simulation.evidence import Evidence
from simulation.restoring import TABLE, Moment, Reconcile, Restore
from simulation.schedule import Action, Schedule, Step
from simulation.scheduler import BEGINNING
from simulation.stories.story import pair
from simulation.vendor import OTHERWISE
from simulation.world import World
from tests.aws import Aws

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import PointInTimeRecoverySpecificationTypeDef, TimeToLiveSpecificationTypeDef

Steps = list[tuple[float, Action]]
DROPPED = {
    "delivered/": 0.0,
    "at-segmind/": 100.0,
    "at-segmind-too/": 101.0,
    "in-line/": 102.0,
    "lost/": 200.0,
    "unknown/": 270.0,
    "unknown-too/": 271.0,
    "last/": 330.0,
    "not-sent/": 339.0,
}
"""When each pair is dropped. The table goes back to `MOMENT`; two renders go in a minute, the last one not at all."""
SAID = {"at-segmind/": OTHERWISE}
MOMENT, PAUSED, RESTORED = 105.0, 340.0, 345.0
PATIENT = {"RequestsPerMinute": "2"}


def drops() -> Steps:
    return [
        step for prefix, at in DROPPED.items() for step in pair(prefix, at, f"both in {prefix}{SAID.get(prefix, '')}")
    ]


def played(*then: tuple[float, Action], restored: float = RESTORED, **more: Any) -> World:
    """The world in which the answer about one pair is lost, after the table was restored and what was done `then`."""
    moment = Moment()
    steps: Steps = [
        *drops(),
        (0.0, vendor(prompt="both in lost/", accept=True, drop=True)),
        (MOMENT, moment),
        (PAUSED, PauseOrResume("pause")),
        (restored, Restore(moment)),
        *then,
    ]
    return World(Schedule(tuple(Step(*step) for step in steps), parameters=PATIENT, **more)).run()


def as_documented(restored: float = RESTORED) -> Steps:
    """The steps of `docs/operations.md`, from where the restored table is in its place."""
    return [
        (restored + 60, Replay()),
        (restored + 180, Reconcile()),
        (restored + 240, Decide("lost/", "request-id")),
        (restored + 300, PauseOrResume("resume")),
    ]


def paid(world: World) -> Counter[str]:
    """How many jobs Segmind has taken for each pair."""
    asked = (job.parameters.prompt for job in world.vendor.ledger.jobs.values())
    return Counter(prompt.removeprefix("both in ").removesuffix(OTHERWISE) for prompt in asked)


def ends(world: World) -> dict[str, str]:
    seen = Evidence(world, {})
    return {prefix: seen.end(prefix) for prefix in DROPPED}


def told(world: World) -> dict[str, set[str]]:
    """What was said of each pair's end."""
    events: list[dict[str, Any]] = [json.loads(message) for _, message, _ in world.topic.published]
    return {prefix: {event["type"] for event in events if event["subject"] == prefix} for prefix in DROPPED}


@pytest.mark.parametrize("minutes", [0, 200], ids=["while jobs are known", "hours later"])
def test_a_restored_table_pays_nothing_twice_and_loses_nothing(minutes: int) -> None:
    restored = RESTORED + 60 * minutes

    world = played(*as_documented(restored), restored=restored)

    assert paid(world) == dict.fromkeys(DROPPED, 1)
    assert world.problem is None
    # Segmind knows the job of an answer that was lost for an hour; later, a person has to give the picture's link.
    undecided = {"lost/": "UNCERTAIN"} if minutes else {}
    assert ends(world) == dict.fromkeys(DROPPED, "DELIVERED") | undecided
    for prefix in DROPPED.keys() - undecided:
        assert world.s3.newest("OutputBucket", f"{prefix}result.{'jpg' if prefix in SAID else 'png'}")
        assert "kontext.rendered" in told(world)[prefix]


@dataclass(frozen=True)
class AsGivenByItsLink:
    """A person had given the pictures' links: nothing in the bucket names the jobs that made them."""

    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        for versions in world.s3.buckets["OutputBucket"].values():
            for version in versions:
                version.metadata.pop("request-id", None)

    def __str__(self) -> str:
        return "the pictures in the output bucket name no job"


def test_pictures_that_a_person_gave_by_their_links_are_found_after_a_restore() -> None:
    hours_later = RESTORED + 200 * 60

    world = played((hours_later + 30, AsGivenByItsLink()), *as_documented(hours_later), restored=hours_later)

    assert paid(world) == dict.fromkeys(DROPPED, 1)
    assert ends(world) == dict.fromkeys(DROPPED, "DELIVERED") | {"lost/": "UNCERTAIN"}


def test_a_table_that_aws_has_restored_starts_paused(aws: Aws, renders_table: str) -> None:
    client, rate = aws("dynamodb"), Rate(60)
    client.update_continuous_backups(TableName=renders_table, PointInTimeRecoverySpecification=_RECOVERY)
    Throttle(Table(client, renders_table), rate).admit(1_800_000_000.0)
    client.restore_table_to_point_in_time(
        SourceTableName=renders_table, TargetTableName="restored", UseLatestRestorableTime=True
    )
    assert client.describe_table(TableName="restored")["Table"]["TableStatus"] == "ACTIVE"
    client.update_time_to_live(TableName="restored", TimeToLiveSpecification=_TIME_TO_LIVE)
    client.update_continuous_backups(TableName="restored", PointInTimeRecoverySpecification=_RECOVERY)

    restored, own = (Throttle(Table(client, name), rate) for name in ("restored", renders_table))

    assert restored.admit(1_800_000_060.0) == Wait("paused")
    assert own.admit(1_800_000_060.0) == Admit(1_800_000_060.0)


_RECOVERY: PointInTimeRecoverySpecificationTypeDef = {"PointInTimeRecoveryEnabled": True}
_TIME_TO_LIVE: TimeToLiveSpecificationTypeDef = {"Enabled": True, "AttributeName": "expires_at"}


def test_a_restored_table_pays_nothing_and_ends_nothing_before_somebody_resumes() -> None:
    world = played((RESTORED + 60, Replay()), rests_within=6 * 3600)

    assert [post.prompt for post in world.vendor.ledger.posts if post.at > BEGINNING + RESTORED] == []
    assert {ends(world)[prefix] for prefix in DROPPED if prefix != "delivered/"} == {"CLAIMED", "QUEUED"}
    assert [stop.reason for stop in [state_in(world.dynamodb.table(TABLE)).stopped] if stop] == ["paused"]


def test_who_resumes_too_early_is_told_to_reconcile_first_and_pays_nothing() -> None:
    world = played((RESTORED + 60, Replay()), (RESTORED + 180, PauseOrResume("resume")), rests_within=6 * 3600)

    with pytest.raises(CommandError, match="`kontext reconcile` comes first"):
        world.resume()

    assert [post.prompt for post in world.vendor.ledger.posts if post.at > BEGINNING + RESTORED] == []


def test_a_table_is_reconciled_once_and_then_there_is_nothing_to_do() -> None:
    world = played(*as_documented())

    said: list[Any] = []
    world.operate(lambda operator: said.extend(Reconciliation(operator).run()))
    world.go_on()

    assert said == []
