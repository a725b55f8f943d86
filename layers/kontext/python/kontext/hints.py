"""Messages of our own in the upload queue. Each is a hint: it may be lost, doubled or late, for the table is the truth.

A *due* hint names an item of the table that somebody has to look at; a *waiters* hint an object, and a place behind
which those who wait for it are to be woken. A *permit* names nothing: it lets the head of the line go, whoever that is.
"""

import json
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kontext.drops.messages import Unreadable
from kontext.dynamodb import Key

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_DELAY_SECONDS = 900


class Hints:
    """The upload queue, for what we tell ourselves."""

    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self.client = client
        self.queue_url = queue_url

    def send_due(self, key: Key, delay: float = 0.0) -> None:
        """Let somebody look at an item of the table, `delay` seconds from now (at most 900, rounded up)."""
        self._send({"due": key}, math.ceil(delay))

    def send_permits(self, times: Iterable[float], now: float) -> None:
        """Let the head of the line go at each of these times. A permit that comes early waits for its slot: delays are
        whole seconds, rounded down."""
        for at in times:
            self._send({"permit": 1}, math.floor(at - now))

    def send_pages(self, key: str, places: Iterable[str]) -> None:
        """Let those be woken who wait for an object: a page behind each of these places."""
        for place in places:
            self._send({"waiters": key, "after": place}, 0)

    def _send(self, body: dict[str, object], delay: int) -> None:
        seconds = max(0, min(MAX_DELAY_SECONDS, delay))
        self.client.send_message(QueueUrl=self.queue_url, MessageBody=json.dumps(body), DelaySeconds=seconds)


def waits_of_first_edition(body: Any) -> list[tuple[str, str]]:
    """The waits (prefix, render_id; "" for the pair itself) that the first edition kept in its messages.

    Raises Unreadable where there are none in place of them.
    """
    found = body.get("wake", ()) if isinstance(body, dict) else ()
    try:
        return [(str(wake["prefix"]), str(wake.get("render_id", ""))) for wake in found]
    except (AttributeError, KeyError, TypeError) as problem:
        raise Unreadable("the message holds no waits of the first edition") from problem
