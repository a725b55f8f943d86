"""Why a message failed: kept by its id, which it also has in the dead-letter queue, where SQS itself says nothing."""

import logging
from typing import Any

from kontext.clock import iso
from kontext.table import Item, Key, Table

_KEPT_SECONDS = 30 * 86_400


def note(table: Table, message_id: str, problem: Exception, now: float) -> None:
    """Keep why a message failed for 30 days. Never raises: the message itself is what matters."""
    values: dict[str, Any] = {
        "reason": f"{type(problem).__name__}: {problem}"[:1000],
        "at": iso(now),
        "expires_at": int(now + _KEPT_SECONDS),
        "one": 1,
    }
    try:
        table.update(
            _key(message_id), "SET #reason = :reason, #at = :at, #expires_at = :expires_at ADD #times :one", **values
        )
    except Exception:
        logging.getLogger(__name__).exception("the reason of a failed message was not kept")


def of(table: Table, message_id: str) -> Item:
    """What is known of a message: `reason`, `at`, `times`; empty if nothing is."""
    return table.get(_key(message_id)) or {}


def _key(message_id: str) -> Key:
    return {"pk": f"letter#{message_id}", "sk": "letter"}
