"""Another process of this machine, without the local cloud's keys: it reads nothing, writes nothing, runs nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from kontext_local import cloud
from tests.e2e.calls import CODE, NAMES, ROLE, SECRET, call, calls, looked_at, own_endpoints, packed
from tests.signing import Call, Keys, Signed, as_link, in_header

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:worker"
TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
MAY_READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::mine/*"}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cloud.Cloud]:
    """A cloud with something to steal in it, and a function that has run."""
    with cloud.start(tmp_path_factory.mktemp("cloud") / "cloud.log") as running:
        running.client("s3").create_bucket(Bucket="mine")
        running.client("s3").put_object(Bucket="mine", Key="note", Body=SECRET)
        running.client("secretsmanager").create_secret(Name="key", SecretString=SECRET)
        running.client("sqs").create_queue(QueueName="mine")
        iam = running.client("iam")
        iam.create_role(RoleName="worker", AssumeRolePolicyDocument=_policy(TRUST))
        iam.put_role_policy(RoleName="worker", PolicyName="read", PolicyDocument=_policy(MAY_READ))
        given = {"Runtime": "python3.13", "Handler": "x.handler", "Role": ROLE, "Timeout": 60}
        running.client("lambda").create_function(FunctionName="worker", Code={"ZipFile": packed(CODE)}, **given)
        running.client("lambda").get_waiter("function_active_v2").wait(FunctionName="worker")
        yield running


@pytest.fixture(scope="module")
def inside(aws: cloud.Cloud) -> dict[str, Any]:
    """What the function saw and did."""
    answer = aws.client("lambda").invoke(FunctionName="worker")
    seen: dict[str, Any] = json.loads(answer["Payload"].read())
    return seen


@pytest.fixture
def untouched(aws: cloud.Cloud) -> Iterator[None]:
    """The test leaves the cloud as it found it."""
    before = _state(aws)
    yield
    assert _state(aws) == before


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("untouched")
def test_what_is_not_signed_is_refused(aws: cloud.Cloud, name: str) -> None:
    asked = call(aws, name)

    answer = send(Signed(asked.method, asked.url, asked.body, asked.headers))

    assert_refused(answer)


STRANGERS = [
    pytest.param(("test", "test"), id="the published key"),
    pytest.param(("", ""), id="an empty key"),
    pytest.param(("000000000000", "test"), id="the account's number"),
    pytest.param(("111111111111", "test"), id="another account's number"),
    pytest.param(("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), id="AWS's example"),
    pytest.param((None, "test"), id="root's key and a wrong secret"),
    pytest.param((None, ""), id="root's key and no secret"),
    pytest.param("computed", id="a function's credentials, computed from its name"),
]
SIGN = [pytest.param(in_header, id="header"), pytest.param(as_link, id="link")]


@pytest.mark.parametrize("sign", SIGN)
@pytest.mark.parametrize("keys", STRANGERS)
@pytest.mark.usefixtures("untouched", "inside")
def test_nobody_elses_key_opens_anything(aws: cloud.Cloud, keys: Any, sign: Callable[..., Signed]) -> None:
    chosen: Keys = computed() if keys == "computed" else (keys[0] if keys[0] is not None else root(aws)[0], keys[1])

    answers = {name: send(sign(call(aws, name), chosen)) for name in NAMES}

    for answer in answers.values():
        assert_refused(answer)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"authorization": "AWS test:c2lnbmF0dXJl"}, id="version 2"),
        pytest.param({"authorization": "Bearer test"}, id="a bearer's token"),
        pytest.param(
            {"authorization": "AWS4-HMAC-SHA256 Credential={root}/20261126/us-east-1/s3/aws4_request"}, id="half"
        ),
        pytest.param({"authorization": "AWS4-ECDSA-P256-SHA256 Credential={root}/20261126/s3/aws4_request"}, id="4A"),
        pytest.param({"authorization": ""}, id="empty"),
    ],
)
@pytest.mark.parametrize("query", ["", "?AWSAccessKeyId=test&Signature=x&Expires=9999999999", "?X-Amz-Algorithm=x"])
def test_no_other_kind_of_signature_counts(aws: cloud.Cloud, headers: dict[str, str], query: str) -> None:
    sent = {name: value.format(root=root(aws)[0]) for name, value in headers.items()}

    answer = send(Signed("GET", f"{aws.account.endpoint}/mine/note{query}", "", sent))

    assert_refused(answer)


TAMPERED: dict[str, Callable[[Signed], Signed]] = {
    "another path": lambda signed: replace(signed, url=urlsplit(signed.url)._replace(path="/mine").geturl()),
    "another method": lambda signed: replace(signed, method="DELETE"),
    "another body": lambda signed: replace(signed, body=signed.body + " "),
    "another query": lambda signed: replace(signed, url=f"{signed.url}{'&' if '?' in signed.url else '?'}acl="),
    "another service": lambda signed: replace(
        signed, headers={**signed.headers, "x-amz-target": "secretsmanager.ListSecrets"}
    ),
    "another's token": lambda signed: replace(signed, headers={**signed.headers, "x-amz-security-token": "x"}),
    "a signature in other letters": lambda signed: Signed(
        signed.method,
        re.sub("(?<=X-Amz-Signature=)[0-9a-f]+", "%C3%A9", signed.url),
        signed.body,
        {name: re.sub("(?<= Signature=)[0-9a-f]+", "x", value) for name, value in signed.headers.items()},
    ),
    "no signature": lambda signed: Signed(
        signed.method,
        signed.url.replace("X-Amz-Signature", "X-Amz-Nothing"),
        signed.body,
        {name: value.partition(", Signature=")[0] for name, value in signed.headers.items()},
    ),
}


@pytest.mark.parametrize("sign", SIGN)
@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in TAMPERED.items()])
@pytest.mark.parametrize("name", ["read a secret", "make a queue"])
@pytest.mark.usefixtures("untouched")
def test_a_signed_request_is_good_for_nothing_else(
    aws: cloud.Cloud, name: str, change: Callable[[Signed], Signed], sign: Callable[..., Signed]
) -> None:
    assert_refused(send(change(sign(call(aws, name), root(aws)))))


@pytest.mark.parametrize("change", sorted(set(TAMPERED) - {"another body"}))
@pytest.mark.usefixtures("untouched")
def test_a_link_to_an_object_is_good_for_nothing_else(aws: cloud.Cloud, change: str) -> None:
    assert_refused(send(TAMPERED[change](as_link(call(aws, "read an object"), root(aws)))))


def test_a_link_ends(aws: cloud.Cloud) -> None:
    link = as_link(call(aws, "read an object"), root(aws), seconds=5)  # a slow machine takes seconds to send it
    assert SECRET in send(link).text
    time.sleep(5.1)

    assert_refused(send(link))


@pytest.mark.parametrize("seconds", ["-1", "x", "", "1e400"])
def test_a_link_says_for_how_long(aws: cloud.Cloud, seconds: str) -> None:
    assert_refused(send(as_link(call(aws, "read an object"), root(aws), seconds=seconds)))  # type: ignore[arg-type]


def test_a_body_is_the_one_whose_hash_is_signed(aws: cloud.Cloud) -> None:
    asked = call(aws, "write an object")
    stated = {"x-amz-content-sha256": hashlib.sha256(b"signed").hexdigest()}
    for headers in (stated, {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}):
        assert_refused(send(in_header(replace(asked, headers=headers), root(aws))))


@pytest.mark.parametrize("name", list(own_endpoints("")))
def test_a_role_has_no_business_with_ministacks_own_endpoints(
    aws: cloud.Cloud, inside: dict[str, Any], name: str
) -> None:
    assert_refused(send(in_header(call(aws, name), keys_of(inside))))


def test_a_web_socket_is_refused(aws: cloud.Cloud) -> None:
    address = urlsplit(aws.account.endpoint)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), 10) as connection:
        upgrade = f"Host: {address.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
        key = base64.b64encode(bytes(16)).decode()
        connection.sendall(f"GET / HTTP/1.1\r\n{upgrade}\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())

        assert b" 403 " in connection.recv(1000).splitlines()[0]


@pytest.mark.parametrize("token", ["x", ""])
@pytest.mark.usefixtures("untouched")
def test_a_subscription_is_confirmed_by_its_token_alone(aws: cloud.Cloud, token: str) -> None:
    sns = aws.client("sns")
    topic = sns.create_topic(Name="news")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint="http://127.0.0.1:9/")
    link = f"{aws.account.endpoint}/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}"

    answers = [
        send(Signed(method, link + more, "", headers))
        for method in ("GET", "POST")
        for more in ("", "&Action=CreateQueue&QueueName=thief")
        for headers in ({}, {"x-amz-target": "secretsmanager.GetSecretValue"})
    ]

    told = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert (told["SubscriptionsPending"], told["SubscriptionsConfirmed"]) == ("1", "0")
    assert all(answer.is_error and SECRET not in answer.text for answer in answers)
    sns.delete_topic(TopicArn=topic)


@pytest.mark.parametrize("sign", SIGN)
def test_the_same_calls_work_with_the_keys(aws: cloud.Cloud, sign: Callable[..., Signed]) -> None:
    # The second making of a queue finds the first one's, and says so without an error.
    answers = {name: send(sign(call(aws, name), root(aws))) for name in [*calls(""), "health", "ready"]}

    assert {name: answer.text for name, answer in answers.items() if answer.is_error} == {}
    assert all(SECRET in answers[name].text for name in ("read an object", "read a secret", "invoke a function"))
    _forget_the_thief(aws)


SERVICES = ("mine.s3.localhost", "mine.localhost", "0123abcd.execute-api.localhost")
OTHERS = ("", "localhost.", "LOCALHOST", "localhost.evil.example", "0.0.0.0", "[::1]", "a@127.0.0.1")


@pytest.mark.parametrize("host", [*SERVICES, *OTHERS])
def test_the_cloud_answers_under_no_other_name(aws: cloud.Cloud, host: str) -> None:
    port = urlsplit(aws.account.endpoint).port
    asked = Call("GET", f"{aws.account.endpoint}/mine/note", "s3", headers={"Host": f"{host}:{port}"})

    assert_refused(send(in_header(asked, root(aws))))


def test_a_function_works_with_its_roles_credentials_and_knows_no_others(
    aws: cloud.Cloud, inside: dict[str, Any]
) -> None:
    assert inside["read"] == SECRET
    assert keys_of(inside)[:2] != computed()[:2]
    assert not set(root(aws)) & set(inside["environment"].values())


def test_each_cloud_has_keys_of_its_own(aws: cloud.Cloud, tmp_path: Path) -> None:
    with cloud.start(tmp_path / "cloud.log") as other:
        assert not set(root(aws)) & set(root(other))
        assert_refused(send(in_header(call(other, "list functions"), root(aws))))


def test_the_keys_stand_neither_on_a_command_line_nor_in_an_environment_nor_in_the_log(aws: cloud.Cloud) -> None:
    listed = subprocess.run(["ps", "-ww", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    environment = Path(f"/proc/{aws.process.pid}/environ")
    said = listed + aws.log.read_text() + (environment.read_text() if environment.exists() else "")

    assert "kontext_local.launcher" in said
    assert aws.account.secret_key not in said
    assert aws.account.secret_key not in repr(aws)


def test_a_wrong_key_is_said_in_words_that_help(aws: cloud.Cloud) -> None:
    old = replace(aws.account, access_key="AKIAOFYESTERDAY")

    with pytest.raises(Exception, match=r"no longer valid; `kontext env` prints"):
        old.client("sqs").list_queues()


def assert_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 403, answer.text
    assert SECRET not in answer.text
    assert not [name for name in answer.headers if name.startswith("access-control")]


def root(aws: cloud.Cloud) -> tuple[str, str]:
    return aws.account.access_key, aws.account.secret_key


def keys_of(inside: dict[str, Any]) -> Keys:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    key, secret, token = (inside["environment"][name] for name in names)
    return key, secret, token


def computed() -> Keys:
    """What MiniStack itself would give the function: hashes of names that everybody can guess."""
    digest = hashlib.sha256(f"{FUNCTION}:{ROLE}".encode()).hexdigest()
    secret, token = (hashlib.sha256(f"{kind}:{digest}".encode()).hexdigest() for kind in ("secret", "token"))
    return f"ASIA{digest[:16].upper()}", secret, token


def send(call: Signed) -> httpx.Response:
    # Plain http: without `verify=False` each call reads all certificates of the machine first.
    return httpx.request(
        call.method, call.url, headers=call.headers, content=call.body, timeout=60, trust_env=False, verify=False
    )


def _state(aws: cloud.Cloud) -> dict[str, Any]:
    looks = [call(aws, "list functions"), call(aws, "list a bucket"), *looked_at(aws.account.endpoint)]
    texts = [send(in_header(look, root(aws))).text for look in looks]
    return {
        look.body or look.url: re.sub(r"<RequestId>.*?</RequestId>|<LastModified>.*?<", "", text)
        for look, text in zip(looks, texts, strict=True)
    }


def _forget_the_thief(aws: cloud.Cloud) -> None:
    aws.client("lambda").delete_function(FunctionName="thief")
    aws.client("sqs").delete_queue(QueueUrl=aws.client("sqs").get_queue_url(QueueName="thief")["QueueUrl"])
    aws.client("dynamodb").delete_table(TableName="thief")
    aws.client("iam").delete_user(UserName="thief")
    aws.client("s3").delete_object(Bucket="mine", Key="more")


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
