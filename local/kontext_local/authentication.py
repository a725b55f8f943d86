"""The embedded cloud's only door: nothing is answered that is not signed with one of its own keys.

MiniStack 1.5.33 takes `test`, an empty key and any account id for root and checks no signature of theirs; it serves
its own endpoints (`/_ministack/…`) to everybody, and derives a function's credentials from the names of the function
and its role. Here root is one random key, every function's credentials are random, and each request is checked before
MiniStack sees it: AWS Signature Version 4 in the header or the query, over everything that was sent.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote

from ministack import app as ministack
from ministack.core import iam_evaluator, lambda_runtime, sigv4
from ministack.core.iam_evaluator import AuthError, CredentialResolutionError
from ministack.core.responses import _account_from_sts_session
from ministack.core.router import detect_service, extract_access_key_id

from kontext_local.guard import App, Message, Receive, Send, headers_of

ALGORITHM = "AWS4-HMAC-SHA256"
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SKEW = timedelta(minutes=15)
LONGEST_LINK = timedelta(days=7)
# MiniStack's endpoints that are not of AWS; no bucket's name begins so.
OWN_PATHS = "/_"
CONFIRMATION = {"Action", "TopicArn", "Token"}
HINT = "`kontext env` prints the credentials of the local cloud"


class Refused(Exception):
    """A request that is not answered; `code` is AWS's word for the reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SignedOnly:
    """MiniStack's ASGI app, for those who hold a key: what is not signed has no effect, and gets 403.

    Open is one thing, the link by which a subscriber of a topic confirms: the token in it is its signature. MiniStack's
    own endpoints are for `root`'s key alone.
    """

    def __init__(self, app: App, root: str) -> None:
        self._app, self._root = app, root

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if _is_confirmation(scope, query):
            await self._app({**scope, "headers": _host_alone(scope)}, _replayed(b"", receive), send)
            return
        headers = headers_of(scope)
        try:
            request = _Claim(scope, query, headers, self._root)
            body = await _read(receive)
            request.check(body)
        except Refused as refused:
            await _answer(refused, scope, query, headers, send)
            return
        await self._app(scope, _replayed(body, receive), send)


