"""An object was dropped: it is recorded, and its pair, and those who wait for it, go on."""

from collections.abc import Callable, Sequence

from kontext import metrics, text
from kontext.clock import iso
from kontext.connections import Connections
from kontext.drops import keys, messages, near_misses, pairs
from kontext.drops.waiters import object_key
from kontext.errors import problem
from kontext.log import logger
from kontext.pipeline.advance import Advancer
from kontext.pipeline.waking import Waker


class Intake:
    """Takes in what is dropped. `seconds_left`: how long this invocation may still take."""

    def __init__(self, deps: Connections, seconds_left: Callable[[], float]) -> None:
        self.deps = deps
        self.advancer = Advancer(deps, seconds_left)
        self.waker = Waker(deps, seconds_left)

    def on_notification(self, body: dict[str, object]) -> None:
        """S3 tells of objects. What is wrong with one keeps none of the others back; what may go well another time is
        raised before what no try can do anything with."""
        problems: list[Exception] = []
        try:
            for event in messages.object_events(body):
                try:
                    self.on_event(event)
                except Exception as problem:
                    logger.exception("the message tells of other objects, too", key=event.key)
                    problems.append(problem)
        except messages.Unreadable as problem:
            problems.append(problem)
        if problems:
            raise min(problems, key=lambda problem: isinstance(problem, messages.Unreadable))

    def on_event(self, event: messages.ObjectEvent) -> None:
        """Something has happened to an object."""
        if event.bucket != self.deps.inputs.bucket:
            raise messages.Unreadable(f"the message tells of another bucket, {text.escape_line(event.bucket)}")
        self.on_drop(event)

    def on_drop(self, event: messages.ObjectEvent) -> None:
        """An object has been dropped. Its message is needed until it is recorded: then the table knows of it."""
        key = event.key
        if keys.is_error_file(key) or keys.is_litter(key, event.size):
            logger.info("nobody's drop", key=key)
            return
        part = keys.parse(key)
        if event.removed:
            self.on_removal(key, part, expired=event.removed == "by a rule")
            return
        if part is None:
            self.on_loose_object(key)
            return
        logger.append_keys(pair=part.prefix)
        now = self.deps.clock.now()
        sequencer = event.sequencer or self.deps.drops.next_sequencer(part.prefix, part.slot, key)
        read = self.deps.inputs.read(key, part.slot)
        if read is None:  # deleted in the meantime
            return
        at = now if event.at is None else min(event.at, now)
        pair = self.deps.drops.record(part.prefix, part.slot, read, sequencer, at)
        self.advancer.try_to_advance(pair)
        if pair.wanted_by:
            self.deps.drops.wake_wanted(pairs.pair_key(part.prefix), pair.wanted_by, now)
        if pair.awaited:
            # With its first image a pair uses a text that may have been in the way of others.
            texts = (known["key"] for slot, known in pair.parts.items() if slot in keys.SPELLINGS)
            for one in sorted({key, *texts}):
                self.waker.on_change(one)

    def on_removal(self, key: str, part: keys.Part | None, *, expired: bool) -> None:
        """An object was taken away, or the marker or the version that hid another one: what stands under its key now is
        the truth, and what has come back so, or is in nobody's way any more, wakes those who wait for that. A rule
        brings nothing back: where something stands, it has deleted an old version, or a drop has come since."""
        is_there = self.deps.inputs.newest(key) is not None if part else not self.take_back_if_gone(key)
        if expired and is_there:
            return
        if expired:
            self.deps.reads.mark_expired(key)
        if part:
            self.on_removed_part(key, part, expired=expired)
        elif is_there:
            self.on_loose_object(key)
        elif not expired:
            self.waker.on_change(key)

    def on_removed_part(self, key: str, part: keys.Part, *, expired: bool) -> None:
        """The same of a pair's part. Nothing is paid because of what was taken away alone: a pair goes on that has no
        render yet, was wrong, or was taken back."""
        logger.append_keys(pair=part.prefix)
        before = self.deps.drops.get(part.prefix) or pairs.Pair(part.prefix)
        known, pair = before.parts.get(part.slot), before
        if known is None:
            pair = self.advancer.reader.find_another(before, part.slot)
        elif known["key"] == key:
            pair = self.advancer.reader.refresh(before, part.slot, expired=expired)
        if pair.parts and self.advancer.is_open(pair):
            self.advancer.try_to_advance(pair)
        if before.awaited and not expired:  # a rule mends nothing for anybody
            self.waker.on_change(key)

    def on_loose_object(self, key: str) -> None:
        """An object whose name fits no rule: some request names it, or it is a mistake."""
        wanted = self.deps.loose.waiters_of(key)
        if wanted:
            self.deps.drops.wake_wanted(object_key(key), wanted, self.deps.clock.now())
        if wanted is not None:
            # Another delivery of the drop may have said so before a request named the object.
            self.deps.outputs.remove(keys.unknown_drop_key(key))
            self.waker.on_change(key)
            return
        error_key = keys.unknown_drop_key(key)
        why = f"{text.escape_line(key)} fits no rule: {keys.rule_missed(key)}. {keys.RULE}"
        now = self.deps.clock.now()
        said = {**problem("unknown_drop", why), "object": key, "seen_at": iso(now)}
        self.deps.outputs.put_json(error_key, text.dumps(said, indent=2).encode(), {})
        if not self.deps.loose.mark_reported(key, now):
            self.deps.outputs.remove(error_key)
        elif self.deps.inputs.newest(key) is None:  # the message is late, and its removal was told first
            self.take_back_if_gone(key)
        else:
            logger.info("the name fits no rule", key=key)
            metrics.emit(UnknownDrops=1)
            for other in self.deps.waiters.awaited(near_misses.others_alike(key)):
                self.waker.on_change(other)  # they are told what lies there

    def take_back_if_gone(self, key: str) -> bool:
        """Take back what was told of an object whose name fits no rule, unless it is there; whether it is gone."""
        told, reported_at = keys.unknown_drop_key(key), self.deps.loose.reported_at(key)
        condition = self.deps.outputs.write_precondition(told) if reported_at is not None else {}
        if self.deps.inputs.newest(key) is not None:  # what comes from now on is reported anew
            return False
        if reported_at is not None:  # the file first: where this breaks off, the table still knows of it
            self.deps.outputs.remove(told, condition)
            self.deps.loose.forget(key, reported_at)
        return True


def count_drops(records: Sequence[messages.Record]) -> None:
    """Measure what has come in, once: not when a message comes back."""
    new = [record["body"] for record in records if messages.receives(record) == 1]
    if dropped := sum(messages.count_drops(body) for body in new):
        metrics.emit(Dropped=dropped)
