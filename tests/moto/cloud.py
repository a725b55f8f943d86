"""Another implementation of AWS: moto's server, with Lambda's part played by the real runtime.

S3, SQS, SNS, DynamoDB, Secrets Manager and Step Functions are moto's; its workflow calls functions over Lambda's own
API, which is answered here. What stands between the queue and Submit is written here too, after Lambda's
documentation.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import boto3
from moto.core.config import default_user_config
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from simulation.template import Template
from tests.moto.sandbox import Function, FunctionFailed, Places

Json = dict[str, Any]
REGION = "us-east-1"
INVOCATION = re.compile(r"/2015-03-31/functions/(?:arn:aws:lambda:[^/]*:function:)?(\w+)/invocations")
POLLERS = 3
SWEEP_SECONDS = 6.0


class MotoCloud:
    """An AWS account with the stack's resources in it; `.outputs` and `.client` are those of a stack."""

    def __init__(self, places: Places, parameters: dict[str, str], api_key: str, log: Path) -> None:
        self.template = Template(**parameters)
        self.server = make_server("127.0.0.1", 0, self._app(), threaded=True, request_handler=MotoRequestHandler)
        self.endpoint = f"http://127.0.0.1:{self.server.port}"
        os.environ["MOTO_PORT"] = str(self.server.port)
        default_user_config["stepfunctions"]["execute_state_machine"] = True
        self._threads = [threading.Thread(target=self.server.serve_forever)]
        self._threads[0].start()
        self.outputs = self._created(api_key)
        self.functions = {name: self._function(name, places, log) for name in FUNCTIONS}
        self._stopping = threading.Event()
        self._sequencers: defaultdict[str, int] = defaultdict(count(1).__next__)
        self._read_the_queue()
        self._threads.append(threading.Thread(target=self._sweep))
        self._threads[-1].start()

    def client(self, service: str) -> Any:
        """A client of one of the services."""
        session: Any = boto3.session.Session("test", "test", region_name=REGION)
        return session.client(service, endpoint_url=self.endpoint)

    def stop(self) -> None:
        """End the functions and the server."""
        self._stopping.set()
        for thread in self._threads[1:]:
            thread.join()
        for function in self.functions.values():
            function.stop()
        self.server.shutdown()
        self._threads[0].join()

    def _app(self) -> Callable[..., Iterable[bytes]]:
        moto = DomainDispatcherApplication(create_backend_app)

        def app(environ: Json, start_response: Callable[..., Any]) -> Iterable[bytes]:
            called = INVOCATION.fullmatch(environ["PATH_INFO"])
            if called is None:
                answer: Iterable[bytes] = moto(environ, start_response)
                return answer
            event = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            try:
                start_response("200 OK", [("Content-Type", "application/json")])
                return [json.dumps(self.functions[called[1]].invoke(event)).encode()]
            except FunctionFailed as failure:
                start_response("200 OK", [("X-Amz-Function-Error", "Unhandled")])
                return [json.dumps({"errorType": "FunctionFailed", "errorMessage": str(failure)}).encode()]

        return app

    def _created(self, api_key: str) -> dict[str, str]:
        """What the template describes, made by hand: its physical names by output."""
        s3, sqs, sns = self.client("s3"), self.client("sqs"), self.client("sns")
        queue = sqs.create_queue(QueueName="uploads", Attributes={"VisibilityTimeout": "260"})["QueueUrl"]
        for bucket in ("dropped-here", "pictures-there"):
            s3.create_bucket(Bucket=bucket)
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        told = {"QueueArn": self.queue_arn("uploads"), "Events": ["s3:ObjectCreated:*"]}
        s3.put_bucket_notification_configuration(
            Bucket="dropped-here", NotificationConfiguration={"QueueConfigurations": [told]}
        )
        self.client("dynamodb").create_table(TableName="renders", **self.template.table)
        topic = sns.create_topic(Name="renders")["TopicArn"]
        subscriber = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=self.queue_arn("subscriber"),
            Attributes={"RawMessageDelivery": "true"},
        )
        return {
            "InputBucket": "dropped-here",
            "OutputBucket": "pictures-there",
            "RendersTable": "renders",
            "RenderTopic": topic,
            "UploadQueue": queue,
            "SubscriberQueue": subscriber,
            "SegmindSecret": self.client("secretsmanager").create_secret(Name="k", SecretString=api_key)["ARN"],
            "RenderWorkflow": self._workflow(),
        }

    def queue_arn(self, name: str) -> str:
        return f"arn:aws:sqs:{REGION}:{DEFAULT_ACCOUNT_ID}:{name}"

    def _workflow(self) -> str:
        definition = json.dumps(self.template.workflow)
        for name in FUNCTIONS:
            definition = definition.replace(
                f'"{name}"', f'"arn:aws:lambda:{REGION}:{DEFAULT_ACCOUNT_ID}:function:{name}"'
            )
        role = f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:role/workflow"
        made = self.client("stepfunctions").create_state_machine(name="renders", definition=definition, roleArn=role)
        return str(made["stateMachineArn"])

    def _function(self, name: str, places: Places, log: Path) -> Function:
        spec = self.template.function(name)
        named = {variable: self.outputs.get(value, value) for variable, value in spec.environment.items()}
        return Function(replace(spec, environment={**named, "AWS_ENDPOINT_URL": self.endpoint}), places, log)

    def _read_the_queue(self) -> None:
        for _ in range(POLLERS):
            self._threads.append(threading.Thread(target=self._poll))
            self._threads[-1].start()

    def _poll(self) -> None:
        """The event source mapping: batches of messages to Submit, and away with those that it does not report."""
        sqs, queue = self.client("sqs"), self.outputs["UploadQueue"]
        while not self._stopping.is_set():
            asked = {"QueueUrl": queue, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1, "AttributeNames": ["All"]}
            messages = sqs.receive_message(**asked).get("Messages", ())
            if not messages:
                continue
            try:
                answer = self.functions["SubmitFunction"].invoke({"Records": [self._record(one) for one in messages]})
            except FunctionFailed:
                continue
            failed = {one["itemIdentifier"] for one in answer["batchItemFailures"]}
            for one in messages:
                if one["MessageId"] not in failed:
                    sqs.delete_message(QueueUrl=queue, ReceiptHandle=one["ReceiptHandle"])

    def _sweep(self) -> None:
        """The schedule, ten times as fast."""
        while not self._stopping.wait(SWEEP_SECONDS):
            with suppress(FunctionFailed):
                self.functions["SweepFunction"].invoke({})

    def _record(self, message: Json) -> Json:
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": self._with_sequencer(message),
            "attributes": message["Attributes"],
            "messageAttributes": {},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self.queue_arn("uploads"),
            "awsRegion": REGION,
        }

    def _with_sequencer(self, message: Json) -> str:
        """S3 numbers its events by `sequencer`, moto does not; here they are numbered as they come."""
        told = json.loads(message["Body"])
        for record in told.get("Records", ()):
            record["s3"]["object"]["sequencer"] = f"{self._sequencers[message['MessageId']]:016X}"
        return json.dumps(told)


FUNCTIONS = ("SubmitFunction", "SweepFunction", "PollFunction", "FinalizeFunction")
