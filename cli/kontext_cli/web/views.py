"""A pair as the page shows it: made of its items in the table, ready for JSON. Times are unix seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from kontext.drops import pairs
from kontext.dynamodb import Item
from kontext.errors import BadDrop
from kontext.model import Status
from kontext.renders.claims import drop_number
from kontext.renders.record import render_of
from kontext.throttle.admission import State
from kontext.throttle.line import why_parked
from kontext_cli.read.records import NO_DEFAULTS, moment

PROMPT_SHOWN = 600
"""Characters of a prompt in the gallery; the story of a pair has all."""

GROUPS = {
    Status.DELIVERED: "delivered",
    Status.FAILED: "failed",
    "REJECTED": "failed",
    Status.UNCERTAIN: "uncertain",
    "WAITING": "waiting",
}
"""Which filter a status belongs to; a parked one is `parked`, everything else is `running`."""

PARKED = {
    "pace": ("its turn", "Submits are spaced to the account's rate limit. It goes on by itself."),
    "rate_limited": ("the rate limit", "Segmind asked for a pause. It goes on by itself."),
    "no_credits": ("credits", "The Segmind account has too few. Top it up, and it goes on by itself."),
    "spend_limit": ("money", "A spend limit is reached. It goes on by itself the next day, or once it is raised."),
    "bad_key": ("a valid API key", "Segmind rejects the key. Put the right one into the stack's secret."),
    "forbidden": ("permission", "The Segmind account may not use this model. Once it may, it goes on by itself."),
    "configuration": (
        "the right model",
        "Segmind knows no such model. Correct SegmindModel, and it goes on by itself.",
    ),
    "unknown_refusal": ("an answer", "Segmind refuses it in words that are not known. Its story tells them."),
    "workflow": ("AWS", "Step Functions starts nothing, so nothing more is paid. It goes on by itself."),
    "outage": ("Segmind", "Segmind cannot be reached, or answers with errors. It goes on by itself."),
    "paused": ("an operator", "Submits are paused. `kontext resume` lets them go on."),
}
"""What a parked render waits for, and what ends it."""


@dataclass(frozen=True)
class Notice:
    """What must be said plainly beside the status. `tone` is a group of `GROUPS`, or `parked`."""

    tone: str
    title: str
    text: str
    remedy: str | None = None
    charged: str | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True)
class View:
    """One pair. `inputs` are two of {`key`, `version`} or {`host`}, None where an image is missing."""

    prefix: str
    status: str
    group: str
    since: float
    updated: float
    prompt: str | None
    inputs: Sequence[dict[str, Any] | None]
    result: dict[str, Any] | None = None
    seconds: float | None = None
    cost: float | None = None
    notice: dict[str, Any] | None = None
    render_id: str | None = None


def view(items: Iterable[Item], state: State) -> View | None:
    """The pair that these items of one partition are; None if they are none."""
    found = list(items)
    dropped = pairs.pair_of(next((item for item in found if item["sk"] == "pair"), {}))
    renders = [item for item in found if item["sk"].startswith("render#")]
    if renders:
        return _rendered(speaking(dropped, renders), dropped, state)
    return _waiting(dropped) if dropped.parts else None


def speaking(dropped: pairs.Pair, renders: Sequence[Item]) -> Item:
    """The render that speaks for its pair: that of the newest drop."""
    return max(renders, key=lambda r: (drop_number(render_of(r)), r["render_id"] == dropped.current, r["created_at"]))


def expected(prefix: str, keys: Sequence[str], prompt: str | None, now: float) -> View:
    """A pair that has just been uploaded, and that the table does not know yet."""
    return View(prefix, "DROPPED", "running", now, now, prompt, [{"key": key} for key in keys])


def _rendered(render: Item, dropped: pairs.Pair, state: State) -> View:
    render = {**render, "parked": why_parked(render_of(render), state)}
    status, result = render["status"], render.get("result")
    return View(
        prefix=render["prefix"],
        status=status,
        group="parked" if render.get("parked") else GROUPS.get(status, "running"),
        since=_dropped_at(dropped) or seconds_of(render["created_at"]),
        updated=seconds_of(render["updated_at"]),
        prompt=_cut(render.get("parameters", {}).get("prompt") or _prompt(dropped)),
        inputs=inputs_of(render, dropped),
        result=_pointer(result) if result else None,
        seconds=took(render),
        cost=render.get("cost"),
        notice=notice_of(render),
        render_id=render["render_id"],
    )


def _waiting(dropped: pairs.Pair) -> View:
    """A pair without a render: something is missing, or was not right."""
    at = _dropped_at(dropped)
    try:
        decision = pairs.decide(dropped, {}, NO_DEFAULTS, at)
    except BadDrop as problem:
        decision = pairs.Rejected(problem.code, str(problem))
    status: str = Status.CLAIMED
    notice = None
    match decision:
        case pairs.Incomplete(missing):
            status, notice = "WAITING", _missing(missing, at)
        case pairs.Rejected(message=message):
            status, notice = "REJECTED", Notice("failed", "This drop cannot be rendered", message, charged="no")
    return View(
        prefix=dropped.prefix,
        status=status,
        group=GROUPS.get(status, "running"),
        since=at,
        updated=at,
        prompt=_cut(_prompt(dropped)),
        inputs=[_pointer(dropped.parts.get(slot)) for slot in "12"],
        notice=asdict(notice) if notice else None,
    )


def _missing(missing: Sequence[str], since: float) -> Notice:
    # What is missing for want of a prompt may end by itself: the stack's own default is not known here.
    if missing[0].startswith("a prompt"):
        text = "Drop request.json or prompt.txt. If the stack has a default prompt, it is used shortly."
        return Notice("waiting", "Waiting for a prompt", text, since=since)
    named = [part.partition(":")[0] if part.startswith("image ") else part for part in missing]
    return Notice("waiting", f"Waiting for {' and '.join(named)}", f"Drop {_names(missing)}.", since=since)


def _names(missing: Sequence[str]) -> str:
    return " and ".join(part.partition(": ")[2] or part for part in missing)


def notice_of(render: Item) -> dict[str, Any] | None:
    """What must be said of a render, None if all is well."""
    if parked := render.get("parked"):
        return asdict(_parked(parked))
    if error := render.get("error"):
        return asdict(_error(render["status"], error))
    return None


def _parked(parked: dict[str, Any]) -> Notice:
    reason = str(parked.get("reason"))
    waits_for, text = PARKED.get(reason, (reason, "It goes on by itself when the reason ends."))
    # Nobody looks while an operator has paused the stack: its "until" lies years ahead.
    until = parked.get("until") if reason != "paused" else None
    return Notice("parked", f"Parked: waits for {waits_for}", text, since=parked.get("since"), until=until)


def _error(status: str, error: dict[str, Any]) -> Notice:
    tone = "uncertain" if status == Status.UNCERTAIN else "failed"
    title = "Uncertain: a person has to decide" if tone == "uncertain" else "Failed"
    message = str(error.get("message") or error.get("code") or "no reason was given")
    return Notice(tone, title, message, remedy=error.get("remedy"), charged=error.get("charged"))


def inputs_of(render: Item, dropped: pairs.Pair) -> list[dict[str, Any] | None]:
    """The two images of a render; where it does not name them (it was rejected), those of the pair."""
    given: list[Any] = render.get("inputs") or [dropped.parts.get(slot) for slot in "12"]
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


def took(render: Item) -> float | None:
    """Seconds from the claim to the result; of a repeated attempt only those at Segmind."""
    if render["status"] != Status.DELIVERED:
        return None
    if render.get("attempt", 1) == 1:
        return seconds_of(render["updated_at"]) - seconds_of(render["created_at"])
    if "completed_at" in render and "submitted_at" in render:
        return float(render["completed_at"] - render["submitted_at"])
    return None


def seconds_of(when: str | float) -> float:
    """A time of the record as unix seconds."""
    return moment(when).timestamp()


def _dropped_at(dropped: pairs.Pair) -> float:
    return float(max((part["at"] for part in dropped.parts.values()), default=0.0))


def _prompt(dropped: pairs.Pair) -> str | None:
    asked = (
        dropped.parts.get(slot, {}).get("parameters", {}).get("prompt") for slot in ("request", "prompt", "1", "2")
    )
    return next((prompt for prompt in asked if prompt), None)


def _cut(prompt: str | None) -> str | None:
    return prompt if prompt is None or len(prompt) <= PROMPT_SHOWN else f"{prompt[:PROMPT_SHOWN]}…"
