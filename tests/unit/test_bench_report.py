"""What the benchmark makes of its figures: parts, promises, memory; and that calls per pair do not grow unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import calls, limits, memory, report
from bench.costs import PRICES
from bench.memory import Work
from bench.part import Part

MEASURED = json.loads((Path(report.__file__).parent / "report.json").read_text())["summary"]


def test_a_part_joins_the_report_beside_the_others(tmp_path: Path) -> None:
    report.write(tmp_path, "layer", Part({"layer_zip_mb": 2.0}, {"files": 9}, "## Layer"))
    report.write(tmp_path, "simulate", Part({"mean_lag_s": 0.9} | POLLS, {}, "## Polls", {"a.png": b"png"}))

    written = json.loads((tmp_path / "report.json").read_text())
    text = (tmp_path / "report.md").read_text()
    assert written["summary"] == {"layer_zip_mb": 2.0, "mean_lag_s": 0.9} | POLLS
    assert text.index("## Polls") < text.index("## Layer") < text.index("## Measured where")
    assert (tmp_path / "a.png").read_bytes() == b"png"


POLLS = {"polls_per_render": 4.5, "usd_per_1000": 0.2}


def test_everything_is_measured_unless_parts_are_named() -> None:
    parse = report._parser().parse_args

    assert parse([]).parts == list(report.MEASURES)
    assert parse(["layer", "cloud"]).parts == ["layer", "cloud"]


def test_a_part_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        report.main(["clouds"])

    assert "clouds is none of simulate, cloud" in capsys.readouterr().err


def test_a_promise_that_is_broken_is_seen() -> None:
    summary = {"layer_zip_mb": 3.1, "calls_per_pair": {"10": 28.0, "1000": 40.0}}

    assert [one.kept for one in limits.promises(summary)] == [False, False]
    assert limits.text(summary).count("**no**") == limits.table(summary).count("NO ") == 2


def test_a_whole_report_keeps_every_promise() -> None:
    promises = list(limits.promises(MEASURED))

    assert len(promises) == 16
    assert [one.what for one in promises if not one.kept] == []


def test_computing_costs_the_same_at_every_size_and_waiting_does_not() -> None:
    computing, waiting = Work(waits=0, computes=1.0), Work(waits=1.0, computes=0)

    assert computing.usd_per_1000(128) == pytest.approx(computing.usd_per_1000(1769))
    assert waiting.usd_per_1000(1024) == pytest.approx(1000 * PRICES["lambda_gb_second"])
    assert computing.seconds(884.5) == 2.0
    assert computing.seconds(3538) == 1.0  # a second processor is no use to one thread


def test_without_figures_of_the_functions_nothing_is_said_of_memory() -> None:
    assert memory.text({"calls": {}}) == ""


def test_a_pair_takes_no_more_calls_than_when_they_were_counted_and_many_take_no_more_than_few() -> None:
    few, many = (sum(calls.play(count, every=1.3, seed=1).aws.values()) for count in (10, 60))

    assert many <= 1.02 * few
    assert few <= 1.05 * MEASURED["calls_per_pair"]["10"]
