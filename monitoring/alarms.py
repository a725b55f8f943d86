"""When an operator is called, and what the call says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kontext.metrics import NAMESPACE

Statistic = Literal["Sum", "Average", "Minimum", "Maximum"]


@dataclass(frozen=True)
class Measure:
    """What an alarm looks at; `value` is the dimension's, as the template writes it."""

    namespace: str
    metric: str
    dimension: str
    value: str
    statistic: Statistic


def ours(metric: str, statistic: Statistic) -> Measure:
    """A metric of `kontext.metrics`."""
    return Measure(NAMESPACE, metric, "service", "!Ref AWS::StackName", statistic)


def of_queue(queue: str, metric: str, statistic: Statistic) -> Measure:
    """A metric that SQS has of a queue of the template."""
    return Measure("AWS/SQS", metric, "QueueName", f"!GetAtt {queue}.QueueName", statistic)


def of_function(function: str, metric: str, statistic: Statistic) -> Measure:
    """A metric that Lambda has of a function of the template."""
    return Measure("AWS/Lambda", metric, "FunctionName", f"!Ref {function}", statistic)


@dataclass(frozen=True)
class Alarm:
    """Rings when the measure over `seconds` is at the threshold or above, or else `below` it, in `crossed` of the last
    `periods` (by default in all of them)."""

    measure: Measure
    says: str
    """What has happened, and what to do: sent to the operator, and quoted in docs/operations.md."""
    threshold: float | Literal["!Ref LowCredits"] = 1
    below: bool = False
    seconds: int = 300
    periods: int = 1
    crossed: int | None = None
    no_data: Literal["notBreaching", "ignore", "breaching"] = "notBreaching"


