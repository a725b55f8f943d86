"""The workflow, played from the real `workflow.asl.json`: its waits, tasks, time-outs, retries, catches, choices, ends.

What is played of AWS: names that are taken for 90 days, whether their execution runs or has ended; executions that are
aborted by hand; tasks that time out while their function goes on; `States.ALL` not catching what it does not catch; and
the limits of a state's size and of a history (https://docs.aws.amazon.com/step-functions/latest/dg/limits-overview.html).
"""

# ruff: noqa: N803  the services' own names

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from simulation.scheduler import Scheduler

Invoke = Callable[[str, Any, Callable[[Any, BaseException | None], None]], None]
NAME_SECONDS = 90 * 86_400.0
MAX_STATE_BYTES = 262_144
MAX_HISTORY = 25_000
_EVENTS = {"Wait": 2, "Choice": 2, "Task": 2}
_EVENTS_A_TRY = 3
_UNCAUGHT = ("States.DataLimitExceeded", "States.Runtime")
_LAMBDA_ERRORS = {"Crash": "Lambda.Unknown", "Throttled": "Lambda.TooManyRequestsException"}
_CLOSED = ("SUCCEEDED", "FAILED", "ABORTED")


class ExecutionAlreadyExists(ClientError):
    pass


class Exceptions:
    ExecutionAlreadyExists = ExecutionAlreadyExists


class Throttled(Exception):
    """Lambda has no room for the function."""


@dataclass
class Execution:
    """One execution; `error` and `cause` as the console shows them; `history`: about so many events."""

    name: str
    given: str
    status: str = "RUNNING"
    error: str = ""
    cause: str = ""
    data: Any = None
    transitions: int = 0
    history: int = 0
    started_at: float = 0.0
    closed_at: float = 0.0
    tries: dict[int, int] = field(default_factory=dict)


