"""What operators see: alarms, dashboard, measures and pages agree with each other and with the code."""

from __future__ import annotations

import ast
import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import typer

import monitoring.template
from bench import costs
from kontext.errors import CODES, REASONS
from kontext.metrics import METRICS, NAMESPACE, Metric, parked
from kontext.throttle.circuit_breaker import PAUSED, WORKFLOW
from monitoring.dashboard import PARKED, drops, ours
from scripts import tables

Json = dict[str, Any]

METRICS_OF_AWS = {
    ("AWS/SQS", "QueueName"): {
        "ApproximateAgeOfOldestMessage",
        "ApproximateNumberOfMessagesDelayed",
        "ApproximateNumberOfMessagesVisible",
    },
    ("AWS/Lambda", "FunctionName"): {"Errors", "Invocations", "Throttles"},
    ("AWS/States", "StateMachineArn"): {
        "ExecutionsStarted",
        "ExecutionsSucceeded",
        "ExecutionsFailed",
        "ExecutionsAborted",
        "ExecutionsTimedOut",
    },
}
"""As AWS documents them, by namespace and dimension."""
LONGEST_DESCRIPTION = 1024
COLUMNS = 24


@pytest.fixture(scope="session")
def alarms(resources: Json) -> dict[str, Json]:
    """The properties of each alarm, by logical id."""
    found = {
        name: resource["Properties"]
        for name, resource in resources.items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }
    assert found
    return found


@pytest.fixture(scope="session")
def body(resources: Json) -> str:
    """The dashboard's body as it is written, a number in place of each parameter that is one."""
    text: str = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    return text.replace("${LowCredits}", "5")


@pytest.fixture(scope="session")
def widgets(body: str) -> list[Json]:
    """The dashboard's widgets."""
    widgets: list[Json] = json.loads(body)["widgets"]
    return widgets


def test_alarms_and_dashboard_of_the_template_are_those_of_the_code(root: Path) -> None:
    text = (root / "template.yaml").read_text()

    assert text == monitoring.template.filled(text), "run `make generated`"


def test_a_new_count_and_a_new_reason_have_a_place_on_the_dashboard() -> None:
    added = METRICS | {"Counted": Metric("Count", "what is counted from now on")}

    assert drops(added).lines == [*drops(METRICS).lines, ours("Counted")]
    assert [ours(parked(reason)) for reason in REASONS] == PARKED.lines


def test_an_alarm_names_only_codes_and_reasons_that_exist(alarms: dict[str, Json]) -> None:
    named = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", " ".join(alarm["AlarmDescription"] for alarm in alarms.values())))

    assert named
    assert named <= CODES.keys() | REASONS.keys()


def test_every_alarm_calls_the_operators(alarms: dict[str, Json]) -> None:
    deaf = [name for name, alarm in alarms.items() if alarm["AlarmActions"] != [{"Ref": "AlarmTopic"}]]

    assert deaf == []


def test_every_alarm_says_what_to_do_and_where_more_is_written(alarms: dict[str, Json]) -> None:
    for name, alarm in alarms.items():
        assert name.endswith("Alarm")
        assert alarm["AlarmDescription"].endswith(f"(docs/operations.md#{name.lower()})")
        assert 150 < len(alarm["AlarmDescription"]) <= LONGEST_DESCRIPTION


def test_what_the_alarms_cost_a_month_is_told(root: Path, alarms: dict[str, Json]) -> None:
    told = re.search(r"\| … (\d+) alarms at 0\.10 .*\| (\d\.\d\d) \|", (root / "docs" / "deploy.md").read_text())

    assert told
    assert (int(told[1]), float(told[2])) == (len(alarms), round(0.1 * len(alarms), 2))


def test_what_sweep_costs_a_month_that_has_nothing_to_do_is_told(root: Path) -> None:
    deploy = (root / "docs" / "deploy.md").read_text()

    assert f"Sweep, called {costs.MINUTES_A_MONTH:,} times | {costs.sweeping():.2f} |" in deploy


