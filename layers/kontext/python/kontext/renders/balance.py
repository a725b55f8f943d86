"""What Segmind's balance says beside what is booked: one item a UTC day, moved by each job that is seen complete.

`first` is the balance (USD) before the first of them, `booked` what they cost since. Whatever else the balance has lost
was charged without our knowing, or was spent by others on the same account: `kontext audit` tells which it may be.
"""

import math

from kontext.clock import day
from kontext.dynamodb import Item, Key, Table, Write, stack_key
from kontext.model import Render
from kontext.renders.ledger import ledger_key

TOLERATED_PRICES, TOLERATED_SHARE = 3, 0.05
"""So much of a day goes unsaid: answers come in another order than charges, and a price is rounded."""
TOP_UP_PRICES = 20
"""A balance that is higher by so much was topped up; by less, another job's answer was older."""

LATE_SECONDS = 120.0
"""A job that was done so long ago tells a balance that is not today's any more."""


def balance_key(utc_day: str) -> Key:
    """Where the balance of a UTC day stands."""
    return stack_key(f"balance#{utc_day}")


def tolerated(price: float, booked: float) -> float:
    """USD that the balance of a day may lose beside what is booked before anybody is told."""
    return max(TOLERATED_PRICES * price, TOLERATED_SHARE * booked)


def explain(cost: float, now: float) -> Write:
    """What was charged for a job of which no balance was told explains what the balance will have lost."""
    return balance_key(day(now)), "ADD #booked :cost", None, {"cost": cost}


def told_at(render: Render, seen_at: float) -> float:
    """When Segmind told a balance: as the job was done, which may have been seen much later."""
    took = render["metrics"].get("total_time")
    return min(seen_at, render["submitted_at"] + took) if took is not None and "submitted_at" in render else seen_at


def unexplained(table: Table, price: float, render: Render, now: float) -> float | None:
    """USD beyond what is tolerated that the day's balance has lost and nothing explains; None if no balance was told,
    or an old one.

    What is at Segmind may be charged already, and is not booked yet: it explains its price.
    """
    remaining, today = render["metrics"].get("remaining_credits"), day(now)
    seen = table.update(balance_key(today), "ADD #booked :cost", cost=render["cost"])
    if remaining is None or now - told_at(render, now) > LATE_SECONDS:
        return None
    lost = seen.get("first", -math.inf) - seen["booked"] - remaining
    if lost < -TOP_UP_PRICES * price:  # the first of the day, or topped up
        table.update(balance_key(today), "SET #first = :first", first=round(remaining + seen["booked"], 6))
    beyond = lost - tolerated(price, seen["booked"])
    if beyond > 0:
        beyond -= price * sum(_unsettled(table.get(ledger_key(day(at))) or {}) for at in (now, now - 86_400))
    return max(0.0, round(float(beyond), 6))


def _unsettled(ledger: Item) -> float:
    """How many requests of a day are neither booked nor surely free."""
    return float(ledger.get("submitted", 0) - ledger.get("completed", 0) - ledger.get("not_charged", 0))
