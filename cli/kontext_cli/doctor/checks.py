"""What `kontext doctor` looks at of a deployment: each check looks at one thing and says what it found, and what to do
about it. The vendor's account is in `account_checks`, what does not move in `standstill_checks`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from kontext.due import TIMER
from kontext.dynamodb import Table
from kontext.model import Render, Status
from kontext_cli.read.newest import renders_in
from kontext_cli.resources import description, parameters, physical_ids, stack_name
from kontext_cli.target import LOCAL, Target

FUNCTIONS = ("SubmitFunction", "SweepFunction", "PollFunction", "FinalizeFunction")
LAMBDA_SECONDS = 10.0
"""Of a render: about eight in Poll, which sleeps between looks (bench/report.md), and two in Finalize."""
SUBMITTERS = 5
"""At most so many Submit functions read the queue at once (MaximumConcurrency)."""
LOOKED_AT = 100
"""So many renders of each kind are looked at, which are read at once: a doctor's visit costs the same however large the
table is."""
THROTTLED_SECONDS = 900
DRIFT_SECONDS = 120.0
State = Literal["good", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """`good`, a `note` that needs no hand, or `wrong`; `remedy` says what to do."""

    check: str
    state: State
    says: str
    remedy: str | None = None


class StackInspection:
    """A deployed stack, and what several checks want to know of it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.local = target.name == LOCAL
        self.table = Table(target.client("dynamodb"), target.output("RendersTable"))

    def client(self, service: str) -> Any:
        """A client of one of the stack's services."""
        return self.target.client(service)

    @cached_property
    def ids(self) -> dict[str, str]:
        return physical_ids(self.target)

    @cached_property
    def description(self) -> dict[str, Any]:
        return description(self.target)

    @cached_property
    def parameters(self) -> dict[str, str]:
        return parameters(self.description)

    @cached_property
    def queue_arn(self) -> str:
        return str(self.attribute("UploadQueueUrl", "QueueArn"))

    @cached_property
    def renders(self) -> list[Render]:
        """The renders that are on their way, wait for a person, or have failed; of each the newest `LOOKED_AT`."""
        lanes = (TIMER, Status.UNCERTAIN, Status.FAILED)
        return [render for lane in lanes for render in renders_in(self.table, lane, LOOKED_AT)]

    def attribute(self, queue: str, name: str) -> Any:
        """An attribute of a queue, given by the output that names it."""
        asked = self.client("sqs").get_queue_attributes(QueueUrl=self.target.output(queue), AttributeNames=[name])
        return asked.get("Attributes", {}).get(name)


def stack(inspection: StackInspection) -> Iterator[Finding]:
    """The deployment itself."""
    status = inspection.description["StackStatus"]
    if status.endswith("_IN_PROGRESS"):
        yield Finding("stack", "note", f"{stack_name(inspection.target)} is {status}", "Look again when it is done.")
    elif "FAILED" in status or "ROLLBACK" in status:
        remedy = "The stack's events in CloudFormation say what failed; correct it and run `sam deploy` again."
        yield Finding("stack", "wrong", f"{stack_name(inspection.target)} is {status}", remedy)
    else:
        yield Finding("stack", "good", f"{stack_name(inspection.target)} is {status}")


def event_wiring(inspection: StackInspection) -> Iterator[Finding]:
    """Bucket → queue → function."""
    bucket = inspection.target.output("InputBucket")
    told = inspection.client("s3").get_bucket_notification_configuration(Bucket=bucket).get("QueueConfigurations", ())
    deploy = "Somebody changed it; run `sam deploy` again, or put it back by hand."
    if not any(one["QueueArn"] == inspection.queue_arn and "s3:ObjectCreated:*" in one["Events"] for one in told):
        yield Finding("drops", "wrong", f"{bucket} does not tell the upload queue of drops", deploy)
    elif "s3.amazonaws.com" not in str(inspection.attribute("UploadQueueUrl", "Policy")):
        yield Finding("drops", "wrong", "the upload queue's policy does not let S3 send to it", deploy)
    else:
        yield Finding("drops", "good", f"{bucket} tells the upload queue of drops")
    yield _mapping(inspection)


