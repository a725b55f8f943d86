"""A cause for which nobody goes: the account or the vendor refuses (the circuit breaker is open), or a person paused.

The open breaker is probed at every sweep by a GET that costs nothing and tells of key, balance and outage. Only when
that is good, the head of the line goes as a trial: at once where the GET has told what was wrong, else after 1, 2, and
then every 5 minutes. A trial may be paid though its answer is a server error or lost: these go ever more seldom. A
trial that Segmind takes closes the breaker. While no workflow starts, a trial would be a paid render that nobody
follows: none goes, and the probe starts the workflow of a render that waits for it.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar

from kontext.dynamodb import Key
from kontext.model import Reason

PAUSED: Final = "paused"
OUTAGE: Final = "outage"
WORKFLOW: Final = "workflow"
FREE_PROBE_TELLS: frozenset[Reason] = frozenset({"no_credits", "bad_key"})
"""The causes of which the GET says whether they have ended."""
PROBE_SECONDS = 45.0
"""Shorter than two sweeps are apart: each of them finds the probe due."""
_TRIAL_SECONDS = (60.0, 120.0, 300.0)
_COSTLY_TRIAL_SECONDS = (60.0, 300.0, 600.0, 900.0)
"""In an outage, where each trial may be paid: ten requests an hour at most, those that opened it counted."""
_MOST_DOUBTFUL, _MANY_LOST = 3, 5
_AFTER_LOST_SECONDS = (600.0, 3000.0)
"""Each lost answer is a render for a person to decide: five in an hour at most."""


@dataclass(frozen=True)
class Stop:
    """In force while `reason` is set, `since` then (unix seconds). `announced`: the id of the change told last."""

    reason: Reason | None = None
    since: float = 0.0
    ended: Reason | None = None
    """The reason for which it was in force before, from `ended_since` to `ended_at`."""
    ended_since: float = 0.0
    ended_at: float = 0.0
    announced: str | None = None


@dataclass(frozen=True)
class Breaker(Stop):
    """`trials`: how many failed since it opened. The next free probe goes at `probe_at`, the next trial at
    `next_trial_at`."""

    trials: int = 0
    next_trial_at: float = 0.0
    probe_at: float = 0.0
    doubtful: int = 0
    """How many answers, one after the other, did not tell whether a job was accepted."""
    unfollowed: Key | None = None
    """A paid render whose workflow did not start."""


AnyStop = TypeVar("AnyStop", bound=Stop)


@dataclass(frozen=True)
class Change:
    """Renders wait (`parked`) or go on (`resumed`) since `at`, because of `reason`."""

    what: Literal["parked", "resumed"]
    reason: Reason
    since: float
    at: float

    @property
    def id(self) -> str:
        """The same whenever this change is announced."""
        return f"gate.{round(self.since * 1000)}.{self.reason}.{self.what}"


def open_breaker(
    breaker: Breaker, reason: Reason, now: float, *, trial: bool = False, unfollowed: Key | None = None
) -> Breaker:
    """A request was refused for a reason that holds for all. `trial`: it was sent to find out.

    That no workflow starts replaces no other reason, unless a trial has shown that the other one is gone.
    """
    if reason == WORKFLOW and breaker.reason not in (None, WORKFLOW) and not trial:
        return breaker
    since = breaker.since if breaker.reason else now
    trials = breaker.trials + trial if breaker.reason else 0
    waits = _COSTLY_TRIAL_SECONDS if reason == OUTAGE else _TRIAL_SECONDS
    at_once = not trials and reason in FREE_PROBE_TELLS
    wait = 0.0 if at_once else waits[min(trials, len(waits) - 1)]
    anew = trial or not breaker.reason
    opened = replace(breaker, reason=reason, since=since, trials=trials, unfollowed=unfollowed)
    return replace(
        opened,
        next_trial_at=now + wait if anew else breaker.next_trial_at,
        probe_at=breaker.probe_at if breaker.reason else now,
    )


def fail_probe(breaker: Breaker) -> Breaker:
    """The free probe has told that Segmind takes no requests: once it tells otherwise, a trial goes at once. Where it
    does not tell the cause, only the first one does: a GET that comes and goes must not call for trials."""
    told = not breaker.trials or breaker.reason in FREE_PROBE_TELLS
    return replace(breaker, next_trial_at=0.0) if told else breaker


def doubt(breaker: Breaker, now: float, *, lost: bool, trial: bool = False) -> Breaker:
    """An answer is `lost`, or does not tell whether a job was accepted. The third in a row is an outage."""
    breaker = replace(breaker, doubtful=breaker.doubtful + 1)
    if breaker.doubtful < _MOST_DOUBTFUL:
        return breaker
    few, many = _AFTER_LOST_SECONDS
    opened = open_breaker(breaker, OUTAGE, now, trial=trial)
    wait = (few if breaker.doubtful < _MANY_LOST else many) if lost else 0.0
    return replace(opened, next_trial_at=max(opened.next_trial_at, now + wait))


def pause(stop: Stop, now: float) -> Stop:
    """A person lets nobody go."""
    return stop if stop.reason else replace(stop, reason=PAUSED, since=now)


def end(stop: AnyStop, now: float) -> AnyStop:
    """The cause is gone."""
    if not stop.reason:
        return stop
    ended = replace(stop, reason=None, since=0.0, ended=stop.reason, ended_since=stop.since, ended_at=now)
    return replace(ended, doubtful=0) if isinstance(ended, Breaker) else ended


def unannounced_change(stop: Stop) -> Change | None:
    """The last change, if subscribers have not been told of it."""
    change = None
    if stop.reason:
        change = Change("parked", stop.reason, stop.since, stop.since)
    elif stop.ended:
        change = Change("resumed", stop.ended, stop.ended_since, stop.ended_at)
    return change if change and change.id != stop.announced else None
