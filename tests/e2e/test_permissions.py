"""The roles of the template are enforced: what a role may not do does not happen, and is said."""

from __future__ import annotations

import json
from typing import Any

from kontext.model import Render, Status
from kontext.renders.record import render_of
from tests.e2e.conftest import Eventually
from tests.e2e.scene import Scene


def test_a_submitter_that_may_not_read_drops_renders_nothing_until_it_may(scene: Scene, eventually: Eventually) -> None:
    iam, role = scene.running.client("iam"), scene.ids["SubmitRole"]
    policy = iam.get_role_policy(RoleName=role, PolicyName="submit")["PolicyDocument"]
    blind = json.dumps(_without(policy, "s3:GetObject"))
    iam.put_role_policy(RoleName=role, PolicyName="submit", PolicyDocument=blind)

    try:
        scene.drop("taj")
        said = eventually(lambda: _said(scene), "a message refused")
    finally:
        iam.put_role_policy(RoleName=role, PolicyName="submit", PolicyDocument=json.dumps(policy))

    assert "AccessDenied" in said
    assert _renders(scene) == []
    eventually(lambda: [one for one in _renders(scene) if one["status"] == Status.DELIVERED], "the pair delivered")


def _without(policy: dict[str, Any], action: str) -> dict[str, Any]:
    assert action in json.dumps(policy)

    def kept(statement: dict[str, Any]) -> dict[str, Any]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        return {**statement, "Action": [each for each in actions if each != action] or ["sts:GetCallerIdentity"]}

    return {**policy, "Statement": [kept(statement) for statement in policy["Statement"]]}


def _said(scene: Scene) -> str:
    # A message that came back before its first try has ended has no reason yet.
    return next((one["reason"] for one in scene.table.scan() if one["sk"] == "letter" and "reason" in one), "")


def _renders(scene: Scene) -> list[Render]:
    return [render_of(item) for item in scene.table.query("pair#taj/") if item["sk"].startswith("render#")]