def _mapping(inspection: StackInspection) -> Finding:
    found = inspection.client("lambda").list_event_source_mappings(
        EventSourceArn=inspection.queue_arn, FunctionName=inspection.ids["SubmitFunction"]
    )["EventSourceMappings"]
    if not found:
        return Finding(
            "queue", "wrong", "the Submit function does not read the upload queue", "Run `sam deploy` again."
        )
    state, uuid = found[0].get("State", "Enabled"), found[0]["UUID"]
    if state not in ("Enabled", "Creating", "Enabling", "Updating"):
        enable = f"Run `aws lambda update-event-source-mapping --uuid {uuid} --enabled`."
        return Finding("queue", "wrong", f"the Submit function's event source mapping is {state}: drops wait", enable)
    waiting = inspection.attribute("UploadQueueUrl", "ApproximateNumberOfMessages")
    parked = inspection.attribute("UploadQueueUrl", "ApproximateNumberOfMessagesDelayed")
    says = f"the Submit function reads the upload queue ({waiting} to be worked on, {parked} parked)"
    return Finding("queue", "good", says)


def functions(inspection: StackInspection) -> Iterator[Finding]:
    """Whether the functions can run, and often enough."""
    client = inspection.client("lambda")
    stopped = [name for name in FUNCTIONS if _reserved(client, inspection.ids[name]) == 0]
    for name in stopped:
        allow = f"Run `aws lambda delete-function-concurrency --function-name {inspection.ids[name]}`."
        yield Finding("functions", "wrong", f"{name} may not run: its reserved concurrency is 0", allow)
    limit = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    rate = float(inspection.parameters["RequestsPerMinute"])
    needed = SUBMITTERS + math.ceil(rate * LAMBDA_SECONDS / 60)
    if limit < needed and not inspection.local:
        ask = "Ask AWS for more concurrent executions (Service Quotas, AWS Lambda), or lower RequestsPerMinute."
        says = f"the account runs {limit} functions at once; {rate:g} renders a minute need about {needed}"
        yield Finding("functions", "note", f"{says}, so that some will come late", ask)
    elif not stopped:
        yield Finding("functions", "good", "all of them may run")


def _reserved(client: Any, function: str) -> int | None:
    found: int | None = client.get_function_concurrency(FunctionName=function).get("ReservedConcurrentExecutions")
    return found


