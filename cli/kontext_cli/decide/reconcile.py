"""`kontext reconcile`: a table that was restored to an earlier moment learns what has been paid since.

Three places outside the table know of it: the picture in the output bucket names its render and Segmind's job, each
execution of the workflow is given both, and an error.json tells of an answer that was lost. Nothing here pays, and the
command may be given again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from typing import Any

from botocore.exceptions import ClientError
from PIL import Image

from kontext.clock import iso
from kontext.drops import keys
from kontext.dynamodb import ConditionFailed
from kontext.model import ENDED, IN_FLIGHT, Render, Result, Status
from kontext.renders.settle import with_picture
from kontext.renders.submissions import Submissions
from kontext.workflow_state import WorkflowState
from kontext_cli import target
from kontext_cli.decide.operate import Operator
from kontext_cli.terminal import print_json, progress

_NO_LIMIT = 1e9
_A_DAY_SECONDS = 86_400.0
_NOT_SURELY_PAID = (Status.CLAIMED, Status.SUBMITTING, Status.UNCERTAIN)


class Reconciliation:
    """A stack whose table is behind, and what is known outside of it."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.chosen = operator.chosen
        self.s3 = self.chosen.client("s3")
        self.bucket = self.chosen.output("OutputBucket")
        self.renders = operator.renders
        # What has been paid is counted, whatever today's limit says.
        self.submissions = Submissions(self.renders, daily_limit=_NO_LIMIT)

    def run(self) -> Iterator[tuple[Render, str]]:
        """Bring up each render that has not ended; yields those of which more was known, and what."""
        known = self.operator.all_renders()
        newest = max((render["updated_at"] for render in known), default="")
        jobs = self._jobs(newest)
        for render in known:
            if render["status"] in ENDED and render["status"] != Status.UNCERTAIN:
                continue
            try:
                said = self._bring_up(render, jobs.get((render["prefix"], render["render_id"])))
            except ConditionFailed:
                said = "has just moved on"
            if said:
                yield render, said
        self.operator.throttle.read()
        self.operator.throttle.mark_reconciled()

    def _bring_up(self, render: Render, job: WorkflowState | None) -> str | None:
        now = self.operator.clock.now()
        if picture := self._picture(render):
            result, request_id = picture
            if render["status"] in _NOT_SURELY_PAID:
                sent_at = job["submitted_at"] if job else now
                render = self._accepted(render, request_id, sent_at) if request_id else self._found(render)
            if render["status"] in IN_FLIGHT:
                render = self.operator.jobs.mark_completed(render, "", {}, now)
            self.operator.deliveries.mark_delivered(render, result, now)
            return "its picture is in the output bucket"
        if (
            job
            and job["request_id"]
            and render["status"] in _NOT_SURELY_PAID
            and job["request_id"] != render.get("request_id")
        ):
            later: Render = {**render, "generation": max(render.get("generation", 0), job.get("generation", 0))}
            self.operator.workflow.start(self._accepted(later, job["request_id"], job["submitted_at"]), wait=0)
            return f"Segmind has its job {job['request_id']}: it is looked at"
        if render["status"] == Status.CLAIMED and self._is_uncertain(render):
            render = self.submissions.mark_submitting(render, now)
            self.submissions.mark_uncertain(render, "the answer was lost, as error.json says", now)
            return "the answer to its request was lost: `kontext resolve` decides"
        return None

    def _accepted(self, render: Render, request_id: str, submitted_at: float) -> Render:
        if render["status"] == Status.CLAIMED:
            render = self.submissions.mark_submitting(render, self.operator.clock.now())
        return self.submissions.mark_accepted(render, request_id, submitted_at)

    def _found(self, render: Render) -> Render:
        """A person had given the picture's link, and nothing names its job."""
        now = self.operator.clock.now()
        if render["status"] == Status.CLAIMED:
            render = self.submissions.mark_submitting(render, now)
        if render["status"] == Status.SUBMITTING:
            render = self.submissions.mark_uncertain(render, "its picture is in the output bucket", now)
        return with_picture(self.renders, render, "", now)

    def _picture(self, render: Render) -> tuple[Result, str | None] | None:
        """The render's own picture in the output bucket, and the job that made it; None if a person gave its link."""
        if "parameters" not in render:
            return None
        pair = self.operator.drops.get(render["prefix"])
        overtaken = pair is not None and pair.current != render["render_id"]
        ours = ((key, found) for key in _keys_of(render, overtaken) if (found := self._read_ours(key, render)))
        key, found = next(ours, ("", None))
        if found is None:
            return None
        body = found["Body"].read()
        with Image.open(BytesIO(body)) as picture:
            width, height = picture.size
        result: Result = {
            "bucket": self.bucket,
            "key": key,
            "version_id": found.get("VersionId"),
            "etag": found["ETag"].strip('"'),
            "content_type": found["ContentType"],
            "bytes": len(body),
            "sha256": sha256(body).hexdigest(),
            "width": width,
            "height": height,
            "superseded": overtaken,
            "other_format": keys.format_of(key) != render["parameters"]["output_format"],
        }
        return result, found["Metadata"].get("request-id")

    def _is_uncertain(self, render: Render) -> bool:
        found = self._read(keys.error_key(render["prefix"]))
        said = json.loads(found["Body"].read()) if found else {}
        return (said.get("render_id"), said.get("code")) == (render["render_id"], "uncertain")

    def _read_ours(self, key: str, render: Render) -> dict[str, Any] | None:
        found = self._read(key)
        return found if found and found["Metadata"].get("render-id") == render["render_id"] else None

    def _read(self, key: str) -> dict[str, Any] | None:
        try:
            return dict(self.s3.get_object(Bucket=self.bucket, Key=key))
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            return None

    def _jobs(self, newest: str) -> dict[tuple[str, str], WorkflowState]:
        """The last job of each render, as its execution was told; of executions since the day before the table's
        newest write."""
        jobs: dict[tuple[str, str], WorkflowState] = {}
        for execution in self._executions():
            if iso(execution["startDate"].timestamp() + _A_DAY_SECONDS) < newest:
                break  # the newest come first
            states = self.chosen.client("stepfunctions")
            given = json.loads(states.describe_execution(executionArn=execution["executionArn"])["input"])
            jobs.setdefault((given["prefix"], given["render_id"]), given)
        return jobs

    def _executions(self) -> Iterator[dict[str, Any]]:
        states, asked = self.chosen.client("stepfunctions"), {"stateMachineArn": self.operator.workflow.arn}
        while True:
            page = states.list_executions(**asked)
            yield from page["executions"]
            if not page.get("nextToken"):
                return
            asked["nextToken"] = page["nextToken"]


def _keys_of(render: Render, overtaken: bool) -> Iterator[str]:
    """Where its picture may be: in the format that was asked for, or in another one."""
    asked, name = render["parameters"]["output_format"], (render["prefix"], render["render_id"])
    for each in sorted(keys.RESULT_FORMATS, key=lambda one: one != asked):
        yield keys.superseded_key(*name, each) if overtaken else keys.result_key(render["prefix"], each)


def run(*, stack: str | None, as_json: bool) -> int:
    """Bring the table up to what is known outside of it; returns the exit code."""
    reconciled = []
    with progress() as shown:
        shown.waiting("comparing the table with the output bucket and the executions")
        for render, said in Reconciliation(Operator(target.find(stack))).run():
            reconciled.append({"prefix": render["prefix"], "render_id": render["render_id"], "what": said})
            shown.step(f"{render['prefix']}: {said}")
        shown.line(f"{len(reconciled)} renders brought up to what is known of them. `kontext resume` lets the rest go.")
    if as_json:
        print_json(reconciled)
    return 0
