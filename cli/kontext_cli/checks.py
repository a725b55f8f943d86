"""What `kontext doctor` looks at. Each check looks at one thing and says what it found, and what to do about it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from kontext.drops.redelivery import REASON, reason_of
from kontext.dynamodb import Item, Table
from kontext.errors import REASONS, AccountRefused, SegmindError
from kontext.model import Status
from kontext.renders.store import LEASE_SECONDS
from kontext.text import escape_line
from kontext.throttle.admission import state_in
from kontext.throttle.circuit_breaker import PAUSED
from kontext_cli.operate import about
from kontext_cli.records import moment
from kontext_cli.resources import description, parameters, physical_ids, stack_name
from kontext_cli.target import LOCAL, Target
from kontext_cli.untold import Comparison

FUNCTIONS = ("SubmitFunction", "SweepFunction", "PollFunction", "FinalizeFunction")
LAMBDA_SECONDS = 10.0
"""Of a render: about eight in Poll, which sleeps between looks (bench/report.md), and two in Finalize."""
SUBMITTERS = 5
"""At most so many Submit functions read the queue at once (MaximumConcurrency)."""
RECORD_SECONDS = 3600.0
DRIFT_SECONDS = 120.0
LISTINGS = 2
"""So many listings of the bucket, of a thousand versions each, are compared with the table: a second or two of work."""
FRESH_SECONDS = 600.0
"""What came since may still be on its way."""


State = Literal["good", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """`good`, a `note` that needs no hand, or `wrong`; `remedy` says what to do."""

    check: str
    state: State
    says: str
    remedy: str | None = None


class Patient:
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
    def renders(self) -> list[Item]:
        """Every render that has not ended well. Reads the whole table."""
        return [
            item
            for item in self.table.scan()
            if item["sk"].startswith("render#") and item["status"] != Status.DELIVERED
        ]

    def attribute(self, queue: str, name: str) -> Any:
        """An attribute of a queue, given by the output that names it."""
        asked = self.client("sqs").get_queue_attributes(QueueUrl=self.target.output(queue), AttributeNames=[name])
        return asked.get("Attributes", {}).get(name)


def stack(patient: Patient) -> Iterator[Finding]:
    """The deployment itself."""
    status = patient.description["StackStatus"]
    if status.endswith("_IN_PROGRESS"):
        yield Finding("stack", "note", f"{stack_name(patient.target)} is {status}", "Look again when it is done.")
    elif "FAILED" in status or "ROLLBACK" in status:
        remedy = "The stack's events in CloudFormation say what failed; correct it and run `sam deploy` again."
        yield Finding("stack", "wrong", f"{stack_name(patient.target)} is {status}", remedy)
    else:
        yield Finding("stack", "good", f"{stack_name(patient.target)} is {status}")


def api_key(patient: Patient) -> Iterator[Finding]:
    """Whether Segmind accepts the key, and what the account holds."""
    import httpx

    from kontext.segmind.client import Segmind

    secret = patient.client("secretsmanager").get_secret_value(SecretId=patient.target.output("SegmindSecretArn"))
    key = str(secret.get("SecretString", "")).strip()
    put = f"aws secretsmanager put-secret-value --secret-id {patient.target.output('SegmindSecretArn')} --secret-string"
    remedy = f"Put a valid key there: `{put} KEY`; parked renders then go on by themselves."
    if key in ("", "put-the-api-key-here"):
        yield Finding("API key", "wrong", "the secret holds no API key yet", remedy)
        return
    url, model = patient.parameters["SegmindUrl"], patient.parameters["SegmindModel"]
    try:
        with httpx.HTTPTransport() as transport:
            held = Segmind(url, model, lambda _: key, transport).credits()
    except AccountRefused as refused:
        fix = remedy if refused.reason == "bad_key" else REASONS[refused.reason].remedy
        yield Finding("API key", "wrong", f"Segmind refuses it: {refused}", fix)
    except SegmindError as failure:
        says = f"Segmind does not answer at {url}: {failure}"
        yield Finding("API key", "wrong", says, "If it is down, wait: renders go on by themselves. Check SegmindUrl.")
    else:
        yield Finding("API key", "good", "Segmind accepts it")
        yield _credits(patient, held)


def _credits(patient: Patient, held: float) -> Finding:
    price, low = float(patient.parameters["PricePerRender"]), float(patient.parameters["LowCredits"])
    pictures = int(max(0.0, held) / price) if price else 0
    says = f"USD {held:.2f} at Segmind, enough for {pictures} pictures"
    if held < price:
        return Finding("credits", "wrong", says, REASONS["no_credits"].remedy)
    if held < low:
        return Finding("credits", "wrong", f"{says}; LowCredits is {low:g}", "Top the account up at Segmind.")
    return Finding("credits", "good", says)


def event_wiring(patient: Patient) -> Iterator[Finding]:
    """Bucket → queue → function."""
    bucket = patient.target.output("InputBucket")
    told = patient.client("s3").get_bucket_notification_configuration(Bucket=bucket).get("QueueConfigurations", ())
    deploy = "Somebody changed it; run `sam deploy` again, or put it back by hand."
    if not any(one["QueueArn"] == patient.queue_arn and "s3:ObjectCreated:*" in one["Events"] for one in told):
        yield Finding("drops", "wrong", f"{bucket} does not tell the upload queue of drops", deploy)
    elif "s3.amazonaws.com" not in str(patient.attribute("UploadQueueUrl", "Policy")):
        yield Finding("drops", "wrong", "the upload queue's policy does not let S3 send to it", deploy)
    else:
        yield Finding("drops", "good", f"{bucket} tells the upload queue of drops")
    yield _mapping(patient)


def unknown_drops(
    patient: Patient, now: Callable[[], float] = time.time, listings: int = LISTINGS, page_size: int = 1000
) -> Iterator[Finding]:
    """Whether the table knows what lies in the bucket. Looks at the first objects only."""
    comparison = Comparison(patient.target)
    found = comparison.untold(listings=listings, page_size=page_size)
    unknown = [one for one in found if one.at < now() - FRESH_SECONDS]
    count = f"{comparison.compared:,} objects"
    looked = f"all {count}" if comparison.is_whole else f"the first {count} by name"
    if unknown:
        some = ", ".join(escape_line(one.key) for one in unknown[:5]) + (", …" if len(unknown) > 5 else "")
        says = f"of {looked} of the input bucket {len(unknown)} are not known to the table: {some}"
        yield Finding("bucket", "wrong", says, REMEDY_UNKNOWN)
    else:
        says = f"the table knows {looked} of the input bucket"
        rest = "`kontext replay --all` compares the others, too, and says what it finds."
        yield Finding("bucket", "good", says) if comparison.is_whole else Finding("bucket", "note", says, rest)


REMEDY_UNKNOWN = "`kontext replay --all` tells of them again, and says first what that may cost; or name a prefix."


def _mapping(patient: Patient) -> Finding:
    found = patient.client("lambda").list_event_source_mappings(
        EventSourceArn=patient.queue_arn, FunctionName=patient.ids["SubmitFunction"]
    )["EventSourceMappings"]
    if not found:
        return Finding(
            "queue", "wrong", "the Submit function does not read the upload queue", "Run `sam deploy` again."
        )
    state, uuid = found[0].get("State", "Enabled"), found[0]["UUID"]
    if state not in ("Enabled", "Creating", "Enabling", "Updating"):
        enable = f"Run `aws lambda update-event-source-mapping --uuid {uuid} --enabled`."
        return Finding("queue", "wrong", f"the Submit function's event source mapping is {state}: drops wait", enable)
    waiting = patient.attribute("UploadQueueUrl", "ApproximateNumberOfMessages")
    parked = patient.attribute("UploadQueueUrl", "ApproximateNumberOfMessagesDelayed")
    says = f"the Submit function reads the upload queue ({waiting} to be worked on, {parked} parked)"
    return Finding("queue", "good", says)


def functions(patient: Patient) -> Iterator[Finding]:
    """Whether the functions can run, and often enough."""
    client = patient.client("lambda")
    stopped = [name for name in FUNCTIONS if _reserved(client, patient.ids[name]) == 0]
    for name in stopped:
        allow = f"Run `aws lambda delete-function-concurrency --function-name {patient.ids[name]}`."
        yield Finding("functions", "wrong", f"{name} may not run: its reserved concurrency is 0", allow)
    limit = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    rate = float(patient.parameters["RequestsPerMinute"])
    needed = SUBMITTERS + math.ceil(rate * LAMBDA_SECONDS / 60)
    if limit < needed and not patient.local:
        ask = "Ask AWS for more concurrent executions (Service Quotas, AWS Lambda), or lower RequestsPerMinute."
        says = f"the account runs {limit} functions at once; {rate:g} renders a minute need about {needed}"
        yield Finding("functions", "note", f"{says}, so that some will come late", ask)
    elif not stopped:
        yield Finding("functions", "good", "all of them may run")


def _reserved(client: Any, function: str) -> int | None:
    found: int | None = client.get_function_concurrency(FunctionName=function).get("ReservedConcurrentExecutions")
    return found


def schedule(patient: Patient) -> Iterator[Finding]:
    """Whether Sweep is called each minute, and lets nothing stand still."""
    arn = patient.client("lambda").get_function_configuration(FunctionName=patient.ids["SweepFunction"])["FunctionArn"]
    state = patient.client("scheduler").get_schedule(Name=patient.ids["SweepFunctionMinute"])
    if state["State"] != "ENABLED" or state["Target"]["Arn"] != arn:
        enable = "Enable it in EventBridge Scheduler, or delete it there and run `sam deploy` again."
        says = f"the schedule {state['Name']} does not call Sweep: what has lost its message stands still"
        yield Finding("schedule", "wrong", says, enable)
    else:
        yield Finding("schedule", "good", "Sweep is called each minute")


def gate(patient: Patient) -> Iterator[Finding]:
    """Whether renders are let through to Segmind."""
    stop = state_in(patient.table).stopped
    if stop is None:
        yield Finding("gate", "good", "renders go to Segmind")
        return
    reason = str(stop.reason)
    since = moment(stop.since).strftime("%Y-%m-%d %H:%M:%S UTC")
    known = REASONS[reason]
    says = f"all renders wait since {since} ({reason}). {known.meaning}"
    probe = "" if reason == PAUSED else " The account is looked at every minute, and the first in line goes as a trial."
    yield Finding("gate", "wrong", says, known.remedy + probe)


def dead_letters(patient: Patient) -> Iterator[Finding]:
    """Messages that nobody could work on."""
    count = int(patient.attribute("DeadLetterQueueUrl", "ApproximateNumberOfMessages") or 0)
    if not count:
        yield Finding("dead letters", "good", "none")
        return
    url = patient.target.output("DeadLetterQueueUrl")
    asked = {"MaxNumberOfMessages": 1, "VisibilityTimeout": 0, "MessageAttributeNames": [REASON]}
    answer = patient.client("sqs").receive_message(QueueUrl=url, **asked)
    some = [
        f"; one is about {about(one['Body'])}: {reason_of(patient.table, one) or 'why is not known'}"
        for one in answer.get("Messages", ())
    ]
    yield Finding("dead letters", "wrong", f"{count}{''.join(some)}", REMEDY_DEAD)


def stuck_renders(patient: Patient) -> Iterator[Finding]:
    """Renders that need a person, and renders that should have moved on."""
    findings = [
        _renders("uncertain renders", _in_status(patient, Status.UNCERTAIN), REMEDY_UNCERTAIN),
        _renders("undelivered pictures", [r for r in patient.renders if _undelivered(r)], REMEDY_UNDELIVERED),
        _renders("renders that stand still", [r for r in patient.renders if _stands_still(r)], REMEDY_STILL),
    ]
    yield from (finding for finding in findings if finding)
    if not any(findings):
        yield Finding("renders", "good", "none needs a hand")


REMEDY_DEAD = (
    "Remove the cause, then `kontext redrive` moves them back. A message that is no drop of ours can be deleted: "
    "purge the dead-letter queue."
)
REMEDY_UNCERTAIN = (
    "Look for each in Segmind's console, then `kontext resolve PREFIX`: --request-id ID if it is there, else "
    "--resubmit or --give-up."
)
REMEDY_UNDELIVERED = (
    "`kontext explain PREFIX` says why: remove the cause. They are tried again by themselves, at last every six hours; "
    "`kontext redeliver --all` does it now. Nothing is paid again."
)
REMEDY_STILL = "`kontext explain PREFIX` tells how far each came; `kontext redrive`, or drop one of its files again."


def _renders(what: str, found: list[Item], remedy: str) -> Finding | None:
    if not found:
        return None
    some = ", ".join(sorted(item["prefix"] for item in found)[:5])
    return Finding("renders", "wrong", f"{len(found)} {what}: {some}{', …' if len(found) > 5 else ''}", remedy)


def _in_status(patient: Patient, *statuses: str) -> list[Item]:
    return [item for item in patient.renders if item["status"] in statuses]


def _undelivered(item: Item) -> bool:
    failed = item["status"] == Status.FAILED and item["error"]["code"] == "delivery"
    late = item["status"] == Status.COMPLETED and "undelivered" in item
    return bool(item.get("output_url")) and (failed or late)


def _stands_still(item: Item) -> bool:
    now = time.time()
    if item["status"] == Status.SUBMITTING:
        return bool(item.get("lease_until", 0) < now - LEASE_SECONDS)
    return (
        item["status"] in (Status.QUEUED, Status.PROCESSING, Status.COMPLETED)
        and "undelivered" not in item
        and item["submitted_at"] < now - 2 * RECORD_SECONDS
    )


def subscriptions(patient: Patient) -> Iterator[Finding]:
    """Who is told of renders, and who is called when an alarm rings."""
    for what, topic in (("renders", "RenderTopicArn"), ("alarms", "AlarmTopicArn")):
        subscribers = _subscribers(patient, topic)
        pending = [one for one in subscribers if _is_pending(patient, one["SubscriptionArn"])]
        for one in pending:
            says = f"{one['Protocol']} {one['Endpoint']} has not confirmed its subscription to {what}"
            confirm = (
                "Open the link in the message that it was sent, or subscribe it again; until then it is told nothing."
            )
            yield Finding("subscriptions", "wrong", says, confirm)
        if what == "alarms" and not subscribers:
            subscribe = "Set the AlarmEmail parameter, or subscribe to the stack's AlarmTopicArn."
            state: State = "note" if patient.local else "wrong"
            yield Finding("subscriptions", state, "nobody is called when an alarm rings", subscribe)
        elif len(pending) < len(subscribers) or not subscribers:
            yield Finding("subscriptions", "good", f"{len(subscribers) - len(pending)} to {what}")


def _subscribers(patient: Patient, topic: str) -> list[Any]:
    pages = patient.client("sns").get_paginator("list_subscriptions_by_topic")
    arn = patient.target.output(topic)
    return [one for page in pages.paginate(TopicArn=arn) for one in page["Subscriptions"]]


def _is_pending(patient: Patient, arn: str) -> bool:
    if not arn.startswith("arn:"):
        return True  # SNS lists "PendingConfirmation" in its place
    asked = patient.client("sns").get_subscription_attributes(SubscriptionArn=arn)
    return bool(asked["Attributes"].get("PendingConfirmation") == "true")


def alarms(patient: Patient) -> Iterator[Finding]:
    """Whether an alarm rings, or cannot."""
    names = [name for logical, name in patient.ids.items() if logical.endswith("Alarm")]
    found = patient.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
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


def drift(patient: Patient) -> Iterator[Finding]:
    """Whether the resources are still as the template made them. Waits for CloudFormation's comparison."""
    client, name = patient.client("cloudformation"), stack_name(patient.target)
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
