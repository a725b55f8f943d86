"""The example subscribers: each acts once on what may come twice, and believes only SNS."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from examples import https_endpoint
from examples.https_endpoint import Endpoint, Untrusted, Verifier, signed_text
from examples.sqs_consumer import Pictures, consume
from tests.aws import Aws

Json = dict[str, Any]

PUBLISHED = Path(__file__).parents[2] / "events" / "published"
TOPIC = "arn:aws:sns:us-east-1:000000000000:renders"
CERTIFICATE = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem"


def example(kind: str) -> Json:
    """A message that the stack has published."""
    message: Json = json.loads((PUBLISHED / f"{kind}.json").read_text())
    return message


class Signer:
    """Signs as SNS does, with a key and a certificate of its own."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, self.key.public_key(), 1, now, now + timedelta(days=1))
        self.certificate = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def signed(self, version: str = "2", **message: Any) -> Json:
        """A message with its signature of version 1 (SHA-1) or 2 (SHA-256)."""
        known = {"Type": "Notification", "MessageId": "m", "TopicArn": TOPIC, "Timestamp": "2026-01-02T03:04:05.678Z"}
        full = {**known, "SignatureVersion": version, "SigningCertURL": CERTIFICATE, **message}
        algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()
        signature = self.key.sign(signed_text(full), padding.PKCS1v15(), algorithm)
        return full | {"Signature": base64.b64encode(signature).decode()}


@pytest.fixture(scope="module")
def sns() -> Signer:
    return Signer()


@pytest.fixture
def verifier(sns: Signer) -> Verifier:
    return Verifier(TOPIC, {CERTIFICATE: sns.certificate}.__getitem__)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize(
    "message",
    [
        pytest.param({"Message": "{}"}, id="a notification"),
        pytest.param({"Message": "{}", "Subject": "s"}, id="with a subject"),
        pytest.param({"Message": "é\n☕"}, id="not ASCII"),
        pytest.param(
            {
                "Type": "SubscriptionConfirmation",
                "Message": "m",
                "SubscribeURL": "https://sns.us-east-1.amazonaws.com/",
                "Token": "t",
            },
            id="a confirmation",
        ),
    ],
)
def test_what_sns_has_signed_is_believed(sns: Signer, verifier: Verifier, version: str, message: Json) -> None:
    verifier.check(sns.signed(version, **message))


def test_what_is_signed_is_what_aws_documents() -> None:
    message = {
        "Type": "Notification",
        "Message": "M",
        "MessageId": "I",
        "TopicArn": "T",
        "Timestamp": "S",
        "Extra": "x",
    }

    text = signed_text(message)

    assert text == b"Message\nM\nMessageId\nI\nTimestamp\nS\nTopicArn\nT\nType\nNotification\n"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"Message": '{"id": "other"}'}, id="another text"),
        pytest.param({"Timestamp": "2027-01-02T03:04:05.678Z"}, id="another time"),
        pytest.param({"Subject": "new"}, id="a subject added"),
        pytest.param({"Signature": base64.b64encode(b"FAKE").decode()}, id="another signature"),
        pytest.param({"Signature": "no base64!"}, id="no signature"),
        pytest.param({"Signature": None}, id="none at all"),
        pytest.param({"SignatureVersion": "3"}, id="an unknown version"),
        pytest.param({"SignatureVersion": "1"}, id="another version"),
        pytest.param({"TopicArn": TOPIC + "x"}, id="another topic"),
        pytest.param({"Type": "Anything"}, id="an unknown type"),
    ],
)
def test_what_was_changed_on_its_way_is_not_believed(sns: Signer, verifier: Verifier, change: Json) -> None:
    message = sns.signed(Message="{}")

    with pytest.raises(Untrusted):
        verifier.check(message | change)


def test_what_somebody_else_has_signed_is_not_believed(verifier: Verifier) -> None:
    with pytest.raises(Untrusted, match="the signature is wrong"):
        verifier.check(Signer().signed(Message="{}"))


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com.evil.example/a.pem",
        "https://evil.example/sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com@evil.example/a.pem",
        "https://sns.us-east-1.amazonaws.com:8443/a.pem",
        "https://bucket.s3.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com/a.html",
        "file:///a.pem",
        "",
    ],
)
def test_no_certificate_of_another_host_is_fetched(sns: Signer, url: str) -> None:
    message = sns.signed(Message="{}") | {"SigningCertURL": url}

    with pytest.raises(Untrusted):
        Verifier(TOPIC).check(message)


