"""A run told in lines that a person can follow: what was dropped, every call, and where what went wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from simulation.fault_injection import Call
from simulation.scheduler import BEGINNING
from simulation.world import World


def told(world: World) -> Iterator[str]:
    """The actions and the calls of a run in the order of time, the faults marked."""
    faults = {id(call): fault for fault, call in world.injector.injected}
    lines = [(step.at, -1, f"{step.at:9.2f}  ── {step.action}") for step in world.schedule.steps]
    for number, call in enumerate(world.injector.calls):
        mark = f"   ◄── {faults[id(call)].kind.upper()}" if id(call) in faults else ""
        at = call.at - BEGINNING
        lines.append((at, number, f"{at:9.2f}  {number:3} {call.process:12} {described(call)}{mark}"))
    lines.sort(key=lambda line: line[:2])
    yield from (line for _, _, line in lines)
    for fault in world.schedule.faults:
        if fault.of_message:
            yield f"           message {fault.at} was delivered {fault.kind}"


def described(call: Call) -> str:
    """A call in a few words."""
    asked: Any = call.asked
    match call.service:
        case "dynamodb":
            writes = [entry["Update"] for entry in asked["TransactItems"]] if "TransactItems" in asked else [asked]
            return f"{call.name}: " + ", and ".join(_item(write) for write in writes)
        case "s3":
            return f"{call.name} {asked['Bucket']}/{asked.get('Key', '')}"
        case "sqs" if call.name != "send_message":
            return f"{call.name} {asked['ReceiptHandle']} {asked.get('VisibilityTimeout', '')}".strip()
        case "sqs" if "MessageAttributes" in asked:
            return f"give up {asked['MessageBody'][:120]}"
        case "sqs":
            return f"send in {asked.get('DelaySeconds', 0)} s: {asked['MessageBody'][:120]}"
        case "sns":
            return f"publish {json.loads(asked['Message'])['id']}"
        case "stepfunctions" if "name" in asked:
            return f"start {asked['name']}"
        case "segmind":
            return call.name
    return call.name


def _item(write: dict[str, Any]) -> str:
    key = write.get("Key", {"pk": {"S": "partition"}, "sk": {"S": "all"}})
    name = key["sk"]["S"] if key["sk"]["S"] != "pair" else key["pk"]["S"]
    values = write.get("ExpressionAttributeValues", {})
    if ":status" in values:
        return f"{name} becomes {values[':status']['S']}"
    return f"{name} {write.get('UpdateExpression', '')}".strip()
