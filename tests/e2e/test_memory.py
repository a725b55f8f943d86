"""Finalize passes a picture on without ever holding it."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from kontext.drops.pairs import Ready
from kontext.drops.store import Drops
from kontext.dynamodb import Table
from kontext.model import ObjectRead
from kontext.renders.claims import Claims
from kontext.renders.jobs import Jobs
from kontext.renders.store import Renders
from kontext.renders.submissions import Submissions
from kontext_local.project import ROOT
from kontext_local.stack import LocalStack
from tests.e2e.conftest import Eventually

Json = dict[str, Any]
MEGABYTE = 1_000_000
ASKED = {"aspect_ratio": "1:1", "output_format": "png", "safety_tolerance": 2}

# Not `ru_maxrss`, where Linux has it otherwise: a child is born with the peak of its parent in it.
RUN = """
import json, resource, sys
from pathlib import Path
from types import SimpleNamespace
import finalize

def peak():
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

named = {"function_name": "finalize", "memory_limit_in_mb": 512, "invoked_function_arn": "arn", "aws_request_id": "1"}
outcome = finalize.handler(json.loads(sys.argv[1]), SimpleNamespace(**named))
print(json.dumps({"peak": peak(), **outcome}))
"""


def test_a_picture_of_60_mb_takes_no_more_memory_than_one_of_1_mb(
    local: LocalStack, samples: Path, eventually: Eventually
) -> None:
    small, large = (_paid_render(local, samples, size * MEGABYTE, eventually) for size in (1, 60))

    peaks = [_peak_of_finalize(local, state) for state in (small, large)]

    assert _delivered_bytes(local, large) == 60 * MEGABYTE
    assert peaks[1] - peaks[0] < 25 * MEGABYTE
    assert peaks[0] > 30 * MEGABYTE  # as any Python with boto3 in it: what was measured is a real process


def _paid_render(local: LocalStack, samples: Path, size: int, eventually: Eventually) -> Json:
    """Bring a render to COMPLETED, its picture of `size` bytes at the file host; gives the workflow's state."""
    prefix = f"memory-{secrets.token_hex(4)}/"
    request_id, url = _rendered(local, samples, prefix, size, eventually)
    table, now = Table(local.client("dynamodb"), local.outputs["RendersTable"]), time.time()
    for slot in "12":
        read: ObjectRead = {"key": f"{prefix}{slot}.png", "version_id": "v", "etag": f"e{slot}", "bytes": 1}
        seen: ObjectRead = read | {"kind": "png", "width": 8, "height": 8, "parameters": {}}
        pair = Drops(table).record(prefix, slot, seen, slot, now)
    renders = Renders(table, price=0.05, retention_days=8)
    submissions = Submissions(renders, daily_limit=1000)
    asked: Any = {**ASKED, "prompt": prefix}
    complete = Ready((pair.parts["1"], pair.parts["2"]), asked, asked)
    render = submissions.mark_submitting(Claims(renders).claim(pair, complete, now) or {}, now)
    render = Jobs(renders).mark_completed(submissions.mark_accepted(render, request_id, now), url, {}, now)
    told = {
        name: render[name] for name in ("prefix", "render_id", "attempt", "generation", "request_id", "submitted_at")
    }
    return {**told, "poll": {"outcome": "completed"}}


def _rendered(local: LocalStack, samples: Path, prompt: str, size: int, eventually: Eventually) -> tuple[str, str]:
    """A job at Segmind that has completed, and the URL of its picture."""
    rule = {"prompt": prompt, "output_bytes": size, "inference": 0.1}
    with local.emulator() as emulator:
        emulator.post("script", json=rule).raise_for_status()
    s3, place = local.client("s3"), {"Bucket": local.outputs["OutputBucket"], "Key": f"{prompt}photograph.jpg"}
    s3.put_object(**place, Body=(samples / "grace_hopper.jpg").read_bytes())
    link = s3.generate_presigned_url("get_object", Params=place)
    body = {**ASKED, "prompt": prompt, "input_image_1": link, "input_image_2": link}
    headers = {"x-api-key": str(local.emulator_key)}
    with httpx.Client(base_url=local.segmind_url, headers=headers, trust_env=False) as segmind:
        request_id = segmind.post("/v2/multi-image-kontext-pro", json=body).json()["request_id"]
        images = eventually(lambda: segmind.get(f"/v2/requests/{request_id}").json().get("images"), "the picture")
    return request_id, images[0]["url"]


def _peak_of_finalize(local: LocalStack, state: Json) -> int:
    """Run Finalize as it is deployed, in a process of its own; gives the most bytes that it held."""
    function = local.client("cloudformation").describe_stack_resource(
        StackName="kontext-drop", LogicalResourceId="FinalizeFunction"
    )["StackResourceDetail"]["PhysicalResourceId"]
    variables = local.client("lambda").get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    folders = [ROOT / "functions", ROOT / "layers" / "kontext" / "python"]
    environment = {**variables, **local.account.environment(), "PYTHONPATH": ":".join(map(str, folders))}
    command = [sys.executable, "-c", RUN, json.dumps(state)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout.splitlines()[-1])
    assert told["outcome"] == "delivered", answer.stdout
    return int(told["peak"])


def _delivered_bytes(local: LocalStack, state: Json) -> int:
    key = f"{state['prefix']}result.png"
    return int(local.client("s3").head_object(Bucket=local.outputs["OutputBucket"], Key=key)["ContentLength"])
