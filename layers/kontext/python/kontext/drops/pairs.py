"""What has been dropped: one item a pair, kept from the events, so that no event ever lists the bucket.

The item holds for each slot what was read from its newest object; S3's sequencer decides what is newest.
Reading the item gives the whole pair, whatever the order in which its parts came: `decide` says what to do with
it.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from kontext import text
from kontext.drops import keys, request
from kontext.drops.waiters import object_key
from kontext.due import REMOVE_DUE, SENT, SET_DUE, SET_DUE_UNLESS_DUE, SET_LANE, TIMER, UNKNOWN, WAITING
from kontext.dynamodb import ConditionFailed, Item, Key, Table
from kontext.errors import BadDrop
from kontext.model import ObjectRead, Parameters, Part, RenderInput

_SEQUENCER_DIGITS = 32
SETTLE_GRACE_SECONDS = 30.0
AGAIN_SECONDS = 60.0
_FIELDS: dict[str, Literal["input_image_1", "input_image_2"]] = {"1": "input_image_1", "2": "input_image_2"}
"""The parameters that name another image for a slot."""


@dataclass(frozen=True)
class Pair:
    """A pair as dropped so far. `parts`: slot → what was read, with the `sequencer` and the time `at` of its
    drop."""

    prefix: str
    parts: dict[str, Part] = field(default_factory=dict)
    drop_id: int = 0
    """Counts the drops, also of the same content, and however late they are told: tells a new drop from an event
    delivered twice."""
    current: str | None = None
    """The render_id of the newest claim: only its result may stand under the pair's result key."""
    current_drop: int = 0
    """The `drop_id` of that claim."""
    claimed_images: tuple[str, ...] = ()
    """What identified both images of that claim."""
    dropped_again: frozenset[str] = frozenset()
    """The slots that were filled more than once."""
    rejected_drop: int = 0
    """The `drop_id` of the newest drop that could not be rendered."""
    written: frozenset[str] = frozenset()
    """The keys in the output bucket that speak, or once spoke, for this pair."""
    due_at: float | None = None
    """When somebody must look at the pair again (unix seconds); None if a drop comes next."""
    removed_at: float = 0.0
    """When a part was seen to be taken away last."""
    expired: frozenset[str] = frozenset()
    """The versions that the bucket's retention rule has taken away, and no person."""
    waits_for: tuple[str, ...] = ()
    """The keys of the objects whose coming, or replacing, wakes this pair."""
    awaited: bool = False
    """Whether others wait, or once waited, for an object of this pair."""
    wanted_by: frozenset[str] = frozenset()
    """Prefixes of other pairs that wait for an object of this one, as they were kept once."""

    def asks_for(self, render_id: str) -> bool:
        """Whether the newest drop asks for this render."""
        return self.current == render_id and self.rejected_drop <= self.current_drop


@dataclass(frozen=True)
class Defaults:
    """The stack's defaults for what no drop says."""

    parameters: Parameters
    prompt: str
    hold_seconds: float = 0.0
    """How long a whole pair waits after its newest part, for what was dropped together with it."""
    prompt_wait_seconds: float = 0.0
    """How long it waits for a prompt, or for the other image once one was replaced."""


Wanted = dict[str, str]
"""Objects that a request names and that cannot be used yet: their keys, and the ETags that they have; "" for one that
is not there."""


@dataclass(frozen=True)
class Incomplete:
    """Something is missing; each entry of `missing` is a part or a key in plain words."""

    missing: tuple[str, ...]
    wanted: Wanted = field(default_factory=dict)


@dataclass(frozen=True)
class AwaitingMore:
    """Complete, but what was dropped together with it may still come until `until` (unix seconds)."""

    until: float


@dataclass(frozen=True)
class Rejected:
    """Cannot be rendered as dropped; with `wanted`, once those objects are replaced it may be. `cause`: the version
    that is wrong."""

    code: str
    message: str
    cause: str = ""
    wanted: Wanted = field(default_factory=dict)


