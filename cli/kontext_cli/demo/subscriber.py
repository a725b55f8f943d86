"""A subscriber of one of the stack's topics, as an app's backend is one: a queue with raw delivery."""

from __future__ import annotations

import json
import secrets
from typing import Any

from kontext_cli.target import Target


class Subscriber:
    """A queue that receives what a topic publishes; it is removed at the end of its `with` block.

    `topic`: the stack's output that names the topic; `attributes`: more of the subscription's, a filter policy say.
    """

    def __init__(self, target: Target, topic: str = "RenderTopicArn", attributes: dict[str, str] | None = None) -> None:
        self._sqs, self._sns = target.client("sqs"), target.client("sns")
        self._topic = target.output(topic)
        self._attributes = {"RawMessageDelivery": "true", **(attributes or {})}

    def __enter__(self) -> Subscriber:
        self._queue = self._sqs.create_queue(QueueName=f"kontext-subscriber-{secrets.token_hex(4)}")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        self._sqs.set_queue_attributes(QueueUrl=self._queue, Attributes={"Policy": _policy(arn, self._topic)})
        self._subscription = self._sns.subscribe(
            TopicArn=self._topic, Protocol="sqs", Endpoint=arn, Attributes=self._attributes
        )["SubscriptionArn"]
        return self

    def __exit__(self, *_: object) -> None:
        self._sns.unsubscribe(SubscriptionArn=self._subscription)
        self._sqs.delete_queue(QueueUrl=self._queue)

    def receive(self, wait_seconds: int = 0) -> list[dict[str, Any]]:
        """The events that have come since the last call."""
        return [event for event, _ in self.received(wait_seconds)]

    def received(self, wait_seconds: int = 0) -> list[tuple[dict[str, Any], float]]:
        """The same, each with the unix seconds at which it came into the queue."""
        answer = self._sqs.receive_message(
            QueueUrl=self._queue,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=wait_seconds,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        messages = answer.get("Messages", [])
        for message in messages:
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return [
            (json.loads(message["Body"]), int(message["Attributes"]["SentTimestamp"]) / 1000) for message in messages
        ]


def _policy(queue: str, topic: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
