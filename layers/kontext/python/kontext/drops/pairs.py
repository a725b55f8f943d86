"""A pair as dropped so far, and what to do with it: `decide`, whatever the order in which its parts came."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kontext import text
from kontext.drops import keys, references, request
from kontext.due import TIMER
from kontext.dynamodb import Item, Key
from kontext.model import ErrorCode, ObjectRead, Parameters, Part, RenderInput


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
    rejected: str | None = None
    """The render_id under which that is recorded."""
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

    @property
    def speaker(self) -> str | None:
        """The render that speaks for the pair: that of its newest drop, as far as the pair knows it."""
        return (self.rejected if self.rejected_drop > self.current_drop else None) or self.current

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

    code: ErrorCode
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
        references.key_named(pair.prefix, field, asked[field])
        for field in references.FIELDS.values()
        if field in asked and not references.is_link(asked[field])
    )


def names_images(pair: Pair) -> bool:
    """Whether the pair's request names an image, so that it needs none under the pair's own name."""
    return any(field in _parameters(pair.parts.get("request")) for field in references.FIELDS.values())


def decide(pair: Pair, named: dict[str, ObjectRead | None], defaults: Defaults, now: float) -> Decision:
    """What to do with a pair at the time `now`. `named`: what was read from each of its `named_keys`."""
    parts = pair.parts
    files = [_parameters(parts.get(slot)) for slot in ("request", "prompt")]
    asked = request.merge(*files)
    images = [_image(pair, slot, asked.get(references.FIELDS[slot]), named) for slot in "12"]
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
    for image_field in references.FIELDS.values():
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
    if references.is_link(name):
        return {"url": name}
    return named.get(references.key_named(pair.prefix, references.FIELDS[slot], name))


def _incomplete(pair: Pair, asked: Parameters, images: Sequence[ObjectRead | None]) -> Incomplete:
    missing, wanted = [], {}
    for slot, image in zip("12", images, strict=True):
        name = asked.get(references.FIELDS[slot])
        if image is None and name:
            key = references.key_named(pair.prefix, references.FIELDS[slot], name)
            wanted[key] = ""
            missing.append(f"{text.escape_line(key)} (named by request.json)")
        elif image is None:
            missing.append(f"image {slot}: {text.escape_line(pair.prefix)}{slot}.<png|jpg|jpeg|webp>")
    return Incomplete(tuple(missing), wanted)


def _wrong(named: dict[str, ObjectRead | None]) -> Wanted:
    return {key: read["etag"] for key, read in named.items() if read and "problem" in read}


_PAIR = "pair#"


def partition(prefix: str) -> str:
    """Where the items of a pair stand together: its own, and its renders."""
    return f"{_PAIR}{prefix}"


def pair_key(prefix: str) -> Key:
    """Where a pair stands in the table."""
    return {"pk": partition(prefix), "sk": "pair"}


def prefix_of(key: Key) -> str | None:
    """The pair whose item it is, its own or one of its renders; None if it is another item."""
    return key["pk"].removeprefix(_PAIR) if key["pk"].startswith(_PAIR) else None


def folder_key(prefix: str) -> Key:
    """Where it stands in the table what place in line the last of a pair's first folder has."""
    return {"pk": f"folder#{keys.first_folder_of(prefix)[:-1]}", "sk": "line"}


def pair_among(items: Iterable[Item]) -> Pair:
    """The pair among the items of its partition; one without parts, where only renders are left of it."""
    return pair_of(next((item for item in items if item["sk"] == "pair"), {}))


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
        rejected=item.get("rejected"),
        written=frozenset(item.get("written", ())),
        due_at=item["due_at"] if item.get("due_lane") == TIMER else None,
        removed_at=item.get("removed_at", 0.0),
        expired=frozenset(item.get("expired", ())),
        waits_for=tuple(item.get("waits_for", ())),
        awaited=bool(item.get("awaited")),
        wanted_by=frozenset(item.get("wanted_by", ())),
    )
