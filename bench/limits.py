"""What is promised of the figures: each with the limit that it keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Summary = Mapping[str, Any]


class Promise(NamedTuple):
    """`measured` is to be at most `most`; both in `unit`."""

    what: str
    measured: float
    most: float
    unit: str = ""

    @property
    def kept(self) -> bool:
        """Whether the limit is kept."""
        return self.measured <= self.most


def promises(summary: Summary) -> Iterator[Promise]:
    """Every promise of which the summary has the figures."""
    for name, ratio in summary.get("lag_over_optimum", {}).items():
        after = "100 renders after a jump" if name == "drift" else "after 200 renders"
        yield Promise(f"lag ÷ the least possible, {name}, {after}", ratio, 1.3 if name == "drift" else 1.15)
    if "mean_lag_s" in summary:
        yield Promise("mean lag at the default setting, cv0.2", summary["mean_lag_s"], 1.0, "s")
        yield Promise("polls per render, cv0.2", summary["polls_per_render"], 4.8)
        yield Promise("AWS, everything counted, per 1,000 renders", summary["usd_per_1000"], 0.25, "USD")
    if "upload_to_post_p50_s" in summary:
        queue, lag = summary["plain_queue_p50_s"], summary["lag_p50_s"]
        name = f"second photograph → request to Segmind, p50 (0.5 s and the queue's own {queue:.2f} s)"
        yield Promise(name, summary["upload_to_post_p50_s"], 0.5 + queue, "s")
        name = f"completed at Segmind → event, p50 (0.5 s and the lag's {lag:.2f} s)"
        yield Promise(name, summary["completed_to_event_p50_s"], 0.5 + lag, "s")
    if "simulated_mean_lag_s" in summary:
        simulated = summary["simulated_mean_lag_s"]
        name = f"mean lag in real time (0.3 s and the simulation's {simulated:.2f} s for the same renders)"
        yield Promise(name, summary["real_mean_lag_s"], 0.3 + simulated, "s")
    if calls := summary.get("calls_per_pair"):
        few, many = (calls[count] for count in (min(calls, key=int), max(calls, key=int)))
        yield Promise(
            f"AWS requests per pair, of {int(max(calls, key=int)):,} pairs (of {min(calls, key=int)}: {few:.1f})",
            many,
            1.05 * few,
        )
    for name, ratio in summary.get("cold_start_over_floor", {}).items():
        yield Promise(f"cold start of {name} ÷ its packages alone", ratio, 1.25)
    if "finalize_rss_growth_mb" in summary:
        yield Promise("Finalize's memory, 60 MB against 1 MB", summary["finalize_rss_growth_mb"], 25, "MB")
    if "layer_zip_mb" in summary:
        yield Promise("dependency layer, zipped", summary["layer_zip_mb"], 3, "MB")


def text(summary: Summary) -> str:
    """The section of report.md."""
    rows = "\n".join(
        f"| {one.what} | {one.measured:.2f} {one.unit} | {one.most:.2f} {one.unit} "
        f"| {'yes' if one.kept else '**no**'} |"
        for one in promises(summary)
    )
    return f"## In short\n\n| | measured | at most | kept |\n|---|--:|--:|---|\n{rows}"


def table(summary: Summary) -> str:
    """The same, for a terminal."""
    return "\n".join(
        f"{'ok ' if one.kept else 'NO '} {one.measured:8.2f} {one.unit:3} (at most {one.most:.2f})  {one.what}"
        for one in promises(summary)
    )
