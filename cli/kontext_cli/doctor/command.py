"""`kontext doctor`: is this stack well, and if not, what is to be done?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape

from kontext_cli import target
from kontext_cli.doctor import account_checks, checks, standstill_checks
from kontext_cli.doctor.checks import Finding, StackInspection
from kontext_cli.terminal import print_json, terminal

WRONG = 1
MARKS = {"good": "[green]✔[/]", "note": "[yellow]•[/]", "wrong": "[bold red]✘[/]"}
CHECKS: tuple[Callable[[StackInspection], Iterator[Finding]], ...] = (
    checks.stack,
    account_checks.api_key,
    account_checks.circuit_breaker,
    checks.event_wiring,
    standstill_checks.unknown_drops,
    standstill_checks.loose_objects,
    checks.functions,
    checks.throttles,
    checks.schedule,
    standstill_checks.dead_letters,
    standstill_checks.stuck_renders,
    standstill_checks.stuck_items,
    checks.alarms,
    checks.subscriptions,
)


def run(*, stack: str | None, drift: bool, as_json: bool) -> int:
    """Check a stack and show what was found; returns 1 if something is wrong."""
    inspection = StackInspection(target.find(stack))
    findings = list(examine(inspection, (*CHECKS, checks.drift) if drift else CHECKS))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _show(terminal(), findings)
    return WRONG if any(finding.state == "wrong" for finding in findings) else 0


def examine(
    inspection: StackInspection, chosen: tuple[Callable[[StackInspection], Iterator[Finding]], ...] = CHECKS
) -> Iterator[Finding]:
    """The findings of some checks; one that the caller may not make is a finding, too."""
    for check in chosen:
        try:
            yield from check(inspection)
        except (ClientError, BotoCoreError) as refused:
            name = check.__name__.replace("_", " ")
            yield Finding(name, "note", f"could not be checked: {refused}", "Ask with credentials that may look there.")


def _show(console: Console, findings: list[Finding]) -> None:
    for finding in findings:
        mark = MARKS[finding.state]
        console.print(f"{mark} [dim]{finding.check:<13}[/] {escape(finding.says)}", soft_wrap=True)
        if finding.remedy:
            console.print(f"  {'':<13} [bold]→[/] {escape(finding.remedy)}", soft_wrap=True)
    wrong = sum(finding.state == "wrong" for finding in findings)
    console.print(f"\n{wrong} wrong" if wrong else "\nAll is well.", style="bold red" if wrong else "green")
