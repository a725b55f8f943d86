"""What it costs the processor to take a pair of photographs in, from their events to the request to Segmind.

python -m bench.claim                   of this tree
python -m bench.claim --beside TREE     and of another checkout, in turns

Submit's own handler is called in a process of its own, with AWS behind HTTP in another one, so that only Submit's time
is counted: its calls and the reading of the photographs included, the encryption that AWS wants not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from statistics import median
from typing import IO, Any, ClassVar, NamedTuple, cast
from urllib.parse import quote_plus

import boto3
import yaml

from bench.pictures import photograph

Json = dict[str, Any]
ROOT = Path(__file__).parents[1]
REGION, KEY = "us-east-1", "SG_0123456789abcdef"
MEGABYTES, LARGEST, ROUNDS = 3.0, 49.0, 15
_NOTHING = {"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}
"""A workflow that does nothing."""
UNLIMITED = {"REQUESTS_PER_MINUTE": "6000", "DAILY_SPEND_LIMIT": "100000"}

WORKER = """
import json, sys, time
from pathlib import Path
from types import SimpleNamespace

told, sys.stdout = sys.stdout, sys.stderr
import submit

named = {"function_name": "submit", "memory_limit_in_mb": 512, "invoked_function_arn": "arn", "aws_request_id": "1"}
context = SimpleNamespace(**named, get_remaining_time_in_millis=lambda: 110_000)
for line in sys.stdin:
    began = time.process_time()
    failed = submit.handler(json.loads(line), context)["batchItemFailures"]
    seconds, status = time.process_time() - began, Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0])  # a child's ru_maxrss begins with that of its parent
    print(json.dumps({"seconds": seconds, "failed": failed, "peak": peak}), file=told, flush=True)
"""


class Vendor(BaseHTTPRequestHandler):
    """Segmind, which takes every job."""

    numbers: ClassVar[Iterator[int]] = count(1)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        request_id = f"3f2c8f5e-8f5e-4b7a-9d6e-{next(self.numbers):012}"
        body = json.dumps({"request_id": request_id, "status": "QUEUED"})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


class Loader(yaml.SafeLoader):
    """Reads a template, and of its functions what they are applied to."""


Loader.add_multi_constructor("!", lambda loader, _, node: loader.construct_object(_plain(node)))


def _plain(node: yaml.Node) -> yaml.Node:
    kinds = {yaml.ScalarNode: "str", yaml.SequenceNode: "seq", yaml.MappingNode: "map"}
    return type(node)(f"tag:yaml.org,2002:{kinds[type(node)]}", node.value, node.start_mark, node.end_mark)


class Taker:
    """Submit of a checkout, in a process of its own."""

    def __init__(self, tree: Path, endpoint: str, vendor: str) -> None:
        self.name = f"kontext-{abs(hash(tree)) % 10**6}"
        self.s3 = boto3.client("s3", endpoint_url=endpoint, region_name=REGION)
        settings = _settings(tree) | self._made(endpoint, vendor) | UNLIMITED
        paths = os.pathsep.join(str(tree / folder) for folder in ("functions", "layers/kontext/python"))
        environment = {**os.environ, **settings, "PYTHONPATH": paths, "AWS_ENDPOINT_URL": endpoint}
        self.peak = 0.0
        """The most megabytes that the process has held."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def take(self, name: str, photographs: tuple[bytes, bytes]) -> float:
        """Drop a pair, its request first; gives the processor's seconds."""
        request = json.dumps({"prompt": f"Both in {name}."}).encode()
        files = {"request.json": request, "1.jpg": photographs[0], "2.jpg": photographs[1]}
        return sum(self._told(self._dropped(f"{name}/{part}", body)) for part, body in files.items())

    def _dropped(self, key: str, body: bytes) -> Json:
        put = self.s3.put_object(Bucket=self.name, Key=key, Body=body)
        told = {"key": quote_plus(key), "size": len(body), "eTag": put["ETag"], "sequencer": "0055AED6DCD90281E5"}
        told["versionId"] = put["VersionId"]
        record = {"eventTime": "2026-11-27T12:00:00.000Z", "eventName": "ObjectCreated:Put"}
        return record | {"s3": {"bucket": {"name": self.name}, "object": told}}

    def _told(self, record: Json) -> float:
        attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "1795780800000"}
        message = {"messageId": record["s3"]["object"]["key"], "receiptHandle": "handle", "attributes": attributes}
        event = {"Records": [{**message, "body": json.dumps({"Records": [record]})}]}
        print(json.dumps(event), file=self.process.stdin, flush=True)
        answer = json.loads(cast(IO[str], self.process.stdout).readline())
        if answer["failed"]:
            raise RuntimeError(f"Submit could not take {record}")
        self.peak = answer["peak"] / 1024
        return float(answer["seconds"])

    def _made(self, endpoint: str, vendor: str) -> dict[str, str]:
        session = boto3.Session(region_name=REGION)
        queue = session.client("sqs", endpoint_url=endpoint).create_queue(QueueName=self.name)["QueueUrl"]
        self.s3.create_bucket(Bucket=self.name)
        self.s3.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})
        session.client("dynamodb", endpoint_url=endpoint).create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        secrets = session.client("secretsmanager", endpoint_url=endpoint)
        secrets.create_secret(Name=self.name, SecretString=KEY)
        machine = session.client("stepfunctions", endpoint_url=endpoint).create_state_machine(
            name=self.name, definition=json.dumps(_NOTHING), roleArn="arn:aws:iam::123456789012:role/any"
        )
        return {
            "RENDERS_TABLE": self.name,
            "INPUT_BUCKET": self.name,
            "OUTPUT_BUCKET": self.name,
            "UPLOAD_QUEUE_URL": queue,
            "DEAD_LETTER_QUEUE_URL": queue,
            "RENDER_WORKFLOW_ARN": machine["stateMachineArn"],
            "RENDER_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:renders",
            "SEGMIND_SECRET": self.name,
            "SEGMIND_URL": vendor,
        }


