"""The state machine: nothing validates its definition before AWS does."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kontext.errors import CODES
from kontext.renders.overdue import OUTPUT_SECONDS

Json = dict[str, Any]
PIPELINE = Path("layers/kontext/python/kontext/pipeline")

PATIENCE = {"Poll": 3600, "Finalize": 600, "GiveUp": 5 * 86_400}
"""For how many seconds each task is retried at least: Segmind's record of a job lives an hour, its picture a week."""
FUNCTION = {"Poll": "Poll", "Finalize": "Finalize", "GiveUp": "Finalize"}


def test_cfn_lint_finds_nothing_in_the_definition_and_every_mistake_in_a_broken_one(workflow: Json) -> None:
    changes: dict[str, tuple[str, Json]] = {
        "NoSuchType": ("Poll", {"Type": "Tusk"}),
        "NoSuchField": ("Poll", {"TimeoutSecond": 3}),
        "NoErrorToRetry": ("Poll", {"Retry": [{"MaxAttempts": 3}]}),
    }
    states = workflow["States"]
    broken = {
        name: {**workflow, "States": {**states, state: {**states[state], **change}}}
        for name, (state, change) in changes.items()
    }

    assert _linted({"Ours": workflow, **broken}) == changes.keys()


def test_every_state_can_be_reached(workflow: Json) -> None:
    states = workflow["States"]
    reached: set[str] = set()
    ahead = [workflow["StartAt"]]

    while ahead:
        name = ahead.pop()
        reached.add(name)
        ahead += [following for following in _following(states[name]) if following not in reached]

    assert reached == states.keys()


def test_every_state_goes_on_or_ends(workflow: Json) -> None:
    stuck = [
        name
        for name, state in workflow["States"].items()
        if not list(_following(state)) and state["Type"] not in ("Succeed", "Fail")
    ]

    assert stuck == []


def test_every_end_can_be_reached_from_every_state(workflow: Json) -> None:
    states = workflow["States"]
    ending = {name for name, state in states.items() if state["Type"] in ("Succeed", "Fail")}
    assert ending == {"Delivered", "RenderFailed", "Unannounced"}

    for end in ending:
        leading = {end}
        while more := {name for name in states.keys() - leading if leading & set(_following(states[name]))}:
            leading |= more

        assert leading | ending == states.keys(), f"{end} cannot be reached from everywhere"


def test_every_task_has_a_timeout_and_named_retries(workflow: Json) -> None:
    tasks = {name: state for name, state in workflow["States"].items() if state["Type"] == "Task"}

    assert tasks.keys() == PATIENCE.keys()
    for task in tasks.values():
        assert task["TimeoutSeconds"] > 0
        assert all(retry["ErrorEquals"] and retry["MaxAttempts"] > 0 for retry in task["Retry"])


@pytest.mark.parametrize("task", PATIENCE)
def test_a_task_is_retried_for_long_enough(workflow: Json, task: str) -> None:
    (retry,) = workflow["States"][task]["Retry"]

    waits = [
        min(retry["IntervalSeconds"] * retry["BackoffRate"] ** attempt, retry["MaxDelaySeconds"])
        for attempt in range(retry["MaxAttempts"])
    ]

    assert sum(waits) >= PATIENCE[task]


def test_every_task_catches_what_its_retries_do_not_mend_and_goes_on_to_one_that_tells(workflow: Json) -> None:
    states = workflow["States"]

    caught = {}
    for name in PATIENCE:
        (catch,) = states[name]["Catch"]
        assert catch["ErrorEquals"] == ["States.ALL"]
        caught[name] = (catch["Next"], catch["ResultPath"])

    assert caught == {
        "Poll": ("Finalize", "$.crash"),
        "Finalize": ("GiveUp", "$.given_up"),
        "GiveUp": ("Unannounced", "$.unannounced"),
    }


