"""A pair as the page shows it: made of the read model, ready for JSON. Times are unix seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from kontext.drops import pairs
from kontext.model import Park, Status
from kontext_cli.read.views import DROPPED, LADDER, TEXTS, PairView, RenderView, group_of, reason_of

PROMPT_SHOWN = 600
"""Characters of a prompt in the gallery; the story of a pair has all."""
CHARGED = {"no": "Nothing was charged.", "yes": "It was charged.", "unknown": "It may have been charged."}


@dataclass(frozen=True)
class Notice:
    """What must be said plainly beside the status. `tone` is a group."""

    tone: str
    title: str
    text: str
    remedy: str | None = None
    charged: str | None = None
    since: float | None = None
    until: float | None = None
    place: int | None = None


@dataclass(frozen=True)
class Card:
    """One pair. `inputs` are two of {`key`, `version`} or {`host`}, None where an image is missing; `step`: how far a
    render on its way has come, of `LADDER`."""

    prefix: str
    status: str
    label: str
    group: str
    since: float
    updated: float
    prompt: str | None
    inputs: Sequence[dict[str, Any] | None]
    result: dict[str, Any] | None = None
    seconds: float | None = None
    cost: float | None = None
    notice: Notice | None = None
    render_id: str | None = None
    step: int = 0


def card_of(pair: PairView) -> Card:
    """A pair of the stack, as the page shows it."""
    render, since = pair.render, unix(pair.since) or 0.0
    return Card(
        prefix=pair.prefix,
        status=pair.status,
        label=pair.label,
        group=pair.group,
        since=since,
        updated=(unix(render.updated_at) if render else None) or since,
        prompt=_cut((render.parameters.get("prompt") if render else None) or _prompt(pair.dropped)),
        inputs=inputs_of(render, pair.dropped),
        result=_pointer(render.result) if render and render.result else None,
        seconds=render.seconds if render else None,
        cost=render.cost if render else None,
        notice=notice_of(render) if render else _waiting(pair),
        render_id=render.render_id if render else None,
        step=LADDER.index(render.status) + 1 if render and render.status in LADDER else 0,
    )


def expected(prefix: str, keys: Sequence[str], prompt: str | None, now: float) -> Card:
    """A pair that has just been uploaded, and that the table does not know yet."""
    label, group = TEXTS[DROPPED].label, group_of(DROPPED)
    return Card(prefix, DROPPED, label, group, now, now, prompt, [{"key": key} for key in keys])


def notice_of(render: RenderView) -> Notice | None:
    """What must be said of a render, None if all is well."""
    if render.parked:
        return parked(render.parked, render.place)
    if render.error:
        title = f"{render.label}: a person has to decide" if render.status == Status.UNCERTAIN else render.label
        meaning = render.meaning
        return Notice(render.group, title, meaning.text, meaning.remedy, CHARGED[meaning.charged])
    return None


def parked(park: Park, place: int | None = None, says: str = "Parked") -> Notice:
    """Why a render waits, or all do."""
    known = reason_of(park["reason"])
    title = f"{says}: waits for {known.waits_for}"
    since, until = park.get("since"), park.get("until")
    return Notice("parked", title, known.meaning, known.remedy, since=since, until=until, place=place)


def _waiting(pair: PairView) -> Notice | None:
    """What must be said of a pair without a render: something is missing, or was not right."""
    meaning = pair.meaning
    if pair.problem:
        title = "This drop cannot be rendered"
        return Notice(pair.group, title, meaning.text, meaning.remedy, CHARGED[meaning.charged])
    if not pair.missing:
        return None
    named = [part.partition(":")[0] if part.startswith(("image ", "a prompt")) else part for part in pair.missing]
    title = f"{pair.label} for {' and '.join(named)}"
    return Notice(pair.group, title, meaning.remedy or "", since=unix(pair.since))


def inputs_of(render: RenderView | None, dropped: pairs.Pair) -> list[dict[str, Any] | None]:
    """The two images of a render; where it does not name them (it was rejected), those of the pair."""
    given: list[Any] = (render.inputs if render else None) or [dropped.parts.get(slot) for slot in "12"]
    read = {part.get("version_id"): part for part in dropped.parts.values()}
    return [_pointer(one and {**read.get(one.get("version_id"), {}), **one}) for one in given]


def _pointer(stored: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Where to find an object; of an image elsewhere only the host, for its URL may hold a signature."""
    if stored is None:
        return None
    if "key" not in stored:
        return {"host": urlsplit(str(stored.get("url", ""))).hostname or "elsewhere"}
    shown = {"key": stored["key"], "version": stored.get("version_id")}
    return shown | {name: stored[name] for name in ("width", "height", "bytes") if name in stored}


def unix(moment: datetime | None) -> float | None:
    """A time in unix seconds."""
    return moment.timestamp() if moment else None


def _prompt(dropped: pairs.Pair) -> str | None:
    asked = (
        dropped.parts.get(slot, {}).get("parameters", {}).get("prompt") for slot in ("request", "prompt", "1", "2")
    )
    return next((prompt for prompt in asked if prompt), None)


def _cut(prompt: str | None) -> str | None:
    return prompt if prompt is None or len(prompt) <= PROMPT_SHOWN else f"{prompt[:PROMPT_SHOWN]}…"
