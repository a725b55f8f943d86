"""Claims: which render a drop of a pair is, and that no drop is two of them.

A claim is a conditional write before anything is sent. It says in the same transaction that the render speaks for its
pair, so that nothing older may any more.
"""

import hashlib
from collections.abc import Iterable

from kontext.clock import iso
from kontext.drops.keys import error_key
from kontext.drops.pairs import Pair, Ready, identity, pair_key
from kontext.due import REMOVE_DUE, TELL_SECONDS, TIMER, Due, due, marks
from kontext.dynamodb import ConditionFailed, Item, Write
from kontext.model import ObjectRead, Render, RenderError, RenderInput, Status
from kontext.renders.overdue import is_kept
from kontext.renders.record import render_of, write
from kontext.renders.store import LEASE_SECONDS, Renders


class Claims:
    """Claims the renders that drops ask for."""

    def __init__(self, renders: Renders) -> None:
        self.renders = renders

    def claim(self, pair: Pair, complete: Ready, now: float) -> Render | None:
        """Claim the render that a complete pair asks for: `CLAIMED` it may be sent, `COMPLETED` it is paid and may be
        delivered again. None if it is on its way or has ended: the table's own times see to it."""
        render = _new(pair, self.name(pair, complete), now)
        render["parameters"] = complete.parameters
        render["inputs"] = inputs_of(complete)
        render = _made_due(render, now)
        try:
            self.renders.table.transact(
                write(render, "attribute_not_exists(#pk)", dict(render)),
                _make_current(pair, render, anew=True),
            )
        except ConditionFailed as refused:
            if refused.position == 1 or refused.found is None:
                return None  # this drop of the pair, or a newer one, has been claimed already
            return self._claim_again(render_of(refused.found), pair, now)
        return render

    def name(self, pair: Pair, complete: Ready) -> str:
        """What the render is called: as it was, if it was claimed before its content named it."""
        name, earlier = complete.render_id(pair.prefix), complete.earlier_id(pair.prefix)
        is_known = pair.current not in (None, name) and self.renders.get(pair.prefix, earlier) is not None
        return earlier if is_known else name

    def reject(self, pair: Pair, error: RenderError, cause: str, now: float) -> Render | None:
        """Record that a drop cannot become a render, once for each wrong version, the `cause`. None if that was
        announced, and nothing was right since; or if the drop, or a newer one, is a render: a named image has changed
        since, and the message came again."""
        if pair.current_drop == pair.drop_id:
            return None
        render = _new(pair, rejected_id(pair, cause, error), now)
        render["status"], render["error"] = Status.FAILED, error
        render["expires_at"] = int(now + self.renders.retention_days * 86_400)
        code, message = error["code"], error["message"]
        render["history"] = [{"at": iso(now), "what": "rejected", "code": code, "message": message}]
        render = _made_due(render, now)
        newest: Write = (
            pair_key(pair.prefix),
            f"SET #rejected_count = :drop, #rejected = :id REMOVE {REMOVE_DUE} ADD #written :key",
            # What was recorded meanwhile is newer: what brings somebody back to it is not taken away here.
            " OR ".join(
                f"#drops = :drop AND {one}"
                for one in ("attribute_not_exists(#rejected_count)", "#rejected_count <= :drop")
            ),
            {"key": {error_key(pair.prefix)}, "drop": pair.drop_id, "id": render["render_id"]},
        )
        try:
            self.renders.table.transact(write(render, "attribute_not_exists(#pk)", dict(render)), newest)
        except ConditionFailed as known:
            if known.position == 1:
                return None  # a newer drop of this pair has been rejected already
            return self._reject_again(render_of(known.found) if known.found else render, pair, newest, now)
        return render

    def _reject_again(self, render: Render, pair: Pair, newest: Write, now: float) -> Render | None:
        """Another part has come to what is wrong: whoever came first tells it at this moment, or Sweep will. It is told
        again only if something right was claimed since."""
        was_right_since = pair.current_drop > drop_number(render)
        changes: Item = {"drop_id": pair.drop_id}
        if was_right_since:  # should nobody come to tell it, Sweep has it told
            anew = {"attempt": render["attempt"] + 1, "updated_at": iso(now)}  # another event, and another file
            changes |= {"announced": None, **anew, **marks(Due(TIMER, now + TELL_SECONDS))}
        try:
            self.renders.table.transact(write(render, "attribute_exists(#pk)", changes), newest)
        except ConditionFailed:
            return None
        is_told = render.get("announced") or render.get("due_at", 0.0) > now
        told = {name: value for name, value in {**render, **changes}.items() if value is not None}
        return None if is_told and not was_right_since else render_of(told)

    def _claim_again(self, render: Render, pair: Pair, now: float) -> Render | None:
        """Dropped before, perhaps then something else, and now again: it speaks for its pair, and nothing older may.
        What begins a new attempt says so in the same write: who dies between two would leave the drop to nobody."""
        status, current = render["status"], _make_current(pair, render)
        overtaken = pair.current not in (None, render["render_id"])
        try:
            if begun := _begins_again_as(render, pair, now):
                return self.renders.new_attempt(render, begun, pair.drop_id, now, current)
            if status == Status.UNCERTAIN and (overtaken or pair.rejected_drop > pair.current_drop):
                same = {"announced": None, "updated_at": render["updated_at"]}
                self.renders.move(render, (status,), status, now, None, current, **same)
            elif pair.current_drop < pair.drop_id and not (overtaken and status in (Status.FAILED, Status.DELIVERED)):
                self.renders.table.transact(current)
        except ConditionFailed:  # another delivery of the drop was faster
            pass
        return None


