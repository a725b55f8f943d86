"""How long a client waits for an AWS service, and how often it asks."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.config import Config

ANSWER_SECONDS = 5.0
TRIES = 3
"""An AWS call without an answer is given up after fifteen seconds and a little: the function must live to deal with it.
botocore's own time-outs are 60 s, and it asks five or ten times: longer than any function lives."""


def config(service: str) -> "Config":
    """The settings of a service's client. S3 moves megabytes: it may take longer."""
    from botocore.config import Config

    waits = Config(
        connect_timeout=2.0,
        read_timeout=ANSWER_SECONDS,
        retries={"mode": "standard", "total_max_attempts": TRIES},
    )
    if service != "s3":
        return waits
    return waits.merge(
        Config(read_timeout=4 * ANSWER_SECONDS, signature_version="s3v4", s3={"addressing_style": "virtual"})
    )
