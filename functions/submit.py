"""Submit: an object was dropped, an item of the table is due, or the head of the line may go.

drop → pair → request → claim → POST to Segmind → workflow. Each message of the upload queue is worked on alone. A
drop's message stays in the queue until the drop is recorded; a hint of our own never comes back. What is to be done
after that, the table knows.
"""

from typing import Any

from kontext import hints, metrics
from kontext.connections import Connections, connect, prepare
from kontext.drops import messages
from kontext.drops.messages import Batch, Record
from kontext.log import logger
from kontext.pipeline.intake import count_drops
from kontext.pipeline.overdue import Overdue

prepare("inputs", "drops", "renders", "throttle", "hints", "segmind", "secrets", "poll_history", "workflow")


@logger.inject_lambda_context(clear_state=True)
def handler(event: Batch, context: Any, deps: Connections | None = None) -> dict[str, list[dict[str, str]]]:
    """The entry point: a message of the upload queue in, by its id out if it must come back."""
    deps = deps or connect()
    overdue = Overdue(deps, lambda: float(context.get_remaining_time_in_millis()) / 1000)
    count_drops(event["Records"])
    failed = deps.redelivery.work_through(event["Records"], lambda record: work_on(record, overdue))
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in failed]}


def work_on(record: Record, overdue: Overdue) -> None:
    """Work on one message. Raises Unreadable if no try can, and anything else if it must come back."""
    logger.append_keys(message_id=record["messageId"], pair=None, render_id=None, request_id=None)
    try:
        read(messages.parse(record["body"]), overdue)
    except messages.Unreadable:
        raise
    except Exception:
        logger.exception("the message failed; it comes back")
        metrics.emit(Retried=1)
        raise


def read(body: dict[str, object], overdue: Overdue) -> None:
    """A message tells of drops, or it is a hint: an item of the table is due, those who wait for an object are to be
    woken, or the head of the line may go."""
    if "due" in body:
        overdue.on_hint(messages.due_key(body))
    if "waiters" in body:
        overdue.waker.on_page(*messages.page(body))
    if "permit" in body:
        overdue.submitter.head.on_permit()
    for prefix, render_id in hints.waits_of_first_edition(body):
        overdue.on_wait_of_first_edition(prefix, render_id)
    overdue.intake.on_notification(body)
