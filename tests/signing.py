"""Requests to the embedded cloud, signed by hand: as a client would, or as nobody should."""

from __future__ import annotations

from dataclasses import dataclass, field

from botocore.auth import S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REGION = "us-east-1"


class _WithBody(SigV4QueryAuth):
    """botocore moves a link's body into its query; here it stays, and is signed."""

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        body, request.data = request.data, b""
        super()._modify_request_before_signing(request)  # type: ignore[misc]  # botocore's stubs leave it out
        request.data = body


class _S3Link(_WithBody, S3SigV4QueryAuth):
    pass


Keys = tuple[str, str] | tuple[str, str, str]


@dataclass(frozen=True)
class Call:
    """A request that is not signed yet. `url` is absolute."""

    method: str
    url: str
    service: str
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Signed:
    """What goes over the wire."""

    method: str
    url: str
    body: str
    headers: dict[str, str]


def in_header(call: Call, keys: Keys) -> Signed:
    """Signed as most clients do."""
    return _signed(call, SigV4Auth(Credentials(*keys), call.service, REGION))


def as_link(call: Call, keys: Keys, seconds: int = 600) -> Signed:
    """Signed in the query: whoever has the link may use it."""
    kind = _S3Link if call.service == "s3" else _WithBody
    return _signed(call, kind(Credentials(*keys), call.service, REGION, expires=seconds))


def _signed(call: Call, auth: SigV4Auth) -> Signed:
    request = AWSRequest(call.method, call.url, data=call.body.encode(), headers=dict(call.headers))
    auth.add_auth(request)
    return Signed(call.method, str(request.url), call.body, dict(request.headers.items()))
