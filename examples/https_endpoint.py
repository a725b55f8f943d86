"""A web server that SNS posts the events to. It believes nothing that SNS has not signed.

    python https_endpoint.py --topic arn:aws:sns:eu-west-1:123456789012:kontext-drop-RenderTopic-… --port 8080

Put it behind TLS, then subscribe its https URL to the topic, without raw message delivery (that has no signature).
Needs the package `cryptography`. How SNS signs: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import urllib.request
from collections.abc import Callable
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

Message = dict[str, Any]
Fetch = Callable[[str], bytes]

MAX_BYTES = 1_000_000
SNS_HOST = re.compile(r"sns\.[a-z0-9-]{3,}\.amazonaws\.com(\.cn)?")
HASHES: dict[str, Any] = {"1": hashes.SHA1, "2": hashes.SHA256}
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


class Untrusted(Exception):
    """The message does not come from SNS, or not from our topic."""


def fetch(url: str) -> bytes:
    """What stands at an https URL of SNS. Raises Untrusted for any other."""
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.port not in (None, 443) or not SNS_HOST.fullmatch(parts.hostname or ""):
        raise Untrusted(f"{parts.hostname} is not a host of SNS")
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the scheme is https
        body: bytes = answer.read(MAX_BYTES)
    return body


def signed_text(message: Message) -> bytes:
    """What the signature is about: the name and the value of each signed field that is there, a line each."""
    names = SIGNED.get(str(message.get("Type")))
    if names is None:
        raise Untrusted(f"a message of type {message.get('Type')}")
    return "".join(f"{name}\n{message[name]}\n" for name in names if name in message).encode()


class Verifier:
    """Checks that messages come from SNS, and from one topic. `get`: another way to the certificate, for tests."""

    def __init__(self, topic: str, get: Fetch = fetch) -> None:
        self.topic = topic
        self.certificate = lru_cache(maxsize=8)(get)

    def check(self, message: Message) -> None:
        """Raises Untrusted unless SNS has signed the message for our topic."""
        if message.get("TopicArn") != self.topic:
            raise Untrusted(f"from {message.get('TopicArn')}")
        url = str(message.get("SigningCertURL"))
        if not urlsplit(url).path.endswith(".pem"):
            raise Untrusted("no certificate")
        key = x509.load_pem_x509_certificate(self.certificate(url)).public_key()
        algorithm = HASHES.get(str(message.get("SignatureVersion")))
        if algorithm is None or not isinstance(key, rsa.RSAPublicKey):
            raise Untrusted("an unknown kind of signature")
        try:
            signature = base64.b64decode(str(message.get("Signature")), validate=True)
            key.verify(signature, signed_text(message), padding.PKCS1v15(), algorithm())
        except (ValueError, InvalidSignature) as wrong:
            raise Untrusted("the signature is wrong") from wrong


class Endpoint:
    """What is done with a message. `act` is given each event once, as far as this process remembers."""

    def __init__(self, check: Callable[[Message], None], act: Callable[[Message], None], get: Fetch = fetch) -> None:
        self.check = check
        self.act = act
        self.get = get
        self.told: set[str] = set()  # keep it in your database, in one transaction with what you do

    def take(self, body: bytes) -> int:
        """The HTTP status for a message: SNS sends it again unless it is 200."""
        try:
            message = json.loads(body)
            self.check(message)
        except (Untrusted, ValueError, AttributeError) as refused:
            print(f"refused: {refused}")
            return 403
        if message["Type"] == "SubscriptionConfirmation":
            self.get(message["SubscribeURL"])
        else:
            self.act_once(json.loads(message["Message"]))
        return 200

    def act_once(self, event: Message) -> None:
        """Act on an event unless that was done."""
        if event["id"] not in self.told:
            self.act(event)
            self.told.add(event["id"])


def server(endpoint: Endpoint, port: int, host: str = "127.0.0.1") -> ThreadingHTTPServer:
    """A server for the endpoint; `serve_forever` runs it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = min(int(self.headers.get("content-length", 0)), MAX_BYTES)
            self.send_response(endpoint.take(self.rfile.read(length)))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """The events are what is worth a line."""

    return ThreadingHTTPServer((host, port), Handler)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    endpoint = Endpoint(Verifier(given.topic).check, lambda event: print(event["type"], event["subject"]))
    server(endpoint, given.port).serve_forever()


if __name__ == "__main__":
    main()
