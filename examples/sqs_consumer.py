"""A backend that reads events from an SQS queue and acts on each once.

    python sqs_consumer.py --queue-url https://sqs.eu-west-1.amazonaws.com/123456789012/pictures --database app.db

Subscribe the queue to the stack's RenderTopicArn, with raw message delivery or without.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
from typing import Any

Event = dict[str, Any]


class Pictures:
    """This app's own table of pictures. What it has been told stands in the same database, and changes with it."""

    def __init__(self, database: str) -> None:
        self.connection = sqlite3.connect(database)
        with self.connection:
            self.connection.execute("CREATE TABLE IF NOT EXISTS told (id TEXT PRIMARY KEY)")
            self.connection.execute(
                "CREATE TABLE IF NOT EXISTS pictures (pair TEXT PRIMARY KEY, object TEXT, error TEXT)"
            )

    def take(self, event: Event) -> bool:
        """Act on an event; False if that was done before. Both or neither: one transaction."""
        with self.connection:
            new = self.connection.execute("INSERT OR IGNORE INTO told VALUES (?)", (event["id"],)).rowcount
            if new and event["data"]["pair"] is not None:
                self.connection.execute("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?)", _row(event["data"]))
        return bool(new)

    def close(self) -> None:
        """Close the database."""
        self.connection.close()


def _row(data: Event) -> tuple[str, str | None, str | None]:
    output, error = data["output"], data["error"]
    place = f"s3://{output['bucket']}/{output['key']}" if output else None
    return data["pair"], place, f"{error['code']}: {error['message']}" if error else None


def event_in(body: str) -> Event:
    """The event in a message; without raw delivery SNS puts an envelope around it."""
    content: Event = json.loads(body)
    return json.loads(content["Message"]) if content.get("Type") == "Notification" else content


def consume(sqs: Any, queue_url: str, pictures: Pictures, wait_seconds: int = 20) -> int:
    """Take what is in the queue; returns how many events were new. A message is deleted when it has been acted on."""
    answer = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_seconds)
    new = 0
    for message in answer.get("Messages", []):
        new += pictures.take(event_in(message["Body"]))
        sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    return new


def main() -> None:
    """Consume until interrupted."""
    import boto3

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queue-url", required=True)
    parser.add_argument("--database", default="pictures.db")
    given = parser.parse_args()
    sqs, pictures = boto3.client("sqs"), Pictures(given.database)
    while True:
        print(f"{consume(sqs, given.queue_url, pictures)} new events")


if __name__ == "__main__":
    main()