class _Claim:
    """A request and the key that it says it is signed with. Raises Refused."""

    def __init__(self, scope: Message, query: dict[str, list[str]], headers: dict[str, str], root: str) -> None:
        self._scope, self._query, self._headers = scope, query, headers
        self._is_link = "authorization" not in headers
        self._signature = self._parsed()
        self._secret = self._secret_of(self._signature.access_key_id)
        if scope["path"].startswith(OWN_PATHS) and self._signature.access_key_id != root:
            raise Refused("AccessDenied", "Only root may do this.")

    def _parsed(self) -> sigv4.HeaderSignature:
        algorithm = self._of_query("X-Amz-Algorithm") if self._is_link else self._headers["authorization"].split(" ")[0]
        if algorithm is None:
            raise Refused("MissingAuthenticationToken", f"The request is not signed; {HINT}.")
        if algorithm != ALGORITHM or (not self._is_link and self._of_query("X-Amz-Signature") is not None):
            raise Refused("IncompleteSignature", f"A request is signed once, with {ALGORITHM}.")
        parsed = (
            sigv4.parse_query_signature(self._query) if self._is_link else sigv4.parse_header_signature(self._headers)
        )
        if isinstance(parsed, tuple):
            raise Refused(*parsed)
        if parsed.access_key_id != extract_access_key_id(self._headers, self._query):
            raise Refused("IncompleteSignature", "The request names more than one key.")
        if not parsed.signature.isascii():
            raise Refused("SignatureDoesNotMatch", "A signature is hexadecimal.")
        return parsed

    def _of_query(self, name: str) -> str | None:
        values = self._query.get(name, self._query.get(name.lower()))
        return values[0] if values else None

    def _secret_of(self, key: str) -> str:
        token = self._of_query("X-Amz-Security-Token") if self._is_link else self._headers.get("x-amz-security-token")
        account = _account_from_sts_session(key) or iam_evaluator.find_iam_access_key_account(key)
        found = iam_evaluator.resolve_credential(key, account, token)
        if isinstance(found, CredentialResolutionError):
            raise Refused("InvalidClientTokenId", f"This key is unknown, or no longer valid; {HINT}.")
        return str(found.secret_access_key)

    def check(self, body: bytes) -> None:
        """Recompute the signature over everything that was sent, `body` included."""
        signed = self._signature.signed_headers.split(";")
        unsigned = {name for name in self._headers if name == "host" or name.startswith("x-amz-")} - set(signed)
        if unsigned:
            raise Refused("SignatureDoesNotMatch", f"Not signed: {', '.join(sorted(unsigned))}.")
        self._check_time()
        self._check_payload(body)
        raw_path = self._scope.get("raw_path") or quote(self._scope["path"]).encode()
        failure = sigv4.header_signature_failure(
            self._signature,
            self._secret,
            self._scope["method"],
            raw_path.decode("latin-1"),
            self._query,
            self._headers,
            body,
            presigned=self._is_link,
        )
        if failure:
            raise Refused(*failure)

    def _check_time(self) -> None:
        try:
            signed_at = datetime.strptime(self._signature.amz_date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            given = timedelta(seconds=int(self._of_query("X-Amz-Expires") or "")) if self._is_link else SKEW
        except (ValueError, OverflowError) as error:
            raise Refused("IncompleteSignature", "The signature says not from when to when it is valid.") from error
        if not signed_at - SKEW <= datetime.now(UTC) <= signed_at + min(given, LONGEST_LINK):
            raise Refused("RequestTimeTooSkewed", "The signature is not valid any more, or not yet.")

    def _check_payload(self, body: bytes) -> None:
        """The signature is over the hash that a header states, if one does: it must be the hash of what came."""
        stated = self._headers.get("x-amz-content-sha256", "")
        if self._is_link and self._signature.service == "s3":
            return  # S3's links cover no body, and MiniStack keeps them to S3
        if stated and not stated.startswith(SIGNED_CHUNKS) and stated != hashlib.sha256(body).hexdigest():
            raise Refused("XAmzContentSHA256Mismatch", "The body is not the one that was signed.")


def _is_confirmation(scope: Message, query: Mapping[str, list[str]]) -> bool:
    is_link = (scope["method"], scope["path"]) == ("GET", "/") and set(query) == CONFIRMATION
    return is_link and query["Action"] == ["ConfirmSubscription"] and len(query["Token"]) == 1


def _host_alone(scope: Message) -> list[tuple[bytes, bytes]]:
    return [header for header in scope["headers"] if header[0].lower() == b"host"]


async def _read(receive: Receive) -> bytes:
    chunks = []
    while (message := await receive())["type"] == "http.request":
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    return b"".join(chunks)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """What has been read, once more, and then what comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replaying() -> Message:
        return waiting.pop() if waiting else await receive()

    return replaying


async def _answer(refused: Refused, scope: Message, query: Any, headers: dict[str, str], send: Send) -> None:
    """Say it in the words and the form of the service that was asked."""
    service = detect_service(scope["method"], scope["path"], headers, query)
    failure = AuthError(refused.code, str(refused))
    _, told, body = ministack._credential_failure(service, "", str(uuid.uuid4()), failure, headers)
    told |= {"content-length": str(len(body))}
    encoded = [(name.lower().encode(), str(value).encode("latin-1")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": 403, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def make_root(access_key: str, secret_key: str) -> None:
    """Make this pair of keys MiniStack's root, no other one, and let it check root's signatures as everybody's."""
    resolve: Callable[..., Any] = iam_evaluator.resolve_credential

    def resolving(key: str, *rest: Any, **named: Any) -> Any:
        found = resolve(key, *rest, **named)
        is_root = key == access_key and not isinstance(found, CredentialResolutionError)
        return replace(found, secret_access_key=secret_key) if is_root else found

    iam_evaluator.is_root_access_key = lambda key: key == access_key
    iam_evaluator._is_root_key = lambda _: False
    iam_evaluator.resolve_credential = resolving
    _let_tokens_confirm()


def _let_tokens_confirm() -> None:
    """Whoever has no key is nobody; a subscription is confirmed without one, by the token that it was sent."""
    enforce: Callable[..., Any] = iam_evaluator.enforce

    def enforcing(key: str, action: str, *rest: Any, **named: Any) -> Any:
        return enforce(key, action, *rest, **named) if key or action != "sns:ConfirmSubscription" else None

    iam_evaluator.enforce = enforcing


def draw_role_credentials() -> None:
    """Give each function credentials of its role that nobody can compute."""
    from ministack.services import sts

    ours = secrets.token_bytes(32)

    def credentials(config: Mapping[str, Any]) -> dict[str, str]:
        function, role = config["FunctionArn"], config.get("Role", "")
        key, secret, token = (
            hmac.new(ours, f"{kind}:{function}:{role}".encode(), "sha256").hexdigest()
            for kind in ("key", "secret", "token")
        )
        key = f"ASIA{key[:16].upper()}"
        account, name, session = function.split(":")[4], role.rsplit("/", 1)[-1], config.get("FunctionName", "")[:64]
        known = {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/{session}",
            "UserId": f"{name}:{session}",
            "SecretAccessKey": secret,
            "SessionToken": token,
        }
        sts.register_session(key, known)
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}

    lambda_runtime.execution_credentials = credentials
