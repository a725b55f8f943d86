"""Writes the parts of the documentation that say what the code says: `make generated`.

They stand between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from kontext.drops.request import PARAMETERS
from kontext.errors import CODES, REASONS, Code
from kontext.metrics import METRICS
from kontext.model import STATUSES, TUNABLE
from monitoring.alarms import ALARMS

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]
DEMO = "demo"
"""What only a run can tell: `scripts.show_demo` writes it."""
PART = re.compile(r"(?<=<!-- generated: )(?P<name>[^>]+)(?P<open> -->\n?)(?P<text>.*?)(?=<!-- end -->)", re.DOTALL)


def table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def of_codes(codes: Iterable[tuple[str, Code]], title: str) -> str:
    """What codes mean, for people."""
    rows = [(f"`{name}`", code.meaning, code.charged, code.remedy) for name, code in codes]
    return table((title, "what it means", "charged", "what to do"), rows)


def of_metrics() -> str:
    """What the functions measure."""
    rows = [(f"`{name}`", told.unit, told.meaning) for name, told in METRICS.items()]
    return table(("metric", "unit", "one value is"), rows)


def of_statuses() -> str:
    """What the statuses of a render mean, and why one may be parked."""
    rows = [(f"`{status}`", text.meaning) for status, text in STATUSES.items()]
    reasons = ", ".join(f"`{reason}`" for reason in REASONS)
    return f"{table(('status', 'meaning'), rows)}\nParked for one of these reasons: {reasons}.\n"


def generated(name: str) -> str:
    """The text of a generated part."""
    made: dict[str, Callable[[], str]] = {
        "parameters": lambda: ", ".join(f"`{name}`" for name in PARAMETERS),
        "columns": lambda: ", ".join(f"`{name.replace('_', ' ')}`" for name in TUNABLE),
        "error codes": lambda: of_codes(CODES.items(), "code"),
        "reasons": lambda: of_codes(REASONS.items(), "reason"),
        "metrics": of_metrics,
        "statuses": of_statuses,
    }
    return made[name]() if name in made else f"> {ALARMS[name].says}\n"


def filled(text: str) -> str:
    """A page with its generated parts as they ought to be."""
    return PART.sub(
        lambda part: part[0] if part["name"] == DEMO else f"{part['name']}{part['open']}{generated(part['name'])}", text
    )


def main() -> None:
    """Write every page anew."""
    for page in PAGES:
        page.write_text(filled(page.read_text()))


if __name__ == "__main__":
    main()
