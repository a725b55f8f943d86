"""A pair and its renders as they stand: which render speaks for the pair, why it waits, and what that means to people.

Terminal, page and `doctor` say what stands here, and only format it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import NamedTuple

from kontext import model
from kontext.drops import pairs
from kontext.drops.pairs import pair_among
from kontext.due import UNKNOWN, WAITING
from kontext.dynamodb import Item
from kontext.errors import CODES, REASONS, BadDrop, ParkReason
from kontext.model import ENDED, STATUSES, Charged, Park, Status, StatusText
from kontext.renders.claims import speaking_first
from kontext.renders.record import renders_among
from kontext.throttle.admission import State
from kontext.throttle.circuit_breaker import PAUSED
from kontext.throttle.line import why_parked

DROPPED, REJECTED, PARKED = "DROPPED", "REJECTED", "PARKED"
TEXTS: dict[str, StatusText] = {
    **{str(status): text for status, text in STATUSES.items()},
    DROPPED: StatusText("Dropped", "the pair is there, and is about to be claimed"),
    WAITING: StatusText("Waiting", "something of the pair is missing"),
    REJECTED: StatusText("Rejected", "what was dropped cannot be rendered"),
    UNKNOWN: StatusText("Unknown", "the object fits no rule of the drop convention"),
    PARKED: StatusText("Parked", "the render waits for its turn, for the account or for a person"),
}
"""What is told of a pair: the status of the render that speaks for it, or what it is while it has none."""
GROUPS = ("running", "parked", "waiting", *(status.lower() for status in ENDED))
"""What a page can be asked for."""
LADDER = [status for status in Status if status not in ENDED]
"""The steps of a render on its way."""
NO_DEFAULTS = pairs.Defaults(parameters={}, prompt="")
"""The stack's own defaults cannot be seen from here: what a pair lacks is judged as if there were none."""
NO_PROMPT = "Drop request.json or prompt.txt. If the stack has a default prompt, it is used shortly."


class Meaning(NamedTuple):
    """What has happened, whether anything was charged, and what to do; with the `code` of an error."""

    text: str
    charged: Charged
    remedy: str | None = None
    code: str | None = None


