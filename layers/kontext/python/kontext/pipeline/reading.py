"""What lies in the bucket beside what S3 has told: in a burst, or after an outage, messages come late.

A pair is looked at in the bucket before it is claimed, so that a part whose message still waits is not paid for later.
It costs a request for each part, and one listing where its request.json holds no prompt.
"""

from collections.abc import Sequence

from kontext.connections import Connections
from kontext.drops import keys, pairs
from kontext.drops.keys import Slot
from kontext.errors import BadDrop
from kontext.log import logger
from kontext.model import ErrorCode

MOST_LISTED = 100
"""So many keys under a prefix are looked at: of more, the usual names of a prompt are asked for one by one."""


class PairReader:
    """Reads the parts of a pair in the bucket, and what they ask for."""

    def __init__(self, deps: Connections) -> None:
        self.deps = deps

    def read(self, pair: pairs.Pair) -> pairs.Pair:
        """The pair as it lies in the bucket: with what was dropped, replaced or taken away, and not told yet."""
        for slot in keys.SLOTS:
            if slot in pair.parts:
                pair = self.refresh(pair, slot)
        if pairs.has_prompt(pair):
            return pair
        for slot, names in self.prompts_of(pair).items():
            pair = self.find(pair, slot, *names)
        return pair

    def prompts_of(self, pair: pairs.Pair) -> dict[Slot, list[str]]:
        """Under which keys the parts may lie that can hold a prompt, and that are not known, the newest first: one
        listing tells, unless very much lies under the prefix."""
        unknown = [slot for slot in keys.SPELLINGS if slot not in pair.parts]
        if not unknown:
            return {}
        there = self.deps.inputs.keys_under(pair.prefix, MOST_LISTED)
        if len(there) == MOST_LISTED:
            return {slot: [pair.prefix + name for name in keys.SPELLINGS[slot]] for slot in unknown}
        return {slot: _of(keys.Part(pair.prefix, slot), there) for slot in unknown}

    def refresh(self, pair: pairs.Pair, slot: Slot, *, expired: bool = False) -> pairs.Pair:
        """The pair with what stands now under the key of one of its parts; `expired`: if nothing does, the retention
        has taken it away, and no person."""
        known, now = pair.parts[slot], self.deps.clock.now()
        there = self.deps.inputs.newest(known["key"])
        is_same = there == (known.get("version_id"), known["etag"])
        if there is None:
            left = self.deps.drops.remove(pair, slot, now, expired=expired)
            return left if slot in left.parts else self.find_another(left, slot)
        if is_same and (slot in keys.SPELLINGS or "sha256" in known):
            return pair
        read = self.deps.inputs.read(known["key"], slot)
        if read is None:  # it was taken away in between, and that is told as well
            return pair
        at = known["at"] if is_same else now  # one that was recorded without its content is no news
        return self.deps.drops.record(pair.prefix, slot, read, pairs.sequencer_after(known), at)

    def find_another(self, pair: pairs.Pair, slot: Slot) -> pairs.Pair:
        """The pair with what fills an empty slot under whatever key: `1.jpg` is there still when `1.png` is gone."""
        if slot in keys.SPELLINGS:
            return self.find(pair, slot, *self.prompts_of(pair)[slot])
        there = self.deps.inputs.keys_under(f"{pair.prefix}{slot}.")
        return self.find(pair, slot, *_of(keys.Part(pair.prefix, slot), there))

    def find(self, pair: pairs.Pair, slot: Slot, *names: str) -> pairs.Pair:
        """The pair with a part that was dropped under one of these keys, and whose message has not come."""
        for key in names:
            if read := self.deps.inputs.read(key, slot):
                logger.info("a part was dropped, and its message has not come", slot=slot)
                return self.deps.drops.record(pair.prefix, slot, read, "", self.deps.clock.now())
        return pair

    def decide(self, pair: pairs.Pair, defaults: pairs.Defaults, now: float) -> pairs.Decision:
        """What to do with a pair, with the images that its request names."""
        try:
            named = {key: self.deps.reads.image(key) for key in pairs.named_keys(pair)}
            return pairs.decide(pair, named, defaults, now)
        except BadDrop as bad:
            return bad_request(pair, str(bad), bad.code)


def _of(part: keys.Part, there: Sequence[str]) -> list[str]:
    """Of these keys those that name the part."""
    return [key for key in there if keys.parse(key) == part]


def bad_request(pair: pairs.Pair, message: str, code: ErrorCode = "invalid_request") -> pairs.Rejected:
    """What is wrong with a pair whose request.json cannot be followed."""
    return pairs.Rejected(code, message, pairs.version_of(pair.parts["request"]))
