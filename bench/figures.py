"""The figures that README and docs state: each is marked with its place in the report's summary.

`<!-- bench:sdk/mean_lag_s -->0.50<!-- -->` stands for summary["sdk"]["mean_lag_s"], with the digits that it shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MARKED = re.compile(r"(?P<mark><!-- bench:(?P<place>[^ ]+) -->)(?P<said>[^<]+)(?P<end><!-- -->)")


def texts() -> list[Path]:
    """Where figures may be stated."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def renewed(text: str, summary: Mapping[str, Any]) -> str:
    """A text with its figures as they are measured. Raises KeyError for a place that the summary does not have."""
    return MARKED.sub(partial(_figure, summary), text)


def renew(summary: Mapping[str, Any]) -> None:
    """Bring README and docs up to date."""
    for path in texts():
        path.write_text(renewed(path.read_text(), summary))


def _figure(summary: Mapping[str, Any], marked: re.Match[str]) -> str:
    found: Any = summary
    for name in marked["place"].split("/"):
        found = found[name]
    digits = len(marked["said"].partition(".")[2])
    return f"{marked['mark']}{found:,.{digits}f}{marked['end']}"
