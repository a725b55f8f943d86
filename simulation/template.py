"""What `template.yaml` says: tests that play the stack themselves have no settings of their own."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Spec:
    """A function: its handler, its environment, how long it may live in seconds, and its memory in MB."""

    handler: str
    environment: dict[str, str]
    timeout: int
    memory: int

    @property
    def module(self) -> str:
        return self.handler.partition(".")[0]


class Template:
    """The template with parameters; every resource is called by its logical name."""

    def __init__(self, **parameters: str) -> None:
        whole = parsed()
        given = {name: str(one.get("Default", "")) for name, one in whole["Parameters"].items()}
        unknown = parameters.keys() - given.keys()
        if unknown:
            raise KeyError(f"the template has no parameter {unknown}")
        self.parameters = given | parameters
        self._resources: dict[str, Any] = whole["Resources"]
        self._everywhere = whole["Globals"]["Function"]["Environment"]["Variables"]

    def function(self, name: str) -> Spec:
        """A function by its logical name."""
        said = self._resources[name]["Properties"]
        variables = self._everywhere | said.get("Environment", {}).get("Variables", {})
        environment = {variable: self._resolved(value) for variable, value in variables.items()}
        return Spec(said["Handler"], environment, said["Timeout"], said["MemorySize"])

    def statements(self, role: str) -> list[dict[str, Any]]:
        """The statements of a role's one policy."""
        (policy,) = self._resources[role]["Properties"]["Policies"]
        return list(policy["PolicyDocument"]["Statement"])

    @property
    def outputs(self) -> dict[str, str]:
        """What the stack tells operators of itself."""
        return {name: self._resolved(one["Value"]) for name, one in parsed()["Outputs"].items()}

    @property
    def queue(self) -> dict[str, Any]:
        """The upload queue's properties."""
        return dict(self._resources["UploadQueue"]["Properties"])

    @property
    def table(self) -> dict[str, Any]:
        """The keys and indexes of the table, as they are asked for when it is created."""
        names = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
        return {name: self._resources["RendersTable"]["Properties"][name] for name in names}

    @property
    def mapping(self) -> dict[str, Any]:
        """How the queue calls Submit."""
        return dict(self._resources["SubmitFunction"]["Properties"]["Events"]["Drops"]["Properties"])

    @property
    def reports_failures(self) -> bool:
        """Whether Lambda reads from Submit's answer which messages have failed: else all of a batch are done."""
        return "ReportBatchItemFailures" in self.mapping.get("FunctionResponseTypes", ())

    @property
    def stops_loops(self) -> bool:
        """Whether Lambda stops Submit in a chain of too many invocations: it does, unless it is told otherwise."""
        return bool(self._resources["SubmitFunction"]["Properties"].get("RecursiveLoop", "Terminate") != "Allow")

    def tells_queue(self, event_name: str) -> bool:
        """Whether the input bucket tells the upload queue of such an event, `ObjectRemoved:Delete` say."""
        told = self._resources["InputBucket"]["Properties"]["NotificationConfiguration"]["QueueConfigurations"]
        return any(fnmatchcase(f"s3:{event_name}", one["Event"]) for one in told)

    @property
    def workflow(self) -> dict[str, Any]:
        """The state machine, with the logical names of its functions."""
        said = self._resources["RenderWorkflow"]["Properties"]
        text = _text(said["DefinitionUri"])
        for name, value in said["DefinitionSubstitutions"].items():
            text = text.replace(f"${{{name}}}", self._resolved(value))
        return dict(json.loads(text))

    def _resolved(self, value: Any) -> str:
        if not isinstance(value, dict):
            return str(value)
        ((kind, said),) = value.items()
        if kind == "If":
            condition, *chosen = said
            return self._resolved(chosen[not self._holds(parsed()["Conditions"][condition])])
        if kind == "Sub":
            return re.sub(r"\$\{([^}]+)\}", lambda match: self._named(match[1]), said)
        return self._named(said)

    def _holds(self, condition: Any) -> bool:
        ((kind, said),) = condition.items()
        if kind == "Not":
            return not self._holds(said[0])
        one, other = map(self._resolved, said)
        return one == other

    def _named(self, name: str) -> str:
        return self.parameters.get(name, name.partition(".")[0].replace("AWS::", ""))


@cache
def _text(name: str) -> str:
    return (ROOT / name).read_text()


@cache
def parsed() -> Any:
    """The whole template."""
    return yaml.load(_text("template.yaml"), _Loader)


class _Loader(yaml.CSafeLoader):
    """Reads CloudFormation's short forms: `!Ref X` is {"Ref": "X"}."""


def _short_form(loader: yaml.CSafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    return {suffix: loader.construct_mapping(node, deep=True)} if isinstance(node, yaml.MappingNode) else None


_Loader.add_multi_constructor("!", _short_form)
