"""A stack that `kontext doctor` is called to, and ways to make it ill and well."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Unpack

from kontext.due import TIMER
from kontext.dynamodb import Table
from kontext.model import ENDED, Render
from kontext.renders.record import render_key
from kontext.throttle.rate_limiter import Rate
from kontext.throttle.throttle import Throttle
from kontext_cli.doctor.checks import Finding, StackInspection
from kontext_cli.doctor.command import examine
from kontext_cli.target import LOCAL, Target
from kontext_local import stack

Check = Callable[[StackInspection], Iterator[Finding]]


@dataclass
class Ward:
    """A stack, and ways to make it ill and well."""

    running: stack.LocalStack

    def __post_init__(self) -> None:
        self.target = Target(LOCAL, self.running.outputs, self.running.client)
        self.table = Table(self.running.client("dynamodb"), self.running.outputs["RendersTable"])
        self.throttle = Throttle(self.table, Rate(1))

    def inspection(self) -> StackInspection:
        """The stack as a doctor meets it."""
        return StackInspection(self.target)

    def find(self, check: Check) -> list[Finding]:
        """What one check says."""
        return list(examine(self.inspection(), (check,)))

    def emulator(self, what: str, body: Any) -> None:
        """Set something at the emulator."""
        with self.running.emulator() as emulator:
            emulator.post(what, json=body).raise_for_status()

    def well(self) -> None:
        """Let renders go on, whoever stopped them."""
        self.throttle.resume(time.time())
        self.throttle.close_breaker(time.time())

    def render(self, name: str, /, **more: Unpack[Render]) -> None:
        """Put a render on the record, as it would stand there."""
        known: Render = {"prefix": f"{name}/", "render_id": "1", "due_at": time.time() + 3600}
        known["due_lane"] = more["status"] if more["status"] in ENDED else TIMER
        known.update(more)
        names = ", ".join(f"#{name} = :{name}" for name in known)
        self.table.update(render_key(known["prefix"], "1"), f"SET {names}", **known)


def the_one(findings: list[Finding]) -> Finding:
    """The one finding that is wrong."""
    (wrong,) = [finding for finding in findings if finding.state == "wrong"]
    return wrong


def assert_well(ward: Ward, check: Check) -> None:
    """What was advised has been done, and has helped."""
    assert {finding.state for finding in ward.find(check)} == {"good"}
