"""`/_emulator/...`, which is not the vendor's: how tests set the stage and read the ledger.

It takes the key that the emulator was started with, whatever keys the vendor accepts meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kontext_local.segmind import script
from kontext_local.segmind.answers import Answer, as_json
from kontext_local.segmind.service import Segmind

PREFIX = "/_emulator/"


def handle(service: Segmind, method: str, path: str, body: bytes) -> Answer:
    """Answer one administrative request; 400 says what is wrong with it."""
    act = ACTIONS.get((method, path.removeprefix(PREFIX)))
    if act is None:
        known = [f"{verb} {PREFIX}{name}" for verb, name in ACTIONS]
        return as_json(404, {"error": "unknown emulator request", "known": known})
    try:
        return as_json(200, act(service, json.loads(body) if body else {}))
    except (ValueError, TypeError, AttributeError) as error:
        return as_json(400, {"error": str(error)})


def _settings(service: Segmind, _: Any) -> dict[str, Any]:
    return {**service.settings.as_json(), "credits": service.balance}


def _change(service: Segmind, changes: Any) -> dict[str, Any]:
    service.change(**changes)
    return _settings(service, None)


def _rules(service: Segmind, _: Any) -> list[dict[str, Any]]:
    return [rule.as_json() for rule in service.script.rules]


def _add(service: Segmind, given: Any) -> list[dict[str, Any]]:
    for rule in [script.parse(one) for one in (given if isinstance(given, list) else [given])]:
        service.script.add(rule)
    return _rules(service, None)


def _clear(service: Segmind, _: Any) -> list[dict[str, Any]]:
    service.script.clear()
    return []


def _ledger(service: Segmind, _: Any) -> dict[str, Any]:
    return {**service.ledger.as_json(), "credits": service.balance}


def _reset(service: Segmind, _: Any) -> dict[str, Any]:
    service.reset()
    return _settings(service, None)


ACTIONS: dict[tuple[str, str], Callable[[Segmind, Any], Any]] = {
    ("GET", "settings"): _settings,
    ("POST", "settings"): _change,
    ("GET", "script"): _rules,
    ("POST", "script"): _add,
    ("DELETE", "script"): _clear,
    ("GET", "ledger"): _ledger,
    ("POST", "reset"): _reset,
}
