"""`kontext env`: how any other AWS tool reaches the stack on this machine."""

from __future__ import annotations

import shlex

from kontext_cli.errors import CommandError
from kontext_cli.target import NO_LOCAL_CLOUD
from kontext_cli.terminal import print_json
from kontext_local import project, stack

FOREIGN = ("AWS_PROFILE", "AWS_SESSION_TOKEN")
"""What belongs to another account, and would be taken in spite of the rest."""


def run(*, as_json: bool) -> int:
    """Print the variables for a shell; returns the exit code. Raises CommandError when no local cloud runs."""
    running = stack.find(project.home())
    if running is None:
        raise CommandError(NO_LOCAL_CLOUD)
    variables = running.account.environment()
    if as_json:
        print_json(variables)
        return 0
    print(f"unset {' '.join(FOREIGN)}")
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0
