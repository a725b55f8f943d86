"""A paid picture comes into the output bucket: under the pair's result key, or beside it if a newer drop has overtaken.

It is paid, so it is delivered as what it is, whatever format was asked for: its bytes give the content type, and the
extension of the key.
"""

from contextlib import suppress
from dataclasses import dataclass

from kontext.connections import Connections
from kontext.drops import keys
from kontext.drops.pairs import Pair
from kontext.dynamodb import ConditionFailed
from kontext.model import TUNABLE, Render, Result, Status
from kontext.results.output_bucket import Condition


@dataclass(frozen=True)
class Place:
    """A key of the output bucket, and how it may be written. `pair`: whose result it is; None beside that."""

    key: str
    condition: Condition
    overtaken: bool
    pair: Pair | None


class Placing:
    """Puts the picture of one paid render into its place. What it raises, `Delivery` and `OutputBucket` say."""

    def __init__(self, deps: Connections, render: Render) -> None:
        self.deps = deps
        self.render = render

    def run(self) -> Result:
        """The picture as events tell of it, once it is there; of our own bucket, if that still holds it."""
        return self.restored() or self.copied()

    def restored(self) -> Result | None:
        """The same picture as it was delivered before; None if it was not, or cannot be read any more."""
        before = self.render.get("restore_from")
        if before is None:
            return None
        place = self.place(keys.format_of(before["key"]))
        result = self.deps.outputs.restore(before, place.key, place.condition)
        return self.finished(place, result) if result else None

    def copied(self) -> Result:
        """The picture as Segmind's file host gives it."""
        with self.deps.delivery.fetch(self.render["output_url"]) as arriving:
            place = self.place(arriving.format)
            result = self.deps.delivery.copy(arriving, place.key, _metadata(self.render), place.condition)
        return self.finished(place, result)

    def place(self, picture_format: str) -> Place:
        """Where a picture of this format goes now."""
        prefix, render_id, outputs = self.render["prefix"], self.render["render_id"], self.deps.outputs
        key = keys.result_key(prefix, picture_format)
        condition = outputs.write_precondition(key)
        pair = self.deps.drops.get(prefix)
        if pair is None or pair.current == render_id:
            return Place(key, condition, overtaken=False, pair=pair)
        for each in keys.RESULT_FORMATS:  # what an earlier try of this render put there must not stay
            outputs.remove_if_ours(keys.result_key(prefix, each), {"render-id": render_id})
        self.see_result_of(pair)
        key = keys.superseded_key(prefix, render_id, picture_format)
        return Place(key, outputs.write_precondition(key), overtaken=True, pair=None)

    def see_result_of(self, pair: Pair) -> None:
        """Have the pair's result delivered again if it is gone: what an earlier try of this render took away late may
        have been that, byte for byte what an older drop had left, and no condition tells the two apart."""
        current: Render = self.deps.renders.get(pair.prefix, pair.current or "") or {}
        if current.get("status") != Status.DELIVERED:
            return
        if "IfMatch" not in self.deps.outputs.write_precondition(current["result"]["key"]):
            now = self.deps.clock.now()
            with suppress(ConditionFailed):  # somebody else has it delivered
                self.deps.renders.new_attempt(current, Status.COMPLETED, current["drop_id"], now, stays_delivered=True)

    def finished(self, place: Place, result: Result) -> Result:
        """The picture is there: what an older drop left goes."""
        if place.pair is not None:
            self.clean_up(place.pair, place.key)
        other = keys.format_of(place.key) != self.render["parameters"]["output_format"]
        return {**result, "superseded": place.overtaken, "other_format": other}

    def clean_up(self, pair: Pair, key: str) -> None:
        """Remove what an older drop left: a result in another format, an error.json that is not true any more."""
        left = {stale: self.deps.outputs.write_precondition(stale) for stale in pair.written - {key}}
        now = self.deps.drops.get(pair.prefix) if left else None  # read after the files: what comes later stays
        if now is None or now.current != pair.current:
            return
        for stale, condition in left.items():
            if stale != keys.error_key(pair.prefix) or now.rejected_drop <= now.current_drop:
                self.deps.outputs.remove(stale, condition)


def _metadata(render: Render) -> dict[str, str]:
    told_elsewhere = ("prompt", "output_format")  # a prompt is no header, and the format is the content type
    asked = {name: render["parameters"].get(name) for name in TUNABLE if name not in told_elsewhere}
    # A request_id there is none where a person gave the link alone.
    known = {"render_id": render["render_id"], "request_id": render.get("request_id"), **asked}
    return {name.replace("_", "-"): str(value) for name, value in known.items() if value is not None}