@dataclass(frozen=True)
class RenderView:
    """One render as it stands on the record; times are aware UTC datetimes."""

    prefix: str
    render_id: str
    status: Status
    attempt: int = 1
    parameters: model.Parameters = field(default_factory=model.Parameters)
    inputs: list[model.RenderInput] = field(default_factory=list)
    request_id: str | None = None
    parked: Park | None = None
    place: int | None = None
    """The place in line, 1 is next, of a render that waits for its turn."""
    error: model.RenderError | None = None
    result: model.Result | None = None
    cost: float | None = None
    metrics: model.JobMetrics = field(default_factory=model.JobMetrics)
    undelivered: model.Undelivered | None = None
    answer: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    submitted_at: datetime | None = None
    completed_at: datetime | None = None
    history: list[model.HistoryEntry] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The status in a word."""
        return text_of(PARKED if self.parked else self.status).label

    @property
    def group(self) -> str:
        """Which of `GROUPS` it belongs to."""
        return "parked" if self.parked else group_of(self.status)

    @property
    def waits_for_a_slot(self) -> bool:
        """Whether it has a place in line, and goes when that is reached."""
        return self.parked is not None and self.parked["reason"] == "pace"

    @property
    def detail(self) -> str:
        """The one thing worth knowing beside the status."""
        if self.parked:
            return _waits(self.parked, self.place)
        if self.error:
            return self.error["message"]
        return self.result["key"] if self.result else ""

    @property
    def meaning(self) -> Meaning:
        """What its state means."""
        if self.error:
            text = f"{self.error['message']}: {self.answer}" if self.answer else self.error["message"]
            return Meaning(text, self.error["charged"], self.error["remedy"], self.error["code"])
        if self.parked:
            known = reason_of(self.parked["reason"])
            return Meaning(known.meaning, known.charged, known.remedy)
        if self.undelivered:
            late = CODES["delivery_delayed"]
            return Meaning(f"The picture is paid and late: {self.undelivered['last']}.", late.charged, late.remedy)
        if self.result:
            return Meaning(f"The picture is in the output bucket as {self.result['key']}.", "yes")
        charged: Charged = "yes" if self.status == Status.COMPLETED else "unknown"
        return Meaning(f"The render is {self.status}: {text_of(self.status).meaning}.", charged)

    @property
    def delivered_at(self) -> datetime | None:
        """When it was delivered."""
        return self.updated_at if self.status == Status.DELIVERED else None

    @property
    def seconds(self) -> float | None:
        """From the claim to the result; of a repeated attempt only those at Segmind."""
        start, end = self.created_at, self.delivered_at
        if end and self.attempt > 1:
            start, end = self.submitted_at, self.completed_at
        return (end - start).total_seconds() if start and end else None


@dataclass(frozen=True)
class PairView:
    """A pair with its renders, the one that speaks for it first; what was `dropped`, and what is `missing`.

    `status` is that render's. While there is none it is `DROPPED`, or `WAITING` for a part that is missing, or
    `REJECTED` where a part is wrong: then `problem` says what. An object that fits no rule is shown like a pair, too:
    its `prefix` is its key, its `status` is `UNKNOWN`. `since`: when it was dropped last.
    """

    prefix: str
    status: str
    since: datetime | None
    renders: list[RenderView] = field(default_factory=list)
    dropped: pairs.Pair = field(default_factory=lambda: pairs.Pair(""))
    missing: tuple[str, ...] = ()
    problem: str = ""

    @property
    def render(self) -> RenderView | None:
        """The render that speaks for it."""
        return self.renders[0] if self.renders else None

    @property
    def is_parked(self) -> bool:
        """Whether it waits for its turn, for the account or for a person."""
        return self.group == "parked"

    @property
    def label(self) -> str:
        """The status in a word."""
        return self.render.label if self.render else text_of(self.status).label

    @property
    def group(self) -> str:
        """Which of `GROUPS` it belongs to."""
        return self.render.group if self.render else group_of(self.status)

    @property
    def detail(self) -> str:
        """The one thing worth knowing beside the status."""
        if self.render:
            return self.render.detail
        if self.missing:
            return f"for {', '.join(self.missing)}"
        return self.problem or text_of(self.status).meaning

    @property
    def meaning(self) -> Meaning:
        """What its state means."""
        if self.render:
            return self.render.meaning
        if self.missing:
            return Meaning(f"The pair waits {self.detail}.", "no", _remedy_of(self.missing))
        if self.problem:
            return Meaning(self.problem, "no", "Correct it and drop it again.")
        return Meaning(f"{text_of(self.status).meaning.capitalize()}.", "no")


def view_of(items: Sequence[Item], state: State) -> PairView | None:
    """The pair that these items of its partition are; None if they are none."""
    dropped, records = pair_among(items), renders_among(items)
    if not records:
        return _waiting(dropped) if dropped.parts else None
    renders = [_render(record, state) for record in speaking_first(dropped, records)]
    return PairView(
        renders[0].prefix, renders[0].status, _dropped_at(dropped) or renders[0].created_at, renders, dropped
    )


def placed(pair: PairView, places: dict[str, int], at: float, interval: float) -> PairView:
    """The pair, each of its renders that waits for a slot with its place in line, and about when it goes: as the
    `places` were at a time (unix seconds), and one goes each `interval` seconds."""

    def with_place(render: RenderView) -> RenderView:
        place = places.get(render.render_id)
        if place is None or render.parked is None or not render.waits_for_a_slot:
            return render
        goes: Park = {**render.parked, "until": at + place * interval} if interval else render.parked
        return replace(render, place=place, parked=goes)

    return replace(pair, renders=[with_place(render) for render in pair.renders])


def group_of(status: str) -> str:
    """Which group a status belongs to."""
    if status == REJECTED:
        return "failed"
    return status.lower() if status in (*ENDED, WAITING, UNKNOWN) else "running"


def text_of(status: str) -> StatusText:
    """What is told of a status; a stack that is newer than this command may have one that is not known."""
    return TEXTS.get(status) or StatusText(status.capitalize(), "this version of the command does not know the status")


def reason_of(name: str) -> ParkReason:
    """What is told of a reason to wait; a stack that is newer than this command may have one that is not known."""
    known = {str(reason): text for reason, text in REASONS.items()}
    return known.get(name) or ParkReason(f"It waits ({name}).", "no", "It goes on when that ends.", name)


def moment(value: str | float) -> datetime:
    """A time of the record, ISO 8601 text or unix seconds, as an aware datetime in UTC."""
    if isinstance(value, str):
        return datetime.fromisoformat(value.replace("Z", "+00:00")).astimezone(UTC)
    return datetime.fromtimestamp(float(value), UTC)


def _waiting(dropped: pairs.Pair) -> PairView:
    """A pair that has no render: what it waits for, or what is wrong with it."""
    since = moment(max(part["at"] for part in dropped.parts.values()))
    pair = PairView(dropped.prefix, DROPPED, since, dropped=dropped)
    try:
        decision = pairs.decide(dropped, {}, NO_DEFAULTS, since.timestamp())
    except BadDrop as problem:
        decision = pairs.Rejected(problem.code, str(problem))
    match decision:
        case pairs.Incomplete(missing):
            return replace(pair, status=WAITING, missing=missing)
        case pairs.Rejected(message=message):
            return replace(pair, status=REJECTED, problem=message)
    return pair


def _render(record: model.Render, state: State) -> RenderView:
    item: Item = {**record, "parked": why_parked(record, state)}
    values: Item = {one.name: item[one.name] for one in fields(RenderView) if item.get(one.name) is not None}
    times: Item = {name: moment(value) for name, value in values.items() if name.endswith("_at")}
    if error := values.get("error"):
        values["error"] = {"code": "", "message": "no reason is kept", "charged": "unknown", "remedy": ""} | error
    return RenderView(**values | times)


def _dropped_at(dropped: pairs.Pair) -> datetime | None:
    times = [part["at"] for part in dropped.parts.values()]
    return moment(max(times)) if times else None


def _remedy_of(missing: tuple[str, ...]) -> str:
    # What is missing for want of a prompt may end by itself: the stack's own default is not known here.
    if missing[0].startswith("a prompt"):
        return NO_PROMPT
    return f"Drop {' and '.join(part.partition(': ')[2] or part for part in missing)}."


def _waits(park: Park, place: int | None) -> str:
    """Why a render waits, and how long."""
    if place:
        at = f", goes at about {moment(park['until']):%H:%M:%S} UTC" if "until" in park else ""
        return f"number {place} in line{at}"
    since = f" since {moment(park['since']):%H:%M:%S} UTC" if "since" in park else ""
    ends = "until `kontext resume`" if park["reason"] == PAUSED else "goes on by itself"
    return f"parked ({park['reason']}){since}, {ends}"