def test_every_alarm_looks_at_a_metric_that_exists(alarms: dict[str, Json]) -> None:
    for alarm in alarms.values():
        (dimension,) = alarm["Dimensions"]
        if alarm["Namespace"] == NAMESPACE:
            assert alarm["MetricName"] in METRICS
            assert dimension == {"Name": "service", "Value": {"Ref": "AWS::StackName"}}
        else:
            assert alarm["MetricName"] in METRICS_OF_AWS[alarm["Namespace"], dimension["Name"]]


def test_every_alarm_says_what_no_data_means(alarms: dict[str, Json]) -> None:
    told = {name: alarm["TreatMissingData"] for name, alarm in alarms.items()}

    # Without renders there is no balance; a low one stays low until there is.
    assert told.pop("LowCreditsAlarm") == "ignore"
    # A function that nobody calls measures nothing.
    assert told.pop("SweepSilentAlarm") == "breaching"
    assert set(told.values()) == {"notBreaching"}


def test_no_alarm_uses_what_costs_more_or_cannot_be_proved(alarms: dict[str, Json]) -> None:
    for alarm in alarms.values():
        assert "Metrics" not in alarm
        assert alarm["Period"] % 60 == 0
        assert alarm["Period"] * alarm["EvaluationPeriods"] <= 86_400


def test_the_widgets_stand_side_by_side(widgets: list[Json]) -> None:
    overlapping = [(one["x"], one["y"]) for one, other in combinations(widgets, 2) if _overlap(one, other)]

    assert overlapping == []
    assert all(one["x"] + one["width"] <= COLUMNS for one in widgets)


def test_the_dashboard_shows_every_measure_and_only_metrics_that_exist(widgets: list[Json]) -> None:
    shown = [metric for widget in widgets for metric in widget["properties"].get("metrics", ()) if len(metric) > 1]

    ours = {name for namespace, name, *_ in shown if namespace == NAMESPACE}
    others = [(namespace, name, dimension) for namespace, name, dimension, *_ in shown if namespace != NAMESPACE]
    assert ours == set(METRICS)
    assert [one for one in others if one[1] not in METRICS_OF_AWS[one[0], one[2]]] == []
    assert all(metric[2:4] == ["service", "${AWS::StackName}"] for metric in shown if metric[0] == NAMESPACE)


def test_the_dashboard_shows_every_alarm(widgets: list[Json], alarms: dict[str, Json]) -> None:
    (widget,) = (one for one in widgets if one["type"] == "alarm")

    assert widget["properties"]["alarms"] == [f"${{{name}.Arn}}" for name in alarms]


def test_the_sum_of_what_is_in_flight_uses_metrics_of_its_own_widget(widgets: list[Json]) -> None:
    (metrics,) = (
        widget["properties"]["metrics"] for widget in widgets if "in flight" in str(widget["properties"].get("metrics"))
    )
    ids = {metric[-1]["id"] for metric in metrics if isinstance(metric[-1], dict) and "id" in metric[-1]}

    (expression,) = (metric[0]["expression"] for metric in metrics if len(metric) == 1)

    assert set(re.findall(r"\b[a-z]+\b", expression)) <= ids


def test_the_dashboard_asks_all_logs_for_fields_that_the_functions_write(
    widgets: list[Json], resources: Json, root: Path
) -> None:
    code = "".join(path.read_text() for path in _sources(root))

    queries = [widget["properties"]["query"] for widget in widgets if widget["type"] == "log"]

    groups = [name for name, one in resources.items() if one["Type"] == "AWS::Logs::LogGroup"]
    for query in queries:
        assert re.findall(r"SOURCE '\$\{(\w+)\}'", query) == groups
        fields = re.search(r"fields @timestamp, ([^|]*) \|", query)
        assert fields
        assert [name for name in fields[1].split(", ") if name != "message" and name not in code] == []


