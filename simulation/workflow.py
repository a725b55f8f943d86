"""The workflow, played from the real `workflow.asl.json`: its waits, tasks, retries, choices and ends."""

# ruff: noqa: N803  the services' own names

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from simulation.scheduler import Scheduler

Invoke = Callable[[str, Any, Callable[[Any, BaseException | None], None]], None]


class ExecutionAlreadyExists(ClientError):
    pass


class Exceptions:
    ExecutionAlreadyExists = ExecutionAlreadyExists


@dataclass
class Execution:
    """One execution; `error` and `cause` as the console shows them."""

    name: str
    given: str
    status: str = "RUNNING"
    error: str = ""
    cause: str = ""
    data: Any = None
    transitions: int = 0
    tries: dict[int, int] = field(default_factory=dict)


class Executions:
    """The state machine and all its executions. `invoke`: calls a function by its logical name."""

    exceptions = Exceptions

    def __init__(self, scheduler: Scheduler, definition: dict[str, Any], invoke: Invoke) -> None:
        self.scheduler = scheduler
        self.by_name: dict[str, Execution] = {}
        self._states, self._start = definition["States"], definition["StartAt"]
        self._invoke = invoke

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name):
            raise ClientError({"Error": {"Code": "InvalidName", "Message": name}}, "StartExecution")
        known = self.by_name.get(name)
        if known and (known.status != "RUNNING" or known.given != input):
            said: Any = {"Error": {"Code": "ExecutionAlreadyExists", "Message": name}}
            raise ExecutionAlreadyExists(said, "StartExecution")
        if not known:
            execution = self.by_name[name] = Execution(name, input, data=json.loads(input))
            self.scheduler.at(self.scheduler.now, lambda: self._enter(execution, self._start))
        return {"executionArn": f"{stateMachineArn}:{name}"}

    def _enter(self, execution: Execution, name: str) -> None:
        state = self._states[name]
        execution.transitions += 1
        match state["Type"]:
            case "Wait":
                seconds = _at(execution.data, state["SecondsPath"])
                if not isinstance(seconds, int) or seconds < 0:
                    self._die(execution, "States.Runtime", f"{state['SecondsPath']} is {seconds!r}")
                    return
                self.scheduler.at(self.scheduler.now + seconds, lambda: self._enter(execution, state["Next"]))
            case "Task":
                execution.tries = {}
                self._try(execution, state)
            case "Choice":
                self._enter(execution, _chosen(state, execution.data))
            case "Succeed":
                execution.status = "SUCCEEDED"
            case "Fail":
                self._die(execution, _at(execution.data, state["ErrorPath"]), _at(execution.data, state["CausePath"]))
            case other:
                raise NotImplementedError(f"this player knows no {other} state")

    def _try(self, execution: Execution, state: dict[str, Any]) -> None:
        def ended(answer: Any, problem: BaseException | None) -> None:
            if problem is None:
                _put(execution.data, state["ResultPath"], json.loads(json.dumps(answer)))
                self._enter(execution, state["Next"])
            else:
                self._retry(execution, state, problem)

        self._invoke(state["Resource"], json.loads(json.dumps(execution.data)), ended)

    def _retry(self, execution: Execution, state: dict[str, Any], problem: BaseException) -> None:
        for number, retrier in enumerate(state.get("Retry", ())):
            tries = execution.tries.get(number, 0)
            if "States.ALL" in retrier["ErrorEquals"] and tries < retrier["MaxAttempts"]:
                execution.tries[number] = tries + 1
                wait = retrier["IntervalSeconds"] * retrier["BackoffRate"] ** tries
                due = self.scheduler.now + min(wait, retrier.get("MaxDelaySeconds", wait))
                self.scheduler.at(due, lambda: self._try(execution, state))
                return
        self._die(execution, "Lambda.Unknown", f"{type(problem).__name__}: {problem}")

    def _die(self, execution: Execution, error: str, cause: str) -> None:
        execution.status, execution.error, execution.cause = "FAILED", error, cause


def _chosen(state: dict[str, Any], data: Any) -> str:
    for choice in state["Choices"]:
        if choice.keys() != {"Variable", "StringEquals", "Next"}:
            raise NotImplementedError(f"this player knows no choice {choice}")
        if _at(data, choice["Variable"]) == choice["StringEquals"]:
            return str(choice["Next"])
    return str(state["Default"])


def _at(data: Any, path: str) -> Any:
    for step in path.split(".")[1:]:
        data = data[step]
    return data


def _put(data: Any, path: str, value: Any) -> None:
    *way, last = path.split(".")[1:]
    for step in way:
        data = data[step]
    data[last] = value
