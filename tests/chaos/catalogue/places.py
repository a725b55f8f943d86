"""Where the deliberate mistakes are made."""

from __future__ import annotations

from tests.chaos.mutants import Change

KONTEXT = "layers/kontext/python/kontext"
AWS, OPERATE = f"{KONTEXT}/aws.py", "cli/kontext_cli/decide/operate.py"
DECISIONS = "cli/kontext_cli/decide/decisions.py"
SUBMIT, ADVANCE, INTAKE = (f"{KONTEXT}/pipeline/{module}.py" for module in ("submit", "advance", "intake"))
PROBE, POST, HEAD = (f"{KONTEXT}/pipeline/{module}.py" for module in ("probe", "post", "head_of_line"))
BREAKER, POLL, DELIVER = (f"{KONTEXT}/pipeline/{module}.py" for module in ("circuit_breaker", "poll", "deliver"))
PLACING = f"{KONTEXT}/pipeline/placing.py"
STATES = "workflow.asl.json"


def in_layer(module: str, old: str, new: str) -> Change:
    """A change of a module of the layer."""
    return f"{KONTEXT}/{module}.py", old, new
