"""The job that an answer to a POST names, however broken or odd the answer is."""

import re

_ID = rb"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?![0-9a-f-])"
_NAMED = (
    re.compile(rb'request_id\\?"?\s*[:=]\s*\\?"?' + _ID, re.IGNORECASE),
    re.compile(rb"/requests/" + _ID, re.IGNORECASE),
)


def job_named_in(answer: bytes) -> str | None:
    """The one job that can be read in an answer, or in what has come of it; None if there is none, or more than one.

    >>> job_named_in(b'{"request_id": "3f2c8f5e-8f5e-4b7a-9d6e-0123456789ab", "status": "QUE')
    '3f2c8f5e-8f5e-4b7a-9d6e-0123456789ab'
    """
    for named in _NAMED:
        if found := {job.lower().decode() for job in named.findall(answer)}:
            return found.pop() if len(found) == 1 else None
    return None
