"""Somebody who drops pairs into a stack of their own, and looks what becomes of them."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import Any

from kontext.drops.waiters import object_key
from kontext.dynamodb import ConditionFailed
from kontext.model import Render
from kontext.renders.record import render_key
from kontext_cli.decide import operate
from kontext_cli.resources import physical_ids
from kontext_cli.target import LOCAL, Target
from kontext_local.stack import LocalStack


class Customer:
    """Somebody who drops pairs into a stack of their own and looks what becomes of them."""

    def __init__(self, local: LocalStack, photograph: bytes) -> None:
        self.local = local
        self.s3 = local.client("s3")
        self.photograph = photograph
        self.operator = operate.Operator(Target(LOCAL, local.outputs, local.client))

    def drop(self, name: str, prompt: str | None = "Together.") -> None:
        for slot in "12":
            self.s3.put_object(
                Bucket=self.local.outputs["InputBucket"],
                Key=f"{name}/{slot}.png",
                Body=self.photograph,
                Metadata={"prompt": prompt} if prompt else {},
            )

    def drop_many(self, count: int, name: str = "pair") -> list[str]:
        names = [f"{name}-{n:03}" for n in range(count)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self.drop, names))
        return names

    def output(self, key: str) -> bytes | None:
        """An object of the output bucket; None while it is not there."""
        try:
            found = self.s3.get_object(Bucket=self.local.outputs["OutputBucket"], Key=key)
        except self.s3.exceptions.NoSuchKey:
            return None
        return bytes(found["Body"].read())

    def name_one(self, name: str, key: str) -> None:
        """Drop a pair that names an object as its first image."""
        asked = json.dumps({"prompt": f"both in {name}", "input_image_1": f"/{key}"}).encode()
        for part, body in (("2.png", self.photograph), ("request.json", asked)):
            self.s3.put_object(Bucket=self.local.outputs["InputBucket"], Key=f"{name}/{part}", Body=body)

    def waiting_for(self, key: str) -> int:
        """How many pairs wait for an object."""
        return int((self.operator.table.get(object_key(key)) or {}).get("waiters", 0))

    def longest_message(self, since: float) -> float:
        """For how many seconds Submit has worked on one message since then, as its log tells."""
        log = physical_ids(Target(LOCAL, self.local.outputs, self.local.client))["SubmitLog"]
        found = self.local.client("logs").get_paginator("filter_log_events")
        pages = found.paginate(logGroupName=log, startTime=int(since * 1000))
        lines = [json.loads(event["message"]) for page in pages for event in page["events"] if "{" in event["message"]]
        times: dict[tuple[str, str], list[float]] = defaultdict(list)
        for line in lines:
            if line.get("message_id"):
                at = datetime.strptime(line["timestamp"], "%Y-%m-%d %H:%M:%S,%f%z").timestamp()
                times[line["function_request_id"], line["message_id"]].append(at)
        return max(max(of_one) - min(of_one) for of_one in times.values())

    def render(self, name: str) -> Render:
        none: Render = {}
        return next(iter(self.operator.renders.of_pair(f"{name}/")), none)

    def statuses(self, names: Collection[str]) -> Counter[str]:
        """How many renders of these pairs have come how far. What else they hold would keep the cloud busy."""
        found = (
            self.local.client("dynamodb")
            .get_paginator("scan")
            .paginate(
                TableName=self.local.outputs["RendersTable"],
                FilterExpression="begins_with(sk, :render)",
                ProjectionExpression="prefix, #status",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={":render": {"S": "render#"}},
            )
        )
        items = [item for page in found for item in page["Items"]]
        return Counter(item["status"]["S"] for item in items if item["prefix"]["S"].rstrip("/") in names)

    def ledger(self) -> dict[str, Any]:
        with self.local.emulator() as emulator:
            ledger: dict[str, Any] = emulator.get("ledger").json()
        return ledger

    def tell_emulator(self, what: str, body: dict[str, Any]) -> None:
        with self.local.emulator() as emulator:
            emulator.post(what, json=body).raise_for_status()

    def api_key(self) -> str:
        secrets = self.local.client("secretsmanager")
        return str(secrets.get_secret_value(SecretId=self.local.outputs["SegmindSecretArn"])["SecretString"])

    def workflows(self, name: str) -> int:
        """How many renders of the pairs whose name begins so have had their workflow started."""
        pages = self.local.client("stepfunctions").get_paginator("list_executions")
        found = pages.paginate(stateMachineArn=self.local.outputs["RenderWorkflowArn"])
        return sum(one["name"].startswith(f"{name}-") for page in found for one in page["executions"])

    def running(self, name: str) -> list[str]:
        """The executions that run for the pairs whose name begins so."""
        states, asked = self.local.client("stepfunctions"), {"statusFilter": "RUNNING"}
        found = states.list_executions(stateMachineArn=self.local.outputs["RenderWorkflowArn"], **asked)["executions"]
        return [one["executionArn"] for one in found if one["name"].startswith(f"{name}-")]

    def let_time_pass(self, name: str) -> None:
        """Let a render that no execution follows be due, as it would be some minutes later."""
        render, now = self.render(name), time.time()
        if render["status"] != "DELIVERED" and render["due_at"] > now and not self.running(name):
            key = render_key(render["prefix"], render["render_id"])
            values = {"now": now, "seen": render["revision"]}
            with suppress(ConditionFailed):
                self.operator.table.update(key, "SET #due_at = :now", "#revision = :seen", **values)

    def sweep(self) -> None:
        """Call Sweep now: nobody waits for its minute."""
        function = physical_ids(Target(LOCAL, self.local.outputs, self.local.client))["SweepFunction"]
        self.local.client("lambda").invoke(FunctionName=function, InvocationType="Event")

    def timeout(self, function: str) -> float:
        """For how many seconds a function may run."""
        name = physical_ids(Target(LOCAL, self.local.outputs, self.local.client))[f"{function}Function"]
        return float(self.local.client("lambda").get_function_configuration(FunctionName=name)["Timeout"])

    def dead_letters(self) -> int:
        answer = self.local.client("sqs").get_queue_attributes(
            QueueUrl=self.local.outputs["DeadLetterQueueUrl"], AttributeNames=["ApproximateNumberOfMessages"]
        )
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])
