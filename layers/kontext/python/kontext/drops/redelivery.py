"""What becomes of a message that could not be worked on.

S3 does not repeat itself, so what may go well another time is tried for two days, ever more seldom. What no try can
read is a dead letter at once. What kills the function is tried alone, so that it takes no other message with it, and
is a dead letter after a few deaths. Why a message failed stands beside it in the dead-letter queue, or is kept in the
table under its id, which it also has there.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kontext import text
from kontext.clock import Clock, iso
from kontext.drops import messages
from kontext.drops.messages import Record, Unreadable
from kontext.dynamodb import Item, Key, Table

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

TRIED_SECONDS = 2 * 86_400.0
BACKOFF_SECONDS = (10, 900)
MOST_DEATHS = 8
TIME_FOR_A_MESSAGE = 70.0
"""Seconds that must be left before another message is begun: an AWS call that hangs is given up within them."""
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

    def work_through(
        self, records: Sequence[Record], work: Callable[[Record], None], seconds_left: Callable[[], float]
    ) -> list[Record]:
        """Work on each message of a batch alone; returns those that must come back.

        One that came back without a word may have killed its function: it is worked on last, when the others are off
        the queue.
        """

        def attempt(record: Record) -> bool:
            if seconds_left() < TIME_FOR_A_MESSAGE:
                self._show_again(record, 0)
                return False
            if receives(record) == 1:
                return self._work_on(record, work)
            done = self._begin(record) and self._work_on(record, work)
            self._delete([record] if done else [])
            return done

        fresh = [record for record in records if receives(record) == 1]
        returned = [record for record in records if receives(record) > 1]
        failed = [record for record in fresh if not attempt(record)]
        if returned:
            self._delete([record for record in fresh if record not in failed])
        deaths = {record["messageId"]: self._deaths(record) for record in returned}
        suspects = [record for record in returned if deaths[record["messageId"]]]
        failed += [record for record in returned if record not in suspects and not attempt(record)]
        for seconds, record in enumerate(suspects[1:], 1):
            self._show_again(record, seconds)
            failed.append(record)
        for record in suspects[:1]:
            often = deaths[record["messageId"]] >= MOST_DEATHS
            if not (self._give_up(record, DIED) if often else attempt(record)):
                failed.append(record)
        return failed

    def _work_on(self, record: Record, work: Callable[[Record], None]) -> bool:
        try:
            work(record)
        except Unreadable as problem:
            return self._give_up(record, str(problem))
        except Exception as problem:  # noqa: BLE001  the other messages of the batch are none of its business
            return self._retry(record, problem)
        return True

    def _begin(self, record: Record) -> bool:
        """Note that a message that came back is begun: should the function die of it, the next one knows."""
        try:
            self._note(record, "SET #at = :at, #expires_at = :expires_at ADD #begun :one", one=1)
        except Exception as problem:  # noqa: BLE001
            return self._retry(record, problem)
        return True

    def _deaths(self, record: Record) -> int:
        """How often a function has begun with a message, and then neither ended it nor said why not."""
        try:
            return int(failure_of(self.table, record["messageId"]).get("begun", 0))
        except Exception:
            logger.exception("it is not known how often a message was begun")
            return 0

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

    def _note(self, record: Record, expression: str, **values: Any) -> None:
        now = self.clock.now()
        said: Item = {"at": iso(now), "expires_at": int(now + _KEPT_SECONDS)}
        self.table.update(_key(record["messageId"]), expression, **said, **values)

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

    def _delete(self, records: Sequence[Record]) -> None:
        """Take what is done off the queue now, and not only with the end of the batch."""
        for record in records:
            with suppress(Exception):  # it comes back, and is known then
                self.client.delete_message(QueueUrl=self.queue_url, ReceiptHandle=record["receiptHandle"])


def receives(record: Record) -> int:
    """How often a message was received, this time included."""
    return int(record["attributes"]["ApproximateReceiveCount"])


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
