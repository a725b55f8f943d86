"""What an operator can look at: rows of widgets, each as wide as its neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kontext.errors import REASONS
from kontext.metrics import METRICS, NAMESPACE, Metric, parked
from monitoring.alarms import ALARMS

Options = dict[str, str | bool]
Line = list[str | Options]
"""A metric of a chart, as CloudWatch writes it: namespace, name, dimension, its value, and how it is drawn."""
Properties = dict[str, object]
Widget = dict[str, object]

COLUMNS = 24
REGION = "${AWS::Region}"
STACK = "${AWS::StackName}"
LOW_CREDITS = "${LowCredits}"


def _line(namespace: str, name: str, dimension: str, value: str, options: Options) -> Line:
    return [namespace, name, dimension, value, *([options] if options else [])]


def ours(name: str, **options: str) -> Line:
    """A metric of `kontext.metrics`."""
    return _line(NAMESPACE, name, "service", STACK, dict(options))


def of_queue(queue: str, name: str, **options: str) -> Line:
    """A metric that SQS has of a queue of the template."""
    return _line("AWS/SQS", name, "QueueName", f"${{{queue}.QueueName}}", dict(options))


def of_function(function: str, name: str) -> Line:
    """A metric that Lambda has of a function of the template."""
    return _line(
        "AWS/Lambda", name, "FunctionName", f"${{{function}Function}}", {"label": f"{function} {name.lower()}"}
    )


def of_workflow(name: str, variable: str) -> Line:
    """A metric that Step Functions has of the workflow, for use in an expression."""
    return _line("AWS/States", name, "StateMachineArn", "${RenderWorkflow}", {"id": variable, "visible": False})


@dataclass(frozen=True)
class Chart:
    """Metrics over time, by default each with its sum over five minutes."""

    title: str
    lines: list[Line]
    stat: str = "Sum"
    seconds: int = 300
    more: Properties = field(default_factory=dict)

    kind = "metric"
    height = 6

    @property
    def properties(self) -> Properties:
        drawn = {"title": self.title, "region": REGION, "stat": self.stat, "period": self.seconds, "view": "timeSeries"}
        return {**drawn, **self.more, "metrics": self.lines}


@dataclass(frozen=True)
class Query:
    """A table of what the functions have logged."""

    title: str
    query: str

    kind = "log"
    height = 8

    @property
    def properties(self) -> Properties:
        logs = "".join(f"SOURCE '${{{name}Log}}' | " for name in ("Submit", "Sweep", "Poll", "Finalize"))
        return {"title": self.title, "region": REGION, "view": "table", "query": logs + self.query}


@dataclass(frozen=True)
class Alarms:
    """The state of each alarm."""

    kind = "alarm"
    height = 2

    @property
    def properties(self) -> Properties:
        return {"title": "Alarms", "alarms": [f"${{{name}.Arn}}" for name in ALARMS]}


@dataclass(frozen=True)
class Text:
    """Where else to look."""

    kind = "text"
    height = 3

    @property
    def properties(self) -> Properties:
        links = (f"[{name}](https://{REGION}.console.aws.amazon.com/{page})" for name, page in LINKS.items())
        return {"markdown": f"# {STACK}\n{' · '.join(links)}\n\n{ADVICE}"}


_HERE = f"?region={REGION}"
_QUEUES = f"sqs/v3/home{_HERE}#/queues/https%3A%2F%2Fsqs.{REGION}.amazonaws.com%2F${{AWS::AccountId}}%2F"
LINKS = {
    "state machine": f"states/home{_HERE}#/statemachines/view/${{RenderWorkflow}}",
    "table": f"dynamodbv2/home{_HERE}#item-explorer?table=${{RendersTable}}",
    "upload queue": f"{_QUEUES}${{UploadQueue.QueueName}}",
    "dead letters": f"{_QUEUES}${{DeadLetterQueue.QueueName}}",
    "input bucket": f"s3/buckets/${{InputBucket}}{_HERE}",
    "output bucket": f"s3/buckets/${{OutputBucket}}{_HERE}",
    "alarms": f"cloudwatch/home{_HERE}#alarmsV2:",
}
"""Pages of AWS's console."""
ADVICE = (
    f"`kontext doctor --stack {STACK}` says what is wrong, `kontext explain PREFIX --stack {STACK}` tells the story of "
    "one pair. What to do at an alarm stands in its description."
)

