"""What was the matter in a run, and when, apart from the stack itself: outages, pauses, losses, decisions."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cached_property

from kontext_local.segmind.ledger import Post
from simulation.actions import (
    Abort,
    Account,
    Away,
    Deadly,
    Deploy,
    Drop,
    LoseEverything,
    Queue,
    Script,
    Secret,
    TasksUnheard,
    WellAgain,
)
from simulation.decisions import Decide, PauseOrResume
from simulation.fault_injection import EVERYTHING_LOST
from simulation.schedule import Action
from simulation.scheduler import BEGINNING
from simulation.world import PAUSE_SECONDS, World

Period = tuple[float, float]
"""From when to when, in unix seconds."""
SERVER_ERRORS = (500, 502, 503)
ASIDE_SECONDS = 2700.0
"""So long waits whose own requests have failed too often to hold others up."""
_ITS_OWN, _TRIES = (*SERVER_ERRORS, 406), 3
"""Answers that may be about the request alone, and so often it is tried before it steps aside."""
_A_FAULT_SECONDS = 900.0
_A_PROBE_SECONDS = 330.0
_A_COSTLY_PROBE_SECONDS, _A_LOST_ANSWER_SECONDS = 990.0, 3120.0
"""Where each trial may be paid, and where each is one more for a person to decide, they are few."""
_LOSSES = (Abort, Away, Deadly, LoseEverything, Queue, TasksUnheard)
"""What takes from the stack what it relies on."""


def is_unheard(post: Post) -> bool:
    """Whether the vendor's answer says nothing of what became of the request."""
    return post.status is None or post.status >= 504 or (post.status < 400 and not post.names_job)


def _until_a_trial(post: Post, often: int) -> float:
    """So long after a request that was not accepted, or perhaps, another one goes, to find out. One that has failed
    `often` steps aside."""
    if often < _TRIES and post.status in SERVER_ERRORS:
        return _A_COSTLY_PROBE_SECONDS
    known = often < _TRIES and post.status is not None and 400 <= post.status < 500
    return _A_PROBE_SECONDS if known else _A_LOST_ANSWER_SECONDS


