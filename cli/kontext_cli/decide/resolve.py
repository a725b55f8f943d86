"""`kontext resolve`: decide about renders whose answer from Segmind was lost, one or a table of them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import cast, get_args

from botocore.exceptions import BotoCoreError, ClientError

from kontext.dynamodb import ConditionFailed
from kontext.model import Render, Status
from kontext_cli import target
from kontext_cli.decide.decisions import Decision, Resolver, What
from kontext_cli.decide.operate import Operator, how_far
from kontext_cli.errors import INTERRUPTED, UNFINISHED, CommandError, Unfinished, explain
from kontext_cli.terminal import Progress, print_json, progress

COLUMNS = ["prefix", "decision", "value"]
WITH_A_VALUE = ("request-id", "output-url")
MOST_ROWS = 10_000
SHOWN = 10

Checked = tuple[Decision, Render]


def run(
    prefix: str | None,
    *,
    request_id: str | None = None,
    output_url: str | None = None,
    resubmit: bool = False,
    give_up: bool = False,
    table: Path | None = None,
    stack: str | None,
    as_json: bool,
) -> int:
    """Decide; returns the exit code."""
    decisions = asked(prefix, request_id, output_url, resubmit, give_up, table)
    return decide(Operator(target.find(stack)), decisions, as_json=as_json)


def asked(
    prefix: str | None,
    request_id: str | None,
    output_url: str | None,
    resubmit: bool,
    give_up: bool,
    table: Path | None,
) -> list[Decision]:
    """The decisions that the options name. Raises CommandError unless they name one, or a table alone."""
    given: dict[What, str | None] = {"request-id": request_id, "output-url": output_url}
    given |= {"resubmit": "" if resubmit else None, "give-up": "" if give_up else None}
    said = [(what, value) for what, value in given.items() if value is not None]
    if table is not None:
        if said or prefix:
            raise CommandError("--file stands alone: each of its rows names a pair and a decision.")
        return read(table)
    if not prefix:
        raise CommandError("Name the pair, or a table of decisions: --file TABLE.csv.")
    if len(said) != 1:
        options = "--request-id ID, --output-url URL, --resubmit (may pay twice), --give-up"
        raise CommandError(f"Say one of {options}: {len(said) or 'none'} was given.")
    return [Decision(prefix, *said[0])]


def read(table: Path) -> list[Decision]:
    """The decisions of a table. Raises CommandError with all that is wrong with its form."""
    try:
        text = table.read_text(encoding="utf-8-sig")
        rows = [row for row in csv.reader(text.splitlines(), strict=True) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as unreadable:
        raise CommandError(f"{table} cannot be read as a table (CSV in UTF-8): {unreadable}") from unreadable
    rows = rows[1:] if rows and [cell.strip().lower() for cell in rows[0]] == COLUMNS else rows
    if not 0 < len(rows) <= MOST_ROWS:
        raise CommandError(f"{table} holds {len(rows)} decisions: there must be 1 to {MOST_ROWS:,}.")
    wrong = [f"row {n}: {why}" for n, row in enumerate(rows, 1) if (why := _wrong_form(row))]
    decisions = [Decision(row[0].strip(), cast("What", row[1].strip()), "".join(row[2:3])) for row in rows if row[1:]]
    wrong += _said_twice(decisions)
    if wrong:
        raise CommandError(_all_wrong(wrong))
    return decisions


def decide(operator: Operator, decisions: list[Decision], *, as_json: bool) -> int:
    """The same, for a stack that is found: all are checked before the first is carried out."""
    with progress() as shown, closing(operator):
        checked = _checked(operator, decisions, shown)
        if resubmitted := [one for one in checked if one[0].what == "resubmit"]:
            for line in _prices(operator, resubmitted):
                shown.step(line)
        done = list(_carried_out(Resolver(operator), checked))
        for render in done:
            shown.line(how_far(render))
    if as_json:
        print_json([_said(decision, render) for (decision, _), render in zip(checked, done, strict=True)])
    return 0


def _checked(operator: Operator, decisions: list[Decision], shown: Progress) -> list[Checked]:
    resolver, good, wrong = Resolver(operator), [], []
    pause = 0.0
    for row, decision in enumerate(decisions, 1):
        if decision.what == "request-id":  # each asks Segmind, which counts requests
            operator.clock.sleep(pause)
            pause = operator.throttle.rate.interval
        shown.spin(f"checking {row} of {len(decisions)}")
        try:
            good.append(resolver.check(decision))
        except CommandError as problem:
            wrong.append(f"row {row} ({decision.prefix}): {problem}" if len(decisions) > 1 else str(problem))
    wrong += _said_twice([decision for decision, _ in good])
    if wrong:
        raise CommandError(_all_wrong(wrong) if len(decisions) > 1 else wrong[0])
    return good


def _carried_out(resolver: Resolver, checked: list[Checked]) -> Iterator[Render]:
    """Carry the decisions out, one after the other. Raises CommandError or Unfinished, saying what was done."""
    for count, (decision, render) in enumerate(checked):
        try:
            yield resolver.carry_out(decision, render)
        except ConditionFailed as moved:
            why = f"{render['prefix']} has just moved on; look at it again with `kontext status`."
            raise _broken_off(why, checked, count, moved) from moved
        except (ClientError, BotoCoreError, KeyboardInterrupt) as broken:
            again = "the decision may have been taken. The same command may be given again, and sends nothing twice"
            why = f"{explain(broken) or 'Interrupted'}: {again}."
            raise _broken_off(why, checked, count, broken) from broken


def _broken_off(why: str, checked: list[Checked], count: int, cause: BaseException) -> CommandError:
    if isinstance(cause, ConditionFailed) and len(checked) == 1:
        return CommandError(why)
    rows = f" Done: rows 1 to {count}; without them the table may be given again." if count else ""
    first, render = checked[count]
    document = _said(first, render) | {"done": [_said(*one) for one in checked[:count]]}
    code = INTERRUPTED if isinstance(cause, KeyboardInterrupt) else UNFINISHED
    return Unfinished(why + rows, document, code)


def _said(decision: Decision, render: Render) -> dict[str, object]:
    named = {name: render.get(name) for name in ("prefix", "render_id", "status", "attempt")}
    return {**named, "decision": decision.what, "value": decision.value}


def _prices(operator: Operator, resubmitted: list[Checked]) -> Iterator[str]:
    """What it costs to send renders again, and what may be paid twice."""
    price = operator.renders.price
    for _, render in resubmitted:
        lost = render["status"] == Status.UNCERTAIN
        twice = f"; the request whose answer was lost may be paid as well (USD {price:g})" if lost else ""
        yield f"{render['prefix']} is sent again for USD {price:g}{twice}"
    if len(resubmitted) > 1:
        yield f"{len(resubmitted)} are sent again for USD {price * len(resubmitted):g}"


def _wrong_form(row: list[str]) -> str | None:
    prefix, decision, *values = (cell.strip() for cell in (*row, "", "")[: max(2, len(row))])
    if not prefix or len(values) > 1:
        return f"there must be a pair, a decision and perhaps a value, and there is {','.join(row)[:80]!r}"
    if decision not in get_args(What):
        return f"the decision is {decision!r}: it must be one of {', '.join(get_args(What))}"
    if (decision in WITH_A_VALUE) is not any(values):
        return f"{decision} needs {'a' if decision in WITH_A_VALUE else 'no'} value"
    return None


def _said_twice(decisions: list[Decision]) -> list[str]:
    pairs = Counter(decision.prefix for decision in decisions)
    values = Counter(decision.value.strip().lower() for decision in decisions if decision.value.strip())
    twice = [prefix for prefix, times in pairs.items() if times > 1] + [v for v, times in values.items() if times > 1]
    return [f"{what} stands in it more than once" for what in twice]


def _all_wrong(wrong: list[str]) -> str:
    more = [f"… and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
    return "\n".join(("Nothing was decided:", *wrong[:SHOWN], *more))