class Executions:
    """The state machine and all its executions.

    `invoke`: calls a function by its logical name; `stalled_until`: until when the service itself stands still;
    `deaf_until`: until when it hears no answer of a function, so that its tasks time out.
    """

    exceptions = Exceptions

    def __init__(self, scheduler: Scheduler, definition: dict[str, Any], invoke: Invoke) -> None:
        self.scheduler = scheduler
        self.by_name: dict[str, Execution] = {}
        self.all: list[Execution] = []
        self.stalled_until = self.deaf_until = 0.0
        self._states, self._start = definition["States"], definition["StartAt"]
        self._invoke = invoke

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name):
            raise ClientError({"Error": {"Code": "InvalidName", "Message": name}}, "StartExecution")
        if len(input.encode()) > MAX_STATE_BYTES:
            raise ClientError({"Error": {"Code": "InvalidExecutionInput", "Message": name}}, "StartExecution")
        known = self.by_name.get(name)
        if known and known.status in _CLOSED and self.scheduler.now - known.closed_at > NAME_SECONDS:
            known = None
        if known and (known.status != "RUNNING" or known.given != input):
            said: Any = {"Error": {"Code": "ExecutionAlreadyExists", "Message": name}}
            raise ExecutionAlreadyExists(said, "StartExecution")
        if not known:
            execution = self.by_name[name] = Execution(
                name, input, data=json.loads(input), started_at=self.scheduler.now
            )
            self.all.append(execution)
            self._go_on(execution, self._start)
        return {"executionArn": f"{stateMachineArn}:{name}"}

    def list_executions(self, *, stateMachineArn: str) -> dict[str, Any]:
        executions = [
            {"executionArn": f"{stateMachineArn}:{one.name}", "startDate": datetime.fromtimestamp(one.started_at, UTC)}
            for one in reversed(self.all)
        ]
        return {"executions": executions}

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:
        return {"input": self.by_name[executionArn.rpartition(":")[2]].given}

    def abort(self, named: str = "") -> None:
        """Abort all running executions whose name begins so, as a person does in the console."""
        for execution in self.all:
            if execution.status == "RUNNING" and execution.name.startswith(named):
                self._close(execution, "ABORTED")

    def _go_on(self, execution: Execution, state: str, seconds: float = 0.0) -> None:
        when = max(self.scheduler.now + seconds, self.stalled_until)
        self.scheduler.at(when, lambda: self._enter(execution, state))

    def _enter(self, execution: Execution, name: str) -> None:
        if execution.status != "RUNNING":
            return
        if self.scheduler.now < self.stalled_until:
            self._go_on(execution, name)
            return
        try:
            self._do(execution, name, self._states[name])
        except KeyError as missing:
            self._die(execution, "States.Runtime", f"in {name} a path leads nowhere: {missing}")

    def _do(self, execution: Execution, name: str, state: dict[str, Any]) -> None:
        execution.transitions += 1
        self._note(execution, _EVENTS.get(state["Type"], 1))
        match state["Type"]:
            case "Wait":
                seconds = _at(execution.data, state["SecondsPath"])
                if not isinstance(seconds, int) or seconds < 0:
                    self._die(execution, "States.Runtime", f"{state['SecondsPath']} is {seconds!r}")
                    return
                self._go_on(execution, state["Next"], seconds)
            case "Task":
                execution.tries = {}
                self._try(execution, state)
            case "Choice":
                self._enter(execution, _chosen(state, execution.data))
            case "Pass":
                if "Result" in state:
                    _put(execution.data, state["ResultPath"], state["Result"])
                self._enter(execution, state["Next"])
            case "Succeed":
                self._close(execution, "SUCCEEDED")
            case "Fail":
                self._die(execution, *(_said(state, name, execution.data) for name in ("Error", "Cause")))
            case other:
                raise NotImplementedError(f"this player knows no {other} state")

    def _try(self, execution: Execution, state: dict[str, Any]) -> None:
        if execution.status != "RUNNING":
            return
        self._note(execution, _EVENTS_A_TRY)
        over: list[str] = []

        def ended(answer: Any, problem: BaseException | None) -> None:
            if over or execution.status != "RUNNING" or self.scheduler.now < self.deaf_until:
                return
            over.append("ended")
            late.call_off()
            if problem is not None:
                self._failed(execution, state, _error_name(problem), f"{type(problem).__name__}: {problem}")
            elif "ResultPath" in state:
                self._result(execution, state, answer)
            else:
                raise NotImplementedError("this player knows no task without a ResultPath")

        def too_late() -> None:
            if not over and execution.status == "RUNNING":
                over.append("timed out")
                self._failed(execution, state, "States.Timeout", "")

        late = self.scheduler.at(self.scheduler.now + state["TimeoutSeconds"], too_late)
        self._invoke(state["Resource"], json.loads(json.dumps(execution.data)), ended)

    def _result(self, execution: Execution, state: dict[str, Any], answer: Any) -> None:
        if state["ResultPath"] is not None:
            _put(execution.data, state["ResultPath"], json.loads(json.dumps(answer)))
        if len(json.dumps(execution.data).encode()) > MAX_STATE_BYTES:
            self._failed(execution, state, "States.DataLimitExceeded", "the state is too large")
            return
        self._enter(execution, state["Next"])

    def _failed(self, execution: Execution, state: dict[str, Any], error: str, cause: str) -> None:
        for number, retrier in enumerate(state.get("Retry", ())):
            if not _matches(retrier["ErrorEquals"], error):
                continue
            tries = execution.tries.get(number, 0)
            if tries < retrier["MaxAttempts"]:
                execution.tries[number] = tries + 1
                wait = retrier["IntervalSeconds"] * retrier["BackoffRate"] ** tries
                due = max(self.scheduler.now + min(wait, retrier.get("MaxDelaySeconds", wait)), self.stalled_until)
                self.scheduler.at(due, lambda: self._try(execution, state))
                return
            break
        for catcher in state.get("Catch", ()):
            if _matches(catcher["ErrorEquals"], error):
                _put(execution.data, catcher["ResultPath"], {"Error": error, "Cause": cause})
                self._enter(execution, catcher["Next"])
                return
        self._die(execution, error, cause)

    def _note(self, execution: Execution, events: int) -> None:
        execution.history += events
        if execution.history > MAX_HISTORY:
            self._die(execution, "States.Runtime", "the history is too long")

    def _die(self, execution: Execution, error: str, cause: str) -> None:
        execution.error, execution.cause = error, cause
        self._close(execution, "FAILED")

    def _close(self, execution: Execution, status: str) -> None:
        execution.status, execution.closed_at = status, self.scheduler.now


def _error_name(problem: BaseException) -> str:
    """What Lambda calls it: an exception of the function by its class, an end of its process by a name of its own."""
    return _LAMBDA_ERRORS.get(type(problem).__name__, type(problem).__name__)


def _matches(names: list[str], error: str) -> bool:
    if error in names:
        return True
    return error not in _UNCAUGHT and (
        "States.ALL" in names or ("States.TaskFailed" in names and error != "States.Timeout")
    )


def _chosen(state: dict[str, Any], data: Any) -> str:
    for choice in state["Choices"]:
        if choice.keys() != {"Variable", "StringEquals", "Next"}:
            raise NotImplementedError(f"this player knows no choice {choice}")
        if _at(data, choice["Variable"]) == choice["StringEquals"]:
            return str(choice["Next"])
    return str(state["Default"])


def _said(state: dict[str, Any], name: str, data: Any) -> str:
    return str(_at(data, state[f"{name}Path"]) if f"{name}Path" in state else state.get(name, ""))


def _at(data: Any, path: str) -> Any:
    for step in path.split(".")[1:]:
        data = data[step]
    return data


def _put(data: Any, path: str, value: Any) -> None:
    *way, last = path.split(".")[1:]
    for step in way:
        data = data[step]
    data[last] = value