def test_a_subscription_is_confirmed_once_it_is_known_to_be_ours(sns: Signer, verifier: Verifier) -> None:
    visited: list[str] = []

    def visit(url: str) -> bytes:
        visited.append(url)
        return b""

    endpoint = Endpoint(verifier.check, lambda _: None, visit)
    ask = {"Type": "SubscriptionConfirmation", "Message": "m", "Token": "t", "SubscribeURL": "https://sns/confirm"}

    trusted = endpoint.take(json.dumps(sns.signed(**ask)).encode())
    other = endpoint.take(json.dumps(sns.signed(**ask, TopicArn="arn:aws:sns:us-east-1:1:other")).encode())

    assert (trusted, other) == (200, 403)
    assert visited == ["https://sns/confirm"]


def test_no_page_but_of_sns_is_visited_to_confirm() -> None:
    with pytest.raises(Untrusted):
        https_endpoint.fetch("https://evil.example/?Action=ConfirmSubscription")


def test_an_event_that_is_posted_twice_is_acted_on_once(sns: Signer, verifier: Verifier) -> None:
    acted: list[Json] = []
    endpoint = Endpoint(verifier.check, acted.append)
    event = example("rendered")
    body = json.dumps(sns.signed(Message=json.dumps(event))).encode()

    answers = [endpoint.take(body) for _ in range(2)]

    assert answers == [200, 200]
    assert acted == [event]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"{}", b'{"Type": "Notification"}'])
def test_what_is_no_message_is_refused(verifier: Verifier, body: bytes) -> None:
    assert Endpoint(verifier.check, lambda _: None).take(body) == 403


def test_an_event_that_could_not_be_acted_on_may_come_again(sns: Signer, verifier: Verifier) -> None:
    def fail(_: Json) -> None:
        raise RuntimeError("the database is down")

    endpoint = Endpoint(verifier.check, fail)
    body = json.dumps(sns.signed(Message=json.dumps(example("failed")))).encode()

    with pytest.raises(RuntimeError):
        endpoint.take(body)

    assert endpoint.told == set()


@pytest.fixture
def pictures() -> Iterator[Pictures]:
    app = Pictures(":memory:")
    yield app
    app.close()


@pytest.fixture
def queue(aws: Aws) -> tuple[Any, str]:
    sqs = aws("sqs")
    return sqs, sqs.create_queue(QueueName="app")["QueueUrl"]


def _enveloped(event: Json) -> str:
    return json.dumps({"Type": "Notification", "Message": json.dumps(event)})


@pytest.mark.parametrize("spelled", [json.dumps, _enveloped], ids=["raw", "in SNS's envelope"])
def test_a_queue_with_repeated_events_is_consumed_once(
    pictures: Pictures, queue: tuple[Any, str], spelled: Callable[[Json], str]
) -> None:
    sqs, url = queue
    for event in (example("rendered"), example("rendered"), example("failed"), example("parked")):
        sqs.send_message(QueueUrl=url, MessageBody=spelled(event))

    new = consume(sqs, url, pictures, wait_seconds=0)

    output = example("rendered")["data"]["output"]
    rows = dict(pictures.connection.execute("SELECT pair, object FROM pictures"))
    assert new == 3
    assert rows[example("rendered")["data"]["pair"]] == f"s3://{output['bucket']}/{output['key']}"
    assert rows[example("failed")["data"]["pair"]] is None
    assert consume(sqs, url, pictures, wait_seconds=0) == 0


def test_an_event_that_could_not_be_kept_stays_in_the_queue(queue: tuple[Any, str]) -> None:
    sqs, url = queue
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(example("rendered")))
    closed = Pictures(":memory:")
    closed.close()

    with pytest.raises(sqlite3.ProgrammingError):
        consume(sqs, url, closed, wait_seconds=0)

    asked = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"])
    assert asked["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "1"
