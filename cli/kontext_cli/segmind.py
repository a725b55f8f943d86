"""`kontext segmind`: the emulator of the Segmind API on its own."""

from __future__ import annotations

from typing import Any

from kontext_cli.terminal import print_json, progress
from kontext_local.segmind.server import serve
from kontext_local.segmind.settings import Settings


def run(port: int, inference: float | None, api_key: str | None, *, as_json: bool) -> int:
    """Serve until SIGTERM or Ctrl-C; returns the exit code."""
    given: dict[str, Any] = {} if inference is None else {"inference": inference}
    if api_key:
        given["keys"] = (api_key,)
    serve(port=port, settings=Settings().changed(given), announce=_as_json if as_json else _in_words)
    return 0


def _as_json(url: str, api_key: str) -> None:
    print_json({"url": url, "api_key": api_key})


def _in_words(url: str, api_key: str) -> None:
    with progress() as shown:
        shown.line(f"The emulator of the Segmind API is at {url}; it accepts the key {api_key}.")
        shown.line(f"`kontext up --segmind-url {url} --api-key …` runs the stack against it; Ctrl-C ends it.")
