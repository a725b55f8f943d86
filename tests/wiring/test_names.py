"""The field's words, and none of the private ones that the project had for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = ROOT / "cli" / "kontext_cli" / "commands"
"""What a person types is called as the person knows it."""
FOLDERS = [ROOT / folder for folder in ("functions", "layers", "cli", "local")]
PRODUCT = [path for folder in FOLDERS for path in sorted(folder.rglob("*.py")) if path.parent != COMMANDS]

INSTEAD = {
    "words": "text",
    "shown visible told masked": "escape_line, escape_text, summarize_vendor_message, redact; publish_…, describe",
    "letters": "dead letters",
    "measures tell tell_end tell_job measure": "metrics, emit, emit_outcome, emit_job, Metric",
    "whole reader is_whole damaged": "images.verify, StreamVerifier, is_complete, CorruptImage",
    "sketch learning looks split stays": "polling.history, estimator, poll_times, sleeps_in_place",
    "look": "poll (a job), read, check",
    "gate refuse gate_reopens untold": "circuit breaker: open, close, half-open probe, unannounced_change",
    "go hold push": "Admit, Wait, back_off_until",
    "turn": "line, slot",
    "want unwant wanted named reported settling": "add_waiter, remove_waiter, waiters_of, mark_…, AwaitingPrompt",
    "link standing withdraw": "presign, write_precondition, remove_if_ours",
    "again left_by once_more take_up speaks_now count_of": "new_attempt, unfinished_of, make_current, drop_number",
    "via came_back send_on_what_is_early follow carry_on tell_of_gate": "deps, is_redelivery, requeue_early, apply",
    "desk journey patient piece planned wrong money travelling cannot": "DropClient, Timeline, StackInspection, …",
    "console": "terminal (what a command writes to), web (the page)",
    "fate studio lettering later padding": "JobOverride, PictureFactory, fonts, DeferredAnswer, padded_file",
}
"""The words that say nothing to a reader from outside, and what the thing is called."""
OLD = {word: instead for words, instead in INSTEAD.items() for word in words.split()}


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_public_has_a_name_that_only_its_author_knows(path: Path) -> None:
    old = {name: OLD[name.lower()] for name in _public_names(path) if name.lower() in OLD}

    assert old == {}


def _public_names(path: Path) -> set[str]:
    """The module, its classes and functions, and their methods."""
    return {path.stem, *_defined(ast.parse(path.read_text()))}


def _defined(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
            if isinstance(node, ast.ClassDef):
                yield from _defined(node)
