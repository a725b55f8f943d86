"""That there are no dead ends: a picture that is paid, and that Segmind still gives, can be had without paying again.

Tries, after a run and with everybody well, what an operator could do for each such render, who reads in Segmind's own
console which jobs there are. It changes the world, so it comes last.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from kontext.dynamodb import ConditionFailed
from kontext.model import Render
from kontext_cli.decide.decisions import Decision, Resolver, What
from kontext_cli.decide.operate import Operator
from kontext_cli.errors import CommandError
from kontext_local.segmind.jobs import Job
from simulation.decisions import told_what_is_wrong
from simulation.evidence import Evidence
from simulation.world import World

_A_WHILE_SECONDS = 600.0
_FILES = "https://images.segmind.com"


def dead_ends(world: World) -> list[str]:
    """The paid pictures that no command delivers, in words."""
    return [f"no_dead_ends: {words}" for words in _dead_ends(world)]


def _dead_ends(world: World) -> Iterator[str]:
    _let_jobs_end(world)
    if not _undelivered(world):
        return
    world.make_well()
    world.go_on()
    lost = _undelivered(world)
    posts = len(world.vendor.ledger.posts)
    for remedy in (_redeliver, _resolve):
        for render, job in _undelivered(world):
            world.operate(partial(remedy, render, job))
            world.go_on()
    still = {render["render_id"]: render["status"] for render, _ in _undelivered(world)}
    for render, job in lost:
        if status := still.get(render["render_id"]):
            yield f"{render['prefix']} is {status}, the picture of {job.request_id} is paid and cannot be had"
    if len(world.vendor.ledger.posts) > posts:
        yield "a command that pays nothing has paid"


def _redeliver(render: Render, _: Job, operator: Operator) -> None:
    with suppress(CommandError, ConditionFailed):
        operator.deliver_again(operator.paid(render["prefix"]) if not render.get("output_url") else render)


def _resolve(render: Render, job: Job, operator: Operator) -> None:
    """Segmind's own console shows the job's id, and its picture's link."""
    resolver, link = Resolver(operator), f"{_FILES}/output/{job.request_id}.{job.parameters.output_format}"
    decisions: tuple[tuple[What, str], ...] = (("request-id", job.request_id), ("output-url", link))
    for what, value in decisions:
        with told_what_is_wrong(), suppress(ConditionFailed):
            resolver.carry_out(*resolver.check(Decision(render["prefix"], what, value)))
            return


def _let_jobs_end(world: World) -> None:
    """A job that our side has given up may still be made, and charged."""
    while any(job.ended_at is None for job in world.vendor.ledger.jobs.values()):
        world.scheduler.at(world.scheduler.now + _A_WHILE_SECONDS, lambda: None)
        world.go_on()


def _undelivered(world: World) -> list[tuple[Render, Job]]:
    """The renders none of whose paid pictures has ever been in the output bucket, each with its last job."""
    there = {version.body for versions in world.s3.buckets.get("OutputBucket", {}).values() for version in versions}
    seen, lost = Evidence(world, {}), []
    for render in seen.renders:
        paid = [job for job in seen.jobs_of(render) if job.charged]
        if not any(seen.picture_of(job) in there for job in paid):
            lost += [(render, job) for job in paid[-1:] if _can_be_had(world, job)]
    return lost


def _can_be_had(world: World, job: Job) -> bool:
    """Whether the vendor still has the picture, on a host of his own, and says where."""
    kept_until = (job.ended_at or 0.0) + world.vendor.settings.output_seconds
    named = job.override.output_url is None and job.output_shape not in ("relative", "none")
    return named and world.vendor.clock() < kept_until
