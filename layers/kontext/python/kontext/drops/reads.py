"""What was read of the images that requests name, kept by key and version: one may serve ten thousand pairs."""

from contextlib import suppress
from typing import cast

from kontext.clock import Clock
from kontext.drops.input_bucket import InputBucket
from kontext.dynamodb import ConditionFailed, Key, Table
from kontext.model import ObjectRead

KEPT_SECONDS = 30 * 86_400.0


class Reads:
    """The table's items of what was read."""

    def __init__(self, table: Table, inputs: InputBucket, clock: Clock) -> None:
        self.table = table
        self.inputs = inputs
        self.clock = clock

    def image(self, key: str) -> ObjectRead | None:
        """What the newest version of an object is as an image; None if there is none. What S3 gives is read once."""
        there = self.inputs.newest(key)
        if there is None:
            return None
        kept = cast("ObjectRead", (self.table.get(read_key(key)) or {}).get("read", {}))
        if (kept.get("version_id"), kept.get("etag")) == there and not kept.get("closed"):
            return kept
        read = self.inputs.read(key, "image")
        if read:
            over = int(self.clock.now() + KEPT_SECONDS)
            kept_now = "SET #read = :read, #expires_at = :over REMOVE #expired"
            self.table.update(read_key(key), kept_now, read=read, over=over)
        return read

    def mark_expired(self, key: str) -> None:
        """Note that the bucket's retention rule has taken an object away, if a request has named it."""
        with suppress(ConditionFailed):
            self.table.update(read_key(key), "SET #expired = :yes", "attribute_exists(#read)", yes=True)

    def has_expired(self, key: str) -> bool:
        """Whether the retention rule has taken away what was read last."""
        return bool((self.table.get(read_key(key)) or {}).get("expired"))


def read_key(key: str) -> Key:
    """Where in the table stands what was read of an object."""
    return {"pk": f"object#{key}", "sk": "read"}
