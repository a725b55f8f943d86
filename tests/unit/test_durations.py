"""What is learned from past renders: bounded, quick to follow a change, deaf to garbage."""

import math
import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kontext.polling.durations import SLOTS, Durations, Observation
from kontext.polling.schedule import DEADLINE, Progress, poll_times


def learned(times: Iterable[float], durations: Durations | None = None, start: int = 0) -> Durations:
    durations = durations or Durations()
    for k, inference in enumerate(times, start):
        durations = durations.observe(f"render-{k}", 1.7e9 + k, 0.0, inference)
    return durations


def lognormal(mean: float, count: int, seed: int = 1, sigma: float = 0.198) -> list[float]:
    source = random.Random(seed)
    return [mean * math.exp(source.gauss(-(sigma**2) / 2, sigma)) for _ in range(count)]


def mean(durations: Durations) -> float:
    seen = list(durations.weighted())
    return sum(inference * weight for _, inference, weight in seen) / sum(weight for _, _, weight in seen)


def written(render_id: str, *seconds: float) -> tuple[str, str]:
    """What is set of a render that is worth a write."""
    cell = Durations.cell(render_id, *seconds)
    assert cell
    return cell


def test_an_empty_history_is_the_prior() -> None:
    assert mean(Durations.from_item(None)) == pytest.approx(23.32, rel=0.02)


def test_a_handful_of_renders_outweighs_the_prior() -> None:
    assert mean(learned([60.0] * 10)) > 54


def test_what_finalize_sets_is_what_submit_reads() -> None:
    name, cell = written("render", 1733333333.4, 1.26, 23.456)

    durations = Durations.from_item({"pk": "sketch", name: cell})

    assert cell == "1733333333 1.3 23.46"
    assert (1.3, 23.46, 1.0) in list(durations.weighted())


def test_a_repeated_delivery_changes_nothing() -> None:
    once = learned([20.0, 21.0])

    assert once.observe("render-1", 1.7e9 + 1, 0.0, 21.0) == once


def test_concurrent_writers_meet_in_any_order() -> None:
    cells = [written(f"render-{k}", 1.7e9 + k, 0.0, 20.0 + k) for k in range(5)]

    forwards, backwards = Durations.from_item(dict(cells)), Durations.from_item(dict(reversed(cells)))

    assert list(forwards.weighted()) == list(backwards.weighted())


def test_the_item_stays_below_eight_kilobytes() -> None:
    durations = Durations()
    for k in range(3000):
        durations = durations.observe(f"render-{k}", 1.7e9 + k, 3600.0, 3599.99)

    assert len(durations.cells) == SLOTS
    assert sum(len(name) + len(cell) for name, cell in durations.cells.items()) < 8000


def test_a_jump_is_followed_within_twenty_renders() -> None:
    before = learned(lognormal(20, 400))

    after = learned(lognormal(35, 20, seed=2), before, start=400)

    assert mean(before) == pytest.approx(20, rel=0.05)
    assert mean(after) == pytest.approx(35, rel=0.1)


def test_a_steady_pace_uses_every_render_that_is_kept() -> None:
    durations = learned(lognormal(20, 400))

    assert len(list(durations.weighted())) == len(durations.cells) + 12


def test_a_slow_one_now_and_then_is_not_a_change_of_pace() -> None:
    durations = learned([60.0 if k % 5 == 0 else 20.0 for k in range(200)])

    assert {60.0, 20.0} <= {inference for _, inference, weight in durations.weighted() if weight == 1}


def test_renders_that_all_take_the_same_time_are_all_kept() -> None:
    assert len(list(learned([2.0] * 200).weighted())) > 100


@pytest.mark.parametrize(
    "values",
    [
        pytest.param((1.7e9, 0, math.nan), id="not a number"),
        pytest.param((1.7e9, 0, math.inf), id="for ever"),
        pytest.param((1.7e9, 0, -1), id="before it began"),
        pytest.param((1.7e9, -1, 20), id="negative queue"),
        pytest.param((math.inf, 0, 20), id="finished never"),
        pytest.param((1.7e9, 0, 1e300), id="longer than a record lives"),
        pytest.param((1.7e9, 0, "soon"), id="words"),
        pytest.param((1.7e9, None, 20), id="missing"),
        pytest.param((1.7e9, 0, True), id="a truth"),
        pytest.param((1.7e9, 0, [20]), id="a list"),
        pytest.param((1.7e9, 0, 0), id="in no time"),
        pytest.param((1.7e9, 0, "9" * 5000), id="a very long number"),
    ],
)
def test_garbage_is_neither_written_nor_learned(values: tuple[Any, Any, Any]) -> None:
    durations = Durations()

    assert Durations.cell("render", *values) is None
    assert durations.observe("render", *values) is durations


anything = st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.binary(), st.lists, max_leaves=4)


@settings(deadline=None)
@given(item=st.dictionaries(st.text() | st.from_regex("s[0-9a-f]{2}", fullmatch=True), anything, max_size=8))
def test_an_item_full_of_garbage_still_gives_a_schedule(item: dict[str, Any]) -> None:
    durations = Durations.from_item(item)

    assert poll_times(durations, Progress())[-1] == DEADLINE


@given(values=st.lists(anything, max_size=5))
def test_no_value_whatever_breaks_the_reader(values: list[Any]) -> None:
    seen = Observation.read(*values)

    assert seen is None or 0.1 <= seen.inference <= 3600
