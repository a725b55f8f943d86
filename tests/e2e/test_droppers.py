"""Two people with rights to a folder each: neither gets the other's photograph, or learns what lies there.

And objects that the stack may not read: their dropper is told at once.
"""

from __future__ import annotations

import json
import secrets
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from kontext_local import cloud
from kontext_local.stack import LocalStack
from tests.e2e.conftest import Eventually

Json = dict[str, Any]
SECONDS = 300.0
TRUST = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}


class Dropper:
    """Somebody who may write below one folder of the input bucket, and read below it in the output bucket."""

    def __init__(self, local: LocalStack, name: str) -> None:
        self.folder = f"{name}-{secrets.token_hex(4)}/"
        self.inputs, self.outputs = local.outputs["InputBucket"], local.outputs["OutputBucket"]
        self.s3 = _client_of(
            local, f"{self.folder[:-1]}", [self._may("Put", self.inputs), self._may("Get", self.outputs)]
        )

    def _may(self, do: str, bucket: str) -> Json:
        return {"Effect": "Allow", "Action": f"s3:{do}Object", "Resource": f"arn:aws:s3:::{bucket}/{self.folder}*"}

    def put(self, name: str, body: bytes) -> None:
        self.s3.put_object(Bucket=self.inputs, Key=f"{self.folder}{name}", Body=body)

    def ask(self, name: str, image: str) -> None:
        """Drop a request that names its first image."""
        self.put(f"{name}/request.json", json.dumps({"prompt": f"both in {name}", "input_image_1": image}).encode())

    def read(self, name: str) -> bytes | None:
        try:
            return bytes(self.s3.get_object(Bucket=self.outputs, Key=f"{self.folder}{name}")["Body"].read())
        except ClientError:  # without the right to list, what is not there is forbidden
            return None


def _client_of(local: LocalStack, name: str, statements: list[Json]) -> Any:
    iam = local.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy([TRUST]))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="drop", PolicyDocument=_policy(statements))
    keys = local.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    session: Any = boto3.session.Session(
        keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name=cloud.REGION
    )
    return session.client("s3", endpoint_url=local.client("s3").meta.endpoint_url)


def _policy(statements: list[Json]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def test_of_two_droppers_with_a_folder_each_neither_gets_the_others_photograph_or_learns_of_it(
    local: LocalStack, samples: Path, eventually: Eventually
) -> None:
    ann, bob = Dropper(local, "ann"), Dropper(local, "bob")
    photograph, other = (samples / "chelsea.png").read_bytes(), (samples / "coffee.png").read_bytes()
    local.client("s3").put_object(Bucket=ann.inputs, Key=f"shared/{ann.folder}cup.png", Body=other)
    with pytest.raises(ClientError, match="AccessDenied"):
        bob.s3.put_object(Bucket=bob.inputs, Key=f"{ann.folder}1.png", Body=photograph)

    ann.put("secret.png", photograph)
    for name, image in {
        "there": f"/{ann.folder}secret.png",
        "missing": f"/{ann.folder}nothing.png",
        "shared": f"/shared/{ann.folder}cup.png",
        "own": f"/{bob.folder}mine.png",
    }.items():
        bob.ask(name, image)
        bob.put(f"{name}/2.png", other)
    bob.put("mine.png", photograph)

    told = [eventually(partial(bob.read, f"{name}/error.json"), name, SECONDS) for name in ("there", "missing")]
    messages = [json.loads(error)["message"].partition(": ")[2] for error in told]
    assert messages[0].replace("secret", "nothing") == messages[1]
    assert f"may name only what lies in {bob.folder} and shared/" in messages[0]
    assert all(eventually(partial(bob.read, f"{name}/result.png"), name, SECONDS) for name in ("shared", "own"))
    assert (bob.read("there/result.png"), bob.read("missing/result.png")) == (None, None)
    # It is nobody's image, as if no request had ever named it.
    assert eventually(lambda: ann.read("secret.png.error.json"), "what fits no rule", SECONDS)


UNREADABLE: dict[str, tuple[Json, str]] = {
    "a key of the dropper's own": ({"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}, "SSE-C"),
    "an archive": ({"StorageClass": "GLACIER"}, "archived"),
    "a policy of the bucket's": ({}, "may not read it"),
}
"""How objects are put that S3 does not give to the stack, and what is said of them. A key of KMS is refused as by the
policy, with `AccessDenied`: the embedded cloud asks KMS for nothing."""


def test_who_drops_what_the_stack_may_not_read_is_told_at_once_and_nobody_waits_for_it(
    local: LocalStack, samples: Path, eventually: Eventually
) -> None:
    s3, inputs, outputs = local.client("s3"), local.outputs["InputBucket"], local.outputs["OutputBucket"]
    home, photograph = f"locked-{secrets.token_hex(4)}", (samples / "chelsea.png").read_bytes()
    denied = f"arn:aws:s3:::{inputs}/{home}/a policy of the bucket's/1.png"
    refused = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": denied}
    s3.put_bucket_policy(Bucket=inputs, Policy=_policy([refused]))

    for name, (how, _) in UNREADABLE.items():
        s3.put_object(Bucket=inputs, Key=f"{home}/{name}/1.png", Body=photograph, **how)
        s3.put_object(Bucket=inputs, Key=f"{home}/{name}/2.png", Body=photograph)
    for slot in "12":
        s3.put_object(Bucket=inputs, Key=f"{home}/good/{slot}.png", Body=photograph, Metadata={"prompt": "both"})
    told = {name: eventually(partial(_error, s3, outputs, f"{home}/{name}/"), name, 60) for name in UNREADABLE}
    eventually(lambda: _exists(s3, outputs, f"{home}/good/result.png"), "the good pair delivered", SECONDS)
    s3.delete_bucket_policy(Bucket=inputs)

    assert {name: error["code"] for name, error in told.items()} == dict.fromkeys(UNREADABLE, "invalid_image")
    assert [name for name, (_, words) in UNREADABLE.items() if words not in told[name]["message"]] == []


def _error(s3: Any, bucket: str, prefix: str) -> Json | None:
    if not _exists(s3, bucket, f"{prefix}error.json"):
        return None
    error: Json = json.loads(s3.get_object(Bucket=bucket, Key=f"{prefix}error.json")["Body"].read())
    return error


def _exists(s3: Any, bucket: str, key: str) -> bool:
    return any(one["Key"] == key for one in s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", ()))
