"""One run: the real functions between AWS in memory, the emulated vendor and whoever drops, on virtual time."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from math import inf
from random import Random
from typing import Any

import httpx

from kontext.aws import config
from kontext.due import LINE, TIMER
from kontext.dynamodb import Table
from kontext_cli.decide.operate import Operator
from kontext_cli.target import Target
from kontext_local.segmind import Lognormal, Segmind, Settings
from kontext_local.segmind.settings import MODEL
from simulation import sqs
from simulation.aws import Client, CloudFormation, Secrets, Topic
from simulation.dynamodb import DynamoDB
from simulation.fault_injection import EVERYTHING_LOST, FaultInjector
from simulation.input_bucket import InputBucket
from simulation.s3 import S3
from simulation.sandbox import Context, Sandbox
from simulation.schedule import Action, Schedule
from simulation.scheduler import BEGINNING, NeverRests, Scheduler, VirtualClock
from simulation.template import Spec, Template
from simulation.vendor import CAPITAL, Transport, vendor
from simulation.workflow import Executions, Throttled

KEY = "SG_0123456789abcdef"
_USUAL = {"segmind": 0.2, "s3": 0.03}
_USUAL_SECONDS = 0.01
_LONGER_THAN_A_BATCH, _A_CROWD = 20, 1000
"""So many messages are looked at for the next batch: more than it can take; by chance, any of so many."""
_A_COMMAND_SECONDS = 120.0
PAUSE_SECONDS = 600.0
_LANES = (TIMER, LINE)
"""What Sweep looks at."""
_WINDOWS = (0.0, 0.05, 0.3, 1.0)


class World:
    """What a schedule is played in, and what promises are checked against afterwards."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.template = Template(**schedule.parameters)
        self.scheduler = Scheduler()
        self.clock = VirtualClock(self.scheduler)
        self.rng = Random(schedule.seed or 0)
        self.injector = FaultInjector(
            self.scheduler, schedule.faults, self._delay, self._around, remembers=schedule.remembers
        )
        self.s3, self.topic = S3(self.clock.now), Topic(self.scheduler)
        self.bucket = InputBucket(self.s3, self.scheduler, self.notify)
        self.dynamodb = DynamoDB(self.clock.now, self._lag, self._becomes_due)
        self.secrets = Secrets(KEY)
        self.vendor = self._vendor(schedule.account)
        self.transport: httpx.BaseTransport = Transport(self.injector, self.vendor, schedule.vendor_ahead)
        self.queue = sqs.Queue(
            self.scheduler,
            self.template,
            schedule.faults,
            self._deliver,
            self._order,
            self._window,
            schedule.stops_loops,
            lambda: self.rng.random() < schedule.hints_lost,
        )
        self.executions = Executions(self.scheduler, self.template.workflow, self.invoke)
        self.invocations = 0
        self.longest_message = 0.0
        """For how many seconds one message was worked on."""
        self.problem: str | None = None
        self.wanted: Action | None = None
        """Whether the operator has paused the stack last, or resumed it, or tries to."""
        self.deployed = [(BEGINNING, self.template)]
        self._next_sweep = inf
        self._over = False
        self._away: dict[str, float] = {}
        self._idle: dict[str, list[Sandbox]] = {}
        self._functions = {name: self.template.function(name) for name in FUNCTIONS}

    def client(self, service: str) -> Any:
        """A client whose calls count, and may go wrong; it has the patience of the functions' own."""
        return Client(self.injector, service, self.service(service), config(service))

    def service(self, name: str) -> Any:
        """A service itself, whose calls do not count and always go well."""
        services: dict[str, Any] = {
            "dynamodb": self.dynamodb,
            "s3": self.s3,
            "sqs": self.queue,
            "sns": self.topic,
            "stepfunctions": self.executions,
            "secretsmanager": self.secrets,
            "cloudformation": CloudFormation(self.template.parameters),
        }
        return services[name]

    @property
    def table(self) -> Table:
        """The table as an operator sees it, without a call that counts."""
        return self.dynamodb.table()

    def run(self) -> World:
        """Play the schedule until everything is at rest."""
        for step in self.schedule.steps:
            self.scheduler.at(BEGINNING + step.at, partial(self._do, step.action))
        return self.go_on(BEGINNING + max((step.at for step in self.schedule.steps), default=0.0))

    def go_on(self, since: float = 0.0) -> World:
        """Let everything happen that is due, until everything is at rest; it has its time from now, or `since` then."""
        with _quiet():
            try:
                self.scheduler.play(max(self.scheduler.now, since) + self.schedule.rests_within)
            except NeverRests as problem:
                self.problem = str(problem)
            finally:
                self.scheduler.close()
        return self

    def _do(self, action: Action) -> None:
        if not self._over or action.lasts:
            action.do(self)

    def notify(self, record: dict[str, Any], times: int = 1) -> None:
        """Let S3 tell the queue, as soon as the queue answers."""
        held = max(0.0, self._away.get("sqs", 0.0) - self.scheduler.now)
        for _ in range(times if self.template.tells_queue(record["eventName"]) else 0):
            self.queue.send(json.dumps({"Records": [record]}), held + self._by_chance(0.3, 0.1))

    def deploy(self, **parameters: str) -> None:
        """Update the stack: what runs goes on as it was, whatever is called from now on is new."""
        self.template = Template(**{**self.template.parameters, **parameters})
        self.deployed.append((self.scheduler.now, self.template))
        self._functions = {name: self.template.function(name) for name in FUNCTIONS}
        self._idle.clear()
        self.queue.follow(self.template)

    def away(self, service: str, seconds: float, how: str = "error", only: str = "") -> None:
        """Let an AWS service fail for so long, `how` a call does, or `only` one operation of it; `lambda` throttles
        every invocation."""
        self._away[service] = self.scheduler.now + seconds
        self.injector.go_away(service, seconds, how, only)
        if service == "stepfunctions" and not only:
            self.executions.stalled_until = self._away[service]
        if service == "sqs":
            self.queue.stalled_until = self._away[service]

    def make_well(self) -> None:
        """Everybody outside does what he should, and goes on doing so."""
        self._over = True
        self.wanted = None
        self._away.clear()
        self.injector.come_back()
        self.executions.stalled_until = self.executions.deaf_until = 0.0
        self.queue.come_back()
        self.vendor.script.clear()
        self.vendor.change(keys=(*self.vendor.settings.keys, self.secrets.value), credits=CAPITAL)
        self.vendor.change(models={MODEL: "available"}, spend_limit=None)
        self.resume()

    def resume(self) -> None:
        """The operator ends a pause."""
        Operator(self._target(self.service), self.clock).resume()

    def pause_for(self, seconds: float) -> None:
        """The operator pauses the stack for so long."""
        Operator(self._target(self.service), self.clock).pause()
        self.scheduler.at(self.scheduler.now + seconds, self.resume)

    def lose_everything(self) -> None:
        """All processes, all messages of our own and all executions end; nothing is ill any more."""
        self.scheduler.close()
        self.queue.purge(ours_alone=True)
        self.executions.abort()
        self.make_well()

    def invoke(self, name: str, event: Any, ended: Callable[[Any, BaseException | None], None], chain: int = 1) -> None:
        """Call a function: in a warm sandbox if one is idle, in a new one if not; a crash ends the sandbox."""
        if self.scheduler.now < self._away.get("lambda", 0.0):
            self.scheduler.at(self.scheduler.now, lambda: ended(None, Throttled()))
            return
        function = self._functions[name]
        idle = self._idle.setdefault(name, [])
        sandbox = idle.pop() if idle else self.sandbox(function)
        self.invocations += 1
        context = Context(self.scheduler, name, self.scheduler.now + function.timeout)

        def over(answer: Any, problem: BaseException | None) -> None:
            if problem is None:
                idle.append(sandbox)
            ended(answer, problem)

        handler = importlib.import_module(function.module).handler
        work = lambda: handler(event, context, deps=sandbox)  # noqa: E731
        self.scheduler.process(f"{function.module} {self.invocations}", work, function.timeout, over, chain)

    def sandbox(self, function: Spec) -> Sandbox:
        """A new one for a function."""
        return Sandbox(self, function)

    def operate(self, decide: Callable[[Operator], object]) -> None:
        """Let a person decide something, with a command that may die on the way; then it is given again."""
        target = self._target(self.client)

        def ended(_: Any, problem: BaseException | None) -> None:
            if problem:
                self.scheduler.at(self.scheduler.now + _A_COMMAND_SECONDS, lambda: self.operate(decide))

        self.scheduler.process(
            "operator", lambda: decide(Operator(target, self.clock, self.transport)), _A_COMMAND_SECONDS, ended
        )

    def _target(self, client: Callable[[str], Any]) -> Target:
        return Target("simulation", self.template.outputs, client)

    def _deliver(self, batch: list[sqs.Message], chain: int, answered: sqs.Answered) -> None:
        self.invoke("SubmitFunction", sqs.event(batch), answered, chain)

    def _becomes_due(self, item: dict[str, Any]) -> None:
        """Let the schedule call Sweep when something is due: minutes in which nothing is change nothing."""
        if item.get("due_lane", {}).get("S") not in _LANES:
            return
        names = ("due_at", "dispatched_until") if item["due_lane"]["S"] == TIMER else ()
        due = max((float(item[name]["N"]) for name in names if name in item), default=0.0)
        at = self.schedule.next_sweep(max(self.scheduler.now + 1.0, due))
        if at < self._next_sweep:
            self._next_sweep = at
            self.scheduler.at(at, lambda: self._sweep(at))

    def _sweep(self, planned: float) -> None:
        if planned == self._next_sweep:
            self._next_sweep = inf
            for _ in range(1 if self.schedule.seed is None else self.rng.choice((1, 1, 2))):
                self.invoke("SweepFunction", {}, self._swept)

    def _swept(self, *_: Any) -> None:
        for item in self.dynamodb.in_lanes(*_LANES):
            self._becomes_due(item)

    def _lag(self) -> float:
        return 0.0 if self.schedule.seed is None else self.rng.choice((0.0, 0.5, 3.0))

    def _around(self, kind: str) -> None:
        act = self.lose_everything if kind == EVERYTHING_LOST else partial(self.pause_for, PAUSE_SECONDS)
        self.scheduler.aside(act)

    def _window(self) -> float:
        return self.schedule.window if self.schedule.seed is None else self.rng.choice(_WINDOWS)

    def _order(self, messages: Iterable[sqs.Message]) -> list[sqs.Message]:
        if self.schedule.seed is None:
            return list(islice(messages, _LONGER_THAN_A_BATCH))
        known = list(messages)
        return self.rng.sample(known, min(len(known), _A_CROWD))

    def _delay(self, service: str) -> float:
        usual = _USUAL.get(service, _USUAL_SECONDS)
        return self._by_chance(usual, usual)

    def _by_chance(self, mean: float, usual: float) -> float:
        return usual if self.schedule.seed is None else self.rng.expovariate(1 / mean)

    def _vendor(self, account: Mapping[str, Any]) -> Segmind:
        usual = {
            "keys": (KEY,),
            "credits": CAPITAL,
            "rate_limit": int(self.template.parameters["RequestsPerMinute"]),
            "rate_window": "sliding",
            "inference": Lognormal(cv=0.0 if self.schedule.seed is None else 0.3),
        }
        return vendor(self.scheduler, self.s3, Settings(**{**usual, **account}), self.rng)


FUNCTIONS = ("SubmitFunction", "SweepFunction", "PollFunction", "FinalizeFunction")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
    logging.disable(logging.NOTSET)
