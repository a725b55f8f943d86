"""`kontext segmind`: the emulator of the Segmind API on its own."""

from __future__ import annotations

import os
import sys


def run(port: int, inference: float | None, api_key: str | None) -> int:
    """Become the emulator: it takes this process over, and with it the terminal's Ctrl-C."""
    named = {"--port": port, "--inference": inference, "--api-key": api_key}
    arguments = [text for name, value in named.items() if value is not None for text in (name, str(value))]
    os.execv(sys.executable, [sys.executable, "-m", "kontext_local.segmind", *arguments])  # noqa: S606
