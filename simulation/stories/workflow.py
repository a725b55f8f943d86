"""The workflow: executions that are aborted, cannot be started, or bear a taken name; tasks that die or hang."""

from __future__ import annotations

from simulation.actions import Abort, Away, Deadly, RecordsExpire, TasksUnheard, image, vendor
from simulation.fault_injection import Fault
from simulation.schedule import Action
from simulation.stories.story import Story, many, pair, story

DAY = 86_400.0
LATE_PICTURE = vendor(on="output", status=503, times=4)
_NAME = "an execution's name says nothing of the job, and one that is taken is thought to be ours"
_EVENT = "a render that begins again after its record has expired tells its end under the id of the first one"


def aborted(when: str, at: float, *more: tuple[float, Action]) -> Story:
    return story(f"aborted by hand {when}", *more, *pair(), (at, Abort()))


def kept(days: int, *, again: float, missing: str) -> Story:
    """The record of a pair has expired as the same content is dropped again."""
    return story(
        f"dropped again after {again:g} days, records kept for {days}",
        *pair(),
        ((days + 1) * DAY, RecordsExpire()),
        *pair(at=again * DAY),
        parameters={"RecordRetentionDays": str(days)},
        missing=missing,
    )


ABORTED = (
    aborted("before the first poll", 5.0),
    aborted("while a poll is under way", 22.0),
    aborted("between two polls of a slow job", 1000.0, (0.0, vendor(inference=2000.0))),
    aborted("while a picture is copied", 24.4),
    aborted("while the copy waits to be tried again", 30.0, (0.0, LATE_PICTURE)),
    aborted("after the pair was delivered", 100.0),
    *(
        story(f"aborted by hand, and dropped again {when}", *pair(), (5.0, Abort()), *pair(at=at))
        for when, at in (("while the job is known", 3000.0), ("when the job is forgotten", 7200.0))
    ),
)
TASKS = (
    story("the workflow cannot be started for three minutes", (0.0, Away(("stepfunctions",), 3.0)), *pair()),
    story("the workflow cannot be started as the job is paid", *pair(), faults=(Fault(0, "error", "start_execution"),)),
    story(
        "the answer to the start of a workflow is lost, and others wait in line",
        *many(9, every=0.3),
        faults=(Fault(0, "time-out-with-effect", "start_execution"),),
    ),
    story("the workflow hears no answer for ten minutes", (5.0, TasksUnheard(10.0)), *pair()),
    story("the workflow hears no answer for two hours", (5.0, TasksUnheard(120.0)), *pair()),
    story("Lambda has no room for ten minutes while a job is at the vendor", (5.0, Away(("lambda",), 10.0)), *pair()),
    story("the picture kills Finalize twenty times", (0.0, Deadly("taj/result.png", 20)), *pair(), patience=1800.0),
    story("the picture kills Finalize five times", (0.0, Deadly("taj/result.png", 5)), *pair()),
    story("a photograph kills Submit five times", (0.0, Deadly("taj/1.png", 5)), *pair(), patience=1400.0),
)
NAMES = (
    kept(30, again=32.0, missing=_NAME),
    kept(30, again=130.0, missing=_EVENT),
    story("dropped again after a hundred days", *pair(), *pair(at=100 * DAY)),
    story("changed after a hundred days", *pair(), (100 * DAY, image("taj/1.png", "another"))),
)
WORKFLOW: tuple[Story, ...] = (*ABORTED, *TASKS, *NAMES)
