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
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

from kontext.clock import day, iso
from kontext.drops import Complete, Pair, pair_key
from kontext.due import REMOVE_DUE, SENT, SET_DUE, SLACK_SECONDS, TIMER, due, marks
from kontext.errors import Busy, KontextError
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
`created_at`, `updated_at` (ISO), and as far as it has come: `parked` {`reason`, `until`, `since`}, `parked_since`
(what `since` was before the submit), `request_id`, `submitted_at` (unix seconds), `generation` (counts the executions
that were started for it), `output_url`, `metrics`, `cost` (USD), `result`, `error`, `announced`. `due_lane`, `due_at`,
`dispatched_until` and `dispatches` are the index's."""


class OverLimit(KontextError):
    """The day's spend limit leaves no room for another render."""


@dataclass(frozen=True)
class Claim:
    """What a delivery of a complete pair may do with its render.

    `submit`: it is ours, go on. `wake`: it is ours and parked, make sure that its message is out. `start`: it
    is at Segmind or paid, make sure that its workflow runs. `restart`: that one is dead, start another.
    `expire`: it is too late for that. `lost`: the answer to its request is. `announce`: it has ended, make sure
    that this was told. `nothing`: somebody else's, or done.
    """

    then: Literal["submit", "wake", "start", "restart", "expire", "lost", "announce", "nothing"]
    render: Render


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

    def claim(self, pair: Pair, complete: Complete, message_id: str, now: float) -> Claim:
        """Claim the render that a complete pair asks for, or say what its record allows.

        Raises:
            Busy: this very message is being worked on; it must stay in the queue.
        """
        asked = {"parameters": complete.parameters, "inputs": [_kept(given) for given in complete.inputs]}
        render = _due(self._new(pair, complete.render_id(pair.prefix), message_id, now) | asked, now)
        try:
            self._transact(
                self._write(render, "attribute_not_exists(#pk)", **render),
                self._speaks_now(pair, render, anew=True),
            )
        except ConditionFailed as refused:
            if refused.position == 1 or refused.found is None:
                return Claim("nothing", render)  # this drop of the pair, or a newer one, has been claimed already
            return self._known(refused.found, pair, message_id, now)
        return Claim("submit", render)

    def reject(self, pair: Pair, error: dict[str, Any], key: str, message_id: str, now: float) -> Claim:
        """Record a drop that cannot become a render, once; `key`: where its error.json goes."""
        render = self._new(pair, rejected_id(pair), message_id, now)
        if pair.current_drop == pair.drop_id:
            return Claim("nothing", render)  # it is a render: a named image has changed since, and the message came again
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
                return Claim("nothing", render)  # a newer drop of this pair has been rejected already
            render = known.found or render
        return Claim("nothing" if render.get("announced") else "announce", render)

    def wake(self, prefix: str, render_id: str, token: str, message_id: str, now: float) -> Claim:
        """Take up a parked render whose message came back; `token` tells the last such message from older copies.

        Raises:
            Busy: this very message is being worked on; it must stay in the queue.
        """
        render = self.get(prefix, render_id)
        if render is None:
            return Claim("nothing", {})
        if render["status"] == "CLAIMED" and render.get("wake") == token:
            return self._take_up(render, message_id, now)
        if render.get("wake") and render.get("message_id") != message_id:
            return Claim("nothing", render)  # a later message brings it back
        return self._same_message(render, message_id, now)  # or the same one: sent on, it has another id

    def left_by(self, prefix: str, message_id: str, now: float) -> list[Claim]:
        """What a message that comes back had begun for a pair, and may go on with, whatever the pair has become since.

        Raises:
            Busy: this very message is being worked on; it must stay in the queue.
        """
        items = self.table.query(f"pair#{prefix}")
        left = [item for item in items if item["sk"].startswith("render#") and item.get("message_id") == message_id]
        return [self._same_message(render, message_id, now) for render in left if render["status"] != "DELIVERED"]

    def park(self, render: Render, reason: str, until: float, now: float, said: dict[str, Any] | None = None) -> Render:
        """Put a render aside until `until`; its `wake` token goes into the message that brings it back.

        A render that was `SUBMITTING` was surely not accepted, and its price is given back; `said` tells what
        was answered.
        """
        since = render.get("parked", {}).get("since", render.get("parked_since", now))
        parked = {"reason": reason, "until": until, "since": since}
        noted = {"what": "parked", "reason": reason, **(said or {})}
        refund = [self._give_back(render)] if render["status"] == "SUBMITTING" else []
        tries = render.get("server_errors", 0) + (noted.get("status") == 500)
        moved = {"wake": uuid4().hex, "parked": parked, "lease_until": 0.0, "server_errors": tries}
        return self._move(render, ("CLAIMED", "SUBMITTING"), "CLAIMED", now, noted, *refund, **moved)

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
        since = render.get("parked", {}).get("since")  # it may only be a probe, and parked again
        reserved = {"day": today, "reserved": self.price, "parked": None, "parked_since": since, "wake": None}
        try:
            return self._move(render, ("CLAIMED",), "SUBMITTING", now, said, reserve, **reserved)
        except ConditionFailed as refused:
            if refused.position == 1:
                raise OverLimit from refused
            raise

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

    def look_again(self, prefix: str, render_id: str, message_id: str, now: float) -> Claim:
        """Take up a render that is due: what its messages or its workflow should have done, and have not."""
        render = self.get(prefix, render_id)
        if render is None or render.get("due_at", now + 1) > now:  # it has moved: this was said to an older state
            return Claim("nothing", render or {})
        match render["status"]:
            case "CLAIMED":
                return self._take_up(render, message_id, now)
            case "SUBMITTING":
                return Claim("lost", render)
            case "QUEUED" | "PROCESSING":
                return Claim("restart" if now - render["submitted_at"] < RECORD_SECONDS else "expire", render)
            case "COMPLETED":
                return Claim("restart" if now - render["completed_at"] < OUTPUT_SECONDS else "expire", render)
        return Claim("announce", render)

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

    def again(self, render: Render, status: str, message_id: str, drop_id: int, now: float, *extra: Any) -> Render:
        """Begin a new attempt of an ended render: `CLAIMED` pays again, `COMPLETED` only delivers again."""
        forgotten = ("error", "announced", "result", "expires_at", "parked", "parked_since", "server_errors")
        fresh: dict[str, Any] = dict.fromkeys(forgotten) | {"attempt": render["attempt"] + 1, "drop_id": drop_id}
        said = {"what": "again", "attempt": render["attempt"] + 1}
        if status == "CLAIMED":
            fresh |= dict.fromkeys(("request_id", "output_url", "submitted_at", "day")) | _lease(message_id, now)
        else:
            fresh["generation"] = said["generation"] = render.get("generation", 0) + 1
        return self._move(render, (render["status"],), status, now, said, *extra, **fresh)

    def _known(self, render: Render, pair: Pair, message_id: str, now: float) -> Claim:
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
            return Claim("nothing", render)
        return self._found(render, pair, message_id, now)

    def _found(self, render: Render, pair: Pair, message_id: str, now: float) -> Claim:
        status = render["status"]
        if status in ("CLAIMED", "SUBMITTING") and render.get("message_id") == message_id:
            return self._same_message(render, message_id, now)
        if status == "CLAIMED" and (render.get("wake") or render["lease_until"] > now):
            return Claim("nothing", render)  # its own message is in the queue
        if status == "CLAIMED":
            return self._take_up(render, message_id, now)
        if status == "SUBMITTING":
            return Claim("nothing" if render["lease_until"] > now else "lost", render)
        if status in IN_FLIGHT or status == "COMPLETED":
            return Claim("start", render)
        return self._ended(render, pair, message_id, now)

    def _same_message(self, render: Render, message_id: str, now: float) -> Claim:
        if render["status"] in (*IN_FLIGHT, "COMPLETED"):
            return Claim("start", render)
        if render["status"] in ("CLAIMED", "SUBMITTING") and render["lease_until"] > now:
            raise Busy(render["render_id"])
        if render["status"] == "SUBMITTING":
            return Claim("lost", render)
        if render["status"] == "CLAIMED":
            return Claim("wake", render) if render.get("wake") else self._take_up(render, message_id, now)
        return Claim("nothing" if render.get("announced") else "announce", render)

    def _ended(self, render: Render, pair: Pair, message_id: str, now: float) -> Claim:
        new_drop = pair.drop_id > count_of(render)
        if render["status"] == "FAILED" and new_drop:
            paid = render["error"]["code"] == "delivery"
            return self._once_more(render, paid, pair, message_id, now)
        if render["status"] == "DELIVERED" and new_drop and pair.current != render["render_id"]:
            return self._once_more(render, True, pair, message_id, now)
        told = render.get("announced") or render["status"] not in ("FAILED", "UNCERTAIN")
        return Claim("nothing" if told else "announce", render)

    def _once_more(self, render: Render, paid: bool, pair: Pair, message_id: str, now: float) -> Claim:
        there = paid and now - render["completed_at"] < OUTPUT_SECONDS
        status = "COMPLETED" if there else "CLAIMED"
        try:
            render = self.again(render, status, message_id, pair.drop_id, now, self._speaks_now(pair, render))
        except ConditionFailed as refused:
            return _other_was_faster(refused, render, message_id)
        return Claim("submit" if status == "CLAIMED" else "start", render)

    def _take_up(self, render: Render, message_id: str, now: float) -> Claim:
        try:
            ours = self._move(render, ("CLAIMED",), "CLAIMED", now, None, wake=None, **_lease(message_id, now))
        except ConditionFailed as refused:
            return _other_was_faster(refused, render, message_id)
        return Claim("submit", ours)

    def _new(self, pair: Pair, render_id: str, message_id: str, now: float) -> Render:
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
            **_lease(message_id, now),
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
        fresh = {"expires_at": expires_at, "parked": None, "wake": None, "announced": None}
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
        newest = "#current_count < :drop" if anew else "#current_count <= :drop"
        return (
            pair_key(pair.prefix),
            f"SET #current = :id, #current_count = :drop REMOVE {REMOVE_DUE}",
            f"attribute_not_exists(#current_count) OR {newest}",
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


def is_stale(render: Render, event: Mapping[str, Any]) -> bool:
    """Whether an execution, by its state, is of an attempt or a generation that another one has taken over from."""
    overtaken = event.get("generation", 0) < render.get("generation", 0)
    return bool(overtaken or event["attempt"] != render["attempt"])


def ledger_key(utc_day: str) -> Key:
    """Where the money of a UTC day stands: `submitted`, `not_charged`, `completed` (counts), `reserved`, `cost`
    (USD)."""
    return {"pk": "stack", "sk": f"ledger#{utc_day}"}


def _other_was_faster(refused: ConditionFailed, render: Render, message_id: str) -> Claim:
    # Ended by one of its deliveries, a message has ended for all; and the faster one may still need it.
    if (refused.found or {}).get("message_id") == message_id:
        raise Busy(render["render_id"]) from refused
    return Claim("nothing", render)


def rejected_id(pair: Pair) -> str:
    """The name of a drop that never became a render: another one for every drop."""
    return hashlib.sha256(f"{pair.prefix}\0{pair.drop_id}".encode()).hexdigest()[:24]


def count_of(render: Render) -> int:
    """The `drop_id` of a render; 0 if it was made when S3's sequencer stood there, which is text."""
    drop_id: int | str = render.get("drop_id", 0)
    return 0 if isinstance(drop_id, str) else drop_id


def _lease(message_id: str, now: float) -> dict[str, Any]:
    return {"message_id": message_id, "lease_until": now + LEASE_SECONDS}


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
