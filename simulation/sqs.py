"""The queues, and the mapping that calls Submit: at least once, in no order, in batches, as the template says.

What is played of AWS: messages that gather until they are received, in batches of at most `BatchSize`; a batch that is
throttled, which uses up a receive and waits for the visibility time-out; failed items of a batch; dead letters, and
their redrive under new message ids; and Lambda's detection of recursive loops, which travels with the messages (the
header `X-Amzn-Trace-Id …;Lineage=`).
"""

# ruff: noqa: N803  the services' own names

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from simulation.fault_injection import Fault
from simulation.scheduler import Due, Scheduler
from simulation.template import Template

Answered = Callable[[Any, BaseException | None], None]
TWICE_SECONDS = 0.05
LATE_SECONDS = 200.0
LONGEST_CHAIN = 16
"""So many invocations in one chain of messages, and Lambda refuses the next:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html"""
_MAX_BYTES = 262_144
_MAX_DELAY, _MAX_VISIBILITY = 900, 43_200


@dataclass(eq=False)
class Message:
    """A message; `ours`: sent by the stack itself; `chain`: so many invocations led to it.

    `twice`: delivered once more while it is being worked on; `keeps`: deleted in vain the first time; `throttled`: no
    function is free when it is received first.
    """

    message_id: str
    body: str
    ours: bool = False
    chain: int = 0
    twice: bool = False
    keeps: bool = False
    throttled: bool = False
    sent_at: float = 0.0
    attributes: Any = None
    receives: int = 0
    appears: Due | None = None


