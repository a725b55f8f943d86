"""What ends a command, and in which words: nobody who types a command is shown a stack trace."""

from __future__ import annotations

from typing import Any

RENDER_FAILED = 1
EXIT_USAGE = 2
UNFINISHED = 3
INTERRUPTED = 130
UNREAD = 141
"""As a shell has it for a program that the signal for a broken pipe ended."""


class CommandError(Exception):
    """The command cannot do what was asked; the message says why and what to do."""

    exit_code = EXIT_USAGE

    @property
    def document(self) -> dict[str, Any]:
        """What `--json` shows in place of a result."""
        return {"error": {"message": str(self)}}


class Interrupted(CommandError):
    """Ctrl-C, while nothing was begun that goes on."""

    exit_code = INTERRUPTED

    def __init__(self) -> None:
        super().__init__("Interrupted.")


class Unfinished(CommandError):
    """The command ends after it has begun something that goes on, or is paid, without it.

    The message says what; `document` is what `--json` shows.
    """

    exit_code = UNFINISHED

    def __init__(self, message: str, document: dict[str, Any], exit_code: int = UNFINISHED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self._document = document

    @property
    def document(self) -> dict[str, Any]:
        """What `--json` shows in place of a result."""
        return {**self._document, "error": {"message": str(self)}}


class Unread(Exception):
    """Nobody reads standard output any more: there is nobody to tell."""


def explain(error: BaseException) -> str | None:
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
        case OSError():
            return f"{error.strerror}: {error.filename}" if error.strerror and error.filename else _plain(error)
    return None


def _plain(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _refused(error: Exception) -> str:
    answer = getattr(error, "response", {}).get("Error", {})
    action = getattr(error, "operation_name", "the call")
    return f"AWS refused {action}: {answer.get('Message') or answer.get('Code') or error}"
