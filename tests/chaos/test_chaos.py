"""A slice of `make chaos`: every story, some of all that can go wrong in it, some seeds, some deliberate mistakes."""

from __future__ import annotations

from cProfile import Profile
from pstats import Stats
from random import Random
from typing import cast

import pytest

from simulation.bursts import Burst, at_once, burst, late, rough
from simulation.evidence import Evidence
from simulation.explore import PROMISED, Outcome, broken, fragile_faults, named, next_faults, play
from simulation.fault_injection import CRASHES, Fault
from simulation.liveness import LIVENESS
from simulation.scheduler import BEGINNING
from simulation.seeds import schedule
from simulation.stories import MISSING, STORIES
from simulation.stories.story import Story
from simulation.world import PAUSE_SECONDS, World
from tests.chaos import mutants
from tests.chaos.catalogue import AREAS, MUTANTS

SEEDS = range(10_000, 10_020)
THINNED = 7
FAULTY = [name for name, one in STORIES.items() if not one.large][::THINNED]
"""The stories that are played with faults, too: one of so many. `make chaos` plays all of them. Many stories come in
twos and threes, so that the step is no multiple of these: each kind is among them."""
AWS = ("s3", "dynamodb", "sqs", "sns", "stepfunctions", "secretsmanager")


@pytest.mark.parametrize("story", [name for name in STORIES if name not in FAULTY])
def test_a_story_keeps_the_promises(story: str) -> None:
    outcome = play(STORIES[story])

    assert outcome.violations == ()
    assert _out_of_reach(outcome) == []


@pytest.mark.parametrize("story", FAULTY)
def test_a_story_keeps_the_promises_whatever_goes_wrong_in_it(story: str) -> None:
    usual = play(STORIES[story])
    faults = list(next_faults(usual))

    struck = play(STORIES[story], Random(story).choice(faults))

    assert {one.again: one.violations for one in (usual, struck) if one.violations} == {}
    assert _out_of_reach(usual) == []


def _out_of_reach(outcome: Outcome) -> list[str]:
    """What is known to break a story, and cannot strike it any more."""
    return [known for known, faults in fragile_faults(outcome).items() if not faults]


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(one, id=one.name, marks=pytest.mark.xfail(strict=True, reason=one.missing))
        for one in MISSING.values()
        if not one.large
    ],
)
def test_a_story_keeps_the_promises_once_nothing_is_missing(story: Story) -> None:
    assert play(story).violations == ()


def test_a_pair_survives_a_crash_at_every_call() -> None:
    crashes = [fault for fault in next_faults(play(STORIES["pair"])) if fault.kind in CRASHES]

    outcomes = [play(STORIES["pair"], crash) for crash in crashes]

    assert len(crashes) > 60
    assert {one.again: one.violations for one in outcomes if one.violations} == {}


def test_a_pair_survives_a_pause_at_every_call() -> None:
    calls = range(len(play(STORIES["pair"]).world.injector.calls))

    outcomes = [play(STORIES["pair"], Fault(number, "pause")) for number in calls]

    assert {one.again: one.violations for one in outcomes if one.violations} == {}
    assert any(one.world.vendor.ledger.posts[0].at > BEGINNING + PAUSE_SECONDS for one in outcomes)


def test_a_pair_survives_the_loss_of_everything_at_every_call() -> None:
    calls = range(len(play(STORIES["pair"]).world.injector.calls))

    outcomes = [play(STORIES["pair"], Fault(number, "everything lost")) for number in calls]

    assert {one.again: one.violations for one in outcomes if one.violations} == {}
    assert ["ABORTED", "SUCCEEDED"] in [[one.status for one in seen.world.executions.all] for seen in outcomes]


def test_an_outage_to_sixty_pairs_asks_for_five_decisions_and_ten_requests_an_hour() -> None:
    world = play(STORIES["504 to 60 pairs for an hour, then 502 for an hour, and every job is taken"]).world

    histories = [render["history"] for render in Evidence(world, {}).renders]
    uncertain = [history for history in histories if any(entry["what"] == "uncertain" for entry in history)]
    tried = sorted(post.at for post in world.vendor.ledger.posts if post.status in (502, 504))
    assert (len(histories), len(uncertain)) == (60, 5)
    assert all(eleventh - first > 3600 for first, eleventh in zip(tried, tried[10:], strict=False))
    assert sum(post.status == 200 for post in world.vendor.ledger.posts) == 55


