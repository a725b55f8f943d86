"""Which stack a command speaks to: the local one, or one on AWS, known by its CloudFormation outputs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kontext_cli.errors import CommandError

LOCAL = "local"
DEFAULT = "kontext-drop"
NO_LOCAL_CLOUD = "No local cloud is running: start one with `kontext up`."


@dataclass(frozen=True)
class Target:
    """A deployed stack: its name, its outputs by name, and clients for its services."""

    name: str
    outputs: dict[str, str]
    client: Callable[[str], Any]

    def output(self, name: str) -> str:
        """One output of the stack. Raises CommandError when the stack does not have it."""
        if name not in self.outputs:
            raise CommandError(
                f"The stack {self.name} has no output {name}: is it a kontext-drop stack, and up to date?"
            )
        return self.outputs[name]


def find(name: str | None) -> Target:
    """The stack called `name`: `local`, or a CloudFormation stack on AWS.

    Without a name it is the local stack when one is running, else `kontext-drop` on AWS.
    Raises CommandError when there is no such stack.
    """
    from kontext_local import project, stack

    running = stack.find(project.home()) if name in (None, LOCAL) else None
    if running:
        return Target(LOCAL, running.outputs, running.client)
    if name == LOCAL:
        raise CommandError(NO_LOCAL_CLOUD)
    return _on_aws(name or DEFAULT)


def _on_aws(name: str) -> Target:
    import boto3
    from botocore.exceptions import ClientError

    from kontext_local.deploy import outputs

    # As the AWS command line does; boto3 itself reads AWS_DEFAULT_REGION and the profile.
    session: Any = boto3.session.Session(region_name=os.environ.get("AWS_REGION"))
    try:
        return Target(name, outputs(session.client("cloudformation"), name), session.client)
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        where = f"in {session.region_name}"
        raise CommandError(
            f"There is no stack {name} {where}: deploy it, or start a local one with `kontext up`."
        ) from error
