"""What the operator does meanwhile: he decides what becomes of a pair, and pauses the stack or lets it go on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from kontext.model import Render
from kontext_cli.decide import replay, taking_back
from kontext_cli.decide.decisions import Decision, Resolver, Unanswered
from kontext_cli.decide.operate import Operator
from kontext_cli.errors import CommandError

if TYPE_CHECKING:
    from kontext_local.segmind.jobs import Job
    from simulation.world import World


Decided = Literal["resubmit", "request-id", "give-up", "redeliver", "cancel", "again"]
Slip = Literal["", "a wrong digit", "another job's", "another pair's"]


@dataclass(frozen=True)
class Decide:
    """The operator decides what becomes of a pair's render; who finds nothing to decide is told so.

    `request-id` names the job that was made for the undecided render, as the vendor's own console shows it. `slip`: its
    id has a wrong digit, or is that of another job, of this pair or of another one.
    """

    prefix: str
    what: Decided
    slip: Slip = ""
    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        jobs = world.vendor.ledger.jobs.values()
        world.operate(lambda operator: self._decide(operator, list(jobs)))

    def _decide(self, operator: Operator, jobs: list[Job]) -> None:
        with told_what_is_wrong():
            if self.what == "redeliver":
                operator.deliver_again(operator.paid(self.prefix))
                return
            if self.what == "cancel":
                taking_back.take_back(operator, self.prefix)
                return
            if self.what == "again":
                taking_back.render_again(operator, taking_back.ended(operator, self.prefix))
                return
            resolver, value = Resolver(operator), ""
            if self.what == "request-id":
                value = self._request_id(resolver.undecided(self.prefix), jobs)
            resolver.carry_out(*resolver.check(Decision(self.prefix, self.what, value)))

    def _request_id(self, render: Render, jobs: list[Job]) -> str:
        own = [job for job in jobs if _was_asked_for(render, job)]
        others = [
            job for job in jobs if job not in own and (self.prefix in _links(job)) is (self.slip == "another job's")
        ]
        found = (others if self.slip.startswith("another") else own)[-1:]
        if not found:
            raise CommandError("Segmind's console shows no such job.")
        request_id = found[0].request_id
        return request_id if self.slip != "a wrong digit" else request_id[:-1] + ("1" if request_id[-1] == "0" else "0")

    def __str__(self) -> str:
        return f"the operator about {self.prefix}: {self.what} {self.slip}".strip()


@contextlib.contextmanager
def told_what_is_wrong() -> Iterator[None]:
    """Who hears that something is wrong leaves it at that; where nobody answered, he gives the command again."""
    try:
        yield
    except Unanswered:
        raise
    except CommandError:
        pass


@dataclass(frozen=True)
class Replay:
    """The operator lets the stack be told again of what it does not know, and says yes to the price."""

    prefix: str = ""
    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        world.operate(lambda operator: list(replay.Replay(operator.chosen, self.prefix, operator.clock).notify()))

    def __str__(self) -> str:
        return f"the operator: replay {self.prefix or '--all'}"


def _was_asked_for(render: Render, job: Job) -> bool:
    asked, wanted = job.parameters, render["parameters"]
    linked = all(given.get("url") or given["version_id"] in _links(job) for given in render["inputs"])
    return linked and (asked.prompt, asked.output_format) == (wanted["prompt"], wanted["output_format"])


def _links(job: Job) -> str:
    return f"/{job.parameters.input_image_1} /{job.parameters.input_image_2}"


@dataclass(frozen=True)
class PauseOrResume:
    """The operator pauses the stack, or resumes it; one that fails is given again until the other is wanted."""

    what: Literal["pause", "resume"]
    lasts: ClassVar[bool] = False

    def do(self, world: World) -> None:
        world.wanted = self
        turn = Operator.pause if self.what == "pause" else Operator.resume
        world.operate(lambda operator: turn(operator) if world.wanted is self else None)

    def __str__(self) -> str:
        return f"the operator: {self.what}"