OUTCOMES = Chart("Renders by outcome", [ours(name) for name in ("Delivered", "Failed", "Uncertain", "Undelivered")])
PARKED = Chart("Parked, by reason", [ours(parked(reason)) for reason in REASONS], more={"stacked": True})
WAITING = Chart(
    "In flight at Segmind since the left edge; waiting",
    [
        [
            {
                "expression": "RUNNING_SUM(FILL(began,0)-FILL(done,0)-FILL(failed,0)-FILL(aborted,0)-FILL(late,0))",
                "label": "in flight",
                "id": "flying",
            }
        ],
        of_workflow("ExecutionsStarted", "began"),
        of_workflow("ExecutionsSucceeded", "done"),
        of_workflow("ExecutionsFailed", "failed"),
        of_workflow("ExecutionsAborted", "aborted"),
        of_workflow("ExecutionsTimedOut", "late"),
        ours("InLine", label="in line", stat="Maximum"),
        of_queue("UploadQueue", "ApproximateNumberOfMessagesVisible", label="to be worked on", stat="Maximum"),
    ],
)
SEGMIND = Chart(
    "Segmind's time (s)",
    [
        ours("InferenceSeconds", stat="p50", label="inference p50"),
        ours("InferenceSeconds", stat="p95", label="inference p95"),
        ours("QueueSeconds", stat="p50", label="queue p50"),
        ours("QueueSeconds", stat="p95", label="queue p95"),
    ],
)
LAG = Chart(
    "Lag: completed at Segmind until seen (s)",
    [ours("Lag", stat=stat, label=label) for stat, label in (("p50", "p50"), ("p95", "p95"), ("Maximum", "most"))],
)
AGE = Chart(
    "Age of the oldest message, and of the first in line (s)",
    [of_queue("UploadQueue", "ApproximateAgeOfOldestMessage", label="message"), ours("LineAge", label="in line")],
    stat="Maximum",
)
SPEND = Chart(
    "Spend per day (USD)",
    [
        ours("CostUsd", label="spent"),
        ours("UnexplainedUsd", label="unexplained", stat="Maximum"),
        ours("StrangeCost", label="costs that cannot be (count)"),
    ],
    seconds=86_400,
)
CREDITS = Chart(
    "Remaining credits (USD)",
    [ours("RemainingCredits", label="credits")],
    stat="Minimum",
    more={"annotations": {"horizontal": [{"label": "LowCredits", "value": LOW_CREDITS}]}},
)
DEAD_LETTERS = Chart(
    "Dead letters",
    [of_queue("DeadLetterQueue", "ApproximateNumberOfMessagesVisible", label="dead letters")],
    stat="Maximum",
)
FUNCTIONS = Chart(
    "Functions: errors and throttles; calls of Sweep",
    [
        of_function("Submit", "Errors"),
        of_function("Submit", "Throttles"),
        of_function("Sweep", "Invocations"),
        of_function("Sweep", "Errors"),
        of_function("Poll", "Errors"),
        of_function("Poll", "Throttles"),
        of_function("Finalize", "Errors"),
        of_function("Finalize", "Throttles"),
    ],
)
REFUSED = Chart("Refused by Segmind", [ours("AccountRefused"), ours("RateLimited")])
FAILURES = Query(
    "Latest failures",
    "fields @timestamp, pair, code, reason, message, render_id, request_id "
    '| filter ispresent(code) or level in ["WARNING", "ERROR", "CRITICAL"] | sort @timestamp desc | limit 50',
)
SLOWEST = Query(
    "Slowest renders",
    "fields @timestamp, pair, total_seconds, queue_time, inference_time, render_id, request_id "
    "| filter ispresent(total_seconds) | sort total_seconds desc | limit 25",
)
ELSEWHERE = (OUTCOMES, PARKED, WAITING, SEGMIND, LAG, AGE, SPEND, CREDITS, REFUSED)


def drops(metrics: Mapping[str, Metric]) -> Chart:
    """All counts that no other chart shows: a new metric that is one needs no place of its own."""
    shown = {line[1] for chart in ELSEWHERE for line in chart.lines if len(line) > 1}
    counts = [name for name, metric in metrics.items() if metric.unit == "Count" and name not in shown]
    return Chart("Drops", [ours(name, **STATISTICS.get(name, {})) for name in counts])


STATISTICS = {"Stuck": {"stat": "Maximum"}}
"""For what each sweep counts anew: the sum over five minutes would be five times as much."""

ROWS: list[list[Text | Alarms | Chart | Query]] = [
    [Text()],
    [Alarms()],
    [drops(METRICS), OUTCOMES],
    [PARKED, WAITING],
    [SEGMIND, LAG, AGE],
    [SPEND, CREDITS, DEAD_LETTERS],
    [FUNCTIONS, REFUSED],
    [FAILURES, SLOWEST],
]


def widgets() -> Iterator[Widget]:
    """Each widget with its place."""
    top = 0
    for row in ROWS:
        width, height = COLUMNS // len(row), max(one.height for one in row)
        for number, one in enumerate(row):
            place = {"x": number * width, "y": top, "width": width, "height": height}
            yield {"type": one.kind, **place, "properties": one.properties}
        top += height