def test_what_a_task_catches_is_kept_beside_the_state_and_read_by_the_function(workflow: Json, root: Path) -> None:
    finalize = (root / PIPELINE / "deliver.py").read_text()

    results = {state["ResultPath"] for state in workflow["States"].values() if state["Type"] == "Task"}
    for name in ("Poll", "Finalize"):
        (catch,) = workflow["States"][name]["Catch"]
        assert catch["ResultPath"] not in results
        assert f'event.get("{catch["ResultPath"].removeprefix("$.")}")' in finalize


def test_every_red_end_has_an_error_code_that_the_project_knows(workflow: Json) -> None:
    red = {name: state for name, state in workflow["States"].items() if state["Type"] == "Fail"}

    assert red["Unannounced"]["Error"] in CODES
    assert red["RenderFailed"]["ErrorPath"] == "$.delivery.error.code"


def test_the_end_is_told_for_as_long_as_the_picture_could_still_be_delivered_by_hand(workflow: Json) -> None:
    (retry,) = workflow["States"]["GiveUp"]["Retry"]

    assert retry["MaxAttempts"] * retry["MaxDelaySeconds"] < OUTPUT_SECONDS - 86_400


def test_a_task_outlives_its_function(workflow: Json, functions: dict[str, Json]) -> None:
    for name in PATIENCE:
        assert workflow["States"][name]["TimeoutSeconds"] >= functions[f"{FUNCTION[name]}Function"]["Timeout"]


def test_state_function_and_file_have_one_name(workflow: Json, functions: dict[str, Json], root: Path) -> None:
    for state, name in FUNCTION.items():
        assert workflow["States"][state]["Resource"] == f"${{{name}FunctionArn}}"
        assert functions[f"{name}Function"]["Handler"] == f"{name.lower()}.handler"
        assert (root / "functions" / f"{name.lower()}.py").exists()


def test_every_placeholder_of_the_definition_is_filled(root: Path, resources: Json) -> None:
    filled = resources["RenderWorkflow"]["Properties"]["DefinitionSubstitutions"]

    placeholders = set(re.findall(r"\$\{(\w+)\}", (root / "workflow.asl.json").read_text()))

    assert placeholders == filled.keys()


def test_what_the_workflow_branches_on_is_what_the_functions_say(workflow: Json, root: Path) -> None:
    looks = _outcomes_in(root / PIPELINE / "poll.py")
    ends = _outcomes_in(root / PIPELINE / "deliver.py")

    branched_on = {
        choice: {rule["StringEquals"] for rule in workflow["States"][choice]["Choices"]}
        for choice in ("IsFinished?", "IsDelivered?")
    }

    assert branched_on["IsFinished?"] < looks
    assert branched_on["IsDelivered?"] | {"failed", "postponed", "parked"} == ends


def _linted(definitions: dict[str, Json]) -> set[str]:
    """The names of the definitions in which cfn-lint finds fault; it does not follow the template to another file."""
    from cfnlint.api import ManualArgs, lint  # takes a second, which whoever plays other tests need not wait

    machines = {
        name: {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {"RoleArn": "arn:aws:iam::123456789012:role/workflow", "Definition": definition},
        }
        for name, definition in definitions.items()
    }
    text = re.sub(r"\$\{\w+\}", "arn:aws:lambda:us-east-1:123456789012:function:task", json.dumps(machines))
    matches = lint(f'{{"Resources": {text}}}', config=ManualArgs(regions=["us-east-1"]))
    return {str(match.path[1]) for match in matches}


def _following(state: Json) -> Iterator[str]:
    yield from (state[name] for name in ("Next", "Default") if name in state)
    for rule in (*state.get("Choices", ()), *state.get("Catch", ())):
        yield rule["Next"]


def _outcomes_in(module: Path) -> set[str]:
    """Every text that stands as an `outcome` in a function's answers."""
    dicts = [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Dict)]
    values = [
        value
        for node in dicts
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "outcome"
    ]
    return {
        str(constant.value)
        for value in values
        for constant in ast.walk(value)
        if isinstance(constant, ast.Constant) and _is_an_answer(value, constant)
    }


def _is_an_answer(value: ast.expr, constant: ast.Constant) -> bool:
    tests = [node.test for node in ast.walk(value) if isinstance(node, ast.IfExp)]
    return not any(constant in ast.walk(test) for test in tests)
