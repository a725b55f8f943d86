"""Scripted misbehaviour: rules that say which requests meet it and what happens to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from kontext_local.segmind.answers import Answer, as_json, as_text
from kontext_local.segmind.jobs import JobOverride
from kontext_local.segmind.shapes import SHAPES

CALLS = ("submit", "generate", "status", "result", "credits", "output")
"""The vendor's endpoints: POST v2, POST v1, GET status, GET result, GET credits, GET an output file."""


@dataclass(frozen=True)
class Rule(JobOverride):
    """One scripted behaviour. The first rule that applies to a request decides.

    Which requests: `on` one of CALLS or `any`; `prompt` is a part of the job's prompt; `when` is the job's
    state; out of those that fit, counted from 1, the `nth` and the `times` - 1 after it (None: all from the
    `nth` on).

    What is answered: `status` with `body` (as JSON) or `text` (as `content_type`) and `headers`; or `drop`
    the connection; or `hang` for so many seconds and then drop it; or the true answer with `patch` laid
    over its JSON, objects field by field, the fields of `without` taken out, its text put `into` another one in place
    of `{}`, perhaps with another `status`, its bytes `cut_after` so many, or after `slow` seconds. A scripted POST has
    no effect unless `accept` is true: then the job exists, and is charged when it completes, whatever its
    sender hears.

    What becomes of the job: `fail` with this message, `inference` seconds, and its output file:
    `output_shape`, `output_bytes`, `output_content_type`, `output_url`.
    """

    on: str = "submit"
    prompt: str | None = None
    when: str | None = None
    nth: int = 1
    times: int | None = 1

    accept: bool = False
    status: int | None = None
    body: Any = None
    text: str | None = None
    content_type: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    hang: float | None = None
    slow: float = 0.0
    patch: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    into: str | None = None
    cut_after: int | None = None

    def __post_init__(self) -> None:
        if self.on not in (*CALLS, "any"):
            raise ValueError(f"on: {self.on!r} is none of {', '.join(CALLS)}, any")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError(f"status: {self.status} is not between 200 and 599")
        if self.output_shape not in (None, *SHAPES):
            raise ValueError(f"output_shape: {self.output_shape!r} is none of {', '.join(SHAPES)}")

    @property
    def override(self) -> JobOverride:
        return JobOverride(**{one.name: getattr(self, one.name) for one in fields(JobOverride)})

    @property
    def takes_effect(self) -> bool:
        """Whether the request does what it asks for."""
        return self.accept or not (self.status or self.drop or self.hang is not None)

    def fits(self, call: str, prompt: str, state: str | None) -> bool:
        """Whether a request is one of those that this rule counts."""
        return (
            self.on in ("any", call)
            and (self.prompt is None or self.prompt in prompt)
            and (self.when is None or self.when == state)
        )

    def answer(self, true: Answer) -> Answer:
        """What the client hears in place of the `true` answer."""
        if self.hang is not None:
            return Answer(hang=self.hang, drop=True)
        if self.drop:
            return Answer(drop=True)
        if self.status and not self.into:
            return self._canned(self.status)
        patched = self._patched(true)
        return replace(patched, status=self.status or patched.status, cut_after=self.cut_after, hang=self.slow)

    def _canned(self, status: int) -> Answer:
        if self.text is not None:
            return as_text(status, self.text, self.content_type, self.headers)
        return as_json(status, self.body, self.headers)

    def _patched(self, true: Answer) -> Answer:
        if not (self.patch or self.without or self.into) or not true.body:
            return true
        body = _laid_over(json.loads(true.body), self.patch)
        kept = json.dumps({name: value for name, value in body.items() if name not in self.without})
        text = self.into.replace("{}", kept) if self.into else kept
        return as_text(true.status, text, "application/json", self.headers)

    def as_json(self) -> dict[str, Any]:
        """What differs from a rule without effect."""
        plain = asdict(Rule())
        return {name: value for name, value in asdict(self).items() if value != plain[name]}


def _laid_over(body: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    deeper = {
        name: _laid_over(body[name], value)
        for name, value in patch.items()
        if isinstance(value, Mapping) and isinstance(body.get(name), Mapping)
    }
    return {**body, **patch, **deeper}


def parse(given: Mapping[str, Any]) -> Rule:
    """A rule out of JSON. Raises ValueError naming what is wrong."""
    known = {one.name for one in fields(Rule)}
    if unknown := sorted(set(given) - known):
        raise ValueError(f"a rule has no {', '.join(unknown)}")
    rule: dict[str, Any] = dict(given)
    if "without" in rule:
        rule["without"] = tuple(rule["without"])
    return Rule(**rule)


class Script:
    """The rules in force, in the order in which they were added."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._seen: list[int] = []

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(self._rules)

    def add(self, rule: Rule) -> None:
        self._rules.append(rule)
        self._seen.append(0)

    def clear(self) -> None:
        self._rules.clear()
        self._seen.clear()

    def next(self, call: str, prompt: str, state: str | None) -> Rule | None:
        """The rule for this request, which every rule that fits it counts."""
        chosen = None
        for index, rule in enumerate(self._rules):
            if rule.fits(call, prompt, state):
                self._seen[index] += 1
                chosen = chosen or (rule if _due(rule, self._seen[index]) else None)
        return chosen


def _due(rule: Rule, seen: int) -> bool:
    return seen >= rule.nth and (rule.times is None or seen < rule.nth + rule.times)
