"""A render's item in the table: where it stands, how it is written, what a new attempt keeps of it."""

from collections.abc import Iterable
from typing import cast
from uuid import uuid4

from kontext.clock import iso
from kontext.drops.keys import error_key
from kontext.drops.pairs import pair_key
from kontext.due import due, marks
from kontext.dynamodb import ConditionFailed, Item, Key, Write
from kontext.model import HistoryEntry, Render, Status

HISTORY_KEPT = 60
OF_A_JOB = ("request_id", "candidate_id", "output_url", "answer", "cost", "submitted_at", "day", "submitted_with")
"""What is known of a job: another one knows nothing of it."""
_RENDER = "render#"
_OF_A_DELIVERY = ("redelivered_at", "undelivered", "delay_announced", "restore_from", "stays_delivered")


def render_key(prefix: str, render_id: str) -> Key:
    """Where a render stands in the table, beside its pair."""
    return {**pair_key(prefix), "sk": f"{_RENDER}{render_id}"}


def render_id_of(key: Key) -> str | None:
    """The render whose item it is; None if it is another item."""
    return key["sk"].removeprefix(_RENDER) if key["sk"].startswith(_RENDER) else None


def render_of(item: Item) -> Render:
    """The render in a table item."""
    return cast("Render", item)


def as_found(moved: ConditionFailed, render: Render) -> Render:
    """The render as it was found, changed by somebody else; as it was if it is gone."""
    return render_of(moved.found) if moved.found else render


def renders_among(items: Iterable[Item]) -> list[Render]:
    """The renders among items of the table."""
    return [render_of(item) for item in items if render_id_of(item) is not None]


def write(render: Render, condition: str, values: Item) -> Write:
    """A write of a render's item; a value of None takes the attribute away."""
    kept = {name: value for name, value in values.items() if value is not None}
    gone = [name for name, value in values.items() if value is None]
    expression = "SET " + ", ".join(f"#{name} = :{name}" for name in kept)
    if gone:
        expression += " REMOVE " + ", ".join(f"#{name}" for name in gone)
    return render_key(render["prefix"], render["render_id"]), expression, condition, kept


def next_state(render: Render, status: Status, now: float, noted: HistoryEntry | None, values: Item) -> Item:
    """What a write changes of a render: its status and `values`, when it is due then, who wrote it, and its history."""
    moved: Item = {"status": status, "updated_at": iso(now), "revision": render["revision"] + 1, **values}
    moved["written_by"] = uuid4().hex
    moved = marks(due(render_of({**render, **moved}), now)) | moved
    if noted:
        moved["history"] = with_entry(render["history"], {"at": iso(now), **noted})
    return moved


def wrote_error(prefix: str) -> Write:
    """Note on a pair that its error.json speaks for it."""
    return pair_key(prefix), "ADD #written :key", None, {"key": {error_key(prefix)}}


def is_overtaken(render: Render) -> Write:
    """Only while another render speaks for the pair."""
    values = {"prefix": render["prefix"], "id": render["render_id"]}
    return pair_key(render["prefix"]), "SET #prefix = :prefix", "#current <> :id", values


def speaks(render: Render, key: str) -> Write:
    """Only while this render speaks for its pair: note which key of the output bucket does, too."""
    values = {"key": {key}, "id": render["render_id"]}
    return pair_key(render["prefix"]), "ADD #written :key", "#current = :id", values


def with_entry(history: list[HistoryEntry], entry: HistoryEntry) -> list[HistoryEntry]:
    """The history with another entry. A repetition is counted, not listed: a long park must not outgrow the
    item."""
    last = history[-1]
    same = {name: value for name, value in last.items() if name not in ("at", "times", "last_at")}
    new = {name: value for name, value in entry.items() if name != "at" and value is not None}
    if same == new:
        repeated: HistoryEntry = {**last, "times": last.get("times", 1) + 1, "last_at": entry["at"]}
        return [*history[:-1], repeated]
    noted = [*history, cast("HistoryEntry", {"at": entry["at"], **new})]
    return noted if len(noted) <= HISTORY_KEPT else [*noted[:10], *noted[-HISTORY_KEPT + 10 :]]


def fresh_attempt(
    render: Render, status: Status, now: float, *, line_at: float | None, stays_delivered: bool
) -> tuple[Item, HistoryEntry]:
    """What a new attempt of an ended render forgets and begins with, and its entry in the history."""
    forgotten = ("error", "announced", "result", "expires_at", "waiting_since", "failures", "failed_at", "refused_at")
    attempt = render["attempt"] + 1
    fresh: Item = dict.fromkeys((*forgotten, *_OF_A_DELIVERY)) | {"attempt": attempt}
    noted: HistoryEntry = {"what": "again", "attempt": attempt}
    if status == Status.CLAIMED:
        fresh |= dict.fromkeys(OF_A_JOB) | {"line_at": line_at}
        fresh |= {"waiting_since": now} if line_at else {}
    else:
        fresh |= {"redelivered_at": now, "restore_from": render.get("result")}
        fresh["stays_delivered"] = True if stays_delivered and "result" in render else None
        fresh["generation"] = noted["generation"] = render.get("generation", 0) + 1
    return fresh, noted
