"""A render's life: one item of the table, moved by conditional writes only.

    CLAIMED ──► SUBMITTING ──► QUEUED ──► PROCESSING ──► COMPLETED ──► DELIVERED
       ▲  parked    │ │                        │              │
       └────────────┘ └──► UNCERTAIN           └──► FAILED ◄──┘

A render is claimed with a lease before anything is sent, and `SUBMITTING` is written before the request's body
is: whoever finds `SUBMITTING` without a living lease knows that the answer is lost, and must not send again.
The day's ledger moves in the same transaction as the render, so the two always agree.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal
from uuid import uuid4

from kontext.clock import day, iso
from kontext.drops import Complete, Pair, pair_key
from kontext.due import LEASE_GRACE_SECONDS, REMOVE_DUE, SENT, SET_DUE, SLACK_SECONDS, TIMER, due, marks
from kontext.errors import KontextError
from kontext.table import ConditionFailed, Item, Key, Table

LEASE_SECONDS = 130.0
"""Longer than a submitter can live (its function's timeout is 120 s): an expired lease has no living owner.
A message stays out of sight for longer than both together, so one that comes back never finds its own lease alive."""

RECORD_SECONDS = 3600.0
"""How long Segmind keeps the record of a job."""

OUTPUT_SECONDS = 6.9 * 86_400
"""How long a paid picture can be fetched: Segmind deletes it after 7 days."""

IN_FLIGHT = ("QUEUED", "PROCESSING")
ENDED = ("DELIVERED", "FAILED", "UNCERTAIN")
HISTORY_KEPT = 60

Render = Item
"""`prefix`, `render_id`, `status`, `attempt`, `drop_id`, `parameters`, `inputs`, `history` [{`at`, `what`, …}],
`created_at`, `updated_at` (ISO), and as far as it has come: `waiting_since` (until it is accepted) and `line_at`
(its place in line; unix seconds), `request_id`, `submitted_at` (unix seconds), `generation` (counts the executions
that were started for it), `output_url`, `metrics`, `cost` (USD), `result`, `error`, `announced`. `due_lane`, `due_at`,
`dispatched_until` and `dispatches` are the index's."""


class OverLimit(KontextError):
    """The day's spend limit leaves no room for another render."""


class Renders:
    """The renders' items in the table.

    `price`: USD reserved for each submit; `daily_limit`: USD a UTC day; `retention_days`: how long an ended
    render is remembered.
    """

    def __init__(self, table: Table, *, price: float, daily_limit: float, retention_days: float) -> None:
        self.table = table
        self.price = price
        self.daily_limit = daily_limit
        self.retention_days = retention_days

    def get(self, prefix: str, render_id: str) -> Render | None:
        """The render's record."""
        return self.table.get(render_key(prefix, render_id))

    def claim(self, pair: Pair, complete: Complete, now: float) -> Render | None:
        """Claim the render that a complete pair asks for: `CLAIMED` it may be sent, `COMPLETED` it is paid and may be
        delivered again. None if it is on its way or has ended: the table's own times see to it."""
        asked = {"parameters": complete.parameters, "inputs": [_kept(given) for given in complete.inputs]}
        render = _due(self._new(pair, complete.render_id(pair.prefix), now) | asked, now)
        try:
            self._transact(
                self._write(render, "attribute_not_exists(#pk)", **render),
                self._speaks_now(pair, render, anew=True),
            )
        except ConditionFailed as refused:
            if refused.position == 1 or refused.found is None:
                return None  # this drop of the pair, or a newer one, has been claimed already
            return self._known(refused.found, pair, now)
        return render

    def reject(self, pair: Pair, error: dict[str, Any], key: str, now: float) -> Render | None:
        """Record a drop that cannot become a render, once; `key`: where its error.json goes. None if it was announced,
        or the drop, or a newer one, is a render: a named image has changed since, and the message came again."""
        if pair.current_drop == pair.drop_id:
            return None
        render = self._new(pair, rejected_id(pair), now)
        render |= {"status": "FAILED", "error": error, "expires_at": int(now + self.retention_days * 86_400)}
        said = {"what": "rejected", "code": error["code"], "message": error["message"]}
        render["history"] = [{"at": iso(now), **said}]
        render = _due(render, now)
        values = {"key": {key}, "drop": pair.drop_id}
        newest = "attribute_not_exists(#rejected_count) OR #rejected_count <= :drop"
        told = (
            pair_key(pair.prefix),
            f"SET #rejected_count = :drop REMOVE {REMOVE_DUE} ADD #written :key",
            newest,
            values,
        )
        try:
            self._transact(self._write(render, "attribute_not_exists(#pk)", **render), told)
        except ConditionFailed as known:
            if known.position == 1:
                return None  # a newer drop of this pair has been rejected already
            render = known.found or render
        return None if render.get("announced") else render

    def join_line(
        self, render: Render, line_at: float, reason: str, now: float, noted: dict[str, Any] | None = None
    ) -> Render:
        """Let a render wait in line, at its place.

        A render that was `SUBMITTING` was surely not accepted, and its price is given back. `reason` is why it has to
        wait at this moment, and `noted` what was answered: both are for the history alone.
        """
        since = render.get("waiting_since", now)  # it may only have been a trial
        waits = {"line_at": line_at, "waiting_since": since, "lease_until": 0.0}
        return self._back(render, now, {"what": "parked", "reason": reason, **(noted or {})}, **waits)

    def retry_later(self, render: Render, at: float, now: float, noted: dict[str, Any]) -> Render:
        """Let a render be sent again at a time of its own: the cause is its own, and holds nobody else up."""
        tries = render.get("server_errors", 0) + 1
        noted = {"what": "parked", "reason": "outage", **noted}
        own = {"lease_until": at - LEASE_GRACE_SECONDS, "server_errors": tries, "waiting_since": None}
        return self._back(render, now, noted, **own)

    def _back(self, render: Render, now: float, noted: dict[str, Any], **values: Any) -> Render:
        refund = [self._give_back(render)] if render["status"] == "SUBMITTING" else []
        return self._move(render, ("CLAIMED", "SUBMITTING"), "CLAIMED", now, noted, *refund, **values)

    def submitting(self, render: Render, now: float) -> Render:
        """The request is about to be sent, and its price is reserved.

        Raises:
            OverLimit: the day's spend limit is reached; nothing has changed.
            ConditionFailed: the claim was lost to another delivery.
        """
        today = day(now)
        reserve = (
            ledger_key(today),
            "ADD #submitted :one, #reserved :price",
            "attribute_not_exists(#reserved) OR #reserved <= :room",
            {"one": 1, "price": self.price, "room": round(self.daily_limit - self.price, 6)},
        )
        if self.price > self.daily_limit:
            raise OverLimit
        said = {"what": "submitting", "attempt": render["attempt"]}
        lease = now + LEASE_SECONDS
        reserved = {"day": today, "reserved": self.price, "lease_until": lease}
        try:
            return self._move(render, ("CLAIMED",), "SUBMITTING", now, said, reserve, **reserved)
        except ConditionFailed as refused:
            if refused.position == 1:
                raise OverLimit from refused
            raise

    def has_room(self, now: float) -> bool:
        """Whether the day's spend limit leaves room for another render."""
        ledger = self.table.get(ledger_key(day(now))) or {}
        return float(ledger.get("reserved", 0.0)) + self.price <= self.daily_limit

    def accepted(self, render: Render, request_id: str, now: float) -> Render:
        """Segmind took the request. An answer that comes after all settles an `UNCERTAIN` render of the same
        attempt."""
        generation = render.get("generation", 0) + 1
        said = {"what": "accepted", "request_id": request_id, "generation": generation}
        return self._move(
            render,
            ("SUBMITTING", "UNCERTAIN"),
            "QUEUED",
            now,
            said,
            request_id=request_id,
            submitted_at=now,
            generation=generation,
            waiting_since=None,
            error=None,
            announced=None,
        )

    def processing(self, render: Render, now: float) -> Render:
        """A worker has the job."""
        return self._move(render, ("QUEUED",), "PROCESSING", now, {"what": "processing"})

    def restarted(self, render: Render, now: float) -> Render:
        """Another execution has taken the render over; one of an older generation ends by itself.

        What was sent for it is kept: a render whose executions die one after the other is restarted ever more seldom.
        """
        generation = render.get("generation", 0) + 1
        said = {"what": "restarted", "generation": generation}
        sent = {name: render.get(name) for name in ("dispatched_until", "dispatches")}
        allowed = (*IN_FLIGHT, "COMPLETED")
        return self._move(render, allowed, render["status"], now, said, generation=generation, **sent)

    def beat(self, render: Render, until: float) -> None:
        """Somebody works on a render that is at Segmind or paid, and comes back by `until`."""
        if render["status"] not in (*IN_FLIGHT, "COMPLETED") or until < render.get("due_at", 0.0):
            return
        with suppress(ConditionFailed):  # it has moved, and this has said when it is due
            self.table.update(
                render_key(render["prefix"], render["render_id"]),
                f"SET {SET_DUE} REMOVE {SENT}",
                "#revision = :seen",
                due_lane=TIMER,
                due_at=until + SLACK_SECONDS,
                seen=render["revision"],
            )

    def untold(self, prefix: str) -> list[Render]:
        """The renders of a pair that have ended and were not told, in the order in which they ended."""
        items = [item for item in self.table.query(f"pair#{prefix}") if item.get("status") in ENDED]
        return sorted((item for item in items if not item.get("announced")), key=lambda item: str(item["updated_at"]))

    def completed(self, render: Render, output_url: str, metrics: dict[str, Any], now: float) -> Render:
        """The job is done and paid: keep where its picture is, and what it cost. Less than what was reserved for it is
        not believed: what was charged is seen on the account alone."""
        cost = metrics.get("cost", self.price)
        entry = (
            ledger_key(render.get("day", day(now))),
            "ADD #completed :one, #cost :cost, #reserved :difference",
            None,
            {"one": 1, "cost": cost, "difference": round(max(0.0, cost - render.get("reserved", self.price)), 6)},
        )
        said = {"what": "completed", "cost": cost}
        moved = {"output_url": output_url, "metrics": metrics, "cost": cost, "completed_at": now}
        return self._move(render, IN_FLIGHT, "COMPLETED", now, said, entry, **moved)

    def delivered(self, render: Render, result: dict[str, Any], now: float) -> Render:
        """The picture is in the output bucket.

        Raises:
            ConditionFailed: position 1: a newer drop has overtaken this render, or does not overtake it any more.
        """
        place = self._is_overtaken(render) if result.get("superseded") else self._speaks(render, result["key"])
        said = {"what": "delivered", "key": result["key"]}
        return self._end(render, ("COMPLETED",), "DELIVERED", said, now, place, result=result)

    def failed(self, render: Render, error: dict[str, Any], key: str, now: float) -> Render:
        """The render has ended without a picture; `key`: where its error.json goes."""
        said = {"what": "failed", "code": error["code"], "message": error["message"]}
        extra: list[Any] = [(pair_key(render["prefix"]), "ADD #written :key", None, {"key": {key}})]
        if error["charged"] == "no" and render["status"] != "CLAIMED":
            extra.append(self._give_back(render))
        allowed = ("CLAIMED", "SUBMITTING", *IN_FLIGHT, "COMPLETED", "UNCERTAIN")
        return self._end(render, allowed, "FAILED", said, now, *extra, error=error)

    def uncertain(self, render: Render, error: dict[str, Any], key: str, now: float) -> Render:
        """The answer to the request is lost; only a person can decide what to do."""
        said = {"what": "uncertain", "message": error["message"]}
        written = (pair_key(render["prefix"]), "ADD #written :key", None, {"key": {key}})
        return self._move(render, ("SUBMITTING",), "UNCERTAIN", now, said, written, error=error, announced=None)

    def announced(self, render: Render) -> None:
        """The end of the render was told: error file and event are out."""
        self.table.update(
            render_key(render["prefix"], render["render_id"]),
            f"SET #announced = :yes REMOVE {REMOVE_DUE}",
            "#attempt = :attempt AND #status = :status",
            yes=True,
            attempt=render["attempt"],
            status=render["status"],
        )

    def again(
        self, render: Render, status: str, drop_id: int, now: float, *extra: Any, line_at: float | None = None
    ) -> Render:
        """Begin a new attempt of an ended render: `CLAIMED` pays again, at its place in line if it has one,
        `COMPLETED` only delivers again."""
        forgotten = ("error", "announced", "result", "expires_at", "waiting_since", "server_errors")
        fresh: dict[str, Any] = dict.fromkeys(forgotten) | {"attempt": render["attempt"] + 1, "drop_id": drop_id}
        said = {"what": "again", "attempt": render["attempt"] + 1}
        if status == "CLAIMED":
            fresh |= dict.fromkeys(("request_id", "output_url", "submitted_at", "day"))
            fresh |= {"line_at": line_at, "lease_until": now + LEASE_SECONDS}
            fresh |= {"waiting_since": now} if line_at else {}
        else:
            fresh["generation"] = said["generation"] = render.get("generation", 0) + 1
        return self._move(render, (render["status"],), status, now, said, *extra, **fresh)

    def _known(self, render: Render, pair: Pair, now: float) -> Render | None:
        # Dropped before, perhaps then something else, and now again: it speaks for its pair, and nothing older may.
        # What begins a new attempt says so with it.
        status, speaks = render["status"], self._speaks_now(pair, render)
        overtaken = pair.current not in (None, render["render_id"])
        try:
            if status == "UNCERTAIN" and (overtaken or pair.rejected_drop > pair.current_drop):
                same = {"announced": None, "updated_at": render["updated_at"]}
                render = self._move(render, (status,), status, now, None, speaks, **same)
            elif pair.current_drop < pair.drop_id and not (overtaken and status in ("FAILED", "DELIVERED")):
                self._transact(speaks)
        except ConditionFailed:
            return None
        return self._ended(render, pair, now)

    def _ended(self, render: Render, pair: Pair, now: float) -> Render | None:
        if pair.drop_id <= count_of(render):
            return None
        if render["status"] == "FAILED":
            return self._once_more(render, render["error"]["code"] == "delivery", pair, now)
        if render["status"] == "DELIVERED" and pair.current != render["render_id"]:
            return self._once_more(render, True, pair, now)
        return None

    def _once_more(self, render: Render, paid: bool, pair: Pair, now: float) -> Render | None:
        there = paid and now - render["completed_at"] < OUTPUT_SECONDS
        try:
            current = self._speaks_now(pair, render)
            return self.again(render, "COMPLETED" if there else "CLAIMED", pair.drop_id, now, current)
        except ConditionFailed:  # another delivery of the drop was faster
            return None

    def _new(self, pair: Pair, render_id: str, now: float) -> Render:
        return {
            "prefix": pair.prefix,
            "render_id": render_id,
            "status": "CLAIMED",
            "attempt": 1,
            "drop_id": pair.drop_id,
            "created_at": iso(now),
            "updated_at": iso(now),
            "history": [{"at": iso(now), "what": "claimed"}],
            "revision": 1,
            "lease_until": now + LEASE_SECONDS,
        }

    def _move(
        self,
        render: Render,
        allowed: tuple[str, ...],
        status: str,
        now: float,
        said: dict[str, Any] | None,
        *extra: Any,
        **values: Any,
    ) -> Render:
        # The revision stands for everything read before: whoever wrote in between makes this write fail. The SDK
        # repeats a write whose answer was lost, and finds its own: `written_by` tells it from another's.
        if render["status"] not in allowed:
            raise ConditionFailed(render)
        moved = {"status": status, "updated_at": iso(now), "revision": render["revision"] + 1, **values}
        moved["written_by"] = uuid4().hex
        moved = marks(due({**render, **moved}, now)) | moved
        if said:
            moved["history"] = _noted(render["history"], {"at": iso(now), **said})
        write = self._write(render, "#revision = :seen", **moved)
        write[3]["seen"] = render["revision"]
        try:
            self._transact(write, *extra)
        except ConditionFailed as refused:
            if (refused.found or {}).get("written_by") != moved["written_by"]:
                raise
        return {name: value for name, value in {**render, **moved}.items() if value is not None}

    def _end(
        self,
        render: Render,
        allowed: tuple[str, ...],
        status: str,
        said: dict[str, Any],
        now: float,
        *extra: Any,
        **values: Any,
    ) -> Render:
        expires_at = int(now + self.retention_days * 86_400)
        # What was told of it before, that it was uncertain, is another end.
        fresh = {"expires_at": expires_at, "waiting_since": None, "announced": None}
        return self._move(render, allowed, status, now, said, *extra, **fresh, **values)

    def _write(self, render: Render, condition: str, **values: Any) -> tuple[Key, str, str, dict[str, Any]]:
        kept = {name: value for name, value in values.items() if value is not None}
        gone = [name for name, value in values.items() if value is None]
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in kept)
        if gone:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in gone)
        return render_key(render["prefix"], render["render_id"]), expression, condition, kept

    def _speaks_now(self, pair: Pair, render: Render, *, anew: bool = False) -> Any:
        # One drop asks for one render, whatever a default or a named image has become when its message comes again.
        already = "" if anew else " OR #current_count = :drop AND #current = :id"
        return (
            pair_key(pair.prefix),
            f"SET #current = :id, #current_count = :drop REMOVE {REMOVE_DUE}",
            f"attribute_not_exists(#current_count) OR #current_count < :drop{already}",
            {"id": render["render_id"], "drop": pair.drop_id},
        )

    def _is_overtaken(self, render: Render) -> Any:
        values = {"prefix": render["prefix"], "id": render["render_id"]}
        return pair_key(render["prefix"]), "SET #prefix = :prefix", "#current <> :id", values

    def _speaks(self, render: Render, key: str) -> Any:
        return (
            pair_key(render["prefix"]),
            "ADD #written :key",
            "#current = :id",
            {"key": {key}, "id": render["render_id"]},
        )

    def _give_back(self, render: Render) -> Any:
        values = {"minus": -render["reserved"], "one": 1}
        return ledger_key(render["day"]), "ADD #reserved :minus, #not_charged :one", None, values

    def _transact(self, *writes: Any) -> None:
        if len(writes) == 1:
            key, expression, condition, values = writes[0]
            self.table.update(key, expression, condition, **values)
            return
        self.table.transact(*writes)


