"""How long a function takes from process start until its handler can answer, beside what its packages cost at least.

Each start is a new Python that sees only the built layers, the built function and a runtime's boto3, and can write
no byte code: as in Lambda. The floor of a function is a bare script that imports boto3 and httpx from the same
places and makes the same clients.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.layer import built
from bench.part import Part
from kontext_local import runtime

STARTS = 15
_FOLDERS = {"submit": "SubmitFunction", "poll": "PollFunction", "finalize": "FinalizeFunction"}
_WHERE = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_LAMBDA_FUNCTION_NAME": "bench",  # makes a function prepare its clients
    "POWERTOOLS_SERVICE_NAME": "bench",
    "PYTHONDONTWRITEBYTECODE": "1",
}


SERVICES = {
    "submit": ("s3", "dynamodb", "secretsmanager", "stepfunctions"),
    "poll": ("dynamodb", "secretsmanager"),
    "finalize": ("dynamodb", "s3", "sns"),
}
"""What the usual first invocation of a function talks to."""

_READY = """
import json, resource, sys, time
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([time.time(), used.ru_utime + used.ru_stime, len(sys.modules)]))
"""


class Start(NamedTuple):
    """Seconds until ready, by the clock and of the processor, and how many modules are loaded then."""

    wall: float
    cpu: float
    modules: float


def measure(starts: int = STARTS) -> Part:
    """Starts each function and its floor in turn, so that both meet the same machine."""
    with places(built()) as where:
        found = {name: compare(name, where[name], starts) for name in SERVICES}
    return Part(
        summary={"cold_start_over_floor": {name: ours.wall / floor.wall for name, (ours, floor) in found.items()}},
        figures={
            "starts": starts,
            "seconds": {
                name: {"ours": ours._asdict(), "floor": floor._asdict()} for name, (ours, floor) in found.items()
            },
        },
        text=_text(found, starts),
    )


def compare(name: str, path: str, starts: int) -> tuple[Start, Start]:
    """The fastest of a function's starts and of its floor's: whatever else runs on a machine only ever adds."""
    environment = _WHERE | _settings(path) | {"PYTHONPATH": path}
    ours, floor = [], []
    for _ in range(starts):
        ours.append(_start(_function(name), environment))
        floor.append(_start(_floor(name), environment))
    return _fastest(ours), _fastest(floor)


def _start(script: str, environment: Mapping[str, str]) -> Start:
    command = [sys.executable, "-S", "-c", script + _READY]  # -S: nothing but what PYTHONPATH names
    began = time.time()
    done = subprocess.run(command, env=dict(environment), check=True, stdout=subprocess.PIPE, text=True)
    ready, cpu, modules = json.loads(done.stdout)
    return Start(ready - began, cpu, modules)


def _fastest(starts: list[Start]) -> Start:
    return Start(*map(min, zip(*starts, strict=True)))


def _function(name: str) -> str:
    return f"from {name} import handler\nfrom kontext.connections import connect\nassert vars(connect())['table']\n"


def _floor(name: str) -> str:
    made = "\n".join(f"boto3.client({service!r})" for service in SERVICES[name])
    return f"import boto3, httpx\n{made}\nhttpx.Client()\n"


def _settings(path: str) -> dict[str, str]:
    package = Path(path.split(":")[1], "kontext")
    source = "".join((package / module).read_text() for module in ("connections.py", "stores.py"))
    return dict.fromkeys(re.findall(r'environment\["(\w+)"\]', source), "1")


@contextmanager
def places(build: Path) -> Iterator[dict[str, str]]:
    """Where Python looks, by function: the function, the layers, and the packages of a Lambda runtime."""
    layers = [str(build / layer / "python") for layer in ("KontextLayer", "DependenciesLayer")]
    with tempfile.TemporaryDirectory() as packages:
        runtime.link_packages(Path(packages))
        yield {name: ":".join([str(build / folder), *layers, packages]) for name, folder in _FOLDERS.items()}


def _text(found: Mapping[str, tuple[Start, Start]], starts: int) -> str:
    rows = "\n".join(
        f"| {name} | {ours.wall:.2f} | {floor.wall:.2f} | {ours.wall / floor.wall:.2f} | {ours.cpu / floor.cpu:.2f} "
        f"| {ours.modules:.0f} | {floor.modules:.0f} |"
        for name, (ours, floor) in found.items()
    )
    return (
        "## Cold start\n\nSeconds from process start until the handler and its clients are ready, of a Python that\n"
        f"sees only what is deployed; the fastest of {starts} starts in turn with the floor's: a bare script\n"
        "that imports boto3 and httpx and makes the same clients.\n\n"
        "| function | s | floor, s | ratio | ratio of processor time | modules | floor's |\n"
        f"|---|--:|--:|--:|--:|--:|--:|\n{rows}"
    )
