"""Sweep: once a minute, a hint for each item of the table that is due, and the permits that the line lacks.

It does no work itself. Two sweeps at once, an index that is behind, a hint that is lost: all harmless.
"""

from typing import Any

from kontext.connections import Connections, connect, prepare
from kontext.log import logger
from kontext.pipeline.sweep import sweep

prepare("due", "throttle", "line", "hints")


@logger.inject_lambda_context
def handler(event: dict[str, object], context: Any, deps: Connections | None = None) -> dict[str, int]:
    """The entry point: nothing in; out how many are `in_line`, and how many hints were `sent`."""
    return sweep(deps or connect(), lambda: float(context.get_remaining_time_in_millis()) / 1000)
