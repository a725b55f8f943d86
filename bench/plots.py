"""The report's plots, each as the bytes of a PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.optimum import Frontier
from bench.workloads import DESCRIPTIONS, Floats, Lognormals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.simulate import Row

_OURS, _BEST, _OTHER, _FAINT = "#d9480f", "#212529", "#4263eb", "#adb5bd"
_STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e9ecef",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Example:
    """A known distribution, the polls of a stack that has learned it, and the optimum's."""

    known: Lognormals
    learned: Floats
    best: Floats


def lag_and_polls(
    table: Mapping[str, Mapping[str, Row]],
    curves: Mapping[str, Frontier],
    trade_off: Mapping[str, Sequence[tuple[float, float]]],
) -> bytes:
    """Lag against polls: the limit, the pipeline along its trade-off, and everybody else."""
    names = [name for name in curves if name != "drift"]
    figure, grid = _figure(11, 8.2, 2, 2)
    for axes, name in zip(grid.flat, names, strict=True):
        axes.plot(curves[name].polls, curves[name].lag, color=_BEST, lw=1.5, label="optimum, distribution known")
        if name in trade_off:
            axes.plot(
                *np.array(trade_off[name]).T,
                "o-",
                color=_OURS,
                ms=3,
                lw=1,
                alpha=0.6,
                label="after 200 renders, other poll costs",
            )
        _points(axes, table[name])
        _log_axes(axes)
        axes.set(title=_title(name), xlabel="polls per render", ylabel="mean lag, s")
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    grid.flat[-1].annotate(
        "the optimum here knows no status;\nthe pipeline restarts the clock\nwhen a render leaves the queue",
        (0.03, 0.05),
        xycoords="axes fraction",
        color=_BEST,
    )
    return _png(figure)


def _points(axes: Any, rows: Mapping[str, Row]) -> None:
    ours = rows["this pipeline"]
    axes.plot(
        ours.polls_per_render,
        ours.mean_lag_s,
        "*",
        ms=17,
        color=_OURS,
        label="this pipeline, default setting",
        zorder=5,
        mec="white",
    )
    for way, one in rows.items():
        if way.startswith(("workflow", "SDK")):
            label = "SDK" if way.startswith("SDK") else way.removeprefix("workflow every ")
            axes.plot(
                one.polls_per_render, one.mean_lag_s, "s" if label == "SDK" else "o", ms=7, color=_OTHER, mec="white"
            )
            offset = (8, 6) if label != "SDK" else (8, -12)
            axes.annotate(
                label, (one.polls_per_render, one.mean_lag_s), offset, textcoords="offset points", color=_OTHER
            )
    axes.plot([], [], "o", color=_OTHER, mec="white", label="workflow, fixed interval; SDK wait()")


def schedules(examples: Mapping[str, Example]) -> bytes:
    """The densities, with the polls of the pipeline above the optimum's."""
    figure, grid = _figure(13, 3.4, 1, len(examples))
    for axes, (name, example) in zip(grid.flat, examples.items(), strict=True):
        ages = np.linspace(0.5, example.known.longest(), 2000)
        ages = ages[example.known.cdf(ages) < 0.985]
        density = np.gradient(example.known.cdf(ages), ages)
        highest = np.max(density)
        axes.fill_between(ages, density, color=_FAINT, alpha=0.5, lw=0)
        for polls, colour, low in ((example.learned, _OURS, 0.55), (example.best, _BEST, 0.02)):
            axes.vlines(polls, low * highest, (low + 0.4) * highest, color=colour, lw=1.3)
        axes.set(xlim=(0, ages[-1]), title=_title(name), xlabel="age of the render, s", yticks=[])
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
    handles = [
        grid.flat[0].plot([], [], color=c, label=t)[0]
        for c, t in ((_OURS, "polls after 200 renders"), (_BEST, "optimum"))
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2)
    return _png(figure)


def drift(jump: Mapping[int, Sequence[float]]) -> bytes:
    """How fast the schedule forgets: lag over the optimum after a jump from 20 to 35 seconds."""
    figure, grid = _figure(7.5, 3.8, 1, 1)
    axes = grid.flat[0]
    after = list(jump)
    low, mean, high = (np.array([f(jump[k]) for k in after]) for f in (min, np.mean, max))
    axes.fill_between(after, low, high, color=_OURS, alpha=0.2, lw=0, label="all stacks")
    axes.plot(after, mean, "o-", color=_OURS, ms=4, label="mean")
    axes.hlines(1.3, 0, after[-1], color=_OTHER, ls="--", lw=1.2)
    axes.annotate(
        "1.3 after 100 renders at the latest",
        (after[-1], 1.3),
        (0, 5),
        textcoords="offset points",
        color=_OTHER,
        ha="right",
    )
    axes.hlines(1.0, 0, after[-1], color=_BEST, lw=1.2)
    axes.set(
        title="Renders jump from 20 to 35 s",
        xlabel="renders since the jump",
        ylabel="lag ÷ optimum at the same polls",
        ylim=(0.9, None),
    )
    axes.legend(loc="upper right")
    return _png(figure)


def cost(bill: Mapping[str, Mapping[str, float]]) -> bytes:
    """USD per 1,000 renders, by kind of cost."""
    figure, grid = _figure(7.5, 3.6, 1, 1)
    axes = grid.flat[0]
    ways = list(bill)[::-1]
    left = np.zeros(len(ways))
    for kind, colour in zip(next(iter(bill.values())), (_OTHER, _OURS, _FAINT), strict=True):
        width = np.array([bill[way][kind] for way in ways])
        axes.barh(ways, width, left=left, color=colour, label=kind, height=0.65)
        left += width
    for k, total in enumerate(left):
        axes.annotate(f"{total:.2f}", (total, k), (5, -3), textcoords="offset points")
    axes.grid(visible=False, axis="y")
    axes.set(title="AWS cost of 1,000 renders (cv0.2), USD", xlim=(0, np.max(left) * 1.1))
    axes.legend(loc="lower right")
    return _png(figure)


def _figure(width: float, height: float, rows: int, columns: int) -> tuple[Figure, Any]:
    import matplotlib as mpl  # half a second, which whoever draws nothing need not wait
    from matplotlib.figure import Figure

    mpl.rcParams.update(_STYLE)
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _title(name: str) -> str:
    return DESCRIPTIONS[name].split(", inference")[0]


def _log_axes(axes: Any) -> None:
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    axes.set(xscale="log", yscale="log")
    for axis, ticks in ((axes.xaxis, [1, 2, 5, 10, 20, 50, 100]), (axes.yaxis, [0.2, 0.5, 1, 2, 5, 10, 20])):
        axis.set_ticks(ticks)
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()
