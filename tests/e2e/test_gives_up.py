"""A paid render whose delivery crashes is delivered by itself later: the real workflow, function and roles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kontext.renders.record import render_key
from tests.e2e.conftest import Eventually
from tests.e2e.scene import Scene

PAIR = "gives-up"


def test_when_finalize_crashes_again_and_again_the_picture_is_put_off_and_delivered_by_itself(
    scene: Scene, eventually: Eventually
) -> None:
    states = scene.running.client("stepfunctions")

    with without_its_policy(scene, "Finalize"):
        scene.drop(PAIR)
        render = eventually(lambda: paid(scene), "the paid picture")
        render = of_another_generation(scene, render)
        execution = states.start_execution(stateMachineArn=impatient(scene), input=given(render))["executionArn"]
        eventually(lambda: "GiveUp" in entered(states, execution), "the workflow gives up")
    ended = eventually(lambda: end_of(states, execution), "the workflow's end")
    eventually(lambda: scene.written(f"{PAIR}/") == {f"{PAIR}/result.png"}, "the picture", 240.0)

    assert (ended["status"], ended["error"]) == ("FAILED", "delivery_delayed")


def impatient(scene: Scene) -> str:
    """The stack's workflow from Finalize on, with a single retry, a second later."""
    states = scene.running.client("stepfunctions")
    deployed = states.describe_state_machine(stateMachineArn=scene.running.outputs["RenderWorkflowArn"])
    definition = json.loads(deployed["definition"]) | {"StartAt": "Finalize"}
    for name, patience in {"Finalize": 1, "GiveUp": 60}.items():
        (retry,) = definition["States"][name]["Retry"]
        retry |= {"IntervalSeconds": 1, "BackoffRate": 1.0, "MaxAttempts": patience}
    made = states.create_state_machine(
        name="Impatient", definition=json.dumps(definition), roleArn=deployed["roleArn"], type="STANDARD"
    )
    return str(made["stateMachineArn"])


def of_another_generation(scene: Scene, render: dict[str, Any]) -> dict[str, Any]:
    """The render, taken over from its own execution: that would deliver it with the function's policy back."""
    newer = {**render, "generation": render["generation"] + 1}
    key = render_key(render["prefix"], render["render_id"])
    scene.table.update(key, "SET #generation = :generation", generation=newer["generation"])
    return newer


def paid(scene: Scene) -> dict[str, Any] | None:
    items = scene.table.query(f"pair#{PAIR}/")
    return next((item for item in items if item.get("status") == "COMPLETED"), None)


def given(render: dict[str, Any]) -> str:
    told = {
        name: render[name] for name in ("prefix", "render_id", "attempt", "generation", "request_id", "submitted_at")
    }
    return json.dumps({**told, "poll": {"outcome": "completed"}})


def entered(states: Any, execution: str) -> list[str]:
    events = states.get_execution_history(executionArn=execution)["events"]
    return [event.get("stateEnteredEventDetails", {}).get("name") for event in events]


def end_of(states: Any, execution: str) -> dict[str, Any] | None:
    found: dict[str, Any] = states.describe_execution(executionArn=execution)
    return None if found["status"] == "RUNNING" else found


@contextmanager
def without_its_policy(scene: Scene, function: str) -> Iterator[None]:
    """A function may do nothing, until the end of the `with` block."""
    iam, role, name = scene.running.client("iam"), scene.ids[f"{function}Role"], function.lower()
    policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    iam.delete_role_policy(RoleName=role, PolicyName=name)
    try:
        yield
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))