@pytest.mark.parametrize("seed", SEEDS)
def test_many_pairs_keep_the_promises_whatever_chance_brings(seed: int) -> None:
    outcome = play(schedule(seed))

    assert outcome.violations == (), outcome.again


def test_a_pair_that_is_refused_alone_after_a_server_error_holds_the_others_up_for_minutes_only() -> None:
    world = play(STORIES["500, and then 403 to one pair alone, among sixty"]).world

    taken = [post.at - BEGINNING for post in world.vendor.ledger.posts if post.status == 200]
    assert len(taken) == 62
    assert taken[59] < 800


@pytest.mark.parametrize("mutant", [pytest.param(one, id=one.name) for one in MUTANTS[:2]])
def test_a_deliberate_mistake_is_found(mutant: mutants.Mutant) -> None:
    assert mutants.catch(mutant) is not None


@pytest.mark.parametrize("mutant", [pytest.param(one, id=one.name) for one in MUTANTS[2:]])
def test_every_other_mistake_still_fits_the_code(mutant: mutants.Mutant) -> None:
    sources = {file: (mutants.ROOT / file).read_text() for file, _, _ in mutant.changes}

    assert [old for file, old, _ in mutant.changes if old not in sources[file]] == []


@pytest.mark.parametrize("area", AREAS)
def test_each_area_has_its_mistakes(area: str) -> None:
    assert len(AREAS[area]) >= 2


def test_a_mistake_is_looked_for_in_stories_that_keep_their_promises() -> None:
    assert {story for mutant in MUTANTS for story in mutant.stories} <= set(STORIES)


@pytest.fixture(scope="module")
def bursts() -> tuple[Burst, Burst]:
    """Few pairs, and many: both dropped all at once."""
    return burst(10), burst(100)


def test_a_pair_among_many_costs_no_more_calls_than_one_among_few(bursts: tuple[Burst, Burst]) -> None:
    few, many = (sum(one.calls[service] for service in AWS) / one.pairs for one in bursts)

    assert many < 1.1 * few


def test_many_pairs_take_as_long_as_the_rate_allows_and_never_meet_a_429(bursts: tuple[Burst, Burst]) -> None:
    _, many = bursts

    assert many.violations == ()
    assert many.refused == 0
    assert many.used > 0.97


def test_to_check_the_promises_takes_four_times_as_long_for_four_times_as_many_pairs() -> None:
    few, many = (_calls_of_a_check(pairs) for pairs in (20, 80))

    assert many < 1.1 * 4 * few


def _calls_of_a_check(pairs: int) -> int:
    """How many functions are called to check a burst: on any machine the same."""
    seen = Evidence(World(at_once(pairs)).run(), {})
    with Profile() as profile:
        assert broken((*PROMISED, *LIVENESS), seen) == ()
    return cast("int", vars(Stats(profile))["total_calls"])


def test_on_a_bad_day_the_slots_are_used_in_order_and_none_meets_a_429() -> None:
    assert rough(200).violations == ()


@pytest.mark.parametrize("seconds", [6.0, 12.0], ids="{} s".format)
def test_a_crowd_goes_without_a_pause_though_each_request_takes_long(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulation.world._USUAL", {"segmind": seconds, "s3": 0.03})

    assert late(15).seconds < 12 * seconds


def test_a_crowd_that_waits_for_one_photograph_is_delivered_and_no_message_takes_long() -> None:
    crowd = late(100, per_minute=1000.0)

    assert crowd.violations == ()
    assert crowd.delivered == crowd.sent == 100
    assert 0 < crowd.longest < 20


def test_what_breaks_can_be_played_again_by_its_name() -> None:
    outcome = play(named("seed:7"), Fault(3, "crash after"))

    assert outcome.again == "make chaos RUN='--story seed:7 --fault 3=crash-after'"
    assert play(named("seed:7-0,2")).story.name == "seed:7-0,2"