def render_key(prefix: str, render_id: str) -> Key:
    """Where a render stands in the table, beside its pair."""
    return {"pk": f"pair#{prefix}", "sk": f"render#{render_id}"}


def overdue_action(render: Render, now: float) -> Literal["submit", "lost", "restart", "expire", "announce"]:
    """What a render asks for that nobody has come back to in time."""
    match render["status"]:
        case "CLAIMED":
            return "submit"
        case "SUBMITTING":
            return "lost"
        case "QUEUED" | "PROCESSING":
            return "restart" if now - render["submitted_at"] < RECORD_SECONDS else "expire"
        case "COMPLETED":
            return "restart" if now - render["completed_at"] < OUTPUT_SECONDS else "expire"
    return "announce"


def is_stale(render: Render, event: Mapping[str, Any]) -> bool:
    """Whether an execution, by its state, is of an attempt or a generation that another one has taken over from."""
    overtaken = event.get("generation", 0) < render.get("generation", 0)
    return bool(overtaken or event["attempt"] != render["attempt"])


def ledger_key(utc_day: str) -> Key:
    """Where the money of a UTC day stands: `submitted`, `not_charged`, `completed` (counts), `reserved`, `cost`
    (USD)."""
    return {"pk": "stack", "sk": f"ledger#{utc_day}"}


