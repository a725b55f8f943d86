"""Tables of many pairs, and the looks at them of which each must cost the same however many there are."""

from __future__ import annotations

from kontext.clock import iso
from kontext.due import LINE, TIMER, WAITING
from kontext.dynamodb import Item
from kontext.errors import problem
from kontext.model import Render, Status
from kontext.throttle.throttle import Throttle
from kontext_cli.doctor import account_checks, standstill_checks
from kontext_cli.doctor import command as doctor
from kontext_cli.doctor.checks import StackInspection
from kontext_cli.read.records import Filter, Records
from kontext_cli.status import progress_of
from kontext_cli.target import Target
from kontext_cli.web.gallery import Gallery

NOW = 1_795_384_556
CHECKS = (
    account_checks.circuit_breaker,
    standstill_checks.loose_objects,
    standstill_checks.stuck_renders,
    standstill_checks.stuck_items,
)
"""What `kontext doctor` asks the table."""
ON_ITS_WAY: Item = {"due_lane": TIMER, "request_id": "q", "submitted_at": NOW}
REFUSED: Item = {"due_lane": "FAILED", "error": problem("refused", "no")}
KINDS: tuple[tuple[str, Item], ...] = (
    *[("DELIVERED", {"due_lane": "DELIVERED"})] * 6,
    *[("CLAIMED", {"due_lane": LINE, "waiting_since": NOW - 900})] * 5,
    *[("QUEUED", ON_ITS_WAY), ("FAILED", REFUSED)] * 3,
    ("UNCERTAIN", {"due_lane": "UNCERTAIN", "error": problem("uncertain", "lost")}),
    *[("half", {"due_lane": WAITING}), ("settling", {"due_lane": TIMER})] * 1,
)
"""Of which kind pairs are, in turn, and where they stand."""


def pair(number: int) -> list[Item]:
    status, more = KINDS[number % len(KINDS)]
    at, prefix = NOW - 10 * number, f"{number:05}/"
    item, place = {"pk": f"pair#{prefix}", "prefix": prefix}, more | {"due_at": at}
    parts = {f"part_{n}": {"key": f"{prefix}{n}.png", "sequencer": "1", "at": at, "kind": "png"} for n in (1, 2)}
    if status in ("half", "settling"):
        return [{**item, "sk": "pair", "part_1": parts["part_1"], **place}]
    known: Render = {"render_id": "r", "status": Status(status), "attempt": 1, "drop_id": 1}
    known |= {"parameters": {"prompt": "x" * 400}, "created_at": iso(at), "updated_at": iso(at)}
    return [{**item, "sk": "pair", "current": "r", **parts}, {**item, "sk": "render#r", **known, **place}]


def throttle() -> Item:
    """The item that says that one goes every two seconds."""
    return {**Throttle.KEY, "state": {"interval": 2, "slots": {"next_free": NOW}}}


def status(target: Target) -> None:
    records = Records(target)
    listing = records.newest("", 30)
    assert len(listing.pairs) == 30
    progress_of(records, "", Filter(), listing)


def folder(target: Target) -> None:
    assert len(Records(target).newest("0000", 5).pairs) == 5


def examination(target: Target) -> None:
    findings = list(doctor.examine(StackInspection(target), CHECKS))
    assert {finding.state for finding in findings} == {"good", "wrong"}


def page(target: Target) -> None:
    shown = Gallery(target).page("", "", 24)
    assert (len(shown["pairs"]), shown["problem"]) == (24, None)
    assert all(pair["notice"]["place"] for pair in shown["pairs"] if pair["group"] == "parked")


LOOKS = {"status": status, "folder": folder, "doctor": examination, "page": page}
