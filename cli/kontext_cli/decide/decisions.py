"""What a person decides of a render that may be paid: what is checked first, and what is then done.

A check writes nothing, and asks Segmind and its file host for nothing that costs. Whatever is in doubt is refused, and
leaves the render undecided.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from posixpath import normpath
from typing import Literal
from urllib.parse import unquote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from kontext.errors import DeliveryError, RecordGone, SegmindError, problem
from kontext.model import Render, Status
from kontext.renders import settle
from kontext.renders.overdue import RECORD_SECONDS
from kontext.results.cloudevents import announce
from kontext.results.output_bucket import OutputBucket
from kontext.segmind.answers import REQUEST_ID
from kontext_cli.decide.operate import Operator
from kontext_cli.errors import CommandError

What = Literal["request-id", "output-url", "resubmit", "give-up"]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Decision:
    """What is to become of a pair's render; `value` is the id or the URL."""

    prefix: str
    what: What
    value: str = ""


class Unanswered(CommandError):
    """Segmind, or what leads to it, has not answered: the same command may find out more in a while."""


class Resolver:
    """Checks decisions, and carries them out."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator

    def check(self, decision: Decision) -> tuple[Decision, Render]:
        """The decision as it is carried out, and about which render. Raises CommandError, saying what is wrong."""
        render = self.undecided(decision.prefix, decision.what)
        value = decision.value.strip()
        match decision.what:
            case "request-id":
                value = self._known_job(render, value)
            case "output-url":
                self._check_picture(render, value)
            case "resubmit" if not self.operator.pair(decision.prefix).asks_for(render["render_id"]):
                raise CommandError(f"A newer drop has replaced what {render['prefix']!r} asked for: drop that again.")
        return Decision(render["prefix"], decision.what, value), render

    def carry_out(self, decision: Decision, render: Render) -> Render:
        """Do what was checked. Raises ConditionFailed if the render has moved on meanwhile."""
        match decision.what:
            case "request-id":
                return self._follow(settle.with_job(self.operator.renders, render, decision.value, self._now()))
            case "output-url":
                return self._follow(settle.with_picture(self.operator.renders, render, decision.value, self._now()))
            case "resubmit":
                return self._resubmit(render)
            case "give-up":
                return self._give_up(render)

    def undecided(self, prefix: str, what: What = "request-id") -> Render:
        """The render of a pair that a decision is about. Raises CommandError if there is none."""
        pair = self.operator.pair(prefix)
        renders = self.operator.renders_of(pair)
        found = [render for render in renders if render["status"] == Status.UNCERTAIN]
        if what == "give-up":
            found += [render for render in renders if _is_unannounced(render)]
        elif what == "output-url":
            found += [render for render in renders if settle.lacks_picture(render)]
        else:
            found += [render for render in renders if settle.may_be_paid(render)]
        if not found:
            raise CommandError(f"No render of {pair.prefix!r} is uncertain: there is nothing to decide.")
        return found[0]

    def _now(self) -> float:
        return self.operator.clock.now()

    def _known_job(self, render: Render, value: str) -> str:
        """The id of a job that Segmind has, and no other record."""
        request_id = value.lower() if _UUID.fullmatch(value.lower()) else value
        if not request_id:
            raise CommandError("The request_id is empty: Segmind's console shows it beside the job.")
        if not REQUEST_ID.fullmatch(request_id):
            example = "3f2c8f5e-8f5e-4b7a-9d6e-0123456789ab"
            raise CommandError(f"{value[:80]!r} is no request_id of Segmind's: those look like {example}.")
        self._refuse_other(render, self._jobs.get(request_id.lower()), f"job {request_id}")
        try:
            self.operator.segmind.status(request_id)
        except RecordGone as gone:
            raise CommandError(self._why_gone(render, request_id)) from gone
        except (SegmindError, ClientError, BotoCoreError) as failure:
            doubt = f"Whether Segmind has the job {request_id} could not be found out: {failure}"
            raise Unanswered(f"{doubt}. Nothing was decided: try again.") from failure
        return request_id

    def _why_gone(self, render: Render, request_id: str) -> str:
        hours = (self._now() - settle.sent_at(render)) / RECORD_SECONDS
        if hours < 1:
            advice = "compare it with Segmind's console, or try again: it may pass"
            return f"Segmind does not know the job {request_id}. Nothing was decided: {advice}."
        advice = "--output-url takes the picture's link, if Segmind's console shows it"
        return (
            f"Segmind does not know the job {request_id}: it forgets jobs after an hour, and this request was sent "
            f"{hours:.0f} h ago. Nothing was decided; {advice}."
        )

    def _check_picture(self, render: Render, url: str) -> None:
        """Whether a picture stands there, of whatever format, on an allowed host, and is no other's."""
        if not url:
            raise CommandError("The output URL is empty: Segmind's console shows the picture's link.")
        try:
            self.operator.delivery.allowed.check(url)
        except DeliveryError as refused:
            hosts = self.operator.parameters["ResultHosts"]
            raise CommandError(f"{_capital(refused)}; allowed are https links to {hosts} (ResultHosts).") from refused
        self._refuse_other(render, self._pictures.get(_file_of(url)), "picture")
        try:
            self.operator.delivery.check(url)
        except DeliveryError as failure:
            raise (CommandError if failure.final else Unanswered)(
                f"{_capital(failure)}. Nothing was decided."
            ) from failure

    def _refuse_other(self, render: Render, owner: Render | None, what: str) -> None:
        if owner and owner["render_id"] != render["render_id"]:
            raise CommandError(f"The {what} belongs to another render, of {owner['prefix']!r}: nothing was decided.")

    @cached_property
    def _renders(self) -> list[Render]:
        return self.operator.all_renders()

    @cached_property
    def _jobs(self) -> dict[str, Render]:
        return {job: render for render in self._renders for job in settle.jobs_of(render)}

    @cached_property
    def _pictures(self) -> dict[str, Render]:
        return {_file_of(render["output_url"]): render for render in self._renders if "output_url" in render}

    def _follow(self, render: Render) -> Render:
        """Start the workflow; if that fails, Sweep lets another one begin: the decision is on the record."""
        with suppress(ClientError, BotoCoreError):
            self.operator.workflow.start(render, wait=0)
        return render

    def _resubmit(self, render: Render) -> Render:
        """Pay for a new attempt, which waits in line: only a person may say so."""
        operator, now = self.operator, self._now()
        line_at = operator.line.place(render["prefix"], now)
        render = operator.renders.new_attempt(render, Status.CLAIMED, render["drop_id"], now, line_at=line_at)
        with suppress(ClientError, BotoCoreError):  # the decision is taken, and Sweep hands out permits as well
            operator.hints.send_permits(operator.throttle.join(now).permits, now)
        return render

    def _give_up(self, render: Render) -> Render:
        """End an uncertain render without a picture."""
        operator = self.operator
        error = problem("given_up", "an operator gave this render up")
        if render["status"] == Status.UNCERTAIN:
            render = operator.renders.mark_failed(render, error, self._now())
        outputs = OutputBucket(operator.chosen.client("s3"), operator.chosen.output("OutputBucket"))
        announce(render, operator.drops, outputs, operator.topic, operator.renders)
        return render


def _file_of(url: str) -> str:
    """What tells the picture of a link from others: of one that names a file the query says nothing more."""
    with suppress(ValueError):
        parts = urlsplit(url)
        path = normpath(unquote(parts.path)).lstrip("/")
        query = "" if "." in path.rpartition("/")[2] else parts.query
        return f"{parts.netloc.lower()}/{path}?{query}"
    return url


def _is_unannounced(render: Render) -> bool:
    """Whether a render was given up by a command that did not come to tell of it."""
    return not render.get("announced") and render.get("error", {}).get("code") == "given_up"


def _capital(error: Exception) -> str:
    return str(error)[:1].upper() + str(error)[1:]