class Queue:
    """The upload queue and its dead-letter queue.

    `call`: invokes the function with a batch, which is the so-manieth invocation of its chain; `order`: in which order
    visible messages are taken; `window`: after how many seconds a message is received, if a function is free;
    `stops_loops`: whether Lambda stops long chains, if not as the template says; `loses`: whether a message of our own
    is lost. Nothing is received while the service stands still, `stalled_until`.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        template: Template,
        faults: Sequence[Fault],
        call: Callable[[list[Message], int, Answered], None],
        order: Callable[[Iterable[Message]], list[Message]],
        window: Callable[[], float],
        stops_loops: bool | None = None,
        loses: Callable[[], bool] = lambda: False,
    ) -> None:
        self.scheduler = scheduler
        self._loses = loses
        self.dead_letters: list[Message] = []
        self.sent = 0
        self.longest_chain = 0
        self.stalled_until = 0.0
        self._call, self._order, self._window = call, order, window
        self._told_to_stop_loops = stops_loops
        self._faults = {fault.at: fault.kind for fault in faults if fault.of_message}
        self._there: dict[str, Message] = {}
        self._visible: dict[Message, None] = {}
        self._invocations = 0
        self.follow(template)

    def follow(self, template: Template) -> None:
        """Take the settings of a deployment."""
        self._visibility = float(template.queue["VisibilityTimeout"])
        self._most_receives = int(template.queue["RedrivePolicy"]["maxReceiveCount"])
        self._batch = int(template.mapping["BatchSize"])
        self._concurrency = int(template.mapping["ScalingConfig"]["MaximumConcurrency"])
        self._reports_failures = template.reports_failures
        told = self._told_to_stop_loops
        self._stops_loops = template.stops_loops if told is None else told

    def send_message(
        self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int = 0, MessageAttributes: Any = None
    ) -> dict[str, Any]:
        if not isinstance(DelaySeconds, int) or not 0 <= DelaySeconds <= _MAX_DELAY:
            raise ValueError(f"SQS takes no delay of {DelaySeconds} s")
        if len(MessageBody.encode()) > _MAX_BYTES:
            raise ValueError("SQS takes no message of this size")
        if QueueUrl == "DeadLetterQueue":
            self.dead_letters.append(Message(f"d{len(self.dead_letters)}", MessageBody, attributes=MessageAttributes))
            return {"MessageId": self.dead_letters[-1].message_id}
        process = self.scheduler.running
        if not self._loses():
            self.send(MessageBody, DelaySeconds, ours=True, chain=process.chain if process else 0)
        return {"MessageId": f"m{self.sent - 1}"}

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> dict[str, Any]:
        if not isinstance(VisibilityTimeout, int) or not 0 <= VisibilityTimeout <= _MAX_VISIBILITY:
            raise ValueError(f"SQS takes no visibility time-out of {VisibilityTimeout} s")
        message_id, _, receives = ReceiptHandle.partition(".")
        message = self._there.get(message_id)
        if message is None or message in self._visible or str(message.receives) != receives:
            raise ClientError({"Error": {"Code": "MessageNotInflight", "Message": ""}}, "ChangeMessageVisibility")
        if message.appears:
            message.appears.call_off()
        self._hide(message, VisibilityTimeout)
        return {}

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> dict[str, Any]:
        message = self._there.get(ReceiptHandle.partition(".")[0])
        if message and message.keeps:
            message.keeps = False
        elif message:
            self._delete(message)
        return {}

    def send(self, body: str, delay: float = 0.0, *, ours: bool = False, chain: int = 0) -> None:
        """Take a message in."""
        fault = self._faults.get(self.sent)
        message = Message(
            f"m{self.sent}",
            body,
            ours,
            chain,
            twice=fault == "twice",
            keeps=fault == "again",
            throttled=fault == "throttled",
            sent_at=self.scheduler.now,
        )
        self.sent += 1
        self._there[message.message_id] = message
        self._hide(message, delay + (LATE_SECONDS if fault == "late" else 0.0))

    def purge(self, *, ours_alone: bool = False) -> None:
        """Delete all that is in the queue, or only what the stack has sent itself."""
        for message in [one for one in self._there.values() if one.ours or not ours_alone]:
            self._delete(message)

    def redrive(self) -> None:
        """Move the dead letters back; each is a new message, but part of the same chain."""
        letters, self.dead_letters = self.dead_letters, []
        for letter in letters:
            self.send(letter.body, ours=letter.ours, chain=letter.chain)

    def _hide(self, message: Message, seconds: float) -> None:
        def appear() -> None:
            self._visible[message] = None
            self._receive_within(self._window())

        message.appears = self.scheduler.at(self.scheduler.now + seconds, appear)

    def _delete(self, message: Message) -> None:
        self._there.pop(message.message_id, None)
        self._visible.pop(message, None)
        if message.appears:
            message.appears.call_off()

    def come_back(self) -> None:
        """Let the service no longer stand still: whoever polls it is answered."""
        if self.scheduler.now < self.stalled_until:
            self.stalled_until = 0.0
            self._receive_within(self._window())

    def _receive_within(self, seconds: float) -> None:
        self.scheduler.at(max(self.scheduler.now + seconds, self.stalled_until), self._receive)

    def _receive(self) -> None:
        if self.scheduler.now < self.stalled_until:
            self._receive_within(0.0)
            return
        while self._invocations < self._concurrency and (batch := self._received()):
            if any(message.throttled for message in batch):
                for message in batch:
                    message.throttled = False
                continue
            self._invoke(batch)

    def _invoke(self, batch: list[Message]) -> None:
        self._invocations += 1
        chain = max(message.chain for message in batch) + 1
        if self._stops_loops and chain > LONGEST_CHAIN:
            refused = RuntimeError("RecursiveInvocationException")
            self.scheduler.at(self.scheduler.now, lambda: self._answered(batch, None, refused))
            return
        self.longest_chain = max(self.longest_chain, chain)
        self._call(batch, chain, lambda answer, problem: self._answered(batch, answer, problem))

    def _received(self) -> list[Message]:
        batch: list[Message] = []
        for message in self._order(self._visible):
            if message.receives >= self._most_receives:
                self._delete(message)
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
        reported = answer["batchItemFailures"] if problem is None and self._reports_failures else ()
        failed = {one["itemIdentifier"] for one in reported}
        whole = problem is not None or not failed <= {message.message_id for message in batch}
        for message in batch:
            if whole or message.message_id in failed:
                continue
            if message.keeps:
                message.keeps = False
                continue
            self._delete(message)
        if self._visible:  # Lambda has it already, and had nobody to give it to
            self._receive_within(0.0)


def event(batch: list[Message]) -> dict[str, Any]:
    """The batch as the function gets it."""
    return {"Records": [_record(message) for message in batch]}


def _record(message: Message) -> dict[str, Any]:
    return {
        "messageId": message.message_id,
        "receiptHandle": f"{message.message_id}.{message.receives}",
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": str(message.receives),
            "SentTimestamp": str(int(message.sent_at * 1000)),
        },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:UploadQueue",
        "awsRegion": "us-east-1",
    }
