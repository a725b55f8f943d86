"""When to poll: properties that hold for every history, progress and cost of a poll."""

import math
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kontext.polling.durations import Durations
from kontext.polling.schedule import (
    BREAK_EVEN_SECONDS,
    LONGEST_STAY_SECONDS,
    Progress,
    poll_times,
    sleeps_in_place,
    wait_seconds,
)

DEADLINE = 3540.0
History = list[tuple[float, float]]
"""Of renders that are over: seconds in the queue, and of inference."""
Answers = list[tuple[str, float]]
"""Statuses, each so many seconds after the one before."""

times = st.floats(0.1, 3600)
histories = st.lists(st.tuples(st.one_of(st.just(0.0), times), times), max_size=40)
statuses = st.lists(
    st.tuples(st.sampled_from(["QUEUED", "PROCESSING", "COMPLETED", "?", ""]), st.floats(0.01, 900)), max_size=6
)


def learned(history: History) -> Durations:
    durations = Durations()
    for k, (queue, inference) in enumerate(history):
        durations = durations.observe(f"render-{k}", 1.7e9 + k, queue, inference)
    return durations


def after(answers: Answers) -> Progress:
    progress = Progress()
    for status, gap in answers:
        progress = progress.seen(status, progress.age + gap)
    return progress


def steady(seconds: float = 20.0, count: int = 60) -> Durations:
    return learned([(0.0, seconds * math.exp(0.2 * math.sin(2.4 * k))) for k in range(count)])


@settings(max_examples=150)
@given(history=histories, answers=statuses, poll_cost=st.floats(0.01, 100))
def test_every_schedule_rises_from_the_present_to_the_deadline_in_a_bounded_number_of_looks(
    history: History, answers: Answers, poll_cost: float
) -> None:
    progress = after(answers)

    ages = poll_times(learned(history), progress, poll_cost, DEADLINE)

    if progress.age >= DEADLINE:
        assert ages == ()
    else:
        gaps = [later - sooner for sooner, later in pairwise((progress.age, *ages))]
        assert all(map(math.isfinite, ages))
        assert all(gap > 0.19 for gap in gaps[:-1])
        assert gaps[-1] > 0
        assert ages[-1] == DEADLINE
        assert len(ages) < 500


@settings(max_examples=100)
@given(history=histories, answers=statuses)
def test_at_the_default_poll_cost_no_job_is_ever_looked_at_more_than_two_hundred_times(
    history: History, answers: Answers
) -> None:
    ages = poll_times(learned(history), after(answers))

    assert len(ages) < 200


def test_a_new_stack_begins_to_look_before_the_mean_that_segmind_publishes() -> None:
    ages = poll_times(Durations(), Progress())

    assert 12 < ages[0] < 18


def test_looks_crowd_where_completions_do() -> None:
    ages = poll_times(steady(20.0), Progress())

    assert 14 < ages[0] < 18
    assert max(later - sooner for sooner, later in pairwise(age for age in ages if age < 26)) < 2.5


def test_a_job_that_outlives_all_others_is_looked_at_ever_more_slowly() -> None:
    ages = [age for age in poll_times(steady(20.0), Progress()) if 45 < age < 0.7 * DEADLINE]

    gaps = [later - sooner for sooner, later in pairwise(ages)]

    assert gaps[-1] > 10 * gaps[0]
    assert all(later > 0.9 * sooner for sooner, later in pairwise(gaps))
    assert len(gaps) < 40


def test_a_dearer_look_means_fewer_of_them() -> None:
    counts = [len([age for age in poll_times(steady(), Progress(), cost) if age < 40]) for cost in (0.05, 0.2, 0.8, 3)]

    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 2 * counts[-1]


def test_a_queued_job_starts_its_clock_when_it_leaves_the_queue() -> None:
    durations = steady(20.0)

    queued = poll_times(durations, Progress().seen("QUEUED", 100.0))
    started = poll_times(durations, Progress().seen("QUEUED", 100.0).seen("PROCESSING", 102.0))

    assert queued[0] > 114
    assert 114 < started[0] < 120


def test_a_queue_like_those_before_is_waited_out_with_few_looks() -> None:
    durations = learned([(200.0 + k % 5, 20.0 + k % 3) for k in range(60)])

    ages = poll_times(durations, Progress().seen("QUEUED", 15.0))

    assert len([age for age in ages if age < 205]) < 12
    assert len([age for age in ages if 205 < age < 235]) > 6


def test_a_job_seen_processing_at_the_first_look_keeps_its_schedule() -> None:
    durations = steady(20.0)
    planned = poll_times(durations, Progress())

    again = poll_times(durations, Progress().seen("PROCESSING", planned[0]))

    assert again[0] == pytest.approx(planned[1], abs=0.5)


def test_a_job_that_goes_back_to_the_queue_starts_again() -> None:
    progress = Progress().seen("PROCESSING", 20.0).seen("QUEUED", 22.0)

    assert progress == Progress(age=22.0, queued_until=22.0)


@pytest.mark.parametrize("status", ["", "COMPLETED", "WARMING_UP"])
def test_an_unknown_status_tells_nothing_but_the_time(status: str) -> None:
    before = Progress().seen("QUEUED", 5.0).seen("PROCESSING", 9.0)

    assert before.seen(status, 12.0) == Progress(age=12.0, queued_until=5.0, started_by=9.0)


def test_the_workflow_waits_whole_seconds_and_leaves_the_rest_to_poll() -> None:
    assert wait_seconds(18.4) == 17


@pytest.mark.parametrize("until_poll", [0.2, -3.0], ids=["soon", "past"])
def test_the_workflow_does_not_wait_for_a_poll_that_is_near(until_poll: float) -> None:
    assert wait_seconds(until_poll) == 0


def test_poll_sleeps_only_while_that_is_cheaper_than_a_loop_of_the_workflow() -> None:
    assert sleeps_in_place(BREAK_EVEN_SECONDS, stayed=BREAK_EVEN_SECONDS)
    assert not sleeps_in_place(BREAK_EVEN_SECONDS + 0.1, stayed=BREAK_EVEN_SECONDS + 0.1)
    assert not sleeps_in_place(1.0, stayed=LONGEST_STAY_SECONDS + 0.1)


def test_a_schedule_takes_few_steps() -> None:
    durations, calls = learned([(k % 7, 10 + k % 23) for k in range(400)]), 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    poll_times(durations, Progress().seen("QUEUED", 3.0))
    sys.setprofile(None)

    assert 1000 < calls < 40_000


def test_the_schedule_needs_no_module_that_is_slow_to_import() -> None:
    code = "import sys; before = set(sys.modules); import kontext.polling.schedule; print(*set(sys.modules) - before)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"boto3", "httpx", "numpy", "decimal", "statistics", "asyncio"} & set(run.stdout.split())
