"""Pairs to backfill, and a stack that would take them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kontext.drops.references import References
from kontext.images.image import Limits
from kontext_cli.backfill.plan import Plan
from kontext_cli.backfill.sources import Source
from kontext_cli.target import Target

Encoded = Callable[..., bytes]
SETTINGS = {
    "DefaultPrompt": "Bring them together.",
    "MaxInputMegabytes": "50",
    "MaxInputMegapixels": "100",
    "PricePerRender": "0.05",
    "DailySpendLimit": "25",
    "RequestsPerMinute": "50",
}
OUTPUTS = {"InputBucket": "inputs", "OutputBucket": "pictures", "RendersTable": "renders"}
LIMITS = Limits()
REFERENCES = References(("shared/",))
UNREADABLE = Path("/proc/self/mem")
HEAD = "name,image 1,image 2,prompt"
ROW = "shop/cat,cat.png,cup.jpg,A cat."


class Described:
    """A CloudFormation client that knows one stack."""

    def describe_stacks(self, **asked: str) -> dict[str, Any]:
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in SETTINGS.items()]
        return {"Stacks": [{**asked, "Parameters": given}]}


def planned(target: Target, source: Source, **settings: str) -> Plan:
    return Plan(target, source, SETTINGS | settings)


def upload(target: Target, source: Source) -> list[str]:
    """The prefixes that were uploaded."""
    return [job.pair.prefix for job in planned(target, source).upload()]


def keys(target: Target) -> list[str]:
    """The keys in the input bucket."""
    return [one["Key"] for one in target.client("s3").list_objects_v2(Bucket="inputs").get("Contents", ())]
