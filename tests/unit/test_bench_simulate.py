"""The benchmark's own arithmetic, and the acceptance figures on a small scale."""

import json
from pathlib import Path

import numpy as np
import pytest
from segmind.v2 import DEFAULT_POLL_INTERVAL_S

from bench import costs, pollers, simulate
from bench.optimum import Frontier, best_poll_times, evaluate, frontier
from bench.workloads import DESCRIPTIONS, STATIONARY, Empirical, Floats, Renders, sample
from kontext.polling.durations import Durations
from kontext.polling.schedule import BREAK_EVEN_SECONDS, LONGEST_STAY_SECONDS, Progress, poll_times

ROOT = Path(__file__).parents[2]
NARROW = STATIONARY["cv0.2"]


@pytest.fixture(scope="module")
def limit() -> Frontier:
    return frontier(NARROW, NARROW.longest())


def renders(*times: float, queue: float = 0.0) -> Renders:
    return Renders(np.full(len(times), queue), np.array(times, dtype=float))


@pytest.mark.parametrize(("count", "lag"), [(3, 1.43), (4, 1.05), (6, 0.69)])
def test_the_optimum_has_the_figures_that_theory_gives(limit: Frontier, count: int, lag: float) -> None:
    assert limit.lag_at(count) == pytest.approx(lag, abs=0.01)


def test_no_poll_of_the_optimum_can_be_moved_to_advantage() -> None:
    best = best_poll_times(NARROW, NARROW.longest(), 0.2)

    def price(ages: Floats) -> float:
        return float(np.dot(evaluate(NARROW, ages), (0.2, 1)))

    for k in range(6):
        for step in (-0.15, 0.15):
            moved = best.copy()
            moved[k] += step
            assert price(moved) > price(best) - 1e-4


def test_a_sample_has_the_optimum_of_its_distribution(limit: Frontier) -> None:
    seen = Empirical(sample("cv0.2", 50_000, 3).total)

    assert frontier(seen, seen.longest()).lag_at(4) == pytest.approx(limit.lag_at(4), rel=0.02)


def test_the_schedule_of_a_well_known_distribution_is_the_independent_optimum() -> None:
    durations = pollers.learned(sample("cv0.2", 2000, 5))

    ages = poll_times(durations, Progress(), 0.2)

    assert ages[:5] == pytest.approx(best_poll_times(NARROW, NARROW.longest(), 0.2)[:5], abs=0.6)


@pytest.mark.parametrize("name", STATIONARY)
def test_after_200_renders_the_lag_is_within_15_percent_of_the_optimum(name: str) -> None:
    assert max(simulate.after_learning(name, seed=11, stacks=4)) < 1.15


def test_a_hundred_renders_after_a_jump_the_lag_is_near_the_optimum_again() -> None:
    ratios = simulate.after_jump(seed=11, stacks=2)

    assert max(ratios[100]) < 1.3 < min(ratios[0])


def test_the_default_setting_waits_less_than_a_second_with_fewer_than_five_polls_for_a_quarter_dollar() -> None:
    one = simulate.row(pollers.learning(sample("cv0.2", 3000, 1)), frontier(NARROW, NARROW.longest()))

    assert one.mean_lag_s < 1.0
    assert one.polls_per_render < 4.8
    assert one.usd_per_1000 < 0.25


def test_the_sdk_polls_at_once_and_then_every_second() -> None:
    played = pollers.sdk(sample("cv0.2", 20_000, 1))

    assert DEFAULT_POLL_INTERVAL_S == 1.0
    assert played.polls.mean() == pytest.approx(24.8, abs=0.1)
    assert played.lag.mean() == pytest.approx(0.5, abs=0.01)


def test_a_fixed_interval_pays_three_transitions_a_poll() -> None:
    played = pollers.every(10, renders(5, 10, 23))

    assert played.polls.tolist() == [1, 1, 3]
    assert played.lag.tolist() == [5, 0, 7]
    assert played.transitions.tolist() == [6, 6, 12]


def test_polls_at_fixed_ages_hand_back_only_for_long_gaps() -> None:
    played = pollers.at(np.array([10.0, 12.0, 70.0, 71.0]), renders(9, 11, 69.5))

    assert played.polls.tolist() == [1, 2, 3]
    assert played.lag.tolist() == [1, 1, 0.5]
    assert played.invocations.tolist() == [1, 1, 2]


def test_a_queued_render_is_found_soon_after_its_completion() -> None:
    known = pollers.learned(renders(*[20.0 + k % 3 for k in range(60)]))

    played = pollers.frozen(known, renders(21.0, queue=90.0))

    assert played.lag[0] < 8
    assert played.polls[0] < 15


def test_break_even_is_that_of_the_price_list() -> None:
    loop = costs.usd({"state_transition": costs.LOOP_TRANSITIONS})
    second = costs.usd({"lambda_gb_second": costs.MEMORY_GB["PollFunction"]})

    assert pytest.approx(loop / second) == BREAK_EVEN_SECONDS
    assert LONGEST_STAY_SECONDS < 900


def test_the_counted_transitions_are_those_of_the_workflow() -> None:
    states = json.loads((ROOT / "workflow.asl.json").read_text())["States"]
    way = ["WaitToPoll"]

    while way[-1] != "Delivered":
        state = states[way[-1]]
        ahead = [choice["Next"] for choice in state.get("Choices", [])] + [state.get("Next"), state.get("Default")]
        way.append(next(name for name in ahead if name and not name.startswith("Wait")))

    assert len(way) == costs.LOOP_TRANSITIONS + costs.END_TRANSITIONS


def test_a_workload_is_the_same_for_the_same_seed() -> None:
    for name in DESCRIPTIONS:
        assert np.array_equal(sample(name, 50, 4).total, sample(name, 50, 4).total)
        assert not np.array_equal(sample(name, 50, 4).total, sample(name, 50, 5).total)


def test_bursts_queue_and_leave_the_queue_in_turn() -> None:
    burst = sample("queueing", 2000, 1)

    assert (burst.queue[:4] == 0).all()
    assert burst.queue.mean() > 30


def test_the_report_has_the_promised_summary_text_and_plots() -> None:
    part = simulate.measure(seed=2, renders=60, stacks=1)

    assert set(part.summary["lag_over_optimum"]) == {*STATIONARY, "drift"}
    assert set(part.summary["sdk"]) == {"mean_lag_s", "polls_per_render"}
    assert {"mean_lag_s", "polls_per_render", "usd_per_1000"} <= set(part.summary)
    assert all(image.startswith(b"\x89PNG") for image in part.plots.values())
    assert all(f"({file})" in part.text for file in part.plots)
    json.dumps(part.figures)


def test_an_empty_history_has_a_schedule_too() -> None:
    assert pollers.path(Durations())[0] > 10
