"""Sweep: once a minute, let somebody look at each item of the table that is due. It does no work itself.

Two sweeps at once, an index that is behind, a message that is lost: all harmless, since a message is only a hint.
"""

from typing import Any

from aws_lambda_powertools import Logger

from connections import Connections, connect, prepare
from kontext import measures, words

logger = Logger(json_serializer=words.dumps)
prepare("due", "parking")

TIME_TO_END = 10.0
"""Seconds that must be left before another message is sent; the rest is for the next sweep."""


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any, via: Connections | None = None) -> dict[str, int]:
    """The entry point: nothing in; out how many messages were `sent`."""
    via = via or connect()
    sent = 0
    for item in via.due.over(via.clock.now()):
        if context.get_remaining_time_in_millis() < TIME_TO_END * 1000:
            break
        if via.due.dispatch(item, via.clock.now()):
            via.parking.send_due(item.key)
            sent += 1
    if sent:
        measures.tell(Dispatched=sent)
        logger.info("dispatched", sent=sent)
    return {"sent": sent}
