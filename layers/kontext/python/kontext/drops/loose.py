"""Objects that are no part of a pair: a request names them, or they are reported as unknown."""

from contextlib import suppress

from kontext.drops.waiters import object_key
from kontext.due import REMOVE_DUE, SET_DUE, UNKNOWN
from kontext.dynamodb import ConditionFailed, Table


class LooseObjects:
    """The items of the objects that no pair has for a part, one a key."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def mark_referenced(self, key: str) -> bool:
        """Note that a request names such an object; True if it was reported as unknown before."""
        item = self.table.update(object_key(key), "SET #prefix = :name", name=key)
        if item.get("due_lane") == UNKNOWN:
            self._leave_lane(key)
        return bool(item.get("reported"))

    def waiters_of(self, key: str) -> frozenset[str] | None:
        """Who waits for an object that is no part of a pair, as that was kept once; None if no request has ever named
        it."""
        item = self.table.get(object_key(key)) or {}
        return frozenset(item.get("wanted_by", ())) if "prefix" in item else None

    def mark_reported(self, key: str, now: float) -> bool:
        """Note that an object was reported as unknown; False if a request has named it in the meantime."""
        said, unnamed = f"SET #reported = :now, {SET_DUE}", "attribute_not_exists(#prefix)"
        try:
            self.table.update(object_key(key), said, unnamed, now=now, due_lane=UNKNOWN, due_at=now)
        except ConditionFailed:
            return False
        return True

    def reported_at(self, key: str) -> float | None:
        """When an object was reported as unknown last; None if it was not, or is gone."""
        item = self.table.get(object_key(key)) or {}
        return item.get("reported")

    def forget(self, key: str, reported_at: float) -> None:
        """Note that an object that was reported as unknown is gone, unless it was reported anew since then."""
        since = "#reported = :reported_at"
        changes, in_lane = f"REMOVE #reported, {REMOVE_DUE}", f"{since} AND #due_lane = :lane"
        try:
            self.table.update(object_key(key), changes, in_lane, reported_at=reported_at, lane=UNKNOWN)
        except ConditionFailed:  # somebody is woken by it, and it is due for that; or it was reported anew
            with suppress(ConditionFailed):
                self.table.update(object_key(key), "REMOVE #reported", since, reported_at=reported_at)

    def _leave_lane(self, key: str) -> None:
        with suppress(ConditionFailed):
            self.table.update(object_key(key), f"REMOVE {REMOVE_DUE}", "#due_lane = :lane", lane=UNKNOWN)
