"""Real time on the embedded cloud: what the simulation says, checked against the thing itself.

Pairs are dropped one after another, far enough apart that none waits for the plan's pace. All times are of this
machine's clock: of the drop, in the emulator's ledger, on the record, and of the event in a subscriber's queue. The
emulated queue's own latency is taken in the same run, from a bucket, a queue and a function that does nothing else
than to say when it was called.
"""

from __future__ import annotations

import io
import json
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from bench import pollers
from bench.part import Part
from bench.workers import Workers
from bench.workloads import Renders
from kontext.dynamodb import Table
from kontext_cli.demo.subscriber import Subscriber
from kontext_cli.target import LOCAL, Target
from kontext_local import stack
from kontext_local.project import ROOT
from kontext_local.stack import LocalStack

RENDERS = 60
EVERY_SECONDS = 1.6
WARM_UP = 8
_PATIENCE_SECONDS = 300.0
_OPTIONS = stack.Options(
    keep=False, emulator={"inference": {"mean": 23.32, "cv": 0.2}, "workers": 1000, "pixels": 65_536, "seed": 1}
)
_NAME = "bench-plain"
_PLAIN = """
import json, os, time

def handler(event, context):
    now = time.time()
    for message in event["Records"]:
        for record in json.loads(message["body"]).get("Records", ()):
            with open(os.environ["FILE"], "a") as file:
                file.write(f"{now} {record['s3']['object']['key']}\\n")
"""


@dataclass(frozen=True)
class Pair:
    """What became of one pair, as unix seconds."""

    dropped: float
    """Its second image is in the bucket."""
    posted: float
    accepted: float
    queued: float
    """Seconds that the job waited for a worker, by Segmind's word; `inference` those of the worker."""
    inference: float
    seen: float
    told: float

    @property
    def completed(self) -> float:
        """When Segmind had it."""
        return self.accepted + self.queued + self.inference


@dataclass
class Drops:
    """Who drops the pairs, and remembers when."""

    local: LocalStack
    plain: Plain
    at: dict[str, float] = field(default_factory=dict)

    def drop(self, name: str) -> None:
        """Two photographs, and an object for the plain function."""
        s3, photograph = self.local.client("s3"), (ROOT / "samples" / "coffee.png").read_bytes()
        for slot in (1, 2):
            s3.put_object(
                Bucket=self.local.outputs["InputBucket"],
                Key=f"{name}/{slot}.png",
                Body=photograph,
                Metadata={"prompt": name},
            )
        self.at[f"{name}/"] = time.time()
        self.plain.drop(name)


def measure(renders: int = RENDERS, every: float = EVERY_SECONDS) -> Part:
    """Deploys a stack, renders so many pairs on it, and compares with the simulation of the very same times."""
    with (
        tempfile.TemporaryDirectory() as home,
        stack.using(Path(home), _OPTIONS) as local,
        _plain(local, home) as plain,
    ):
        target = Target(LOCAL, local.outputs, local.client)
        drops = Drops(local, plain)
        with Subscriber(target) as subscriber, Workers(local.endpoint) as workers:
            for number in range(WARM_UP + renders):
                threading.Thread(target=drops.drop, args=(f"pair-{number:03}",)).start()
                time.sleep(every)
            told = _told(subscriber, WARM_UP + renders)
        with local.emulator() as emulator:
            ledger = emulator.get("ledger").json()
        table = Table(local.client("dynamodb"), local.outputs["RendersTable"])
        records = [item for item in table.scan() if item["sk"].startswith("render#")]
        pairs = sorted(_pairs(drops.at, ledger, records, told), key=lambda pair: pair.dropped)
        taken = workers.taken(
            {"SubmitFunction": 2 * len(pairs), "PollFunction": len(pairs), "FinalizeFunction": len(pairs)}
        )
        return _part(pairs, ledger["gets"]["status"] / len(pairs), plain.latencies()[WARM_UP:], taken)


def _pairs(
    dropped: dict[str, float], ledger: dict[str, Any], records: list[dict[str, Any]], told: dict[str, float]
) -> Iterator[Pair]:
    posts = {post["request_id"]: post["at"] for post in ledger["posts"]}
    jobs = {job["request_id"]: job for job in ledger["jobs"]}
    for record in records:
        job, request_id = jobs[record["request_id"]], record["request_id"]
        yield Pair(
            dropped=dropped[record["prefix"]],
            posted=posts[request_id],
            accepted=job["accepted_at"],
            queued=job["started_at"] - job["accepted_at"],
            inference=job["ended_at"] - job["started_at"],
            seen=float(record["completed_at"]),
            told=told[record["render_id"]],
        )


def _told(subscriber: Subscriber, count: int) -> dict[str, float]:
    """When each event came into the subscriber's queue, by render_id."""
    found: dict[str, float] = {}
    ends = time.monotonic() + _PATIENCE_SECONDS
    while len(found) < count and time.monotonic() < ends:
        for event, sent_at in subscriber.received(wait_seconds=1):
            found[event["data"]["render_id"]] = sent_at
    if len(found) < count:
        raise RuntimeError(f"{count - len(found)} of {count} pairs were not delivered in time")
    return found