class Outside:
    """What came from outside in a run that is over."""

    def __init__(self, world: World) -> None:
        self.world = world

    @cached_property
    def calm_since(self) -> float:
        """From when on nothing that went wrong, or was put right, holds anybody up; in unix seconds."""
        steps = [(step.at, step.action) for step in self.world.schedule.steps]
        troubles = [BEGINNING + at for at, action in steps if not action.lasts]
        troubles += [BEGINNING + at + 60 * action.minutes for at, action in steps if isinstance(action, Away)]
        troubles += [call.at + _A_FAULT_SECONDS for _, call in self.world.injector.injected]
        calm = [at + _A_PROBE_SECONDS for at in troubles]
        posts = self.world.vendor.ledger.posts
        failed = [
            post for post in posts if post.outcome != "accepted" or post.status in SERVER_ERRORS or is_unheard(post)
        ]
        calm += [post.at + _until_a_trial(post, self._failures[post.prompt]) for post in failed]
        return max(calm, default=BEGINNING)

    def failed_often(self, prompt: str | None) -> bool:
        """Whether so many requests with a prompt have failed as may be its own fault that it steps aside."""
        return self._failures[prompt] >= _TRIES

    @cached_property
    def _failures(self) -> Counter[str | None]:
        """How many requests with each prompt have failed as may be its own fault."""
        return Counter(post.prompt for post in self.world.vendor.ledger.posts if post.status in _ITS_OWN)

    @cached_property
    def nothing_went_wrong(self) -> bool:
        """Whether all that was called answered as it should."""
        return self.calm_since == BEGINNING and not self.world.schedule.faults

    @cached_property
    def only_credits_were_short(self) -> bool:
        """Whether nothing but the account's credits kept anybody waiting."""
        steps, posts = self.world.schedule.steps, self.world.vendor.ledger.posts
        usual = all(isinstance(step.action, (Account, Drop)) for step in steps)
        return usual and not self.world.schedule.faults and {post.status for post in posts} <= {200, 402}

    @cached_property
    def undisturbed(self) -> bool:
        """Whether AWS did all that it should, and nobody but droppers, the account and the vendor had a hand in it."""
        known = (Account, Drop, Script, Secret, WellAgain)
        return not self.world.schedule.faults and all(
            isinstance(one.action, known) for one in self.world.schedule.steps
        )

    @cached_property
    def aws_is_well(self) -> bool:
        """Whether AWS did all that it should."""
        steps = self.world.schedule.steps
        return not self.world.schedule.faults and not any(isinstance(one.action, _LOSSES) for one in steps)

    @cached_property
    def decisions(self) -> list[tuple[float, Decide]]:
        """What an operator has decided, and when; in unix seconds."""
        steps = self.world.schedule.steps
        return [(BEGINNING + step.at, step.action) for step in steps if isinstance(step.action, Decide)]

    def decided(self, decision: Decide) -> list[float]:
        """When an operator has decided this."""
        return self._decided.get(decision, [])

    @cached_property
    def _decided(self) -> dict[Decide, list[float]]:
        decided = defaultdict(list)
        for at, action in self.decisions:
            decided[action].append(at)
        return decided

    @cached_property
    def decisions_about(self) -> Counter[str]:
        """How often an operator has decided anything about each pair."""
        return Counter(action.prefix for _, action in self.decisions)

    @cached_property
    def away_seconds(self) -> float:
        """For how long AWS services were to be away, one after the other."""
        return 60 * sum(step.action.minutes for step in self.world.schedule.steps if isinstance(step.action, Away))

    @cached_property
    def lost_at(self) -> float:
        """When everything was lost, and everybody else was well from then on; in unix seconds."""
        lost = [BEGINNING + step.at for step in self.world.schedule.steps if isinstance(step.action, LoseEverything)]
        lost += [call.at for fault, call in self.world.injector.injected if fault.kind == EVERYTHING_LOST]
        return min(lost, default=float("inf"))

    @cached_property
    def troubles(self) -> list[tuple[float, Action]]:
        """What changed outside, and when: each may be the reason of waiting, or its end."""
        steps = [(BEGINNING + step.at, step.action) for step in self.world.schedule.steps if not step.action.lasts]
        return [(at, action) for at, action in steps if at <= self.lost_at]

    @cached_property
    def outages(self) -> list[tuple[Period, Away]]:
        """When AWS services did not answer."""
        away = [(at, action) for at, action in self.troubles if isinstance(action, Away)]
        return [((at, min(at + 60 * action.minutes, self.lost_at)), action) for at, action in away]

    @cached_property
    def pauses(self) -> list[Period]:
        """From when to when the operator had paused the stack."""
        turns = [(at, action) for at, action in self.troubles if isinstance(action, PauseOrResume)]
        struck = [call.at for fault, call in self.world.injector.injected if fault.kind == "pause"]
        begin = [*(at for at, turn in turns if turn.what == "pause"), *struck]
        ends = [*(at for at, turn in turns if turn.what == "resume"), *(at + PAUSE_SECONDS for at in struck)]
        return [(at, min((end for end in (*ends, self.lost_at) if end >= at), default=at)) for at in begin]

    @cached_property
    def held_up(self) -> list[Period]:
        """When nothing had to happen; that Secrets Manager is away holds nobody up who knows the key already."""
        cold = any(isinstance(step.action, Deploy) for step in self.world.schedule.steps)
        away = [period for period, outage in self.outages if cold or outage.services != ("secretsmanager",)]
        deaf = [(at, at + 60 * action.minutes) for at, action in self.troubles if isinstance(action, TasksUnheard)]
        return away + deaf + self.pauses

    @cached_property
    def well_since(self) -> float:
        """From when on nobody outside is the reason for a wait; in unix seconds."""
        lost = [self.lost_at] if self.lost_at < float("inf") else []
        return max([BEGINNING, *(at for at, _ in self.troubles), *(end for _, end in self.held_up), *lost])