def test_the_dashboard_links_to_the_workflow_the_table_and_the_queues(widgets: list[Json]) -> None:
    (text,) = (widget["properties"]["markdown"] for widget in widgets if widget["type"] == "text")

    links = re.findall(r"\]\((\S+?)\)", text)

    assert all(link.startswith("https://${AWS::Region}.console.aws.amazon.com/") for link in links)
    for name in (
        "RenderWorkflow",
        "RendersTable",
        "UploadQueue.QueueName",
        "DeadLetterQueue.QueueName",
        "OutputBucket",
    ):
        assert sum(f"${{{name}}}" in link for link in links) == 1


def test_the_functions_tell_only_measures_that_are_known(root: Path) -> None:
    told = {keyword for path in _sources(root) for keyword in _keywords_of_emit(path)}

    assert told
    assert told <= METRICS.keys()


def test_no_measure_names_a_pair(root: Path) -> None:
    text = "".join(path.read_text() for path in _sources(root))

    assert "flush_metrics" in text
    assert "dimension(" not in text
    assert "dimensions(" not in text


def test_every_reason_to_park_has_a_measure_and_a_meaning(root: Path) -> None:
    text = "".join(path.read_text() for path in _sources(root))
    given = re.findall(r'(?:join_line\(render, |breaker\.open\(|Wait\()"(\w+)"', text)
    used = {*given, *_refusals(root), PAUSED, WORKFLOW}

    assert used == REASONS.keys()
    assert {parked(reason) for reason in REASONS} <= METRICS.keys()


@pytest.mark.parametrize("page", ["README.md", "docs/events.md", "docs/operations.md"])
def test_what_a_page_says_of_the_code_is_what_the_code_says(root: Path, page: str) -> None:
    text = (root / page).read_text()

    assert text == tables.filled(text), "run `make generated`"
    assert "<!-- generated: " in text


def test_each_alarm_has_a_section_that_quotes_it(root: Path, alarms: dict[str, Json]) -> None:
    text = (root / "docs" / "operations.md").read_text()

    sections = dict(
        re.findall(r"^### (\w+Alarm)\n\n<!-- generated: \w+ -->\n> (.*?)\n<!-- end -->", text, re.MULTILINE)
    )

    described = {name: alarm["AlarmDescription"].rpartition(" (docs/")[0] for name, alarm in alarms.items()}
    assert sections == described


def test_the_pages_name_only_commands_that_exist(root: Path, alarms: dict[str, Json]) -> None:
    from kontext_cli.main import app

    commands = typer.main.get_group(app).commands
    pages = "".join((root / "docs" / name).read_text() for name in ("operations.md", "events.md"))
    remedies = "".join(said.remedy for said in REASONS.values()) + str(alarms)

    named = set(re.findall(r"`kontext (\w+)", pages + remedies))

    assert named <= set(commands)


@pytest.mark.parametrize("page", ["docs/operations.md", "docs/events.md", "examples/README.md"])
def test_every_link_of_a_page_leads_somewhere(root: Path, page: str) -> None:
    text = (root / page).read_text()

    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("https://")]

    assert links
    missing = [link for link in links if not (root / page).parent.joinpath(link.partition("#")[0]).exists()]
    assert missing == []


def _overlap(one: Json, other: Json) -> bool:
    apart = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
    below = one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
    return not (apart or below)


def _sources(root: Path) -> list[Path]:
    return [*(root / "functions").glob("*.py"), *(root / "layers/kontext/python/kontext").rglob("*.py")]


def _keywords_of_emit(path: Path) -> list[str]:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    told = [call for call in calls if getattr(call.func, "attr", getattr(call.func, "id", "")) == "emit"]
    return [keyword.arg for call in told for keyword in call.keywords if keyword.arg]


def _refusals(root: Path) -> list[str]:
    text = (root / "layers/kontext/python/kontext/segmind/answers.py").read_text()
    return re.findall(r'AccountRefused\([^)]*"(\w+)"\)', text)
