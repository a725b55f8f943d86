"""The figures that are written down are those that were measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import figures
from bench.costs import AROUND, MEMORY_GB

Json = dict[str, Any]

ESTIMATED = {"log_gb", "lambda_gb_second"}


@pytest.fixture(scope="session")
def report(root: Path) -> Json:
    """The figures, for machines."""
    figures: Json = json.loads((root / "bench" / "report.json").read_text())
    return figures


def test_every_marked_figure_is_the_measured_one(report: Json) -> None:
    stated = {path: path.read_text() for path in figures.texts()}

    assert any(figures.MARKED.search(text) for text in stated.values())
    assert {path: figures.renewed(text, report["summary"]) for path, text in stated.items()} == stated


@pytest.mark.parametrize(
    ("said", "measured", "renewed"), [("0.93", 0.9362, "0.94"), ("6", 5.6, "6"), ("1.0", 28_222.31, "28,222.3")]
)
def test_a_figure_is_renewed_with_the_digits_that_it_shows(said: str, measured: float, renewed: str) -> None:
    text = "It takes <!-- bench:sdk/lag -->{}<!-- --> s."

    assert figures.renewed(text.format(said), {"sdk": {"lag": measured}}) == text.format(renewed)


def test_a_figure_that_was_never_measured_is_refused() -> None:
    with pytest.raises(KeyError):
        figures.renewed("<!-- bench:wished -->1<!-- -->", {})


def test_what_surrounds_the_looking_is_priced_as_it_was_counted(report: Json) -> None:
    runs = report["parts"]["calls"]["steady"]
    counted = runs[max(runs, key=int)]["billed"]

    assert counted.keys() == AROUND.keys() - {"log_gb"}
    assert {name: AROUND[name] for name in counted.keys() - ESTIMATED} == pytest.approx(
        {name: counted[name] for name in counted.keys() - ESTIMATED}, rel=0.1, abs=0.06
    )


def test_functions_are_priced_by_the_memory_that_they_have(functions: dict[str, Json]) -> None:
    assert {name: one["MemorySize"] / 1024 for name, one in functions.items()} == MEMORY_GB


def test_the_summary_answers_everything_that_it_is_asked(report: Json) -> None:
    asked = {
        "lag_over_optimum", "mean_lag_s", "polls_per_render", "usd_per_1000", "sdk", "upload_to_post_p50_s",
        "completed_to_event_p50_s", "cold_start_over_floor", "layer_zip_mb", "finalize_rss_growth_mb", "calls_per_pair",
    }  # fmt: skip

    assert asked - report["summary"].keys() == set()
