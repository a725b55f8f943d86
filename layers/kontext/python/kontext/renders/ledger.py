"""The money of a UTC day: one item, moved in the same transaction as the render that it is about."""

from kontext.clock import day
from kontext.dynamodb import Key, Table, Write, stack_key
from kontext.errors import KontextError
from kontext.model import JobMetrics, Render

BELIEVED_PRICES = 4


class OverLimit(KontextError):
    """The day's spend limit leaves no room for another render."""


def ledger_key(utc_day: str) -> Key:
    """Where the money of a UTC day stands: `submitted`, `not_charged`, `completed` (counts), `reserved`, `cost`
    (USD); and when the render that completed last was accepted, `accepted_at` (unix seconds)."""
    return stack_key(f"ledger#{utc_day}")


def reserve(price: float, daily_limit: float, now: float) -> Write:
    """Reserve the price of a render; refused where the day's limit has no room for it."""
    return (
        ledger_key(day(now)),
        "ADD #submitted :one, #reserved :price",
        "attribute_not_exists(#reserved) OR #reserved <= :room",
        {"one": 1, "price": price, "room": round(daily_limit - price, 6)},
    )


def another_was_accepted(table: Table, since: float, now: float) -> bool:
    """Whether a render that has completed was accepted since then."""
    days = (table.get(ledger_key(utc_day)) or {} for utc_day in dict.fromkeys((day(now), day(since))))
    return any(float(known.get("accepted_at", 0.0)) >= since for known in days)


def give_back(render: Render) -> Write:
    """A render was surely not charged. What was given back for it before is not given back twice."""
    values = {"minus": -render["reserved"], "one": int(render["reserved"] > 0)}
    return ledger_key(render["day"]), "ADD #reserved :minus, #not_charged :one", None, values


def is_believable(cost: float | None, price: float) -> bool:
    """Whether a cost that Segmind states can be one: nothing, or over four times the price, is a mistake of somebody's.

    >>> [is_believable(cost, 0.05) for cost in (None, 0.0, 0.01, 0.05, 0.2, 5.0)]
    [False, False, True, True, True, False]
    """
    return cost is not None and 0 < cost <= BELIEVED_PRICES * price


def charge(render: Render, metrics: JobMetrics, price: float, now: float) -> tuple[float, list[Write]]:
    """What a job has cost, and its entry in the ledger: one, however often the job is seen to be done."""
    if "cost" in render:
        return render["cost"], []
    stated = metrics.get("cost")
    cost = stated if stated is not None and is_believable(stated, price) else price
    return cost, [book(render, cost, price, now)]


def book(render: Render, cost: float, price: float, now: float) -> Write:
    """A render was charged. Less than what was reserved for it is not believed: what was charged is seen on the account
    alone. One that had failed, and has a picture after all, is no more among those that were not charged."""
    reserved = render.get("reserved", price)
    when = "SET #accepted_at = :accepted_at " if "submitted_at" in render else ""
    values = {
        "one": 1,
        "cost": cost,
        "difference": round(max(0.0, cost - reserved), 6),
        "accepted_at": render.get("submitted_at"),
    }
    counted = "#completed :one, #cost :cost, #reserved :difference"
    if not reserved:
        counted, values["less"] = f"{counted}, #not_charged :less", -1
    return ledger_key(render.get("day", day(now))), f"{when}ADD {counted}", None, values
