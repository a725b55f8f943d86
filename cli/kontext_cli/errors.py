"""What ends a command, and in which words: nobody who types a command is shown a stack trace."""

from __future__ import annotations

RENDER_FAILED = 1
CANNOT = 2


class CommandError(Exception):
    """The command cannot do what was asked; the message says why and what to do. Exit code 2."""


def explain(error: Exception) -> str | None:
    """The error in plain words, or None for one that is a bug of ours."""
    # Imported only now: most commands end well, and `--help` should be quick.
    from botocore import exceptions as aws

    from kontext.errors import KontextError
    from kontext_local.errors import LocalCloudError

    match error:
        case CommandError() | LocalCloudError() | KontextError():
            return str(error)
        case aws.NoCredentialsError() | aws.PartialCredentialsError() | aws.ProfileNotFound():
            return f"{error}: set credentials up with `aws configure`, or start a local cloud with `kontext up`."
        case aws.NoRegionError():
            return "No AWS region is set: set one with `aws configure`, or start a local cloud with `kontext up`."
        case aws.ClientError():
            return _refused(error)
        case aws.BotoCoreError():
            return f"AWS could not be reached: {error}"
        case FileNotFoundError() | IsADirectoryError() | PermissionError():
            return f"{error.strerror}: {error.filename}"
    return None


def _refused(error: Exception) -> str:
    answer = getattr(error, "response", {}).get("Error", {})
    action = getattr(error, "operation_name", "the call")
    return f"AWS refused {action}: {answer.get('Message') or answer.get('Code') or error}"
