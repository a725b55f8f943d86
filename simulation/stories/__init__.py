"""The stories: schedules with a name that a user would understand.

story         what a story is, and what most of them begin with
usual         what happens every day
drops         what people drop, and drop again
taken_back    what people take away again, and what comes back
references    requests that name objects
unreadable    objects that the stack may not read
waiting       pairs that wait: for credits, the operator, an image
outages       AWS services that are away
losing        everything is lost at one moment
deployments   the stack is deployed with other parameters
limits        what grows to the limits of the services
vendor        what the vendor answers on a bad day
trials        what nobody knows at the time: trials, probes, and what they cost
money         an account that refuses, requests that are paid although they were refused, costs that cannot be
operator      what the operator does by mistake
queue         many at once, purges, dead letters
workflow      executions and their tasks
remedies      what people are told to do is done; `tests/wiring/test_remedies.py` plays them
"""

from simulation.stories.deployments import DEPLOYMENTS
from simulation.stories.drops import DROPS
from simulation.stories.limits import LIMITS
from simulation.stories.losing import LOSING
from simulation.stories.money import MONEY
from simulation.stories.operator import OPERATOR
from simulation.stories.outages import OUTAGES
from simulation.stories.queue import QUEUE
from simulation.stories.references import REFERENCES, WHOSE
from simulation.stories.story import Story
from simulation.stories.taken_back import TAKEN_BACK
from simulation.stories.trials import TRIALS
from simulation.stories.unreadable import UNREADABLE
from simulation.stories.usual import USUAL
from simulation.stories.vendor import VENDOR
from simulation.stories.waiting import WAITING
from simulation.stories.workflow import WORKFLOW

_ALL = (
    *(*USUAL, *DROPS, *TAKEN_BACK, *REFERENCES, *WHOSE, *UNREADABLE, *WAITING, *OUTAGES, *LOSING, *QUEUE, *WORKFLOW),
    *(*DEPLOYMENTS, *LIMITS, *VENDOR, *TRIALS, *MONEY, *OPERATOR),
)
STORIES: dict[str, Story] = {one.name: one for one in _ALL if not one.missing}
"""Those that keep every promise, whatever goes wrong in them."""
MISSING: dict[str, Story] = {one.name: one for one in _ALL if one.missing}
"""Those that break a promise, each with what the product lacks."""

if len(STORIES) + len(MISSING) < len(_ALL):
    raise ValueError("two stories have one name")