def _part(pairs: list[Pair], polls: float, plain: list[float], taken: dict[str, dict[str, float]]) -> Part:
    measured = pairs[WARM_UP:]
    times = Renders(np.array([pair.queued for pair in pairs]), np.array([pair.inference for pair in pairs]))
    simulated = pollers.learning(times)
    lags = [pair.seen - pair.completed for pair in measured]
    figures = {
        "renders": len(measured),
        "upload_to_post_s": _quantiles([pair.posted - pair.dropped for pair in measured]),
        "plain_queue_s": _quantiles(plain),
        "lag_s": _quantiles(lags) | {"mean": mean(lags)},
        "seen_to_event_s": _quantiles([pair.told - pair.seen for pair in measured]),
        "completed_to_event_s": _quantiles([pair.told - pair.completed for pair in measured]),
        "polls_per_render": polls,
        "functions": taken,
        "simulated": {
            "mean_lag_s": float(simulated.lag[WARM_UP:].mean()),
            "p50_lag_s": float(np.median(simulated.lag[WARM_UP:])),
            "polls_per_render": float(simulated.polls.mean()),
        },
    }
    return Part(summary=_summary(figures), figures=figures, text=_text(figures))


def _quantiles(values: list[float]) -> dict[str, float]:
    return {"p50": median(values), "p95": float(np.quantile(values, 0.95))}


def _summary(figures: dict[str, Any]) -> dict[str, float]:
    return {
        "upload_to_post_p50_s": figures["upload_to_post_s"]["p50"],
        "plain_queue_p50_s": figures["plain_queue_s"]["p50"],
        "lag_p50_s": figures["lag_s"]["p50"],
        "real_mean_lag_s": figures["lag_s"]["mean"],
        "simulated_mean_lag_s": figures["simulated"]["mean_lag_s"],
        "completed_to_event_p50_s": figures["completed_to_event_s"]["p50"],
        "seen_to_event_p50_s": figures["seen_to_event_s"]["p50"],
    }


class Plain:
    """A bucket whose drops come by a queue to a function that only notes the time."""

    def __init__(self, local: LocalStack, file: Path) -> None:
        self.s3, self.file = local.client("s3"), file
        self.at: dict[str, float] = {}

    def drop(self, name: str) -> None:
        self.s3.put_object(Bucket=_NAME, Key=name, Body=b"-")
        self.at[name] = time.time()

    def latencies(self) -> list[float]:
        """Seconds from each drop until the function ran, in the order of the drops."""
        lines = (line.split() for line in self.file.read_text().splitlines())
        came = {name: float(at) for at, name in lines}
        return [came[name] - self.at[name] for name in sorted(self.at)]


@contextmanager
def _plain(local: LocalStack, folder: str) -> Iterator[Plain]:
    """The same way as a drop's, made of the services alone."""
    file = Path(folder, "plain.txt")
    sqs, functions = local.client("sqs"), local.client("lambda")
    queue = sqs.create_queue(QueueName=_NAME, Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allowed = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**allowed, "Resource": arn}]}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    role = functions.get_function(FunctionName=_function_name(local))["Configuration"]["Role"]
    functions.create_function(
        FunctionName=_NAME,
        Runtime="python3.13",
        Role=role,
        Handler="plain.handler",
        Code={"ZipFile": _archive()},
        Environment={"Variables": {"FILE": str(file)}},
    )
    functions.create_event_source_mapping(EventSourceArn=arn, FunctionName=_NAME, BatchSize=1)
    s3 = local.client("s3")
    s3.create_bucket(Bucket=_NAME)
    s3.put_bucket_notification_configuration(
        Bucket=_NAME,
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    yield Plain(local, file)


def _function_name(local: LocalStack) -> str:
    names: list[str] = [one["FunctionName"] for one in local.client("lambda").list_functions()["Functions"]]
    return next(name for name in names if "Submit" in name)


def _archive() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("plain.py", _PLAIN)
    return archive.getvalue()


def _text(figures: dict[str, Any]) -> str:
    rows = (
        ("second photograph in the bucket → request sent to Segmind", figures["upload_to_post_s"]),
        (
            "object in a bucket → queue → function, nothing else (the embedded cloud's own part)",
            figures["plain_queue_s"],
        ),
        ("completed at Segmind → seen (lag)", figures["lag_s"]),
        ("seen → event in a subscriber's queue", figures["seen_to_event_s"]),
        ("completed at Segmind → event", figures["completed_to_event_s"]),
    )
    table = "\n".join(f"| {name} | {value['p50']:.2f} | {value['p95']:.2f} |" for name, value in rows)
    simulated = figures["simulated"]
    return (
        f"## In real time\n\n{figures['renders']} renders on the embedded cloud, from a new stack, "
        "at the default settings; renders take 23.32 s, cv 0.2.\n\n"
        f"| seconds | p50 | p95 |\n|---|--:|--:|\n{table}\n\n"
        "| | measured | simulated, the same render times |\n|---|--:|--:|\n"
        f"| mean lag, s | {figures['lag_s']['mean']:.2f} | {simulated['mean_lag_s']:.2f} |\n"
        f"| polls per render | {figures['polls_per_render']:.2f} | {simulated['polls_per_render']:.2f} |"
    )
