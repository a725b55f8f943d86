"""What happened to a pair, step by step: from its record and from its workflow's execution history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kontext.model import HistoryEntry, Render
from kontext.renders.workflow import execution_name, last_poll
from kontext_cli.read.records import Records
from kontext_cli.read.views import RenderView, moment, reason_of
from kontext_cli.target import Target


@dataclass(frozen=True)
class Step:
    """Something that happened, at an aware time."""

    at: datetime
    what: str


class Timeline:
    """The way of the pair under one prefix. `render`: as last seen."""

    def __init__(self, target: Target, prefix: str) -> None:
        self.render: RenderView | None = None
        self._prefix = prefix
        self._records = Records(target)
        self._states = target.client("stepfunctions")
        self._workflow = target.output("RenderWorkflowArn")

    def steps(self) -> list[Step]:
        """Everything that has happened so far, in order."""
        pair = self._records.pair(self._prefix)
        self.render = pair.render if pair else None
        return self.steps_of(self.render) if self.render else []

    def noted(self, render: RenderView) -> list[Step]:
        """What the record of a render says."""
        return [Step(moment(entry["at"]), describe_entry(entry)) for entry in render.history]

    def steps_of(self, render: RenderView) -> list[Step]:
        """What its record and its executions say, in order."""
        return sorted((*self.noted(render), *self.executions(render)), key=lambda step: step.at)

    def execution_arns(self, render: RenderView) -> list[str]:
        """The executions that have followed a render, one for each generation, the newest last."""
        executions = f"{self._workflow.replace(':stateMachine:', ':execution:')}:"
        job: Render = {"prefix": render.prefix, "render_id": render.render_id}
        arns = []
        for entry in render.history:
            if entry["what"] == "submitting":
                job.pop("request_id", None)
            if "request_id" in entry:
                job["request_id"] = entry["request_id"]
            if "generation" in entry:
                job["generation"] = entry["generation"]
                arns.append(executions + execution_name(job))
        return arns

    def executions(self, render: RenderView) -> Iterator[Step]:
        """What the workflow did for a render; nothing before it has started."""
        for arn in self.execution_arns(render):
            yield from self._execution(arn)

    def _execution(self, arn: str) -> Iterator[Step]:
        try:
            pages = self._states.get_paginator("get_execution_history").paginate(executionArn=arn)
            events = [event for page in pages for event in page["events"]]
        except self._states.exceptions.ExecutionDoesNotExist:
            return
        yield from (Step(event["timestamp"], what) for event in events if (what := seen(event)))


def seen(event: dict[str, Any]) -> str | None:
    """An event of the workflow's history in words, None for those that say nothing new."""
    match event:
        case {"type": "ExecutionStarted"}:
            return "workflow started: it waits, and polls Segmind when that is worth it"
        case {"stateExitedEventDetails": {"name": "Poll", "output": output}}:
            polled = last_poll(json.loads(output))
            again = f", waits {polled['wait']} s" if "wait" in polled else ""
            return f"workflow polled Segmind: {polled.get('outcome')}{again}"
        case {"stateExitedEventDetails": {"name": "Finalize", "output": output}}:
            delivery = json.loads(output).get("delivery", {})
            if delivery.get("outcome") == "again":
                return f"delivery did not work, and is tried again in {delivery.get('wait')} s"
        case {"stateEnteredEventDetails": {"name": "GiveUp"}}:
            return "the workflow gives up delivering, and sees to it that this is told"
        case {"taskFailedEventDetails": details} | {"lambdaFunctionFailedEventDetails": details}:
            if "TooManyRequestsException" in f"{details.get('error')} {details.get('cause')}":
                return "Lambda had no room for a function, and calls it again"
            return f"a function crashed, and is called again: {_cause(details)}"
        case {"type": "ExecutionSucceeded"}:
            return "workflow succeeded"
        case {"type": "ExecutionFailed", "executionFailedEventDetails": details}:
            return f"workflow failed: {details.get('error')}"
    return None


def _cause(details: dict[str, Any]) -> str:
    try:
        return str(json.loads(details["cause"])["errorMessage"])
    except (KeyError, ValueError, TypeError):
        return str(details.get("error"))


def describe_entry(entry: HistoryEntry) -> str:
    """One entry of a render's history in words."""
    match entry:
        case {"what": "claimed"}:
            return "claimed: a render of ours, to be paid at most once"
        case {"what": "submitting"}:
            return "submitting to Segmind"
        case {"what": "accepted", "request_id": request_id}:
            return f"{_reopened(entry)}QUEUED at Segmind as {request_id}"
        case {"what": "restarted"}:
            return "its execution stood still: another one has taken over"
        case {"what": "processing"}:
            return "PROCESSING: a worker has it"
        case {"what": "completed"}:
            paid = f"COMPLETED and paid (USD {entry.get('cost', 0):.2f}); the output's URL is on the record"
            stated = "; the cost that Segmind states cannot be" if entry.get("reason") == "strange_cost" else ""
            return f"{_reopened(entry)}{paid}{stated}"
        case {"what": "unlinked"}:
            return "done and paid, and Segmind's answer names no picture: it is asked again"
        case {"what": "relinked"}:
            return f"Segmind names another link to the picture{_times(entry)}: that one is tried"
        case {"what": "kept"}:
            return f"not delivered once more, and stays delivered: {entry.get('message')}"
        case {"what": "undelivered"}:
            return f"not delivered{_times(entry)}, and tried again by itself: {entry.get('message')}"
        case {"what": "delivered"}:
            other = ", in another format than was asked for" if entry.get("reason") == "other_format" else ""
            return f"DELIVERED: {entry.get('key')} is in the output bucket{other}, the event is published"
        case {"what": "failed" | "rejected" as how}:
            return f"{how.upper()} ({entry.get('code')}): {entry.get('message')}"
        case {"what": "uncertain"}:
            job = f"; its answer names the job {entry['candidate_id']}" if "candidate_id" in entry else ""
            return f"UNCERTAIN: {entry.get('message')}{job}"
        case {"what": "parked", "reason": reason}:
            answer = f" (Segmind: {entry['message']})" if entry.get("message") else ""
            return f"parked ({reason}{_times(entry)}): {reason_of(reason).meaning}{answer}"
    rest = (f"{name}={value}" for name, value in entry.items() if name not in ("at", "what", "last_at"))
    return " ".join((str(entry.get("what", "?")), *rest))


def _times(entry: HistoryEntry) -> str:
    return f", {entry['times']} times until {entry['last_at'][11:19]}" if "times" in entry else ""


def _reopened(entry: HistoryEntry) -> str:
    return "taken up again: " if entry.get("reason") == "reopened" else ""
