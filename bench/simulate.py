"""Polling in virtual time: polls, lag and dollars of each way to poll, on the same seeded workloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from bench import plots, pollers
from bench.costs import AROUND, polling, usd
from bench.optimum import Frontier, best_poll_times, evaluate, frontier
from bench.part import Part
from bench.pollers import Played
from bench.workloads import AFTER_DRIFT, BEFORE_DRIFT, DESCRIPTIONS, STATIONARY, Empirical, Renders, sample
from kontext.polling.schedule import DEFAULT_POLL_COST

RENDERS = 100_000
LEARNING = 200
STACKS = 20
INTERVALS = (1, 2, 5, 10, 30)
AFTER_JUMP = (0, 5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100)
REQUESTS_PER_MINUTE = 50
_OURS = "this pipeline"
_BESIDE = 2  # requests to Segmind beside the polls: the POST and the result


@dataclass(frozen=True)
class Row:
    """One way to poll at one workload; `lag_over_optimum` compares with the optimum at the same polls."""

    polls_per_render: float
    mean_lag_s: float
    p95_lag_s: float
    lag_over_optimum: float | None
    state_transitions: float
    poll_lambda_s: float
    usd_per_1000: float
    images_per_minute: float


def measure(seed: int = 1, renders: int = RENDERS, stacks: int = STACKS) -> Part:
    """Plays all workloads; `renders` each for the table, `stacks` for what they have learned."""
    table, curves, ours = {}, {}, {}
    for name in DESCRIPTIONS:
        played, best = _play(name, sample(name, renders, seed))
        table[name] = {way: row(one, best) for way, one in played.items()}
        curves[name], ours[name] = best, played[_OURS]
    ratios = {name: after_learning(name, seed, stacks) for name in STATIONARY}
    jump = after_jump(seed, stacks)
    ratios["drift"] = jump[100]
    return Part(
        summary=_summary(table, ratios),
        figures={
            "seed": seed,
            "renders": renders,
            "workloads": DESCRIPTIONS,
            "rows": {name: {way: asdict(one) for way, one in rows.items()} for name, rows in table.items()},
            "lag_over_optimum_by_stack": ratios,
            "lag_over_optimum_after_jump": jump,
        },
        text=_text(table, ratios, jump, renders),
        plots={
            "lag-and-polls.png": plots.lag_and_polls(table, curves, _trade_off(seed)),
            "schedule.png": plots.schedules({name: _example(name, seed) for name in STATIONARY}),
            "drift.png": plots.drift(jump),
            "cost.png": plots.cost(_bill(ours["cv0.2"], sample("cv0.2", renders, seed))),
        },
    )


def _play(name: str, renders: Renders) -> tuple[dict[str, Played], Frontier]:
    """Every way to poll at these renders, and the frontier of their distribution."""
    known = STATIONARY.get(name) or Empirical(renders.total)
    ours = pollers.learning(renders)
    played = {
        _OURS: ours,
        "… one poll an invocation": pollers.handing_back(ours),
        "… 200 renders learned": pollers.frozen(pollers.learned(_first(renders)), renders),
        "optimum, distribution known": pollers.at(best_poll_times(known, known.longest(), DEFAULT_POLL_COST), renders),
        "SDK wait(), 1 s": pollers.sdk(renders),
        **{f"workflow every {seconds} s": pollers.every(seconds, renders) for seconds in INTERVALS},
    }
    return played, frontier(known, known.longest())


def _first(renders: Renders) -> Renders:
    return Renders(renders.queue[:LEARNING], renders.inference[:LEARNING])


def row(played: Played, best: Frontier) -> Row:
    """The figures of a table row from what was played."""
    count, lag = float(played.polls.mean()), float(played.lag.mean())
    calls = polling(played.transitions.mean(), played.invocations.mean(), played.seconds.mean())
    return Row(
        polls_per_render=count,
        mean_lag_s=lag,
        p95_lag_s=float(np.quantile(played.lag, 0.95)),
        lag_over_optimum=lag / best.lag_at(count) if best.polls[0] <= count <= best.polls[-1] else None,
        state_transitions=float(played.transitions.mean()),
        poll_lambda_s=float(played.seconds.mean()),
        usd_per_1000=1000 * (usd(calls) + usd(AROUND)),
        images_per_minute=REQUESTS_PER_MINUTE / (count + _BESIDE),
    )


def after_learning(name: str, seed: int, stacks: int = STACKS) -> list[float]:
    """Lag over the optimum at the same polls, for stacks that have each learned from their own 200 renders.

    Exact expectations over the known distribution, not samples.
    """
    best = frontier(STATIONARY[name], STATIONARY[name].longest())
    histories = (pollers.learned(sample(name, LEARNING, seed + 1000 * k)) for k in range(stacks))
    results = (evaluate(STATIONARY[name], pollers.path(durations)) for durations in histories)
    return [lag / best.lag_at(count) for count, lag in results]


def after_jump(seed: int, stacks: int = STACKS) -> dict[int, list[float]]:
    """The same after so many renders of mean 35 s, on stacks that had learned from 400 of mean 20 s."""
    best = frontier(AFTER_DRIFT, AFTER_DRIFT.longest())
    ratios: dict[int, list[float]] = {finished: [] for finished in AFTER_JUMP}
    for k in range(stacks):
        rng = np.random.default_rng([seed, k])
        times = np.concatenate([BEFORE_DRIFT.draw(rng, 400), AFTER_DRIFT.draw(rng, max(AFTER_JUMP))])
        for finished in AFTER_JUMP:
            seen = times[: 400 + finished]
            count, lag = evaluate(AFTER_DRIFT, pollers.path(pollers.learned(Renders(0 * seen, seen))))
            ratios[finished].append(lag / best.lag_at(count))
    return ratios


def _trade_off(seed: int) -> dict[str, list[tuple[float, float]]]:
    """(polls, lag) of the schedule after 200 renders, for a range of poll costs."""
    costs = np.geomspace(0.04, 2.0, 12)
    histories = {name: pollers.learned(sample(name, LEARNING, seed)) for name in STATIONARY}
    return {
        name: [evaluate(STATIONARY[name], pollers.path(durations, cost)) for cost in costs]
        for name, durations in histories.items()
    }


def _example(name: str, seed: int) -> plots.Example:
    known = STATIONARY[name]
    return plots.Example(
        known,
        pollers.path(pollers.learned(sample(name, LEARNING, seed))),
        best_poll_times(known, known.longest(), DEFAULT_POLL_COST),
    )


def _bill(ours: Played, renders: Renders) -> dict[str, dict[str, float]]:
    """USD per 1,000 renders by kind of cost, for the pipeline and for what is built usually."""
    ways = {
        _OURS: ours,
        "one poll an invocation": pollers.handing_back(ours),
        **{f"every {seconds} s": pollers.every(seconds, renders) for seconds in INTERVALS},
    }
    return {way: _kinds(played) for way, played in ways.items()}


def _kinds(played: Played) -> dict[str, float]:
    calls = polling(played.transitions.mean(), played.invocations.mean(), played.seconds.mean())
    transitions = usd({"state_transition": calls.pop("state_transition")})
    kinds = {"state transitions": transitions, "Poll's Lambda time": usd(calls), "everything else": usd(AROUND)}
    return {kind: 1000 * dollars for kind, dollars in kinds.items()}


def _summary(table: Mapping[str, Mapping[str, Row]], ratios: Mapping[str, list[float]]) -> dict[str, object]:
    ours, sdk = table["cv0.2"][_OURS], table["cv0.2"]["SDK wait(), 1 s"]
    return {
        "lag_over_optimum": {name: float(np.mean(some)) for name, some in ratios.items()},
        "lag_over_optimum_worst": {name: max(some) for name, some in ratios.items()},
        "mean_lag_s": ours.mean_lag_s,
        "polls_per_render": ours.polls_per_render,
        "usd_per_1000": ours.usd_per_1000,
        "sdk": {"mean_lag_s": sdk.mean_lag_s, "polls_per_render": sdk.polls_per_render},
    }


def _text(
    table: Mapping[str, Mapping[str, Row]],
    ratios: Mapping[str, list[float]],
    jump: Mapping[int, list[float]],
    renders: int,
) -> str:
    tables = [_workload(name, rows) for name, rows in table.items()]
    return _INTRODUCTION.format(
        renders=renders,
        tables="\n\n".join(tables),
        learned="\n".join(
            f"| {DESCRIPTIONS[name]} | {np.mean(some):.3f} | {max(some):.3f} |" for name, some in ratios.items()
        ),
        stacks=len(jump[0]),
        before=f"{np.mean(jump[0]):.2f}",
        around=1000 * usd(AROUND),
    )


def _workload(name: str, rows: Mapping[str, Row]) -> str:
    lines = [f"### {name}: {DESCRIPTIONS[name]}", "", _HEAD]
    for way, one in rows.items():
        ratio = f"{one.lag_over_optimum:.2f}" if one.lag_over_optimum else "–"
        lines.append(
            f"| {way} | {one.polls_per_render:.2f} | {one.mean_lag_s:.2f} | {one.p95_lag_s:.2f} | {ratio} "
            f"| {one.state_transitions:.1f} | {one.usd_per_1000:.3f} | {one.images_per_minute:.1f} |"
        )
    return "\n".join(lines)


_HEAD = """\
| | polls | mean lag, s | p95 lag, s | lag ÷ optimum | transitions | USD per 1,000 | images/min |
|---|--:|--:|--:|--:|--:|--:|--:|"""

_INTRODUCTION = """\
## When to poll

