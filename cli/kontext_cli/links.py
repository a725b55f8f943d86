"""Where to look further: the pages of the AWS console about a stack and about one pair."""

from __future__ import annotations

import re
from urllib.parse import quote

from kontext.drops.pairs import partition
from kontext_cli.read.timeline import Timeline
from kontext_cli.read.views import RenderView
from kontext_cli.resources import physical_ids
from kontext_cli.target import LOCAL, Target

LOGS = ("SubmitLog", "SweepLog", "PollLog", "FinalizeLog")
WEEK_SECONDS = 7 * 86_400


def of_render(target: Target, timeline: Timeline, render: RenderView) -> dict[str, str]:
    """The console's pages about a render, by what they show; none for a local stack, which has no console."""
    if target.name == LOCAL:
        return {}
    console, region = _console(target)
    found = {
        "record": _items(target, console, region, render.prefix),
        "logs": _logs(target, console, region, render.render_id),
    }
    if render.request_id:
        for arn in timeline.execution_arns(render)[-1:]:
            execution = quote(arn, safe=":")
            found["execution"] = f"{console}/states/home?region={region}#/v2/executions/details/{execution}"
    if render.result:
        bucket, key = render.result["bucket"], quote(render.result["key"], safe="")
        found["result"] = f"{console}/s3/object/{bucket}?region={region}&prefix={key}"
    return found


def _console(target: Target) -> tuple[str, str]:
    region = target.output("RenderWorkflowArn").split(":")[3]
    return f"https://{region}.console.aws.amazon.com", region


def _items(target: Target, console: str, region: str, prefix: str) -> str:
    table, pk = target.output("RendersTable"), quote(partition(prefix), safe="")
    return f"{console}/dynamodbv2/home?region={region}#item-explorer?operation=QUERY&pk={pk}&table={table}"


def _logs(target: Target, console: str, region: str, render_id: str) -> str:
    """A query of Logs Insights over the functions, in the console's own spelling."""
    query = f"fields @timestamp, message, code, reason, @message | filter render_id = '{render_id}' | sort @timestamp"
    ids = physical_ids(target)
    groups = "".join(f"~'{_spelled(ids[log])}" for log in LOGS)
    detail = f"~(end~0~start~-{WEEK_SECONDS}~timeType~'RELATIVE~unit~'seconds~editorString~'{_spelled(query)}"
    return f"{console}/cloudwatch/home?region={region}#logsV2:logs-insights$3FqueryDetail$3D{detail}~source~({groups}))"


def _spelled(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", lambda found: f"*{ord(found[0]):02x}", text)
