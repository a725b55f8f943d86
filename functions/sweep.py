"""Sweep: once a minute, let somebody look at each item of the table that is due. It does no work itself.

Two sweeps at once, an index that is behind, a message that is lost: all harmless, since a message is only a hint.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from aws_lambda_powertools import Logger

from connections import Connections, connect, prepare
from kontext import measures, words
from kontext.due import LINE, TIMER, DueItem
from kontext.pacing import messages_are_lost

logger = Logger(json_serializer=words.dumps)
prepare("due", "pacing", "parking")

TIME_TO_END = 10.0
"""Seconds that must be left before another message is sent; the rest is for the next sweep."""


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any, via: Connections | None = None) -> dict[str, int]:
    """The entry point: nothing in; out how many messages were `sent`."""
    via = via or connect()
    sent = 0
    for item in over(via, via.clock.now()):
        if context.get_remaining_time_in_millis() < TIME_TO_END * 1000:
            break
        if take(via, item):
            via.parking.send_due(item.key)
            sent += 1
    if sent:
        measures.tell(Dispatched=sent)
        logger.info("dispatched", sent=sent)
    return {"sent": sent}


def over(via: Connections, now: float) -> Iterator[DueItem]:
    """What is over. Of what waits in line all come back by themselves, unless their messages are lost; and while the
    account is refused, one of them is enough to find out whether it still is."""
    yield from via.due.over(TIMER, now)
    pace = via.pacing.look()
    if messages_are_lost(pace, now):
        yield from islice(via.due.over(LINE, now), 1 if pace.refused else None)


def take(via: Connections, item: DueItem) -> bool:
    """Take an item on; one that cannot be written to keeps no other from being looked at."""
    try:
        return via.due.dispatch(item, via.clock.now())
    except Exception:
        logger.exception("an item that is due could not be taken on", item=item.key)
        return False
