"""A stack on the embedded cloud whose vendor is hostile, and what can be seen of it from outside."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from kontext.drops import keys
from kontext.dynamodb import Table
from kontext.model import Render
from kontext.polling.durations import SLOTS, Durations
from kontext.polling.history import PollHistory
from kontext.renders.record import render_of
from kontext_cli.demo.subscriber import Subscriber
from kontext_cli.resources import physical_ids
from kontext_cli.target import LOCAL, Target
from kontext_local import stack
from simulation.world import KEY
from tests.adversarial.fake_vendor import FakeVendor, serving
from tests.adversarial.material import Description, made
from tests.adversarial.play import Case, ended
from tests.adversarial.roles import Access, Grant, grants, listed
from tests.adversarial.vendor import Vendor

Seen = TypeVar("Seen")
Dropped = tuple[str, Description, dict[str, str]]
ENDS = ("DELIVERED", "FAILED", "UNCERTAIN")
LOGS = ("SubmitLog", "SweepLog", "PollLog", "FinalizeLog")
QUEUES = ("Upload", "DeadLetter")
FUNCTIONS = ("SubmitFunction", "SweepFunction", "PollFunction", "FinalizeFunction")
PARAMETERS = {"PromptWaitSeconds": "2", "RequestsPerMinute": "6000", "DailySpendLimit": "1000"}
REST_SECONDS, LET_END_SECONDS = 300.0, 120.0
# A message that fails comes back after this, rather than after the template's minutes.
VISIBILITY_SECONDS = 15


@dataclass
class DeployedStack:
    """The stack, its vendor, and the cases that were dropped into it."""

    running: stack.LocalStack
    vendor: FakeVendor
    record: Path
    events: Subscriber
    published: list[dict[str, Any]] = field(default_factory=list)

    @cached_property
    def table(self) -> Table:
        """The stack's record."""
        return Table(self.running.client("dynamodb"), self.running.outputs["RendersTable"])

    @cached_property
    def ids(self) -> dict[str, str]:
        """The physical id of each resource, by its name in the template."""
        return physical_ids(Target(LOCAL, self.running.outputs, self.running.client))

    @cached_property
    def s3(self) -> Any:
        return self.running.client("s3")

    def drop(self, cases: Sequence[Case]) -> list[str]:
        """Drop cases into folders of their own, all at once but in their order; returns the pairs' prefixes."""
        jobs = [f"case-{len(self.vendor.vendors) + number}" for number in range(1, len(cases) + 1)]
        for job, case in zip(jobs, cases, strict=True):
            self.vendor.add(job, case.answers)
            self._put(job, [drop for drop in case.drops if not _is_image(drop)])
        self.rest()
        for job, case in zip(jobs, cases, strict=True):
            self._put(job, [drop for drop in case.drops if _is_image(drop)])
        prefixes = [f"{job}/{case.prefix}" for job, case in zip(jobs, cases, strict=True)]
        change = [prefix for prefix, case in zip(prefixes, cases, strict=True) if case.later or case.removed]
        for turn in range(max(len(case.later) for case in cases)):
            self._let_end(change)
            for job, case in zip(jobs, cases, strict=True):
                self._put(job, case.later[turn : turn + 1])
        if change:
            self._let_end(change)
        for job, case in zip(jobs, cases, strict=True):
            for key in case.removed:
                self.s3.delete_object(Bucket=self.running.outputs["InputBucket"], Key=f"{job}/{key}")
        return prefixes

    def _let_end(self, prefixes: Sequence[str]) -> None:
        """Wait until what was dropped has had its effect."""
        self.rest()
        ended = lambda: all(len(self._announced(prefix)) == len(self._renders(prefix)) for prefix in prefixes)  # noqa: E731
        eventually(ended, LET_END_SECONDS)

    def rest(self) -> None:
        """Wait until no message is to be worked on, now or when a pair has settled."""
        kinds = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
        asked = {"QueueUrl": self.running.outputs["UploadQueueUrl"], "AttributeNames": kinds}
        queues = self.running.client("sqs")

        def is_at_rest() -> bool:
            told = queues.get_queue_attributes(**asked)["Attributes"]
            return not any(int(count) for count in told.values())

        eventually(is_at_rest, REST_SECONDS)

    def _put(self, job: str, drops: Iterable[Dropped]) -> None:
        for key, content, metadata in drops:
            bucket = self.running.outputs["InputBucket"]
            self.s3.put_object(Bucket=bucket, Key=f"{job}/{key}", Body=made(content), Metadata=metadata)

    def vendor_of(self, prefix: str) -> Vendor:
        """The vendor of a case."""
        return self.vendor.vendors[prefix.partition("/")[0]]

    def end(self, prefix: str, seconds: float) -> tuple[str, str]:
        """How a pair has ended, in words, and what was said; where it is if it has not within so many seconds."""
        told = eventually(lambda: self._announced(prefix), seconds)
        if told:
            return ended(max(told, key=lambda render: str(render["updated_at"])))
        files = [body for key, body in self.written(prefix).items() if key.endswith("error.json")]
        if files and not self._renders(prefix):
            return f"FILE {json.loads(files[0])['code']}", json.loads(files[0])["message"]
        return f"STILL {[render['status'] for render in self._renders(prefix)]}", ""

    def put_off(self, prefix: str, seconds: float) -> str:
        """Why a picture is not delivered yet; nothing if that is not said within so many seconds."""
        late = lambda: [one["undelivered"]["last"] for one in self._renders(prefix) if "undelivered" in one]  # noqa: E731
        return next(iter(eventually(late, seconds) or ()), "")

    def _announced(self, prefix: str) -> list[Render]:
        return [one for one in self._renders(prefix) if one["status"] in ENDS and one.get("announced")]

    def _renders(self, prefix: str) -> list[Render]:
        return [render_of(item) for item in self.table.query(f"pair#{prefix}") if item["sk"].startswith("render#")]

    def written(self, prefix: str) -> dict[str, bytes]:
        """The objects under a prefix of the output bucket."""
        bucket = self.running.outputs["OutputBucket"]
        return {key: self.s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in self._keys(prefix)}

    def _keys(self, prefix: str) -> list[str]:
        bucket = self.running.outputs["OutputBucket"]
        listed = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for page in listed for entry in page.get("Contents", ())]

    def described(self) -> list[str]:
        """What S3 tells of each object of the output bucket, its metadata included."""
        bucket = self.running.outputs["OutputBucket"]
        return [str(self.s3.head_object(Bucket=bucket, Key=key)) for key in self._keys("")]

    def receive_published(self) -> list[dict[str, Any]]:
        """All events published up to now."""
        while new := self.events.receive():
            self.published += new
        return self.published

    def logs(self) -> list[str]:
        """Every line that the functions have logged."""
        pages = self.running.client("logs").get_paginator("filter_log_events")
        found = [page for log in LOGS for page in pages.paginate(logGroupName=self.ids[log])]
        return [event["message"] for page in found for event in page["events"]]

    def histories(self) -> list[str]:
        """The inputs, outputs and events of all executions."""
        states = self.running.client("stepfunctions")
        workflow = self.running.outputs["RenderWorkflowArn"]
        pages = states.get_paginator("list_executions").paginate(stateMachineArn=workflow)
        names = [execution["executionArn"] for page in pages for execution in page["executions"]]
        return [str(states.get_execution_history(executionArn=arn, maxResults=1000)["events"]) for arn in names]

    def metrics(self) -> list[str]:
        """The names and dimensions of all metrics."""
        pages = self.running.client("cloudwatch").get_paginator("list_metrics").paginate()
        return [str(metric) for page in pages for metric in page["Metrics"]]

    def settings(self) -> list[str]:
        """How the functions are configured, their environment included."""
        client = self.running.client("lambda")
        return [str(client.get_function_configuration(FunctionName=self.ids[name])) for name in FUNCTIONS]

    def messages(self) -> list[str]:
        """What lies in the queues."""
        sqs, urls = self.running.client("sqs"), (self.running.outputs[f"{name}QueueUrl"] for name in QUEUES)
        taken = [sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0) for url in urls]
        return [message["Body"] for answer in taken for message in answer.get("Messages", ())]

    def dead_letters(self) -> int:
        """How many messages were given up."""
        asked = {"AttributeNames": ["ApproximateNumberOfMessages"]}
        url = self.running.outputs["DeadLetterQueueUrl"]
        told = self.running.client("sqs").get_queue_attributes(QueueUrl=url, **asked)["Attributes"]
        return int(told["ApproximateNumberOfMessages"])

    def policy(self, role: str) -> dict[str, Any]:
        """A role's one policy, as it is deployed."""
        iam, name = self.running.client("iam"), self.ids[role]
        (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
        document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        return {"name": policy, **(document if isinstance(document, dict) else json.loads(document))}

    def grants(self, role: str) -> list[Grant]:
        """What a deployed role may do, with resources by their names in the template."""
        statements = self.policy(role)["Statement"]
        named = [{**one, "Resource": [self.logical(arn) for arn in listed(one["Resource"])]} for one in statements]
        return list(grants(role, {"Statement": named}))

    def accesses(self, role: str, *, allowed: bool) -> set[Access]:
        """What a role was seen to do, or was refused."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        ours = [one for one in map(json.loads, lines) if f"/{self.ids[role]}/" in one["principal"]]
        return {Access(role, one["action"], self.logical(one["resource"])) for one in ours if one["allowed"] is allowed}

    def logical(self, arn: str) -> str:
        """The name in the template of what an ARN names, with the key of an object."""
        for name, own in self._own_names:
            if own in arn:
                object_key = arn.partition(own)[2]
                return name + (object_key if object_key.startswith("/") else "")
        return arn

    @cached_property
    def _own_names(self) -> list[tuple[str, str]]:
        own = [(name, physical.rpartition("/")[2].rpartition(":")[2]) for name, physical in self.ids.items()]
        return sorted(own, key=lambda pair: -len(pair[1]))

    @contextmanager
    def without(self, role: str, statement: str) -> Iterator[None]:
        """Take a statement away from a role for the length of a `with` block."""
        policy = self.policy(role)
        name = policy.pop("name")

        def put(statements: list[Any]) -> None:
            document = json.dumps({**policy, "Statement": statements})
            asked = {"RoleName": self.ids[role], "PolicyName": name, "PolicyDocument": document}
            self.running.client("iam").put_role_policy(**asked)

        put([one for one in policy["Statement"] if one["Sid"] != statement])
        try:
            yield
        finally:
            put(policy["Statement"])


def _is_image(drop: Dropped) -> bool:
    part = keys.parse(drop[0])
    return part is not None and part.slot in ("1", "2")


@contextmanager
def deploying(home: Path) -> Iterator[DeployedStack]:
    """Deploy a stack of its own against a hostile vendor, for the length of a `with` block."""
    record = home / "decisions.jsonl"
    with serving(KEY) as vendor:
        options = stack.Options(
            segmind_url=vendor.hosts[0],
            api_key=KEY,
            result_hosts=(vendor.result_host,),
            parameters=PARAMETERS,
            wait_scale=0.2,
            iam_record=str(record),
            keep=False,
        )
        with stack.using(home, options) as running:
            _hurry(running)
            with Subscriber(Target(LOCAL, running.outputs, running.client)) as events:
                yield DeployedStack(running, vendor, record, events)


def _hurry(running: stack.LocalStack) -> None:
    """Let the stack expect renders of a second, and its messages come back soon."""
    durations = Durations()
    for number in range(3 * SLOTS):
        durations = durations.observe(str(number), number, 0.0, 1.0)
    cells = ", ".join(f"#{name} = :{name}" for name in durations.cells)
    table = Table(running.client("dynamodb"), running.outputs["RendersTable"])
    table.update(PollHistory.KEY, f"SET {cells}", **durations.cells)
    soon = {"VisibilityTimeout": str(VISIBILITY_SECONDS)}
    running.client("sqs").set_queue_attributes(QueueUrl=running.outputs["UploadQueueUrl"], Attributes=soon)


def eventually(look: Callable[[], Seen], seconds: float) -> Seen:
    """The first true answer within so many seconds, or the last one."""
    deadline = time.monotonic() + seconds
    while not (seen := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return seen
