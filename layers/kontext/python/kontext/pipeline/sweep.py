"""The scheduled look at what is due: hints for Submit, which may be lost, doubled or late."""

from collections.abc import Callable

from kontext import metrics
from kontext.connections import Connections
from kontext.due import AT_LAST_SECONDS, RENDER_AT_LAST_SECONDS, DueItem
from kontext.log import logger
from kontext.renders.record import render_id_of
from kontext.throttle.line import hand_out_permits

TIME_TO_END = 10.0
"""Seconds that must be left before another hint is sent; the rest is for the next sweep."""


def sweep(deps: Connections, seconds_left: Callable[[], float]) -> dict[str, int]:
    """Hand out the permits that the line lacks, and send a hint for each item that is due."""
    in_line = hand_out_permits(deps.line, deps.throttle, deps.hints, deps.clock.now())
    if deps.throttle.is_restored():
        logger.warning("the table was restored: nothing is brought on before `kontext reconcile`")
        return {"in_line": in_line, "sent": 0}
    sent = stuck = 0
    for item in deps.due.over(deps.clock.now()):
        if seconds_left() < TIME_TO_END:
            break
        stuck += item.is_stuck
        if item.dispatched_until <= deps.clock.now() and dispatch(deps, item):
            deps.hints.send_due(item.key)
            sent += 1
    if sent:
        metrics.emit(Dispatched=sent)
    if stuck:
        metrics.emit(Stuck=stuck)
    if in_line:
        metrics.emit(InLine=in_line, LineAge=deps.line.age(deps.clock.now()))
    if sent or in_line:
        logger.info("swept", sent=sent, in_line=in_line)
    return {"in_line": in_line, "sent": sent}


def dispatch(deps: Connections, item: DueItem) -> bool:
    """Take an item on; one that cannot be written to keeps no other from being looked at."""
    if item.is_stuck:
        logger.warning("looking at it again and again changes nothing", item=item.key, dispatches=item.dispatches)
    at_last = AT_LAST_SECONDS if render_id_of(item.key) is None else RENDER_AT_LAST_SECONDS
    try:
        return deps.due.dispatch(item, deps.clock.now(), at_last)
    except Exception:
        logger.exception("an item that is due could not be taken on", item=item.key)
        return False