def _settings(tree: Path) -> dict[str, str]:
    """The environment that a template gives Submit, with the defaults of its parameters."""
    template = yaml.load((tree / "template.yaml").read_text(), Loader)  # noqa: S506  a SafeLoader
    function = template["Resources"]["SubmitFunction"]["Properties"]
    named = [place.get("Environment", {}).get("Variables", {}) for place in (template["Globals"]["Function"], function)]
    parameters = template["Parameters"]
    return {
        name: str(parameters.get(str(value), {}).get("Default", value))
        for variables in named
        for name, value in variables.items()
    }


@contextmanager
def services() -> Iterator[tuple[str, str]]:
    """AWS in a process of its own, and Segmind: their URLs."""
    vendor = ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
    threading.Thread(target=vendor.serve_forever, daemon=True).start()
    aws = subprocess.Popen([sys.executable, "-c", _AWS], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield cast(IO[str], aws.stdout).readline().strip(), f"http://127.0.0.1:{vendor.server_port}"
    finally:
        aws.kill()
        aws.wait()
        vendor.shutdown()


_AWS = """
import time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
print(f"http://{host}:{port}", flush=True)
time.sleep(86400)
"""


class Taken(NamedTuple):
    """What a checkout took: the processor's seconds of each pair but the first, and at its peak the megabytes that it
    held, without and with a pair of the largest photographs."""

    seconds: list[float]
    held: float
    held_with_largest: float


def compare(trees: list[Path], rounds: int = ROUNDS) -> list[Taken]:
    """Let the trees take the same pairs in turns."""
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION=REGION)  # noqa: S106
    taken: list[list[float]] = [[] for _ in trees]
    with services() as (endpoint, vendor):
        takers = [Taker(tree, endpoint, vendor) for tree in trees]
        for number in range(rounds + 1):
            pair = (photograph(MEGABYTES, 2 * number), photograph(MEGABYTES, 2 * number + 1))
            for taker, seconds in zip(takers, taken, strict=True):
                seconds.append(taker.take(f"pair-{number}", pair))
        held = [taker.peak for taker in takers]
        for taker in takers:
            taker.take("largest", (photograph(LARGEST), photograph(LARGEST, 1)))
            taker.process.kill()
        return [
            Taken(*one)
            for one in zip([seconds[1:] for seconds in taken], held, [taker.peak for taker in takers], strict=True)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, help="another checkout")
    asked = parser.parse_args()
    ours, *others = compare([ROOT, *([asked.beside.resolve()] if asked.beside else [])])
    print(f"two photographs of {MEGABYTES:g} MB and their request: {1000 * median(ours.seconds):.1f} ms of a processor")
    print(f"{ours.held:.0f} MB held at most, {ours.held_with_largest:.0f} MB with photographs of {LARGEST:g} MB")
    for other in others:
        ratio = median(one / before for one, before in zip(ours.seconds, other.seconds, strict=True))
        print(f"in {asked.beside}: {1000 * median(other.seconds):.1f} ms; {ratio:.2f} times as much now, pair by pair")


if __name__ == "__main__":
    main()
