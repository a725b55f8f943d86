"""What another process of this machine would like to do with the local cloud, one call of each protocol."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator

from kontext_local import cloud
from tests.signing import Call

SECRET = "SG_what-only-its-owner-may-read"
ROLE = "arn:aws:iam::000000000000:role/worker"
CODE = """
import boto3, json, os
def handler(event, context):
    read = boto3.client("s3").get_object(Bucket="mine", Key="note")["Body"].read().decode()
    return {"environment": dict(os.environ), "read": read}
"""
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/x-amz-json-1.1"}


def packed(code: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as files:
        files.writestr("x.py", code)
    return file.getvalue()


def calls(url: str) -> dict[str, Call]:
    """What a thief would like to do, one call of each protocol, and MiniStack's own endpoints."""
    secret = {**JSON, "x-amz-target": "secretsmanager.GetSecretValue"}
    table = {**JSON, "x-amz-target": "DynamoDB_20120810.CreateTable"}
    function = json.dumps(
        {
            "FunctionName": "thief",
            "Role": ROLE,
            "Runtime": "python3.13",
            "Handler": "x.handler",
            "Code": {"ZipFile": base64.b64encode(packed(CODE)).decode()},
        }
    )
    keys = [{"AttributeName": "a", "KeyType": "HASH"}]
    kinds = [{"AttributeName": "a", "AttributeType": "S"}]
    new_table = {
        "TableName": "thief",
        "KeySchema": keys,
        "AttributeDefinitions": kinds,
        "BillingMode": "PAY_PER_REQUEST",
    }
    return {
        "read an object": Call("GET", f"{url}/mine/note", "s3"),
        "list a bucket": Call("GET", f"{url}/mine", "s3"),
        "write an object": Call("PUT", f"{url}/mine/more", "s3", "x"),
        "read a secret": Call("POST", f"{url}/", "secretsmanager", '{"SecretId": "key"}', secret),
        "make a table": Call("POST", f"{url}/", "dynamodb", json.dumps(new_table), table),
        "make a queue": Call("POST", f"{url}/", "sqs", "Action=CreateQueue&QueueName=thief", FORM),
        "make a queue by GET": Call("GET", f"{url}/?Action=CreateQueue&QueueName=thief", "sqs"),
        "make a user": Call("POST", f"{url}/", "iam", "Action=CreateUser&UserName=thief&Version=2010-05-08", FORM),
        "make a function": Call("POST", f"{url}/2015-03-31/functions", "lambda", function, JSON),
        "invoke a function": Call("POST", f"{url}/2015-03-31/functions/worker/invocations", "lambda", "{}"),
        "list functions": Call("GET", f"{url}/2015-03-31/functions", "lambda"),
    }


def own_endpoints(url: str) -> dict[str, Call]:
    """MiniStack's own, which it serves to everybody."""
    config = '{"stepfunctions._SFN_WAIT_SCALE": 9}'
    return {
        "health": Call("GET", f"{url}/_ministack/health", "s3"),
        "health as LocalStack calls it": Call("GET", f"{url}/_localstack/health", "s3"),
        "ready": Call("GET", f"{url}/_ministack/ready", "s3"),
        "config": Call("POST", f"{url}/_ministack/config", "s3", config),
        "code of a function": Call("GET", f"{url}/_ministack/lambda-code/worker", "s3"),
        "mails": Call("GET", f"{url}/_aws/ses", "s3"),
        "messages": Call("GET", f"{url}/_aws/sqs/messages?QueueUrl={url}/000000000000/mine", "s3"),
        "reset": Call("POST", f"{url}/_ministack/reset", "s3"),
    }


def call(aws: cloud.Cloud, name: str) -> Call:
    url = aws.account.endpoint
    return {**calls(url), **own_endpoints(url)}[name]


NAMES = [*calls(""), *own_endpoints("")]


def looked_at(url: str) -> Iterator[Call]:
    """What tells whether something was made."""
    yield Call("POST", f"{url}/", "sqs", "Action=ListQueues", FORM)
    yield Call("POST", f"{url}/", "iam", "Action=ListUsers&Version=2010-05-08", FORM)
    yield Call("POST", f"{url}/", "dynamodb", "{}", {**JSON, "x-amz-target": "DynamoDB_20120810.ListTables"})
