"""A stack in which tests may break whatever they like, and read what its functions measured and logged."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jsonschema
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

from kontext.dynamodb import Table
from kontext.results import cloudevents as published
from kontext.throttle.rate_limiter import Rate
from kontext.throttle.throttle import Throttle
from kontext_cli.resources import physical_ids
from kontext_cli.target import LOCAL, Target
from kontext_local import stack

Json = dict[str, Any]

CONTRACT = jsonschema.Draft7Validator(
    json.loads((Path(published.__file__).parents[1] / "schemas" / "event.v1.json").read_text())
)
HOUR = 3600
LOGS = ("SubmitLog", "SweepLog", "PollLog", "FinalizeLog")


@dataclass(frozen=True)
class Measured:
    """One metric as it was emitted; `dimensions` by name."""

    namespace: str
    name: str
    dimensions: dict[str, str]
    unit: str
    values: list[float]


class Scene:
    """A stack in which everything may be broken."""

    def __init__(self, running: stack.LocalStack, emulator: httpx.Client, samples: Path) -> None:
        self.running = running
        self.emulator = emulator
        self.samples = samples
        self.began = time.time()
        self.target = Target(LOCAL, running.outputs, running.client)
        self.table = Table(running.client("dynamodb"), running.outputs["RendersTable"])
        self.ids = physical_ids(self.target)

    def drop(self, pair: str) -> None:
        """Drop a pair whose prompt is its name, so that a rule of the emulator can single it out."""
        self.put(f"{pair}/prompt.txt", f"scene {pair}".encode())
        self.put(f"{pair}/1.png", (self.samples / "astronaut.png").read_bytes())
        self.put(f"{pair}/2.png", (self.samples / "coffee.png").read_bytes())

    def put(self, key: str, body: bytes) -> None:
        """Drop one object."""
        self.running.client("s3").put_object(Bucket=self.running.outputs["InputBucket"], Key=key, Body=body)

    def written(self, prefix: str) -> set[str]:
        """The keys under a prefix of the output bucket."""
        bucket = self.running.outputs["OutputBucket"]
        answer = self.running.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
        return {one["Key"] for one in answer.get("Contents", ())}

    def lines(self, log: str) -> list[str]:
        """What a function has logged since this scene began."""
        pages = self.running.client("logs").get_paginator("filter_log_events")
        found = pages.paginate(logGroupName=self.ids[log], startTime=int(self.began * 1000))
        return [event["message"] for page in found for event in page["events"]]

    def rule(self, pair: str, **what: Any) -> None:
        """Let the emulator misbehave at this pair."""
        self.tell("script", {"prompt": f"scene {pair}", "times": None, **what})

    def tell(self, what: str, body: Any) -> None:
        """Set something at the emulator."""
        answer = self.emulator.post(what, json=body)
        assert answer.status_code == 200, answer.text

    def measured(self, pair: str | None, name: str) -> list[Measured]:
        """What the functions' logs hold of a metric of a pair, or of any, since this scene began."""
        return [one for one in self._embedded(pair) if one.name == name]

    def everything_measured(self, pair: str) -> dict[str, list[float]]:
        """All metrics of a pair, by name."""
        found: dict[str, list[float]] = {}
        for one in self._embedded(pair):
            found.setdefault(one.name, []).extend(one.values)
        return found

    def _embedded(self, pair: str | None) -> Iterator[Measured]:
        for log in LOGS:
            for line in (json.loads(text) for text in self.lines(log) if '"_aws"' in text):
                if pair is None or line.get("pair") == f"{pair}/":
                    yield from _metrics_in(line)

    def throttles(self, function: str) -> list[Measured]:
        """What Lambda itself measured of a function in the last hour."""
        dimensions = {"FunctionName": self.ids[function]}
        answer = self.running.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName="Throttles",
            Dimensions=_as_list(dimensions),
            StartTime=time.time() - HOUR,
            EndTime=time.time() + HOUR,
            Period=HOUR,
            Statistics=["Sum"],
        )
        return [Measured("AWS/Lambda", "Throttles", dimensions, "Count", [one["Sum"]]) for one in answer["Datapoints"]]

    def crashes(self, pair: str, function: str) -> list[Measured]:
        """How often a pair's workflow met a crash of a function; on AWS each is one error of that function."""
        states, workflow = self.running.client("stepfunctions"), self.running.outputs["RenderWorkflowArn"]
        executions = states.list_executions(stateMachineArn=workflow)["executions"]
        history = [
            event
            for one in executions
            if one["name"].startswith(f"{pair}-")
            for event in states.get_execution_history(executionArn=one["executionArn"])["events"]
        ]
        failed = [e for e in history if e.get("taskFailedEventDetails", {}).get("error") == "Runtime.HandlerError"]
        count = sum(e["taskFailedEventDetails"]["resource"].endswith(self.ids[function]) for e in failed)
        return [Measured("AWS/Lambda", "Errors", {"FunctionName": self.ids[function]}, "Count", [float(count)])]

    def of_queue(self, queue: str, name: str, value: float) -> Measured:
        """A metric of SQS, as AWS documents it: https://docs.aws.amazon.com/AWSSimpleQueueService (CloudWatch)."""
        url = self.running.outputs[f"{queue}Url"]
        unit = "Seconds" if "Age" in name else "Count"
        return Measured("AWS/SQS", name, {"QueueName": url.rpartition("/")[2]}, unit, [value])

    def alarm(self, name: str) -> Json:
        """The alarm as it is deployed."""
        (found,) = self.running.client("cloudwatch").describe_alarms(AlarmNames=[self.ids[name]])["MetricAlarms"]
        alarm: Json = found
        return alarm

    def feed(self, measured: list[Measured], alarm: Json) -> None:
        """Give CloudWatch what was emitted, once for each of the alarm's periods."""
        client = self.running.client("cloudwatch")
        client.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue="OK", StateReason="a proof begins")
        periods: int = alarm["DatapointsToAlarm" if "DatapointsToAlarm" in alarm else "EvaluationPeriods"]
        for period in range(periods):
            for one in measured:
                datum: Json = {"MetricName": one.name, "Dimensions": _as_list(one.dimensions), "Unit": one.unit}
                datum |= {"Values": one.values, "Timestamp": time.time() - period * alarm["Period"] + 1}
                client.put_metric_data(Namespace=one.namespace, MetricData=[datum])

    def shorten(self, alarm: str, period: int) -> None:
        """Let an alarm look at `period` seconds alone. The embedded CloudWatch takes the calls of every function
        for those of the alarm's own: a long period is never without one."""
        client = self.running.client("cloudwatch")
        known = client.meta.service_model.operation_model("PutMetricAlarm").input_shape.members
        kept = {name: value for name, value in self.alarm(alarm).items() if name in known}
        client.put_metric_alarm(**kept | {"Period": period})

    def schedule(self, state: str) -> None:
        """Let Sweep be called each minute (`ENABLED`), or not (`DISABLED`)."""
        scheduler = self.running.client("scheduler")
        known = scheduler.get_schedule(Name=self.ids["SweepFunctionMinute"])
        kept = {name: known[name] for name in ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")}
        scheduler.update_schedule(**kept, State=state)

    def sweep(self) -> None:
        """Call Sweep now: nobody waits for its minute."""
        self.running.client("lambda").invoke(FunctionName=self.ids["SweepFunction"], InvocationType="Event")

    def mend(self) -> None:
        """Put everything right, so that what is still waiting goes on."""
        self.schedule("ENABLED")
        self.emulator.delete("script").raise_for_status()
        self.tell("settings", {"credits": 100.0, "spend_limit": None, "keys": [self.running.emulator_key]})
        self.tell("settings", {"models": {"multi-image-kontext-pro": "available"}})
        Throttle(self.table, Rate(per_minute=1)).close_breaker(time.time())
        self.sweep()


def keeps_to_the_contract(event: Json) -> bool:
    """Whether an event is one by our schema and by the CloudEvents SDK."""
    message = HTTPMessage({"content-type": "application/cloudevents+json"}, json.dumps(event).encode())
    return bool(CONTRACT.is_valid(event) and from_structured_event(message).get_id() == event["id"])


def _metrics_in(line: Json) -> Iterator[Measured]:
    for directive in line["_aws"]["CloudWatchMetrics"]:
        (names,) = directive["Dimensions"]
        dimensions = {name: line[name] for name in names}
        for metric in directive["Metrics"]:
            values = line[metric["Name"]]
            values = values if isinstance(values, list) else [values]
            yield Measured(directive["Namespace"], metric["Name"], dimensions, metric["Unit"], values)


def _as_list(dimensions: dict[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in dimensions.items()]
