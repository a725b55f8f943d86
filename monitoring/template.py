"""Writes alarms and dashboard into template.yaml, behind everything else: `make generated`."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

from monitoring.alarms import ALARMS, Alarm
from monitoring.dashboard import LOW_CREDITS, Widget, widgets

TEMPLATE = Path(__file__).parents[1] / "template.yaml"
PART = re.compile(r"(?<=  # written by `make generated` from monitoring/:\n).*", re.DOTALL)
WIDTH = 120


def part() -> str:
    """The alarms and the dashboard as resources."""
    alarms = "".join(f"  {name}:\n{alarm(name, said)}" for name, said in ALARMS.items())
    return f"{alarms}  Dashboard:\n{dashboard()}"


def alarm(name: str, said: Alarm) -> str:
    """An alarm, without its name."""
    description = textwrap.wrap(f"{said.says} (docs/operations.md#{name.lower()})", WIDTH - 8, break_on_hyphens=False)
    properties = {
        "Namespace": said.measure.namespace,
        "MetricName": said.measure.metric,
        "Dimensions": f"[{{ Name: {said.measure.dimension}, Value: {said.measure.value} }}]",
        "Statistic": said.measure.statistic,
        "Period": said.seconds,
        "EvaluationPeriods": said.periods,
        **({"DatapointsToAlarm": said.crossed} if said.crossed else {}),
        "ComparisonOperator": "LessThanThreshold" if said.below else "GreaterThanOrEqualToThreshold",
        "Threshold": said.threshold,
        "TreatMissingData": said.no_data,
        "AlarmActions": "[!Ref AlarmTopic]",
    }
    return (
        "    Type: AWS::CloudWatch::Alarm\n    Properties:\n      AlarmDescription: >-\n"
        + "".join(f"        {line}\n" for line in description)
        + "".join(f"      {key}: {value}\n" for key, value in properties.items())
    )


def dashboard() -> str:
    """The dashboard, without its name."""
    body = ",\n".join(_written(widget) for widget in widgets())
    return (
        "    Type: AWS::CloudWatch::Dashboard\n    Properties:\n      DashboardBody:\n        Fn::Sub: |-\n"
        + textwrap.indent(f'{{"widgets": [\n{body}\n]}}\n', " " * 10)
    )


def _written(widget: Widget) -> str:
    """A widget as JSON, each metric on a line of its own; a parameter that is a number stands without quotes."""
    text = json.dumps(widget, ensure_ascii=False).replace(f'"{LOW_CREDITS}"', LOW_CREDITS)
    return re.sub(r"(?<=\[)\[|(?<=\], )\[", "\n  [", text).replace("], \n", "],\n")


def filled(text: str) -> str:
    """A template with its generated part as it ought to be."""
    return PART.sub(lambda _: part(), text)


def main() -> None:
    """Write the part anew."""
    TEMPLATE.write_text(filled(TEMPLATE.read_text()))


if __name__ == "__main__":
    main()