ALARMS: dict[str, Alarm] = {
    "AccountRefusedAlarm": Alarm(
        ours("AccountRefused", "Sum"),
        "Segmind refuses the account, or a spend limit is reached: every render is parked, nothing is lost, and all "
        "go on by themselves once it is put right. `kontext doctor` says which it is: a wrong API key (put a valid "
        "one into the stack's secret), no credits (top up), no permission for the model, or a spend limit "
        "(DailySpendLimit, or the team's at Segmind).",
        periods=2,
        crossed=1,
    ),
    "LowCreditsAlarm": Alarm(
        ours("RemainingCredits", "Minimum"),
        "Segmind's account holds less than the LowCredits parameter. Renders will park when it is empty. Top the "
        "account up at Segmind; the alarm ends with the next completed render.",
        threshold="!Ref LowCredits",
        below=True,
        no_data="ignore",
    ),
    "SegmindDownAlarm": Alarm(
        ours("ParkedOutage", "Sum"),
        "For a quarter of an hour Segmind could not be reached, or answered with server errors. Renders wait and go "
        "on by themselves when it answers again: nothing to do but to look at Segmind's status page, and at "
        "SegmindUrl if it was changed.",
        periods=4,
        crossed=3,
    ),
    "UncertainAlarm": Alarm(
        ours("Uncertain", "Sum"),
        "The answer to a paid request was lost: the job may run and be charged, so it is not sent again by itself. "
        "`kontext status` lists the render; look for it in Segmind's console, then decide with `kontext resolve "
        "PREFIX`: --request-id ID if it is there, else --resubmit or --give-up.",
    ),
    "StrangeCostAlarm": Alarm(
        ours("StrangeCost", "Sum"),
        "Segmind states a cost for a picture that cannot be: none, or more than four times PricePerRender. It is "
        "booked at PricePerRender, so that the daily limit neither closes nor opens by mistake. `kontext explain "
        "PREFIX` shows it; `kontext audit` compares the balance. If the price has changed, set the PricePerRender "
        "parameter.",
    ),
    "UnexplainedSpendAlarm": Alarm(
        ours("UnexplainedUsd", "Maximum"),
        "Segmind's balance has lost more than this stack has booked: over three prices and 5 % of the day. Either "
        "others use the account, or requests were charged that the stack does not know of, or the price has risen. "
        "`kontext audit` says which it can be, and names the renders.",
        threshold=0.001,
    ),
    "RendersFailingAlarm": Alarm(
        ours("Failed", "Average"),
        "In three of the last twelve five-minute periods at least half of the renders that ended had failed. "
        "Nothing was charged for them. `kontext status` says why: if the code is render_failed or server_error for "
        "all kinds of pairs, Segmind has a problem; else the drops themselves are wrong, and those who dropped them "
        "are told.",
        threshold=0.5,
        periods=12,
        crossed=3,
    ),
    "UndeliveredAlarm": Alarm(
        ours("Undelivered", "Sum"),
        "A picture is paid and could not be copied to the output bucket for ten minutes, or at all. Segmind deletes "
        "it after 7 days. `kontext explain PREFIX` says why (a host that is not in ResultHosts, a bucket that "
        "refuses): remove the cause; it is tried again by itself, and at once by `kontext redeliver --all`. Nothing "
        "is paid again.",
    ),
    "DeadLettersAlarm": Alarm(
        of_queue("DeadLetterQueue", "ApproximateNumberOfMessagesVisible", "Maximum"),
        "Messages that nobody could read, that failed for two days, or that killed the function again and again: "
        "what they tell of is not worked on. `kontext doctor` tells what one of them died of, the Submit function's "
        "log has the rest. Remove the cause, then `kontext redrive` moves them back; nothing is paid twice.",
    ),
    "DropsFailingAlarm": Alarm(
        ours("Retried", "Sum"),
        "For half an hour drops could not be recorded: an AWS service does not answer, or the Submit function may "
        "not read an object (often a KMS key, or a permission that was taken away). Nothing is lost: each is tried "
        "again for two days, every quarter of an hour at last. The Submit function's log says what fails; remove "
        "the cause.",
        seconds=900,
        periods=3,
        crossed=2,
    ),
    "UploadQueueOldAlarm": Alarm(
        of_queue("UploadQueue", "ApproximateAgeOfOldestMessage", "Maximum"),
        "A message has been in the upload queue for half an hour: drops are not worked on. Parked renders do not "
        "count: they wait in the table. Look at the Submit function: its errors, its throttles, and whether its "
        "event source mapping is enabled (`kontext doctor` checks it).",
        threshold=1800,
    ),
    "PollFailingAlarm": Alarm(
        of_function("PollFunction", "Errors", "Sum"),
        "The Poll function crashes: submitted renders are not polled, and Segmind forgets a job after an hour. The "
        "workflow tries again for an hour, so put it right now: the function's log says what happened (often a "
        "permission, a limit or the last deployment; roll that back).",
        threshold=3,
    ),
    "FinalizeFailingAlarm": Alarm(
        of_function("FinalizeFunction", "Errors", "Sum"),
        "The Finalize function crashes: rendered pictures are not delivered, or nobody is told. They are paid and "
        "kept at Segmind for 7 days, and delivery is tried again for as long, at last every hour. The function's "
        "log says what happened (often a permission, a limit or the last deployment). Remove the cause; `kontext "
        "redeliver --all` then delivers what is paid at once, and nothing is paid again.",
        threshold=3,
    ),
    "SubmitThrottledAlarm": Alarm(
        of_function("SubmitFunction", "Throttles", "Sum"),
        "For a quarter of an hour Lambda has refused to run the Submit function: the account's concurrency is used "
        "up, or somebody has limited the function's own. Drops and the line come late, none is lost. `kontext "
        "doctor` says which it is: ask AWS for more concurrent executions (Service Quotas, Lambda; new accounts "
        "have 10), free what other functions use, or take the function's limit away.",
        periods=3,
    ),
    "PollThrottledAlarm": Alarm(
        of_function("PollFunction", "Throttles", "Sum"),
        "For a quarter of an hour Lambda has refused to run the Poll function: the account's concurrency is used "
        "up. Renders come late, none is lost. Ask AWS for more concurrent executions (Service Quotas, Lambda; new "
        "accounts have 10), or free what other functions use.",
        periods=3,
    ),
    "SweepSilentAlarm": Alarm(
        of_function("SweepFunction", "Invocations", "Sum"),
        "For ten minutes nobody has called the Sweep function: a render whose message or execution is lost stands "
        "still, all others go on. Look at its schedule in EventBridge Scheduler (`kontext doctor` checks it) and at "
        "the role ScheduleRole. In a new stack the alarm ends with the first calls.",
        below=True,
        seconds=600,
        no_data="breaching",
    ),
    "StuckAlarm": Alarm(
        ours("Stuck", "Maximum"),
        "Something stands still: Submit has looked at it ten times, ever more seldom, and each time that "
        "failed. `kontext doctor` names the pairs, the Submit function's log says what fails (often a permission, "
        "or an AWS service that does not answer). Remove the cause: it is looked at once an hour, and then goes on "
        "by itself; `kontext explain PREFIX` tells how far a pair came.",
    ),
}