def rejected_id(pair: Pair, cause: str, error: RenderError) -> str:
    """The name of a drop that never became a render: another one for every wrong version, and what is wrong with it."""
    return hashlib.sha256("\0".join((pair.prefix, cause, error["message"])).encode()).hexdigest()[:24]


def _begins_again_as(render: Render, pair: Pair, now: float) -> Status | None:
    """How a render that has ended begins again, for a newer drop; None if that asks for nothing more."""
    is_overtaken = pair.current != render["render_id"]
    again = render["status"] == Status.FAILED or (render["status"] == Status.DELIVERED and is_overtaken)
    if not again or pair.drop_id <= drop_number(render):
        return None
    paid = render["status"] == Status.DELIVERED or render["error"]["code"] == "delivery"
    return Status.COMPLETED if paid and is_kept(render, now) else Status.CLAIMED


def inputs_of(complete: Ready) -> list[RenderInput]:
    """The images of a render, each pinned to its version."""
    return [_input(image) for image in complete.inputs]


def drop_number(render: Render) -> int:
    """The `drop_id` of a render; 0 if it was made when S3's sequencer stood there, which is text."""
    drop_id: int | str = render.get("drop_id", 0)
    return 0 if isinstance(drop_id, str) else drop_id


def speaking_first(pair: Pair, renders: Iterable[Render]) -> list[Render]:
    """The renders of a pair, the one that speaks for it first: that of its newest drop. A drop of what was rendered
    already begins no attempt: then only the pair says that its render is that of a newer drop."""

    def place(render: Render) -> tuple[int, bool, str]:
        is_current = render["render_id"] == pair.current
        return max(drop_number(render), pair.current_drop * is_current), is_current, render.get("created_at", "")

    return sorted(renders, key=place, reverse=True)


def _make_current(pair: Pair, render: Render, *, anew: bool = False) -> Write:
    # One drop asks for one render, whatever a default or a named image has become when its message comes again. What
    # was recorded meanwhile is newer: it speaks, and what brings somebody back to it is not taken away here.
    allowed = ["attribute_not_exists(#current_count)", "#current_count < :drop"]
    if not anew:
        allowed.append("#current_count = :drop AND #current = :id")
    return (
        pair_key(pair.prefix),
        f"SET #current = :id, #current_count = :drop, #claimed_images = :images REMOVE {REMOVE_DUE}",
        " OR ".join(f"#drops = :drop AND {one}" for one in allowed),
        {"id": render["render_id"], "drop": pair.drop_id, "images": [identity(image) for image in render["inputs"]]},
    )


def _new(pair: Pair, render_id: str, now: float) -> Render:
    return {
        "prefix": pair.prefix,
        "render_id": render_id,
        "status": Status.CLAIMED,
        "attempt": 1,
        "drop_id": pair.drop_id,
        "created_at": iso(now),
        "updated_at": iso(now),
        "history": [{"at": iso(now), "what": "claimed"}],
        "revision": 1,
        "lease_until": now + LEASE_SECONDS,
    }


def _made_due(render: Render, now: float) -> Render:
    there = {name: value for name, value in marks(due(render, now)).items() if value is not None}
    return render_of({**render, **there})


def _input(image: ObjectRead) -> RenderInput:
    kept: RenderInput = {}
    if url := image.get("url"):
        kept["url"] = url
    if key := image.get("key"):
        kept |= {"key": key, "etag": image["etag"]}
    if sha256 := image.get("sha256"):
        kept["sha256"] = sha256
    if version_id := image.get("version_id"):
        kept["version_id"] = version_id
    return kept
