"""Where things are: the project's folder, and the folder a local cloud keeps its state in."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
BUILD_FOLDER = ROOT / ".aws-sam"


def home() -> Path:
    """The folder of the local cloud's state and logs: `.kontext` in the project, or `KONTEXT_HOME`."""
    return Path(os.environ.get("KONTEXT_HOME") or ROOT / ".kontext")
