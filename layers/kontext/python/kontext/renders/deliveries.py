"""The delivery of a paid picture, as it stands on the render's record: put off, given up again, or done."""

from kontext.model import HistoryEntry, Render, Result, Status, Undelivered
from kontext.renders.overdue import late_at
from kontext.renders.record import is_overtaken, render_key, speaks
from kontext.renders.store import Renders

_PUT_OFF_SECONDS, _MOST_PUT_OFF_SECONDS = 30.0, 6 * 3600.0


class Deliveries:
    """What becomes of the pictures of completed renders."""

    def __init__(self, renders: Renders) -> None:
        self.renders = renders

    def put_off(self, render: Render, message: str, now: float) -> Render:
        """The picture could not be delivered: it is tried again by itself, ever more seldom."""
        before = render.get("undelivered") or Undelivered(tries=0, first=message, last=message)
        at = now + min(_PUT_OFF_SECONDS * 2.0 ** before["tries"], _MOST_PUT_OFF_SECONDS)
        if now < late_at(render):
            at = min(at, late_at(render))
        noted: HistoryEntry = {"what": "undelivered", "message": message}
        undelivered: Undelivered = {"tries": before["tries"] + 1, "first": before["first"], "last": message}
        return self.renders.move(
            render, (Status.COMPLETED,), Status.COMPLETED, now, noted, due_at=at, undelivered=undelivered
        )

    def keep_delivered(self, render: Render, message: str, now: float) -> Render:
        """A delivered picture could not be delivered once more: it stays what it was."""
        noted: HistoryEntry = {"what": "kept", "message": message}
        before = {"result": render["restore_from"], "restore_from": None, "stays_delivered": None}
        return self.renders.end(render, (Status.COMPLETED,), Status.DELIVERED, noted, now, **before)

    def mark_delay_announced(self, render: Render) -> None:
        """It was told that the picture is late."""
        self.renders.table.update(
            render_key(render["prefix"], render["render_id"]),
            "SET #delay_announced = :yes",
            "#attempt = :attempt",
            yes=True,
            attempt=render["attempt"],
        )

    def mark_delivered(self, render: Render, result: Result, now: float) -> Render:
        """The picture is in the output bucket.

        Raises:
            ConditionFailed: position 1: a newer drop has overtaken this render, or does not overtake it any more.
        """
        place = is_overtaken(render) if result.get("superseded") else speaks(render, result["key"])
        noted: HistoryEntry = {"what": "delivered", "key": result["key"]}
        noted |= {"reason": "other_format"} if result.get("other_format") else {}
        there = {"result": result, "restore_from": None, "stays_delivered": None}
        return self.renders.end(render, (Status.COMPLETED,), Status.DELIVERED, noted, now, place, **there)