def throttles(inspection: StackInspection, now: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Whether Lambda has refused to run the functions of late."""
    counts = {name: _throttles(inspection, inspection.ids[name], now()) for name in FUNCTIONS}
    refused = ", ".join(f"{name} {count:g} times" for name, count in counts.items() if count)
    if refused:
        says = f"in the last quarter of an hour Lambda has refused to run {refused}"
        yield Finding("throttles", "wrong", says, REMEDY_THROTTLED)
    else:
        yield Finding("throttles", "good", "Lambda runs each function when it is called")


REMEDY_THROTTLED = (
    "Ask AWS for more concurrent executions (Service Quotas, AWS Lambda), free what other functions use, or take a "
    "limit of the function's own away: `aws lambda delete-function-concurrency --function-name NAME`."
)


def _throttles(inspection: StackInspection, function: str, now: float) -> float:
    answer = inspection.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Throttles",
        Dimensions=[{"Name": "FunctionName", "Value": function}],
        StartTime=now - THROTTLED_SECONDS,
        EndTime=now,
        Period=THROTTLED_SECONDS,
        Statistics=["Sum"],
    )
    return float(sum(one["Sum"] for one in answer["Datapoints"]))


def schedule(inspection: StackInspection) -> Iterator[Finding]:
    """Whether Sweep is called each minute, and lets nothing stand still."""
    arn = inspection.client("lambda").get_function_configuration(FunctionName=inspection.ids["SweepFunction"])[
        "FunctionArn"
    ]
    state = inspection.client("scheduler").get_schedule(Name=inspection.ids["SweepFunctionMinute"])
    if state["State"] != "ENABLED" or state["Target"]["Arn"] != arn:
        enable = "Enable it in EventBridge Scheduler, or delete it there and run `sam deploy` again."
        says = f"the schedule {state['Name']} does not call Sweep: what has lost its message stands still"
        yield Finding("schedule", "wrong", says, enable)
    else:
        yield Finding("schedule", "good", "Sweep is called each minute")


def subscriptions(inspection: StackInspection) -> Iterator[Finding]:
    """Who is told of renders, and who is called when an alarm rings."""
    for what, topic in (("renders", "RenderTopicArn"), ("alarms", "AlarmTopicArn")):
        subscribers = _subscribers(inspection, topic)
        pending = [one for one in subscribers if _is_pending(inspection, one["SubscriptionArn"])]
        for one in pending:
            says = f"{one['Protocol']} {one['Endpoint']} has not confirmed its subscription to {what}"
            confirm = (
                "Open the link in the message that it was sent, or subscribe it again; until then it is told nothing."
            )
            yield Finding("subscriptions", "wrong", says, confirm)
        if what == "alarms" and not subscribers:
            subscribe = "Set the AlarmEmail parameter, or subscribe to the stack's AlarmTopicArn."
            state: State = "note" if inspection.local else "wrong"
            yield Finding("subscriptions", state, "nobody is called when an alarm rings", subscribe)
        elif len(pending) < len(subscribers) or not subscribers:
            yield Finding("subscriptions", "good", f"{len(subscribers) - len(pending)} to {what}")


def _subscribers(inspection: StackInspection, topic: str) -> list[Any]:
    pages = inspection.client("sns").get_paginator("list_subscriptions_by_topic")
    arn = inspection.target.output(topic)
    return [one for page in pages.paginate(TopicArn=arn) for one in page["Subscriptions"]]


def _is_pending(inspection: StackInspection, arn: str) -> bool:
    if not arn.startswith("arn:"):
        return True  # SNS lists "PendingConfirmation" in its place
    asked = inspection.client("sns").get_subscription_attributes(SubscriptionArn=arn)
    return bool(asked["Attributes"].get("PendingConfirmation") == "true")


def alarms(inspection: StackInspection) -> Iterator[Finding]:
    """Whether an alarm rings, or cannot."""
    names = [name for logical, name in inspection.ids.items() if logical.endswith("Alarm")]
    found = inspection.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    ringing = [alarm for alarm in found if alarm["StateValue"] == "ALARM"]
    for alarm in ringing:
        yield Finding("alarms", "wrong", f"{alarm['AlarmName']} rings", alarm["AlarmDescription"])
    for name in sorted(set(names) - {alarm["AlarmName"] for alarm in found}):
        yield Finding("alarms", "wrong", f"{name} has been deleted", "Run `sam deploy` again.")
    for alarm in found:
        if not (alarm.get("ActionsEnabled", True) and alarm["AlarmActions"]):
            enable = f"Run `aws cloudwatch enable-alarm-actions --alarm-names {alarm['AlarmName']}`."
            yield Finding("alarms", "wrong", f"{alarm['AlarmName']} calls nobody", enable)
    if not ringing:
        yield Finding("alarms", "good", f"{len(found)}, none rings")


def drift(inspection: StackInspection) -> Iterator[Finding]:
    """Whether the resources are still as the template made them. Waits for CloudFormation's comparison."""
    client, name = inspection.client("cloudformation"), stack_name(inspection.target)
    detection = client.detect_stack_drift(StackName=name)["StackDriftDetectionId"]
    ends = time.monotonic() + DRIFT_SECONDS
    while True:
        answer = client.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
        if answer["DetectionStatus"] != "DETECTION_IN_PROGRESS":
            break
        if time.monotonic() > ends:
            yield Finding("drift", "note", "CloudFormation still compares", "Look at the stack's drift page later.")
            return
        time.sleep(1.0)
    changed = _changed(client, name) if answer.get("StackDriftStatus") == "DRIFTED" else []
    if changed:
        says = f"changed since the deployment: {', '.join(changed)}"
        yield Finding("drift", "wrong", says, "Run `sam deploy` again, or bring the change into the template.")
    else:
        yield Finding("drift", "good", "all resources are as the template made them")


def _changed(client: Any, name: str) -> list[str]:
    statuses = ["MODIFIED", "DELETED"]
    answer = client.describe_stack_resource_drifts(StackName=name, StackResourceDriftStatusFilters=statuses)
    return sorted(one["LogicalResourceId"] for one in answer["StackResourceDrifts"])