@dataclass(frozen=True)
class Ready:
    """All that a render needs. `inputs`: for each image what was read of it, or its URL; `asked`: the parameters that
    the drops name, without the stack's defaults."""

    inputs: tuple[ObjectRead, ObjectRead]
    parameters: Parameters
    asked: Parameters

    def render_id(self, prefix: str) -> str:
        """The deterministic name of the render that this content asks for: no default of the stack is in it."""
        one, two = map(identity, self.inputs)
        return request.render_id(prefix, one, two, self.asked)

    def earlier_id(self, prefix: str) -> str:
        """What the render was called when an ETag named an image, and the defaults were asked for as well."""
        one, two = (image.get("etag") or image["url"] for image in self.inputs)
        return request.render_id(prefix, one, two, self.parameters)


Decision = Incomplete | AwaitingMore | Rejected | Ready


def named_keys(pair: Pair) -> tuple[str, ...]:
    """The objects that the pair's request names as its images.

    Raises:
        BadDrop: a name is not one.
    """
    asked = _parameters(pair.parts.get("request"))
    return tuple(
        _key_named(pair, field, asked[field])
        for field in _FIELDS.values()
        if field in asked and not _is_url(asked[field])
    )


def names_images(pair: Pair) -> bool:
    """Whether the pair's request names an image, so that it needs none under the pair's own name."""
    return any(field in _parameters(pair.parts.get("request")) for field in _FIELDS.values())


def check_links(pair: Pair, output_bucket: str) -> None:
    """See that no result is an input again, by whatever link.

    Raises:
        BadDrop: the request links to the output bucket.
    """
    asked = _parameters(pair.parts.get("request"))
    for name in _FIELDS.values():
        if output_bucket.lower() in unquote(asked.get(name, "")).lower():
            told = f"request.json: {name} leads to the output bucket; copy the picture to the input bucket to use it"
            raise BadDrop("invalid_request", told)


def decide(pair: Pair, named: dict[str, ObjectRead | None], defaults: Defaults, now: float) -> Decision:
    """What to do with a pair at the time `now`. `named`: what was read from each of its `named_keys`."""
    parts = pair.parts
    files = [_parameters(parts.get(slot)) for slot in ("request", "prompt")]
    asked = request.merge(*files)
    images = [_image(pair, slot, asked.get(_FIELDS[slot]), named) for slot in "12"]
    for part in [parts.get("request"), parts.get("prompt"), *images]:
        if part and "problem" in part:
            return Rejected(**part["problem"], cause=version_of(part), wanted=_wrong(named))
    one, two = images
    if one is None or two is None:
        return _incomplete(pair, asked, images)
    sources = (*files, _parameters(one), _parameters(two))
    told = request.merge(*sources)
    if "prompt" not in told and not defaults.prompt:
        return Incomplete(("a prompt: drop request.json or prompt.txt",))
    until = max(pair.removed_at, *(part["at"] for part in parts.values())) + _settling_seconds(
        pair, (one, two), told, defaults
    )
    if now < until:
        return AwaitingMore(until)
    for image_field in _FIELDS.values():
        told.pop(image_field, None)
    return Ready((one, two), request.merge(told, {"prompt": defaults.prompt}, defaults.parameters), asked=told)


def _settling_seconds(pair: Pair, images: tuple[ObjectRead, ObjectRead], told: Parameters, defaults: Defaults) -> float:
    """How long a pair waits after its newest part for what was dropped together with it."""
    if "prompt" not in told or _is_half_exchanged(pair, images):
        return defaults.prompt_wait_seconds
    return 0.0 if pair.current is None and has_prompt(pair) else defaults.hold_seconds


def _is_half_exchanged(pair: Pair, images: tuple[ObjectRead, ObjectRead]) -> bool:
    """Whether one image was replaced by a drop, and the other is still the one that came or was claimed with it."""
    replaced = pair.dropped_again
    if pair.claimed_images:
        claimed = zip("12", images, pair.claimed_images, strict=True)
        replaced = frozenset(slot for slot, image, before in claimed if identity(image) != before)
    is_own = [image is pair.parts.get(slot) for slot, image in zip("12", images, strict=True) if slot in replaced]
    return is_own == [True]


