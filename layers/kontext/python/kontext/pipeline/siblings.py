"""What lies in the bucket beside what S3 has told: in a burst, or after an outage, messages come late.

A pair is looked at in the bucket before it is claimed, so that a part whose message still waits is not paid for later.
It costs a request for each part, and some for the spellings of a missing prompt: no listing.
"""

from kontext.connections import Connections
from kontext.drops import keys, pairs
from kontext.drops.keys import Slot
from kontext.log import logger


class Siblings:
    """Looks for the parts of a pair in the bucket."""

    def __init__(self, deps: Connections) -> None:
        self.deps = deps

    def look(self, pair: pairs.Pair) -> pairs.Pair:
        """The pair as it lies in the bucket: with what was dropped or replaced, and not told yet."""
        for slot in keys.SLOTS:
            if slot in pair.parts:
                pair = self.refresh(pair, slot)
            elif not pairs.has_prompt(pair):
                pair = self.find(pair, slot)
        return pair

    def refresh(self, pair: pairs.Pair, slot: Slot) -> pairs.Pair:
        """The pair with what stands now under the key of one of its parts."""
        known = pair.parts[slot]
        there = self.deps.inputs.newest(known["key"])
        is_same = there == (known.get("version_id"), known["etag"])
        if there is None or (is_same and (slot in keys.SPELLINGS or "sha256" in known)):
            return pair
        read = self.deps.inputs.read(known["key"], slot)
        if read is None:
            return pair
        at = known["at"] if is_same else self.deps.clock.now()  # one that was recorded without its content is no news
        return self.deps.drops.record(pair.prefix, slot, read, pairs.sequencer_after(known), at)

    def find(self, pair: pairs.Pair, slot: Slot) -> pairs.Pair:
        """The pair with a part that was dropped, and whose message has not come."""
        for name in keys.SPELLINGS.get(slot, ()):
            if read := self.deps.inputs.read(pair.prefix + name, slot):
                logger.info("a part was dropped, and its message has not come", slot=slot)
                return self.deps.drops.record(pair.prefix, slot, read, "", self.deps.clock.now())
        return pair
