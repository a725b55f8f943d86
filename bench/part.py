"""What every measuring module gives back: its part of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Part:
    """One measuring module's share: `summary` joins report.json's summary, `text` is a section of report.md."""

    summary: Mapping[str, Any]
    figures: Mapping[str, Any]
    text: str = ""
    plots: Mapping[str, bytes] = field(default_factory=dict)