def has_prompt(pair: Pair) -> bool:
    """Whether the pair's request.json holds a prompt, which none but a newer request.json can change."""
    return "prompt" in _parameters(pair.parts.get("request"))


def sequencer_after(part: Part) -> str:
    """A place in the order of one key's drops: after this one, and before all that are dropped later."""
    return f"{part['sequencer']}1"


def version_of(read: ObjectRead | RenderInput) -> str:
    """Which version of which object it is."""
    return f"{read.get('key')} {read.get('version_id') or read.get('etag')}"


def identity(image: ObjectRead | RenderInput) -> str:
    """What an image is known by: its content, however it was uploaded; a part that was recorded before that was read
    has its ETag alone."""
    return image.get("sha256") or image.get("etag") or image["url"]


def _parameters(part: ObjectRead | None) -> Parameters:
    return part.get("parameters", {}) if part else {}


def _image(pair: Pair, slot: str, name: str | None, named: dict[str, ObjectRead | None]) -> ObjectRead | None:
    if name is None:
        return pair.parts.get(slot)
    return {"url": name} if _is_url(name) else named.get(_key_named(pair, f"input_image_{slot}", name))


def _incomplete(pair: Pair, asked: Parameters, images: Sequence[ObjectRead | None]) -> Incomplete:
    missing, wanted = [], {}
    for slot, image in zip("12", images, strict=True):
        name = asked.get(_FIELDS[slot])
        if image is None and name:
            key = _key_named(pair, _FIELDS[slot], name)
            wanted[key] = ""
            missing.append(f"{text.escape_line(key)} (named by request.json)")
        elif image is None:
            missing.append(f"image {slot}: {text.escape_line(pair.prefix)}{slot}.<png|jpg|jpeg|webp>")
    return Incomplete(tuple(missing), wanted)


def _wrong(named: dict[str, ObjectRead | None]) -> Wanted:
    return {key: read["etag"] for key, read in named.items() if read and "problem" in read}


def _is_url(name: str) -> bool:
    return name.lower().startswith("https://")