Every poll is a request, and perhaps three state transitions of the workflow; every second between completion and the
poll that sees it, the *lag*, is a second that somebody waits. The pipeline learns how long renders take and computes
the moments at which a poll is worth most (Barlow, Hunter and Proschan, *Optimum checking procedures*, 1963). Here it
is beside what is built usually, and beside the limit: *lag ÷ optimum* compares with the least lag that any sequence
of so many polls can have, computed from the known distribution by another method (`optimum.py`).

![Lag against polls](lag-and-polls.png)

{renders:,} renders of each workload in virtual time, the same ones for every way to poll:

- *this pipeline* starts from a prior and learns as it goes; *200 renders learned* has learned from those alone. It
  makes several polls in one execution of Poll, sleeping in between; *one poll an invocation* shows what that saves.
- *optimum, distribution known*: the best fixed moments at the pipeline's price of a poll.
- *SDK wait()*: Segmind's own package, at its default of one second. It is charged as one Lambda of 128 MB that waits
  as long as the render takes, with the pipeline's other costs; it survives no crash.
- *workflow every … s*: the usual loop of Step Functions, one poll a round.

Images a minute hold if polls count against 50 requests a minute. Transitions and dollars are those of a whole render,
by the price list in `prices.json`; what surrounds the polling ({around:.3f} of the dollars, equal for all) is counted:
see the calls per pair. Two optima can be beaten: that of *queueing* knows the distribution of total times but no job's
status, whereas the pipeline starts a queued job's clock when it leaves the queue; that of *drift* knows both halves
as one distribution.

### After learning

{stacks} stacks each learn from their own 200 renders, then stop learning; the drift's have learned from 400 renders of
mean 20 s and 100 of mean 35 s (right after the jump: {before}).

| workload | mean lag ÷ optimum | worst stack |
|---|--:|--:|
{learned}

![The first polls](schedule.png)
![After a jump](drift.png)

{tables}

![Dollars per 1,000 renders](cost.png)
"""
