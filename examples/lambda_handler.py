"""A Lambda function that subscribes to the stack's topic and acts on each event once.

It is given the environment variable PICTURES_TABLE: a DynamoDB table with the string key `id`. Its role needs
`dynamodb:TransactWriteItems` (`PutItem`) on it; SNS needs the permission to invoke it.
"""

from __future__ import annotations

import json
import os
from typing import Any

import boto3

Event = dict[str, Any]
dynamodb = boto3.client("dynamodb")


def handler(event: Event, _: Any) -> None:
    """The entry point: SNS calls it again if it raises."""
    for record in event["Records"]:
        act_once(json.loads(record["Sns"]["Message"]))


def act_once(event: Event) -> bool:
    """Keep the picture of a pair, and that we were told of it, in one transaction; False if that was done before."""
    puts = [_put({"id": f"event#{event['id']}"}, "attribute_not_exists(id)")]
    if event["type"] == "kontext.rendered":
        output = event["data"]["output"]
        puts.append(_put({"id": f"pair#{event['data']['pair']}", "object": f"s3://{output['bucket']}/{output['key']}"}))
    try:
        dynamodb.transact_write_items(TransactItems=puts)
    except dynamodb.exceptions.TransactionCanceledException as cancelled:
        if cancelled.response["CancellationReasons"][0]["Code"] != "ConditionalCheckFailed":
            raise
        return False
    return True


def _put(item: dict[str, str], condition: str | None = None) -> Any:
    put: Any = {"TableName": os.environ["PICTURES_TABLE"], "Item": {name: {"S": text} for name, text in item.items()}}
    return {"Put": put | ({"ConditionExpression": condition} if condition else {})}
