"""The upload queue and the mapping that calls Submit with it: at least once, in no order, as the template says."""

# ruff: noqa: N803  the services' own names

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from simulation.fault_injection import Fault
from simulation.scheduler import Due, Scheduler
from simulation.template import Template

Answered = Callable[[Any, BaseException | None], None]
TWICE_SECONDS = 0.05
LATE_SECONDS = 200.0
_MAX_BYTES = 262_144


@dataclass(eq=False)
class Message:
    """A message; `twice`: delivered once more while it is being worked on; `keeps`: deleted in vain the first time."""

    message_id: str
    body: str
    twice: bool = False
    keeps: bool = False
    receives: int = 0
    appears: Due | None = None


class Queue:
    """One queue. `call`: invokes the function with a batch; `order`: in which order visible messages are taken."""

    def __init__(
        self,
        scheduler: Scheduler,
        template: Template,
        faults: Sequence[Fault],
        call: Callable[[list[Message], Answered], None],
        order: Callable[[Iterable[Message]], list[Message]],
    ) -> None:
        self.scheduler = scheduler
        self.dead_letters: list[Message] = []
        self.sent = 0
        self._call, self._order = call, order
        self._faults = {fault.at: fault.kind for fault in faults if fault.of_message}
        self._visibility = float(template.queue["VisibilityTimeout"])
        self._most_receives = int(template.queue["RedrivePolicy"]["maxReceiveCount"])
        self._batch = int(template.mapping["BatchSize"])
        self._concurrency = int(template.mapping["ScalingConfig"]["MaximumConcurrency"])
        self._visible: dict[Message, None] = {}
        self._invocations = 0

    def send_message(self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int = 0) -> dict[str, Any]:
        if not isinstance(DelaySeconds, int) or not 0 <= DelaySeconds <= 900:
            raise ValueError(f"SQS takes no delay of {DelaySeconds} s")
        if len(MessageBody.encode()) > _MAX_BYTES:
            raise ValueError("SQS takes no message of this size")
        self.send(MessageBody, DelaySeconds)
        return {"MessageId": f"m{self.sent - 1}"}

    def send(self, body: str, delay: float = 0.0) -> None:
        """Take a message in."""
        fault = self._faults.get(self.sent)
        message = Message(f"m{self.sent}", body, twice=fault == "twice", keeps=fault == "again")
        self.sent += 1
        self._hide(message, delay + (LATE_SECONDS if fault == "late" else 0.0))

    def _hide(self, message: Message, seconds: float) -> None:
        def appear() -> None:
            self._visible[message] = None
            self._poll()

        message.appears = self.scheduler.at(self.scheduler.now + seconds, appear)

    def _poll(self) -> None:
        while self._invocations < self._concurrency and (batch := self._received()):
            self._invocations += 1
            self._call(batch, lambda answer, problem, batch=batch: self._answered(batch, answer, problem))

    def _received(self) -> list[Message]:
        batch: list[Message] = []
        for message in self._order(self._visible):
            if message.receives >= self._most_receives:
                del self._visible[message]
                self.dead_letters.append(message)
            elif len(batch) < self._batch:
                batch.append(message)
            else:
                break
        for message in batch:
            del self._visible[message]
            message.receives += 1
            self._hide(message, TWICE_SECONDS if message.twice else self._visibility)
            message.twice = False
        return batch

    def _answered(self, batch: list[Message], answer: Any, problem: BaseException | None) -> None:
        self._invocations -= 1
        failed = {one["itemIdentifier"] for one in answer["batchItemFailures"]} if problem is None else set()
        whole = problem is not None or not failed <= {message.message_id for message in batch}
        for message in batch:
            if whole or message.message_id in failed:
                continue
            if message.keeps:
                message.keeps = False
                continue
            self._visible.pop(message, None)
            if message.appears:
                message.appears.call_off()
        self._poll()


def event(batch: list[Message]) -> dict[str, Any]:
    """The batch as the function gets it."""
    return {"Records": [_record(message) for message in batch]}


def _record(message: Message) -> dict[str, Any]:
    return {
        "messageId": message.message_id,
        "receiptHandle": f"{message.message_id}.{message.receives}",
        "body": message.body,
        "attributes": {"ApproximateReceiveCount": str(message.receives)},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:UploadQueue",
        "awsRegion": "us-east-1",
    }