def _key_named(pair: Pair, field: str, name: str) -> str:
    try:
        if "://" in name:
            raise ValueError("must be an https URL, or name an object of the input bucket")
        return keys.resolve_name(pair.prefix, name)
    except ValueError as problem:
        raise BadDrop(
            "invalid_request", f"request.json: {field} is {text.redact(name)[:80]!r}; it {problem}"
        ) from problem


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

    def change(self, pair: Pair, now: float) -> None:
        """What a pair is made of has changed since it was claimed: that is a drop, and somebody must look at it."""
        try:
            self.table.update(
                pair_key(pair.prefix),
                f"SET {SET_DUE} REMOVE {SENT} ADD #drops :one",
                "#drops = :drop",
                due_lane=TIMER,
                due_at=now + AGAIN_SECONDS,
                drop=pair.current_drop,
                one=1,
            )
        except ConditionFailed:  # it is counted already, by whoever has seen it
            self.look_again(pair.prefix, now)

    def settle(self, prefix: str, until: float) -> bool:
        """Note that somebody must look at a pair again when it has settled; False if that is noted already."""
        at, moved = until + SETTLE_GRACE_SECONDS, "attribute_not_exists(#due_at) OR #due_at <> :due_at"
        try:
            self.table.update(pair_key(prefix), f"SET {SET_DUE} REMOVE {SENT}", moved, due_lane=TIMER, due_at=at)
        except ConditionFailed:
            return False
        return True

    def look_again(self, prefix: str, now: float) -> None:
        """Note that somebody must look at a pair again: what it asks for could not be done."""
        at = now + AGAIN_SECONDS
        there = "attribute_exists(#drops)"
        self.table.update(pair_key(prefix), f"SET {SET_DUE} REMOVE {SENT}", there, due_lane=TIMER, due_at=at)

    def wait_for(self, pair: Pair, awaited: tuple[str, ...]) -> None:
        """Note which objects' coming or replacing wakes a pair."""
        kept = "SET #waits_for = :awaited" if awaited else "REMOVE #waits_for"
        self.table.update(pair_key(pair.prefix), kept, awaited=awaited)

    def rest(self, prefix: str, now: float) -> None:
        """Nobody has to come back to a pair: a drop comes next."""
        with suppress(ConditionFailed):  # it waits for something new
            self.table.update(
                pair_key(prefix), f"SET {SET_LANE} REMOVE {SENT}", "#due_at <= :now", due_lane=WAITING, now=now
            )

    def get(self, prefix: str) -> Pair | None:
        """The pair under a prefix."""
        item = self.table.get(pair_key(prefix))
        return pair_of(item) if item else None

    def named(self, key: str) -> bool:
        """Note that a request names such an object; True if it was reported as unknown before."""
        item = self.table.update(object_key(key), "SET #prefix = :name", name=key)
        if item.get("due_lane") == UNKNOWN:
            self._leave_lane(key)
        return bool(item.get("reported"))

    def wanted(self, key: str) -> frozenset[str] | None:
        """Who waits for an object that is no part of a pair, as that was kept once; None if no request has ever named
        it."""
        item = self.table.get(object_key(key)) or {}
        return frozenset(item.get("wanted_by", ())) if "prefix" in item else None

    def wake_wanted(self, place: Key, prefixes: frozenset[str], now: float) -> None:
        """Let somebody look at those who wait, as that was kept once; what still waits is kept anew."""
        for prefix in sorted(prefixes):
            with suppress(ConditionFailed):
                self.look_again(prefix, now)
            self.table.update(place, "DELETE #wanted_by :by", by={prefix})

    def reported(self, key: str, now: float) -> bool:
        """Note that an object was reported as unknown; False if a request has named it in the meantime."""
        said, unnamed = f"SET #reported = :yes, {SET_DUE}", "attribute_not_exists(#prefix)"
        try:
            self.table.update(object_key(key), said, unnamed, yes=True, due_lane=UNKNOWN, due_at=now)
        except ConditionFailed:
            return False
        return True

    def forget_loose(self, key: str) -> bool:
        """Note that an object that was reported as unknown is gone; False if it was not."""
        with suppress(ConditionFailed):
            self.table.update(object_key(key), "REMOVE #reported", "attribute_exists(#reported)")
            self._leave_lane(key)
            return True
        return False

    def _leave_lane(self, key: str) -> None:
        with suppress(ConditionFailed):
            self.table.update(object_key(key), f"REMOVE {REMOVE_DUE}", "#due_lane = :lane", lane=UNKNOWN)


def pair_key(prefix: str) -> Key:
    """Where a pair stands in the table; its renders share the `pk`."""
    return {"pk": f"pair#{prefix}", "sk": "pair"}


def pair_of(item: Item) -> Pair:
    """The pair in a table item."""
    return Pair(
        prefix=item.get("prefix", ""),
        parts={slot: item[f"part_{slot}"] for slot in keys.SLOTS if f"part_{slot}" in item},
        drop_id=item.get("drops", 0),
        current=item.get("current"),
        current_drop=item.get("current_count", 0),
        claimed_images=tuple(item.get("claimed_images", ())),
        dropped_again=frozenset(slot for slot in keys.SLOTS if item.get(f"times_{slot}", 0) > 1),
        rejected_drop=item.get("rejected_count", 0),
        written=frozenset(item.get("written", ())),
        due_at=item["due_at"] if item.get("due_lane") == TIMER else None,
        removed_at=item.get("removed_at", 0.0),
        expired=frozenset(item.get("expired", ())),
        waits_for=tuple(item.get("waits_for", ())),
        awaited=bool(item.get("awaited")),
        wanted_by=frozenset(item.get("wanted_by", ())),
    )
