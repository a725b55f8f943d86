"""What has been dropped: one item a pair, kept from the events, so that no event ever lists the bucket.

The item holds for each slot what was read from its newest object; S3's sequencer decides what is newest.
Reading the item gives the whole pair.
"""

from contextlib import suppress

from kontext.drops.pairs import Pair, pair_key, pair_of, sequencer_after, version_of
from kontext.due import SENT, SET_DUE, SET_DUE_UNLESS_DUE, SET_LANE, TIMER, WAITING, make_due
from kontext.dynamodb import ConditionFailed, Item, Key, Table
from kontext.model import ObjectRead, Part

_SEQUENCER_DIGITS = 32
SETTLE_GRACE_SECONDS = 30.0
AGAIN_SECONDS = 60.0


class Drops:
    """The pairs' items in the table."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def next_sequencer(self, prefix: str, slot: str, key: str) -> str:
        """The place in the order of an object that was found, and not told of by S3: after what was dropped under its
        key, and before all that is dropped later. To be asked for before the object is read."""
        pair = self.get(prefix)
        known = pair.parts.get(slot) if pair else None
        return sequencer_after(known) if known and known["key"] == key else ""

    def record(self, prefix: str, slot: str, read: ObjectRead, sequencer: str, at: float) -> Pair:
        """Note that an object fills a slot, unless it or a newer one does; returns the whole pair as it is now.

        Without a `sequencer`, the object was found before S3's message of it came: that will be no other drop.
        """
        part: Part = {"written_at": at, **read, "sequencer": sequencer.ljust(_SEQUENCER_DIGITS, "0"), "at": at}
        known: Item = {"name": part["key"], "sequencer": part["sequencer"], "written_at": part["written_at"]}
        same_key = f"#part_{slot}.#key = :name AND #part_{slot}.#sequencer < :sequencer"
        if read.get("version_id") not in (None, "null"):  # as it is while the bucket's versioning is suspended
            known["version"] = read["version_id"]
            same_key += f" AND #part_{slot}.#version_id <> :version"
        other_key = f"#part_{slot}.#key <> :name AND"  # S3's sequencers order the drops of one key alone
        older = f"attribute_not_exists(#part_{slot}.#written_at)", f"#part_{slot}.#written_at <= :written_at"
        newer = " OR ".join((same_key, *(f"{other_key} {test}" for test in older)))
        try:
            item = self.table.update(
                pair_key(prefix),
                f"SET #prefix = :prefix, #part_{slot} = :part, {SET_DUE_UNLESS_DUE}"
                f" ADD #drops :one, #times_{slot} :one",
                f"attribute_not_exists(#part_{slot}) OR {newer}",
                prefix=prefix,
                part=part,
                one=1,
                due_lane=WAITING,
                due_at=max(at, 0.0),
                **known,
            )
        except ConditionFailed as known_already:
            item = self._told(prefix, slot, part, known_already.found or {})
        return pair_of(item)

    def _told(self, prefix: str, slot: str, part: Part, item: Item) -> Item:
        """A version that was seen before its own message came has that message's place in the order, from now on."""
        there = item.get(f"part_{slot}", {})
        if there.get("version_id") != part["version_id"] or there["sequencer"] >= part["sequencer"]:
            return item
        try:
            return self.table.update(
                pair_key(prefix),
                f"SET #part_{slot} = :part",
                f"#part_{slot}.#version_id = :version AND #part_{slot}.#sequencer < :sequencer",
                part=part,
                version=part["version_id"],
                sequencer=part["sequencer"],
            )
        except ConditionFailed as newer:
            return newer.found or item

    def remove(self, pair: Pair, slot: str, now: float, *, expired: bool = False) -> Pair:
        """Note that nothing stands under the key of a part any more; returns the whole pair as it is now."""
        known = pair.parts[slot]
        gone = f"SET #removed_at = :now REMOVE #part_{slot}" + (" ADD #expired :version" if expired else "")
        still = f"#part_{slot}.#sequencer = :seen AND #part_{slot}.#key = :name"
        values: Item = {"now": now, "seen": known["sequencer"], "name": known["key"]}
        if expired:
            values["version"] = {version_of(known)}
        try:
            return pair_of(self.table.update(pair_key(pair.prefix), gone, still, **values))
        except ConditionFailed as newer:
            return pair_of(newer.found or {"prefix": pair.prefix})

    def clear_way(self, prefix: str, now: float) -> Pair | None:
        """Note that an object is gone that was in a pair's way: what is put in its place may come yet. Returns the pair
        as it is now; None if there is none."""
        try:
            there = "attribute_exists(#drops)"
            return pair_of(self.table.update(pair_key(prefix), "SET #removed_at = :now", there, now=now))
        except ConditionFailed:
            return None

    def change(self, pair: Pair, now: float) -> None:
        """What a pair is made of has changed since it was claimed: that is a drop, and somebody must look at it."""
        try:
            self.table.update(
                pair_key(pair.prefix),
                f"SET {SET_DUE} REMOVE {SENT} ADD #drops :one",
                "#drops = :drop",
                due_lane=TIMER,
                due_at=now,
                drop=pair.current_drop,
                one=1,
            )
        except ConditionFailed:  # it is counted already, by whoever has seen it
            self.look_again(pair.prefix, now)

    def settle(self, prefix: str, until: float) -> bool:
        """Note that somebody must look at a pair again when it has settled; False if that is noted already."""
        moved = "attribute_not_exists(#due_at) OR #due_at <> :due_at"
        try:
            make_due(self.table, pair_key(prefix), until + SETTLE_GRACE_SECONDS, moved)
        except ConditionFailed:
            return False
        return True

    def look_again(self, prefix: str, at: float) -> None:
        """Note that somebody must look at a pair again, at this time."""
        make_due(self.table, pair_key(prefix), at, "attribute_exists(#drops)")

    def try_again(self, prefix: str, now: float) -> None:
        """The same, where that has failed: what was sent for the pair counts on, so that it is looked at more seldom,
        and known to be stuck."""
        at, there = now + AGAIN_SECONDS, "attribute_exists(#drops)"
        self.table.update(pair_key(prefix), f"SET {SET_DUE}", there, due_lane=TIMER, due_at=at)

    def wait_for(self, pair: Pair, awaited: tuple[str, ...]) -> None:
        """Note which objects' coming or replacing wakes a pair."""
        kept = "SET #waits_for = :awaited" if awaited else "REMOVE #waits_for"
        self.table.update(pair_key(pair.prefix), kept, awaited=awaited)

    def rest(self, pair: Pair, now: float) -> None:
        """Nobody has to come back to a pair any more for what it was due for: a drop comes next."""
        over = "#due_at = :seen AND #due_at <= :now"
        with suppress(ConditionFailed):  # it waits for something new
            kept = f"SET {SET_LANE} REMOVE {SENT}"
            self.table.update(pair_key(pair.prefix), kept, over, due_lane=WAITING, seen=pair.due_at, now=now)

    def get(self, prefix: str) -> Pair | None:
        """The pair under a prefix."""
        item = self.table.get(pair_key(prefix))
        return pair_of(item) if item else None

    def wake_wanted(self, place: Key, prefixes: frozenset[str], now: float) -> None:
        """Let somebody look at those who wait, as that was kept once; what still waits is kept anew."""
        for prefix in sorted(prefixes):
            with suppress(ConditionFailed):
                self.look_again(prefix, now + AGAIN_SECONDS)
            self.table.update(place, "DELETE #wanted_by :by", by={prefix})
