"""Sweep: once a minute, a hint for each item of the table that is due, and the permits that the line lacks.

It does no work itself. Two sweeps at once, an index that is behind, a hint that is lost: all harmless.
"""

from typing import Any

from aws_lambda_powertools import Logger

from connections import Connections, connect, prepare
from kontext import measures, words
from kontext.due import DueItem
from kontext.throttle.line import hand_out_permits

logger = Logger(json_serializer=words.dumps)
prepare("due", "throttle", "line", "hints")

TIME_TO_END = 10.0
"""Seconds that must be left before another hint is sent; the rest is for the next sweep."""


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any, via: Connections | None = None) -> dict[str, int]:
    """The entry point: nothing in; out how many are `in_line`, and how many hints were `sent`."""
    via = via or connect()
    in_line = hand_out_permits(via.line, via.throttle, via.hints, via.clock.now())
    sent = 0
    for item in via.due.over(via.clock.now()):
        if context.get_remaining_time_in_millis() < TIME_TO_END * 1000:
            break
        if dispatch(via, item):
            via.hints.send_due(item.key)
            sent += 1
    if sent:
        measures.tell(Dispatched=sent)
    if in_line:
        measures.tell(InLine=in_line, LineAge=via.line.age(via.clock.now()))
    if sent or in_line:
        logger.info("swept", sent=sent, in_line=in_line)
    return {"in_line": in_line, "sent": sent}


def dispatch(via: Connections, item: DueItem) -> bool:
    """Take an item on; one that cannot be written to keeps no other from being looked at."""
    try:
        return via.due.dispatch(item, via.clock.now())
    except Exception:
        logger.exception("an item that is due could not be taken on", item=item.key)
        return False
