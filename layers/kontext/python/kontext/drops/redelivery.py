"""What becomes of a message that could not be worked on.

S3 does not repeat itself, so what may go well another time is tried for two days, ever more seldom. What no try can
read is a dead letter at once. What kills the function, in an invocation of its own, is one after a few deaths. Why a
message failed stands beside it in the dead-letter queue, or is kept in the table under its id, which it also has there.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kontext import text
from kontext.clock import Clock, iso
from kontext.drops import messages
from kontext.drops.messages import Record, Unreadable, receives
from kontext.dynamodb import Item, Key, Table

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

TRIED_SECONDS = 2 * 86_400.0
BACKOFF_SECONDS = (10, 900)
MOST_DEATHS = 8
DIED = f"the function died {MOST_DEATHS} times while it worked on this message: it takes too much memory, or time"
REASON = "reason"
"""The attribute of a dead letter that says why it is one."""
_KEPT_SECONDS = 30 * 86_400
_LONGEST_REASON = 1000

logger = logging.getLogger(__name__)


class Redelivery:
    """The upload queue, for what comes back to it or is given up. `dead_letter_url`: the queue of what is given up."""

    def __init__(
        self, client: "SQSClient", queue_url: str, dead_letter_url: str, table: Table, clock: Clock | None = None
    ) -> None:
        self.client = client
        self.queue_url = queue_url
        self.dead_letter_url = dead_letter_url
        self.table = table
        self.clock = clock or Clock()

    def work_through(self, records: Sequence[Record], work: Callable[[Record], None]) -> list[Record]:
        """Work on each message; returns those that must come back."""
        return [record for record in records if not self._is_done(record, work)]

    def _is_done(self, record: Record, work: Callable[[Record], None]) -> bool:
        """Work on a message; False if it must come back. One that came back may have killed its function."""
        try:
            deaths = self._begin(record) if receives(record) > 1 else 0
        except Exception as problem:  # noqa: BLE001
            return self._retry(record, problem)
        return self._give_up(record, DIED) if deaths >= MOST_DEATHS else self._work_on(record, work)

    def _work_on(self, record: Record, work: Callable[[Record], None]) -> bool:
        try:
            work(record)
        except Unreadable as problem:
            return self._give_up(record, str(problem))
        except Exception as problem:  # noqa: BLE001
            return self._retry(record, problem)
        return True

    def _begin(self, record: Record) -> int:
        """Note that a message is begun once more; how often a function has begun with it before, and then neither ended
        it nor said why not."""
        noted = self._note(record, "SET #at = :at, #expires_at = :expires_at ADD #begun :one", one=1)
        return int(noted["begun"]) - 1

    def _retry(self, record: Record, problem: Exception) -> bool:
        """Let a message come back, later each time; False, as it has to. After two days it is given up."""
        reason = f"{type(problem).__name__}: {problem}"[:_LONGEST_REASON]
        if self.clock.now() - int(record["attributes"]["SentTimestamp"]) / 1000 > TRIED_SECONDS:
            return self._give_up(record, f"tried for two days; at last {reason}")
        kept = "SET #at = :at, #expires_at = :expires_at, #reason = :reason ADD #times :one REMOVE #begun"
        try:
            self._note(record, kept, reason=reason, one=1)
        except Exception:
            logger.exception("the reason of a failed message was not kept")
        self._back_off(record)
        return False

    def _give_up(self, record: Record, reason: str) -> bool:
        """Move a message to the dead-letter queue; a hint of our own is just dropped. False if it must come back."""
        logger.warning("a message is given up: %s", reason)
        if _is_ours(record):
            return True
        told = text.summarize_vendor_message(reason, _LONGEST_REASON)
        try:
            self.client.send_message(
                QueueUrl=self.dead_letter_url,
                MessageBody=record["body"],
                MessageAttributes={REASON: {"DataType": "String", "StringValue": told}},
            )
        except Exception:
            logger.exception("a message could not be given up yet")
            self._back_off(record)
            return False
        return True

    def _note(self, record: Record, expression: str, **values: Any) -> Item:
        now = self.clock.now()
        said: Item = {"at": iso(now), "expires_at": int(now + _KEPT_SECONDS)}
        return self.table.update(_key(record["messageId"]), expression, **said, **values)

    def _back_off(self, record: Record) -> None:
        least, most = BACKOFF_SECONDS
        self._show_again(record, int(min(most, least * 2.0 ** (receives(record) - 1))))

    def _show_again(self, record: Record, seconds: int) -> None:
        # Should this fail, the message comes back when the queue's own time is over.
        try:
            self.client.change_message_visibility(
                QueueUrl=self.queue_url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=seconds
            )
        except Exception:
            logger.exception("a message comes back later than it could")


def failure_of(table: Table, message_id: str) -> Item:
    """What is known of a message that failed: `reason`, `at`, `times`; empty if nothing is."""
    return table.get(_key(message_id)) or {}


def reason_of(table: Table, letter: "MessageTypeDef") -> str | None:
    """Why a message is in the dead-letter queue, as it was received from there with its attributes."""
    told = letter.get("MessageAttributes", {}).get(REASON)
    return told["StringValue"] if told else failure_of(table, letter["MessageId"]).get("reason")


def _is_ours(record: Record) -> bool:
    try:
        return messages.is_ours(messages.parse(record["body"]))
    except Unreadable:
        return False


def _key(message_id: str) -> Key:
    return {"pk": f"letter#{message_id}", "sk": "letter"}
