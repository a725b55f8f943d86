"""The embedded cloud: started, enforced, ended, whatever becomes of those who started it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from kontext_local import cloud, deploy, runtime
from kontext_local.errors import LocalCloudError
from tests.e2e.conftest import Eventually

KEPT_BY_A_CHILD = """
import sys, time
from pathlib import Path
from kontext_local import cloud
running = cloud.start(Path(sys.argv[1]))
print(running.process.pid, running.folder, flush=True)
time.sleep(600)
"""
READER = "arn:aws:iam::000000000000:role/reader"
LOOKS = """
from importlib.util import find_spec
def handler(names, context):
    return [name for name in names if find_spec(name)]
"""
TRUST = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
READ = {
    "Effect": "Allow",
    "Action": ["s3:ListBucket", "s3:GetObject"],
    "Resource": ["arn:aws:s3:::seen", "arn:aws:s3:::seen/*"],
}


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cloud") / "decisions.jsonl"


@pytest.fixture(scope="module")
def aws(record: Path) -> Iterator[cloud.Cloud]:
    with cloud.start(record.with_name("cloud.log"), iam_record=record) as running:
        yield running


@pytest.fixture(scope="module")
def as_reader(aws: cloud.Cloud) -> Any:
    """S3 as a role that may list the bucket `seen` and nothing else."""
    for bucket in ("seen", "unseen"):
        aws.client("s3").create_bucket(Bucket=bucket)
    iam = aws.client("iam")
    iam.create_role(RoleName="reader", AssumeRolePolicyDocument=_policy(TRUST))
    iam.put_role_policy(RoleName="reader", PolicyName="read", PolicyDocument=_policy(READ))
    keys = aws.client("sts").assume_role(RoleArn=READER, RoleSessionName="test")["Credentials"]
    session: Any = boto3.session.Session(
        keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name=cloud.REGION
    )
    return session.client("s3", endpoint_url=aws.account.endpoint)


def test_a_role_may_do_what_its_policy_allows_and_nothing_else(as_reader: Any) -> None:
    allowed = as_reader.list_objects_v2(Bucket="seen")

    assert allowed["KeyCount"] == 0
    with pytest.raises(ClientError, match="AccessDenied"):
        as_reader.list_objects_v2(Bucket="unseen")


def test_a_role_may_read_a_key_of_several_lines_where_it_may_read_any(aws: cloud.Cloud, as_reader: Any) -> None:
    aws.client("s3").put_object(Bucket="seen", Key="a\nb\r\n/1.png", Body=b"x")

    assert as_reader.get_object(Bucket="seen", Key="a\nb\r\n/1.png")["Body"].read() == b"x"


def test_a_function_finds_what_lambda_gives_it_and_nothing_else_that_is_installed_here(
    aws: cloud.Cloud, as_reader: Any
) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("looks.py", LOOKS)
    made = {"Runtime": "python3.13", "Handler": "looks.handler", "Role": READER, "Code": {"ZipFile": code.getvalue()}}
    functions = aws.client("lambda")
    functions.create_function(FunctionName="looks", **made)
    asked = [*runtime.PACKAGES, "httpx", "rich", "kontext_local", "ministack"]

    answer = functions.invoke(FunctionName="looks", Payload=json.dumps(asked))

    assert json.loads(answer["Payload"].read()) == list(runtime.PACKAGES)


def test_every_decision_about_a_role_can_be_recorded(as_reader: Any, record: Path) -> None:
    before = len(record.read_text().splitlines()) if record.exists() else 0

    as_reader.list_objects_v2(Bucket="seen")
    with pytest.raises(ClientError):
        as_reader.list_objects_v2(Bucket="unseen")

    decisions = [json.loads(line) for line in record.read_text().splitlines()[before:]]
    told = [(one["action"], one["resource"], one["allowed"]) for one in decisions]
    assert told == [("s3:ListBucket", "arn:aws:s3:::seen", True), ("s3:ListBucket", "arn:aws:s3:::unseen", False)]
    assert all(":assumed-role/reader/" in one["principal"] for one in decisions)


def test_nothing_of_the_starting_environment_reaches_the_cloud(
    aws: cloud.Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "somebody")
    monkeypatch.setenv("SEGMIND_API_KEY", "SG_private")

    with cloud.start(tmp_path / "cloud.log") as running:
        environment = Path(f"/proc/{running.process.pid}/environ")
        seen = environment.read_bytes() if environment.exists() else b""

    assert b"SG_private" not in seen
    assert b"somebody" not in seen


def test_stopping_leaves_neither_process_nor_files(tmp_path: Path) -> None:
    running = cloud.start(tmp_path / "cloud.log")

    running.stop()

    assert not running.is_running()
    assert not running.folder.exists()


def test_the_cloud_ends_with_a_parent_that_is_killed(tmp_path: Path, eventually: Eventually) -> None:
    command = [sys.executable, "-c", KEPT_BY_A_CHILD, str(tmp_path / "cloud.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()

        parent.send_signal(signal.SIGKILL)

        eventually(lambda: not _exists(int(pid)), "the end of the cloud", 60)
        eventually(lambda: not Path(folder).exists(), "the removal of its files", 60)


def test_an_unchanged_source_is_not_built_again(tmp_path: Path) -> None:
    deploy.build(tmp_path / "first.log")

    deploy.build(tmp_path / "second.log")

    assert deploy.is_built()
    assert not (tmp_path / "second.log").exists()


def test_a_failing_build_is_told_in_sams_own_last_words(tmp_path: Path) -> None:
    template, log = tmp_path / "template.yaml", tmp_path / "sam.log"
    template.write_text("Resources: {Broken: {Type: AWS::Serverless::Function, Properties: {CodeUri: nowhere}}}")

    with pytest.raises(LocalCloudError) as failure:
        deploy.build(log, template, tmp_path / "build")

    assert "`sam build` failed" in str(failure.value)
    assert str(log) in str(failure.value)
    assert log.read_text().splitlines()[-1] in str(failure.value)


def test_a_missing_tool_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(LocalCloudError, match="`make` was not found"):
        deploy.build(tmp_path / "sam.log", folder=tmp_path / "build")


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A container's first process may not collect orphans: what is left of them runs no more.
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