def rejected_id(pair: Pair) -> str:
    """The name of a drop that never became a render: another one for every drop."""
    return hashlib.sha256(f"{pair.prefix}\0{pair.drop_id}".encode()).hexdigest()[:24]


def count_of(render: Render) -> int:
    """The `drop_id` of a render; 0 if it was made when S3's sequencer stood there, which is text."""
    drop_id: int | str = render.get("drop_id", 0)
    return 0 if isinstance(drop_id, str) else drop_id


def _due(render: Render, now: float) -> Render:
    return render | {name: value for name, value in marks(due(render, now)).items() if value is not None}


def _kept(given: dict[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in ("key", "version_id", "etag", "url") if given.get(name)}


def _noted(history: list[dict[str, Any]], entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The history with another entry. A repetition is counted, not listed: a long park must not outgrow the
    item."""
    last = history[-1]
    same = {name: value for name, value in last.items() if name not in ("at", "times", "last_at")}
    new = {name: value for name, value in entry.items() if name != "at" and value is not None}
    if same == new:
        return [*history[:-1], {**last, "times": last.get("times", 1) + 1, "last_at": entry["at"]}]
    noted = [*history, {"at": entry["at"], **new}]
    return noted if len(noted) <= HISTORY_KEPT else [*noted[:10], *noted[-HISTORY_KEPT + 10 :]]
