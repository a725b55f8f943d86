"""The stories: schedules with a name that a user would understand.

story     what a story is, and what most of them begin with
usual     what happens every day
"""

from simulation.stories.story import Story
from simulation.stories.usual import USUAL

_ALL = (*USUAL,)
STORIES: dict[str, Story] = {one.name: one for one in _ALL if not one.missing}
"""Those that keep every promise, whatever goes wrong in them."""
MISSING: dict[str, Story] = {one.name: one for one in _ALL if one.missing}
"""Those that break a promise, each with what the product lacks."""

if len(STORIES) + len(MISSING) < len(_ALL):
    raise ValueError("two stories have one name")
